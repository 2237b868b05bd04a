"""An evaluation for docs/reports, without a word of what anybody wrote: its figures as JSON, and its page as a picture.

    python scripts/example_report.py my-twin/evaluations/1a5be8acc0f4/report.json docs/reports/wren-marlow

Needs Chromium. Not covered: small screens, and the folded parts of the page.
"""

import shutil
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from PIL import Image
from playwright.sync_api import sync_playwright

from llm_twin.evaluation.report import Report, page

_TEXTS = {"examples": (), "rows": None, "per_document": (), "text": "", "example": ""}
"""What holds words of people or models, or a row for each passage, and what stands in its place."""


def without_texts(value: Any) -> Any:
    """The same report, as plain values, with nobody's words in it."""
    if isinstance(value, dict):
        return {key: _TEXTS[key] if key in _TEXTS else without_texts(each) for key, each in value.items()}
    return [without_texts(each) for each in value] if isinstance(value, list | tuple) else value


def main(source: Path, target: Path) -> None:
    """Write `target`.json and `target`.png from the report.json at `source`."""
    found = Report.model_validate_json(source.read_text(encoding="utf-8"))
    report = Report.model_validate(without_texts(found.model_dump(mode="json")) | {"answers": ()})
    target.with_suffix(".json").write_text(report.model_dump_json(indent=1) + "\n", encoding="utf-8")
    with TemporaryDirectory() as folder, sync_playwright() as playwright:
        html = Path(folder) / "report.html"
        html.write_text(page(report), encoding="utf-8")
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        shown = browser.new_page(viewport={"width": 1100, "height": 900})
        shown.goto(html.as_uri())
        shown.screenshot(path=target.with_suffix(".png"), full_page=True)
        browser.close()
    picture = target.with_suffix(".png")
    Image.open(picture).convert("P", palette=Image.Palette.ADAPTIVE, colors=64).save(picture, optimize=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
