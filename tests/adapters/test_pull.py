import hashlib
import multiprocessing
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_twin import models
from llm_twin.adapters import pypi
from llm_twin.adapters.pull import pull
from llm_twin.errors import InputError, TwinError
from llm_twin.models import ModelFile, ModelRow

MakeGguf = Callable[..., Path]


@pytest.fixture
def own(tmp_path: Path, tiny_gguf: MakeGguf, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A models.toml with one row, `tiny`, that a stand-in for PyPI carries."""
    weights = tiny_gguf(tmp_path / "published.gguf").read_bytes()
    row = f"""
[tiny]
role = "chat"
licence = "MIT"
[[tiny.files]]
name = "base.gguf"
pypi = ["tiny-model==1.0:tiny.gguf"]
size = {len(weights)}
sha256 = "{hashlib.sha256(weights).hexdigest()}"
"""

    def fetch(row: ModelRow, file: ModelFile, parts: Path, progress: object) -> Path:
        (parts / "joined").write_bytes((tmp_path / "published.gguf").read_bytes())
        return parts / "joined"

    monkeypatch.setattr(pypi, "fetch", fetch)
    (tmp_path / "models.toml").write_text(row)
    return tmp_path / "models.toml"


def unreachable(*_: object) -> Path:
    raise TwinError("no network here")


def test_a_model_is_pulled_once(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = pull("tiny", tmp_path / "cache", extra=own)
    card = models.read_card(folder)
    assert folder == tmp_path / "cache" / "tiny" and models.damage(folder) is None
    assert (card.name, card.licence, card.source) == ("tiny", "MIT", "PyPI tiny-model==1.0 tiny.gguf")
    assert sorted(path.name for path in (tmp_path / "cache" / ".partial").iterdir()) == [".locks"]
    monkeypatch.setattr(pypi, "fetch", unreachable)
    before = folder.stat()
    assert pull("tiny", tmp_path / "cache", extra=own) == folder
    assert folder.stat().st_ino == before.st_ino
    start = time.perf_counter()
    pull("tiny", tmp_path / "cache", extra=own)
    assert time.perf_counter() - start < 0.1


@pytest.mark.parametrize("broken", ["tokenizer.json", "serving.gguf", "model.json"])
def test_a_damaged_folder_is_made_again_from_good_weights(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    folder = pull("tiny", tmp_path / "cache", extra=own)
    whole = models.read_card(folder)
    (folder / broken).write_bytes(b"")
    monkeypatch.setattr(pypi, "fetch", unreachable)
    again = models.read_card(pull("tiny", tmp_path / "cache", extra=own))
    assert again.files == whole.files
    assert models.verify("tiny", tmp_path / "cache") == again


def test_damaged_weights_are_fetched_again_and_it_is_said(own: Path, tmp_path: Path) -> None:
    folder = pull("tiny", tmp_path / "cache", extra=own)
    data = (folder / "base.gguf").read_bytes()
    (folder / "base.gguf").write_bytes(data[:-1])
    notes: list[str] = []
    pull("tiny", tmp_path / "cache", lambda done, total, note="": notes.append(note), extra=own)
    assert models.verify("tiny", tmp_path / "cache").name == "tiny"
    assert any("making tiny again" in note and "bytes instead of" in note for note in notes)


def test_wrong_bytes_are_refused_and_leave_nothing(own: Path, tmp_path: Path) -> None:
    published = tmp_path / "published.gguf"
    good = published.read_bytes()
    published.write_bytes(good[:-1] + b"!")
    with pytest.raises(InputError, match=r"sha256 \w{64}, expected \w{64}") as caught:
        pull("tiny", tmp_path / "cache", extra=own)
    assert hashlib.sha256(published.read_bytes()).hexdigest() in str(caught.value)
    assert hashlib.sha256(good).hexdigest() in str(caught.value)
    assert "pull again" in caught.value.way_out
    assert [path.name for path in (tmp_path / "cache").rglob("*") if path.is_file()] == ["tiny.lock"]
    published.write_bytes(good)
    assert models.damage(pull("tiny", tmp_path / "cache", extra=own)) is None


def test_sources_are_tried_in_order_and_every_switch_is_told(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub_row = '[tiny]\nhub = { repo = "me/tiny", revision = "main" }'
    own.write_text(own.read_text().replace("[tiny]", hub_row).replace("pypi =", 'hub = "t.gguf"\npypi ='))
    notes: list[str] = []
    pull("tiny", tmp_path / "a", lambda done, total, note="": notes.append(note), extra=own)
    assert notes[0].startswith("hub: the Hub does not give it: ") and notes[0].endswith("; trying pypi")
    notes.clear()
    pull("tiny", tmp_path / "b", lambda done, total, note="": notes.append(note), "pypi", own)
    assert not any("hub" in note for note in notes)
    with pytest.raises(TwinError, match="tiny cannot be fetched \\(hub: "):
        pull("tiny", tmp_path / "c", source="hub", extra=own)
    monkeypatch.setattr(pypi, "fetch", unreachable)
    with pytest.raises(TwinError, match=r"\(hub: .*; pypi: no network here\)") as caught:
        pull("tiny", tmp_path / "d", extra=own)
    assert not isinstance(caught.value, InputError) and "network" in caught.value.way_out


def test_a_row_whose_weights_changed_is_pulled_again(own: Path, tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    old = models.read_card(pull("tiny", tmp_path / "cache", extra=own))
    data = tiny_gguf(tmp_path / "published.gguf", "Q8_0").read_bytes()
    row = own.read_text().replace(old.sha256, hashlib.sha256(data).hexdigest())
    own.write_text(row.replace(f"size = {old.files['base.gguf'].size}", f"size = {len(data)}"))
    new = models.read_card(pull("tiny", tmp_path / "cache", extra=own))
    assert new.sha256 == hashlib.sha256(data).hexdigest() != old.sha256


def test_a_gguf_of_ones_own_is_followed(tmp_path: Path, tiny_gguf: MakeGguf) -> None:
    path = tiny_gguf(tmp_path / "My model.gguf")
    folder = pull(path, tmp_path / "cache")
    assert models.read_card(folder).name == "My model"
    assert pull(str(path), tmp_path / "cache") == folder
    path.unlink()
    tiny_gguf(path, "F16")
    assert pull(path, tmp_path / "cache") == folder
    assert models.read_card(folder).sha256 == models.sha256_of(path)


def test_a_folder_of_safetensors_is_taken(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(b"weights")
    (folder / "pytorch_model.bin").write_bytes(b"a pickle")
    with pytest.raises(InputError, match=r"mine is not a model: there is no tokenizer\.json"):
        pull(folder, tmp_path / "cache")
    (folder / "tokenizer.json").write_text("{}")
    (folder / "config.json").write_text(
        '{"model_type": "llama", "hidden_size": 8, "max_position_embeddings": 16, "eos_token_id": 0}'
    )
    card = models.read_card(pull(folder, tmp_path / "cache"))
    assert card.weights == "safetensors" and "pytorch_model.bin" not in card.files


def test_a_prepared_folder_is_used_where_it_lies(own: Path, tmp_path: Path) -> None:
    folder = pull("tiny", tmp_path / "cache", extra=own)
    assert pull(folder, tmp_path / "other") == folder
    (folder / "tokenizer.json").unlink()
    with pytest.raises(InputError, match=r"tokenizer\.json is missing"):
        pull(folder, tmp_path / "other")


def test_what_is_no_model_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="did you mean smollm2-135m") as caught:
        pull("smollm2-135", tmp_path)
    assert "all-minilm-l6-v2" in caught.value.way_out
    (tmp_path / "notes.txt").write_text("hello")
    with pytest.raises(InputError, match=r"notes\.txt is not a \.gguf file"):
        pull(tmp_path / "notes.txt", tmp_path)
    (tmp_path / "bad.gguf").write_text("hello")
    with pytest.raises(InputError, match=r"/bad\.gguf is not a whole GGUF file"):
        pull(tmp_path / "bad.gguf", tmp_path / "cache")


def test_a_cache_that_cannot_be_written_is_said(own: Path, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(TwinError, match="cannot keep tiny in") as caught:
        pull("tiny", tmp_path / "cache", extra=own)
    assert "TWIN_MODELS__CACHE" in caught.value.way_out


def _hold(lock: str, ready: str) -> None:
    import fcntl

    with open(lock, "w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        Path(ready).touch()
        time.sleep(1)


def test_two_processes_take_turns_and_say_so(own: Path, tmp_path: Path) -> None:
    locks = tmp_path / "cache" / ".partial" / ".locks"
    locks.mkdir(parents=True)
    other = multiprocessing.get_context("spawn").Process(
        target=_hold, args=(str(locks / "tiny.lock"), str(tmp_path / "ready"))
    )
    other.start()
    while not (tmp_path / "ready").exists():
        time.sleep(0.01)
    notes: list[str] = []
    pull("tiny", tmp_path / "cache", lambda done, total, note="": notes.append(note), extra=own)
    other.join()
    assert notes[0] == "another process is pulling tiny; waiting for it"


@pytest.mark.slow
def test_a_pull_killed_at_any_moment_is_finished_by_the_next(tmp_path: Path, smol_model: Path) -> None:
    """kill -9 at moments all over a real pull; the last run finds no trace of the others."""
    registry = tmp_path / "registry"
    registry.mkdir()
    _wheel_of(smol_model / "base.gguf", registry)
    environment = {**os.environ, "PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(registry)}
    cache = tmp_path / "cache"
    asked = (
        "import sys; from pathlib import Path; from llm_twin.adapters.pull import pull; "
        "print(pull('smollm2-135m', Path(sys.argv[1]), source='pypi'))"
    )
    command = [sys.executable, "-c", asked, str(cache)]
    start = time.perf_counter()
    subprocess.run([*command[:-1], str(tmp_path / "whole")], env=environment, check=True)
    whole = time.perf_counter() - start
    for moment in range(1, 8):
        process = subprocess.Popen(
            command, env=environment, start_new_session=True, stdout=subprocess.DEVNULL
        )
        time.sleep(whole * moment / 8)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    subprocess.run(command, env=environment, check=True, stdout=subprocess.DEVNULL)
    card = models.verify("smollm2-135m", cache)
    assert card.files == models.read_card(smol_model).files
    assert sorted(path.name for path in cache.iterdir()) == [".partial", "smollm2-135m"]
    assert [path.name for path in (cache / ".partial").iterdir()] == [".locks"]
    assert {path.name for path in (cache / "smollm2-135m").iterdir()} == {*card.files, "model.json"}
    shutil.rmtree(tmp_path)


def _wheel_of(weights: Path, registry: Path) -> None:
    part = models.catalogue()["smollm2-135m"].files[0].pypi[0]
    stem = f"{part.package.replace('-', '_')}-{part.version}"
    with zipfile.ZipFile(registry / f"{stem}-py3-none-any.whl", "w") as archive:
        archive.write(weights, part.member)
        metadata = f"Metadata-Version: 2.1\nName: {part.package}\nVersion: {part.version}\n"
        archive.writestr(f"{stem}.dist-info/METADATA", metadata)
        archive.writestr(f"{stem}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\n")
        archive.writestr(f"{stem}.dist-info/RECORD", "")
