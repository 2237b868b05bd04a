"""twin.toml, the environment, and what is said about mistakes in them."""

import re
import tomllib
from pathlib import Path

import pytest

from llm_twin.errors import InputError
from llm_twin.settings import CONFIG, Settings, behind, commented, known_keys, load


def write(home: Path, text: str) -> Path:
    (home / CONFIG).write_text(text, encoding="utf-8")
    return home


def test_without_a_file_the_defaults_hold(tmp_path: Path) -> None:
    settings = load(tmp_path)
    assert settings.author == ""
    assert settings.models.chat == "qwen2.5-coder-0.5b"


def test_the_environment_wins_over_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, '[ask]\nmode = "quote"\npassages = 7\n')
    monkeypatch.setenv("TWIN_ASK__PASSAGES", "3")
    settings = load(tmp_path)
    assert (settings.ask.mode, settings.ask.passages) == ("quote", 3)


def test_dotenv_lies_in_the_workspace(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("TWIN_TRAIN__RANK=4\n")
    assert load(tmp_path).train.rank == 4


@pytest.mark.parametrize(
    ("text", "named", "meant"),
    [
        ("autor = 'X'", "autor", "author"),
        ("[ask]\npassage = 3", "ask.passage", "ask.passages"),
        ("[trian]\nrank = 3", "trian", "train"),
    ],
)
def test_an_unknown_key_is_named_with_the_one_that_was_meant(
    tmp_path: Path, text: str, named: str, meant: str
) -> None:
    with pytest.raises(InputError) as caught:
        load(write(tmp_path, text))
    assert named in str(caught.value)
    assert CONFIG in str(caught.value)
    assert caught.value.way_out == f"did you mean {meant}?"


@pytest.mark.parametrize("text", ["[ask\n", "[ask]\npassages = 0", "[train]\nrank = 'many'"])
def test_broken_toml_and_values_out_of_range_are_input_errors(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match=CONFIG):
        load(write(tmp_path, text))


def test_the_commented_file_is_valid_and_names_every_setting(tmp_path: Path) -> None:
    text = commented('Wren "Gale" Marlow')
    assert tomllib.loads(text)["author"] == 'Wren "Gale" Marlow'
    settings = [line for line in text.splitlines() if re.match(r"(# )?\w+ = |\[\w+\]$", line)]
    values = tomllib.loads(
        "\n".join(
            line.removeprefix("# ") for line in settings if "Someone" not in line and "location" not in line
        )
    )
    for key in known_keys():
        section, _, inner = key.partition(".")
        if inner:
            assert inner in values[section], key
    assert load(write(tmp_path, text)).author == 'Wren "Gale" Marlow'


@pytest.mark.parametrize("url", ["http://model:8011", "http://model:8011/", "http://model:8011/v1"])
def test_behind_another_server_the_base_model_goes_by_its_name(url: str) -> None:
    settings = Settings(author="Ada")
    found = behind(settings, url)
    assert (found.adapters.chat, found.endpoint.url) == ("openai", "http://model:8011/v1")
    assert found.endpoint.model == settings.models.chat
    assert settings.adapters.chat == "openvino", "the settings given stay as they are"
