"""What every command shares: errors become a message and an exit code, results a text or JSON."""

import json

import pytest
import typer

from llm_twin.errors import InputError, TwinError
from llm_twin.front import result, showing, table_of


@pytest.mark.parametrize(
    ("error", "code"),
    [(InputError("bad", "do this"), 2), (TwinError("broke"), 1), (OSError(28, "No space left"), 1)],
)
def test_errors_are_messages_with_an_exit_code(
    error: Exception, code: int, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(typer.Exit) as stopped, showing(False):
        raise error
    assert stopped.value.exit_code == code
    assert (str(error).split("]")[-1].strip().split(" ")[0]) in capsys.readouterr().err


def test_a_table_shows_what_looks_like_markup_as_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(False) as show:
        table_of(show, [{"a": "[bold]b[/] [/none]"}], ("a",))
    assert "[bold]b[/] [/none]" in capsys.readouterr().out


def test_results_are_json_where_asked(capsys: pytest.CaptureFixture[str]) -> None:
    with showing(True) as show:
        result(show, {"a": 1}, "text")
        table_of(show, [{"a": 2, "b": 3}], ("a",))
    assert json.loads("[" + capsys.readouterr().out.replace("}\n[", "},\n[") + "]") == [
        {"a": 1},
        [{"a": 2, "b": 3}],
    ]
