import json
from pathlib import Path
from typing import Any

import pytest

from llm_twin import models
from llm_twin.errors import InputError, MissingPart

ROW = """
[mine]
role = "chat"
hub = { repo = "me/mine", revision = "main" }
[[mine.files]]
name = "base.gguf"
hub = "mine.gguf"
pypi = ["a-b==1.0:a_b/one.bin", "a-c==2.0.post1:a_c/two.bin"]
size = 10
sha256 = "SHA"
""".replace("SHA", "0" * 64)


def card(folder: Path, **changes: Any) -> models.ModelCard:
    """A whole model in `folder`: two files and their card."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "base.gguf").write_bytes(b"weights")
    (folder / "tokenizer.json").write_text("{}")
    fields: dict[str, Any] = {
        "name": folder.name,
        "role": "chat",
        "licence": "MIT",
        "weights": "gguf",
        "sha256": "0" * 64,
        "architecture": "llama",
        "context": 128,
        "dimension": 64,
        "eos_token_ids": (2, 0),
        "serving": "base.gguf",
        "source": "here",
        "source_file": "base.gguf",
    }
    return models.write_card(folder, ["tokenizer.json", "base.gguf"], **{**fields, **changes})


def test_the_catalogue_holds_the_models_we_stand_by() -> None:
    rows = models.catalogue()
    assert {row.role for row in rows.values()} == {"chat", "embedder"}
    for name, row in rows.items():
        assert row.name == name and row.licence and row.about and row.hub
        assert len(row.hub.revision) == 40, "a revision is fixed to a commit"
        assert all(file.sha256 and file.hub and file.size for file in row.files)
    coder = rows["qwen2.5-coder-0.5b"]
    assert [part.member[-10:] for part in coder.files[0].pypi] == [f"part0{n}.bin" for n in range(1, 7)]
    assert coder.on_pypi and not rows["qwen2.5-0.5b"].on_pypi
    assert rows["all-minilm-l6-v2"].size > 90_000_000


def test_own_rows_join_the_catalogue(tmp_path: Path) -> None:
    own = tmp_path / "models.toml"
    assert models.catalogue(own) == models.catalogue()  # none yet
    own.write_text(ROW)
    row = models.catalogue(own)["mine"]
    assert row.files[0].pypi[1] == models.WheelPart(package="a-c", version="2.0.post1", member="a_c/two.bin")
    assert set(models.catalogue(own)) == {*models.catalogue(), "mine"}


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("[mine]", "[mine", "cannot be read"),
        ('role = "chat"', 'role = "poet"', "mine.role"),
        ('role = "chat"', 'rôle = "chat"', "cannot be read"),
        ('role = "chat"', 'role = "chat"\ncolour = "red"', "mine.colour"),
        ('name = "base.gguf"', 'name = "../base.gguf"', "mine.files.0.name"),
        ('name = "base.gguf"', 'name = "/base.gguf"', "mine.files.0.name"),
        ("a-b==1.0:a_b/one.bin", "a-b:one.bin", "package==version:path"),
        ("size = 10\n", "", "mine.files.0.size"),
        ("0" * 64, "0" * 63, "mine.files.0.sha256"),
        ("mine", "smollm2-135m", "smollm2-135m already"),
        ("[mine]", "colour = 1\n[mine]", "outside of any"),
        ("[mine.files]", "[mine.fils]", "mine.files"),
    ],
)
def test_an_unsound_row_is_named(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    own = tmp_path / "models.toml"
    own.write_text(ROW.replace(old, new))
    with pytest.raises(InputError, match=complaint) as caught:
        models.catalogue(own)
    assert str(own) in str(caught.value)


def test_a_row_needs_somewhere_to_come_from(tmp_path: Path) -> None:
    own = tmp_path / "models.toml"
    own.write_text(ROW.replace('hub = { repo = "me/mine", revision = "main" }', "").replace("pypi =", "# "))
    with pytest.raises(InputError, match="mine has neither"):
        models.catalogue(own)


def test_a_written_card_reads_back_and_its_folder_is_whole(tmp_path: Path) -> None:
    written = card(tmp_path / "mine")
    assert models.read_card(tmp_path / "mine") == written
    assert models.damage(tmp_path / "mine") is None
    assert written.files["base.gguf"].size == 7
    assert models.verify("mine", tmp_path) == models.verify(tmp_path / "mine", tmp_path) == written
    assert models.pulled(tmp_path) == {"mine": written}


def test_damage_that_changes_a_size_is_seen_at_once(tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    assert "no model" in str(models.damage(folder))
    card(folder)
    (folder / "base.gguf").write_bytes(b"weight")
    assert "has 6 bytes instead of 7" in str(models.damage(folder))
    assert models.pulled(tmp_path) == {}
    with pytest.raises(InputError, match="has 6 bytes") as caught:
        models.verify("mine", tmp_path)
    assert "twin models pull mine" in caught.value.way_out
    (folder / "base.gguf").unlink()
    assert "base.gguf is missing" in str(models.damage(folder))


def test_verify_sees_a_changed_byte_and_says_which_file(tmp_path: Path) -> None:
    card(tmp_path / "mine")
    (tmp_path / "mine" / "base.gguf").write_bytes(b"weighty")
    assert models.damage(tmp_path / "mine") is None
    with pytest.raises(InputError, match=r"base\.gguf is not the file it should be: sha256 \w{64}, expected"):
        models.verify("mine", tmp_path)


def test_a_model_made_by_another_version_is_not_taken(tmp_path: Path) -> None:
    card(tmp_path / "mine")
    path = tmp_path / "mine" / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "layout": models.LAYOUT + 1}))
    assert "another version" in str(models.damage(tmp_path / "mine"))


def test_missing_and_broken_cards_say_the_way_out(tmp_path: Path) -> None:
    with pytest.raises(MissingPart) as missing:
        models.verify("mine", tmp_path)
    assert missing.value.way_out == "Fetch it with `twin models pull mine`."
    card(tmp_path / "mine")
    (tmp_path / "mine" / "model.json").write_text('{"layout": 1}')
    with pytest.raises(InputError, match=r"model\.json is not a model's card"):
        models.read_card(tmp_path / "mine")
