"""The table of adapters: every row can be imported, outsiders can plug in, mistakes are named."""

import pytest

from llm_twin import wiring
from llm_twin.errors import InputError, MissingPart


@pytest.mark.parametrize(
    ("port", "name"), [(port, name) for port, rows in wiring.ADAPTERS.items() for name in rows]
)
def test_every_row_opens_something_callable(port: str, name: str) -> None:
    assert callable(wiring.adapter(port, name))


def test_an_outsider_plugs_in_by_module_and_function() -> None:
    from collections import OrderedDict

    assert wiring.adapter("documents", "collections:OrderedDict") is OrderedDict


def test_a_mistyped_name_is_told_with_the_nearest() -> None:
    with pytest.raises(InputError, match="did you mean sqlite"):
        wiring.adapter("documents", "sqllite")


def test_a_missing_package_is_named() -> None:
    with pytest.raises(MissingPart, match="no_such_package"):
        wiring.adapter("documents", "no_such_package:open")


def test_a_missing_function_is_named() -> None:
    with pytest.raises(InputError, match="has no nothing_here"):
        wiring.adapter("documents", "collections:nothing_here")
