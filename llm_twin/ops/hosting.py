"""A plan for hosting a twin's model elsewhere, and what it would cost, told before anything is made.

Prices are a table of a few machines with the date they were noted; `[sagemaker] usd_per_hour` stands in for what the
table does not know or no longer knows. Not covered: storage, traffic and requests, which cost little beside a machine.
"""

from llm_twin.errors import InputError
from llm_twin.types import HostingPlan, Value

PRICES_OF = "us-east-1, on demand, noted in 2024"
PRICES = {
    "ml.m5.xlarge": 0.23,
    "ml.m5.2xlarge": 0.461,
    "ml.c5.2xlarge": 0.408,
    "ml.g4dn.xlarge": 0.736,
    "ml.g5.xlarge": 1.408,
    "ml.g5.2xlarge": 1.515,
    "ml.g5.12xlarge": 7.09,
}
"""US dollars an hour for one machine."""
_HOURS_A_MONTH = 730


class Cost(Value):
    """US dollars for the machines that always run, and at most, an hour; `source` is whose figure it is."""

    an_hour: float
    most_an_hour: float
    a_month: float
    source: str


def checked(plan: HostingPlan) -> HostingPlan:
    """`plan`, if it can be carried out; InputError names the setting that is missing or wrong."""
    missing = [name for name in ("image", "role", "bucket") if not getattr(plan, name)]
    if missing:
        raise InputError(
            f"sagemaker.{missing[0]} is not set", "put it into twin.toml; docs/engines.md has an example"
        )
    if plan.most_instances < plan.instances:
        raise InputError(
            f"sagemaker.most_instances is {plan.most_instances}, fewer than instances", "raise it"
        )
    if not plan.model.is_dir():
        raise InputError(f"{plan.model} is not there", "train a twin first: twin train sft")
    return plan


def cost(plan: HostingPlan, usd_per_hour: float = 0.0) -> Cost:
    """What the machines of `plan` cost. InputError for a machine without a known price and without `usd_per_hour`."""
    one = usd_per_hour or PRICES.get(plan.instance_type, 0.0)
    if not one:
        raise InputError(
            f"the price of {plan.instance_type} is not known here",
            "look it up and set sagemaker.usd_per_hour",
        )
    return Cost(
        an_hour=round(one * plan.instances, 2),
        most_an_hour=round(one * plan.most_instances, 2),
        a_month=round(one * plan.instances * _HOURS_A_MONTH),
        source="sagemaker.usd_per_hour" if usd_per_hour else PRICES_OF,
    )
