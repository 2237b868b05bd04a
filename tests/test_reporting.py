"""From what was measured to a report; the whole of it is tested with the pipeline."""

import json
from pathlib import Path

from llm_twin.reporting import judged_before


def test_a_report_of_another_version_gives_nothing_and_stops_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "abc"
    assert judged_before(folder) == {}
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps({"schema_version": 1}))
    assert judged_before(folder) == {}
