"""What a deployment on SageMaker is made of: parts that can be looked for and removed.

Whether a part is there is told by its description and by the code of AWS's answer, never by the words of it. Not
covered: what others hang on these parts, such as alarms.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from boto3.exceptions import Boto3Error
from botocore.exceptions import BotoCoreError, ClientError

VARIANT = "twin"
AWS_ERRORS = (ClientError, BotoCoreError, Boto3Error)
_ABSENT = ("ValidationException", "ResourceNotFound", "NoSuchBucket")
"""SageMaker calls a name that it does not know invalid; a description says nothing else that could be."""
_ROUNDS = 24
_PAUSE = 5.0
"""Seconds between two looks: a removal is waited for two minutes."""


@dataclass(frozen=True)
class Part:
    """One thing at AWS: `state` is "" where it is not there; `command` removes it by hand."""

    name: str
    state: Callable[[], str]
    remove: Callable[[], Any]
    command: str


@dataclass(frozen=True)
class Parts:
    """All parts of one deployment."""

    weights: Part
    model: Part
    configuration: Part
    endpoint: Part
    scaling: Part

    def last_first(self) -> list[Part]:
        """In the order in which they are removed."""
        return [self.scaling, self.endpoint, self.configuration, self.model, self.weights]


def scaled(name: str) -> dict[str, str]:
    """How autoscaling calls the machines of the endpoint `name`."""
    return {
        "ServiceNamespace": "sagemaker",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        "ResourceId": f"endpoint/{name}/variant/{VARIANT}",
    }


def parts_of(name: str, bucket: str, prefix: str, *, host: Any, s3: Any, scaling: Any) -> Parts:
    """The parts of the deployment `name` as boto3's three clients see them; `prefix` is what is its in the bucket."""
    region = f"--region {host.meta.region_name}"
    target = scaled(name)
    return Parts(
        weights=Part(
            f"s3://{bucket}/{prefix}",
            lambda: _state(lambda: "there" if _keys(s3, bucket, prefix) else ""),
            lambda: [s3.delete_object(Bucket=bucket, Key=key) for key in _keys(s3, bucket, prefix)],
            f"aws s3 rm --recursive s3://{bucket}/{prefix} {region}",
        ),
        model=Part(
            f"model {name}",
            lambda: _state(lambda: host.describe_model(ModelName=name) and "there"),
            lambda: host.delete_model(ModelName=name),
            f"aws sagemaker delete-model --model-name {name} {region}",
        ),
        configuration=Part(
            f"endpoint configuration {name}",
            lambda: _state(lambda: host.describe_endpoint_config(EndpointConfigName=name) and "there"),
            lambda: host.delete_endpoint_config(EndpointConfigName=name),
            f"aws sagemaker delete-endpoint-config --endpoint-config-name {name} {region}",
        ),
        endpoint=Part(
            f"endpoint {name}",
            lambda: _state(lambda: host.describe_endpoint(EndpointName=name)["EndpointStatus"]),
            lambda: host.delete_endpoint(EndpointName=name),
            f"aws sagemaker delete-endpoint --endpoint-name {name} {region}",
        ),
        scaling=Part(
            f"autoscaling of {name}",
            lambda: _state(lambda: "there" if _targets(scaling, target) else ""),
            lambda: scaling.deregister_scalable_target(**target),
            "aws application-autoscaling deregister-scalable-target --service-namespace sagemaker"
            f" --scalable-dimension {target['ScalableDimension']} --resource-id {target['ResourceId']} {region}",
        ),
    )


def clear(parts: Sequence[Part], sleep: Callable[[float], None], looks: int = 1) -> dict[Part, str]:
    """Remove `parts` in this order and look whether they are gone; what is left, and what is known of it.

    Nothing is left when nothing was there `looks` times: a call whose answer was lost may still take effect. What is
    on its way, and what was removed and is there still, is waited for.
    """
    left = dict.fromkeys(parts, "")
    for _ in range(_ROUNDS):
        problems = {part: _problem(part.remove) for part, state in left.items() if state != "Deleting"}
        left = {part: state for part in parts if (state := looked_for(part))}
        looks -= not left
        changing = any(state.endswith("ing") or not problems.get(part) for part, state in left.items())
        if looks <= 0 or (left and not changing):
            break
        sleep(_PAUSE)
    return {part: ": ".join(filter(None, (state, problems.get(part)))) for part, state in left.items()}


def looked_for(part: Part) -> str:
    """Its state, "" where it is not there; where AWS does not say, why."""
    try:
        return part.state()
    except AWS_ERRORS as error:
        return f"could not be looked for, {error}"


def by_hand(left: Iterable[Part]) -> str:
    """The commands that remove what is left."""
    return "; ".join(part.command for part in left)


def is_absent(error: ClientError) -> bool:
    """Whether this answer to a description says that the thing is not there."""
    return error.response["Error"]["Code"] in _ABSENT


def _state(described: Callable[[], str]) -> str:
    try:
        return described()
    except ClientError as error:
        if is_absent(error):
            return ""
        raise


def _problem(remove: Callable[[], Any]) -> str:
    try:
        remove()
    except AWS_ERRORS as error:
        return str(error)
    return ""


def _keys(s3: Any, bucket: str, prefix: str) -> list[str]:
    if not bucket:
        return []
    pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    return [row["Key"] for page in pages for row in page.get("Contents", [])]


def _targets(scaling: Any, target: dict[str, str]) -> list[Any]:
    found = scaling.describe_scalable_targets(
        ServiceNamespace=target["ServiceNamespace"],
        ScalableDimension=target["ScalableDimension"],
        ResourceIds=[target["ResourceId"]],
    )
    return list(found["ScalableTargets"])
