"""A plan for hosting: what is missing is named, and what it costs is told."""

from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from llm_twin.errors import InputError
from llm_twin.ops.hosting import PRICES, PRICES_OF, checked, cost
from llm_twin.types import HostingPlan


def plan(folder: Path, **more: Any) -> HostingPlan:
    fields: dict[str, Any] = {"name": "a-twin", "model": folder, "image": "i", "role": "r", "bucket": "b"}
    fields |= {"instance_type": "ml.g5.xlarge", "instances": 2, "most_instances": 4}
    return HostingPlan(**{**fields, **more})


@pytest.mark.parametrize("name", ["image", "role", "bucket"])
def test_what_is_not_set_is_named(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=f"sagemaker.{name} is not set"):
        checked(plan(tmp_path, **{name: ""}))


def test_a_plan_that_cannot_be_carried_out_is_refused(tmp_path: Path) -> None:
    assert checked(plan(tmp_path)) == plan(tmp_path)
    with pytest.raises(InputError, match="fewer than instances"):
        checked(plan(tmp_path, most_instances=1))
    with pytest.raises(InputError, match="is not there"):
        checked(plan(tmp_path / "none"))
    for name in ("", "-a", "a_b", "a" * 64):
        with pytest.raises(ValidationError):
            plan(tmp_path, name=name)


def test_the_cost_is_of_all_machines_and_says_whose_figure_it_is(tmp_path: Path) -> None:
    found = cost(plan(tmp_path))
    one = PRICES["ml.g5.xlarge"]
    assert (found.an_hour, found.most_an_hour) == (round(2 * one, 2), round(4 * one, 2))
    assert found.a_month == round(2 * one * 730) and found.source == PRICES_OF
    own = cost(plan(tmp_path, instance_type="ml.unheard.of"), 3.5)
    assert (own.an_hour, own.source) == (7.0, "sagemaker.usd_per_hour")
    with pytest.raises(InputError, match=r"ml\.unheard\.of is not known"):
        cost(plan(tmp_path, instance_type="ml.unheard.of"))
