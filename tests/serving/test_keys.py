"""Keys: told once, kept as a hash, known at once to a server that runs."""

from pathlib import Path

import pytest

from llm_twin.errors import InputError
from llm_twin.serving.keys import Keys, keys_of


def test_a_key_opens_and_is_not_kept(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    assert not keys.any()
    token = keys.add("reader", ("Ada",))
    found = keys.of(token)
    assert found is not None and (found.name, found.authors) == ("reader", ("Ada",))
    assert token not in keys.path.read_text()
    assert keys.path.stat().st_mode & 0o077 == 0
    assert keys.of(token + "x") is None
    assert keys.of("") is None


def test_another_process_sees_a_change(tmp_path: Path) -> None:
    server = keys_of(tmp_path)
    token = keys_of(tmp_path).add("reader", ("Ada",))
    assert server.of(token) is not None
    keys_of(tmp_path).remove("reader")
    assert server.of(token) is None


def test_names_are_taken_once(tmp_path: Path) -> None:
    keys = keys_of(tmp_path)
    assert keys.add("a", ("Ada",)) != keys.add("b", ("Ada",))
    with pytest.raises(InputError, match="there is a key 'a'"):
        keys.add("a", ("Bob",))
    with pytest.raises(InputError, match="no key 'c'"):
        keys.remove("c")


def test_a_damaged_file_opens_nothing(tmp_path: Path) -> None:
    (tmp_path / "keys.json").write_text("[{}]")
    with pytest.raises(InputError, match="damaged"):
        Keys(tmp_path / "keys.json").any()
