"""Hosting on Amazon SageMaker: model, endpoint configuration, endpoint and autoscaling, by boto3.

What a deployment makes is removed when a later step fails and on Ctrl-C, so that nothing is left that costs money: each
part is noted before it is made, and looked for after it was removed. What is left is named, with the command that
removes it. Needs the extra `aws`. Credentials and region are boto3's own affair. Not covered: a process that is killed
(`twin deploy delete` removes what it left); private networks, encryption keys of your own, several models behind one
endpoint, and endpoints without a machine.
"""

import tarfile
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from llm_twin.adapters.sagemaker_parts import (
    AWS_ERRORS,
    VARIANT,
    Part,
    Parts,
    by_hand,
    clear,
    is_absent,
    looked_for,
    parts_of,
    scaled,
)
from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress, silent
from llm_twin.types import Hosted, HostingPlan

_STEPS = 6
_READY, _FAILED = "InService", ("Failed", "OutOfService")
_CALLS_A_MINUTE = 30.0
"""Calls of one machine a minute from which another is started."""
_WAITING = 5.0
"""Requests in S3 for each machine from which another is started."""
_LOOKS = 2
"""How often a part must not be there after a call whose answer was lost, five seconds apart."""


class SageMaker:
    """The endpoints of an AWS account in `region` ("" is boto3's own choice)."""

    def __init__(self, region: str = "", sleep: Callable[[float], None] = time.sleep) -> None:
        try:
            session = boto3.session.Session(region_name=region or None)
            self._host, self._s3 = session.client("sagemaker"), session.client("s3")
            self._scaling = session.client("application-autoscaling")
        except BotoCoreError as error:
            raise InputError(f"AWS: {error}", "set sagemaker.region, or AWS_REGION") from error
        self._sleep = sleep

    def deploy(self, plan: HostingPlan, progress: Progress = silent, minutes: float = 30.0) -> Hosted:
        """Carry `plan` out and wait until the endpoint answers; InputError for a name that is taken.

        On failure and on Ctrl-C all that was made is removed again; TwinError says so, or names what is left.
        """
        parts = self._parts(plan.name, plan.bucket, _key(plan.name))
        self._check_free(plan.name, parts)
        making = (
            ("upload", parts.weights, self._upload),
            ("model", parts.model, self._model),
            ("endpoint configuration", parts.configuration, self._configuration),
            ("endpoint", parts.endpoint, self._endpoint),
        )
        with self._removing_on_failure(plan.name, progress) as begun:
            for number, (what, part, make) in enumerate(making):
                progress(number, _STEPS, what)
                begun.insert(0, part)  # noted first: a call may make it and its answer be lost
                make(plan)
            progress(_STEPS - 2, _STEPS, "wait")
            hosted = self._waited(plan.name, minutes)
            progress(_STEPS - 1, _STEPS, "autoscaling")
            begun.insert(0, parts.scaling)
            self._scale(plan)
            progress(_STEPS, _STEPS, "ready")
        return hosted

    def status(self, name: str) -> Hosted | None:
        """What stands behind `name`; None where there is no such endpoint."""
        with _explained():
            try:
                found = self._host.describe_endpoint(EndpointName=name)
            except ClientError as error:
                if is_absent(error):
                    return None
                raise
        variants = found.get("ProductionVariants") or [{}]
        return Hosted(
            name=name,
            state=found["EndpointStatus"],
            instances=variants[0].get("CurrentInstanceCount", 0),
            problem=found.get("FailureReason", ""),
        )

    def delete(self, name: str, bucket: str) -> list[str]:
        """Remove all that a deployment of `name` made; what was removed. TwinError names what is left, and why."""
        self.status(name)  # where AWS is not reached at all, nothing is begun
        parts = self._parts(name, bucket, f"llm-twin/{name}/").last_first()
        there = [part for part in parts if looked_for(part)]
        if left := clear(there, self._sleep):
            raise TwinError(f"SageMaker: {_told(left)}", _way_out(name, left))
        return [part.name for part in there]

    @contextmanager
    def _removing_on_failure(self, name: str, progress: Progress) -> Iterator[list[Part]]:
        """Yields a list for the parts that are begun, the last first."""
        begun: list[Part] = []
        try:
            yield begun
        except BaseException as error:
            foreseen = isinstance(error, (*AWS_ERRORS, TwinError, KeyboardInterrupt))
            left = self._left(begun, error, progress)
            if not foreseen and not left:
                raise
            what = error if foreseen and str(error) else "stopped"
            said = _told(left) if left else "all that was made is removed"
            way_out = _way_out(name, left) if left else "put it right and deploy again"
            raise TwinError(f"SageMaker: {what}; {said}", way_out) from error

    def _left(self, begun: list[Part], error: BaseException, progress: Progress) -> Mapping[Part, str]:
        """What is left of `begun` after it was removed; all of it when that is interrupted."""
        answered = isinstance(error, ClientError | TwinError)
        try:
            progress(0, _STEPS, "removing what was made")
            return clear(begun, self._sleep, 1 if answered else _LOOKS)
        except KeyboardInterrupt:
            return dict.fromkeys(begun, "stopped while it was removed")

    def _parts(self, name: str, bucket: str, prefix: str) -> Parts:
        return parts_of(name, bucket, prefix, host=self._host, s3=self._s3, scaling=self._scaling)

    def _check_free(self, name: str, parts: Parts) -> None:
        """What is there already is not ours to remove when a step fails."""
        with _explained():
            for part in (parts.endpoint, parts.configuration, parts.model):
                if part.state():
                    raise InputError(f"there is already the {part.name}", f"twin deploy delete --name {name}")

    def _upload(self, plan: HostingPlan) -> None:
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder) / "model.tar.gz"
            with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
                for path in sorted(plan.model.iterdir()):
                    archive.add(path, path.name)
            self._s3.upload_file(str(packed), plan.bucket, _key(plan.name))

    def _model(self, plan: HostingPlan) -> None:
        container = {
            "Image": plan.image,
            "ModelDataUrl": f"s3://{plan.bucket}/{_key(plan.name)}",
            "Environment": plan.environment,
        }
        self._host.create_model(ModelName=plan.name, ExecutionRoleArn=plan.role, PrimaryContainer=container)

    def _configuration(self, plan: HostingPlan) -> None:
        variant = {
            "VariantName": VARIANT,
            "ModelName": plan.name,
            "InstanceType": plan.instance_type,
            "InitialInstanceCount": plan.instances,
            "InitialVariantWeight": 1.0,
        }
        kept = {"OutputConfig": {"S3OutputPath": f"s3://{plan.bucket}/llm-twin/{plan.name}/answers/"}}
        later = {"AsyncInferenceConfig": kept} if plan.asynchronous else {}
        self._host.create_endpoint_config(EndpointConfigName=plan.name, ProductionVariants=[variant], **later)

    def _endpoint(self, plan: HostingPlan) -> None:
        self._host.create_endpoint(EndpointName=plan.name, EndpointConfigName=plan.name)

    def _waited(self, name: str, minutes: float) -> Hosted:
        end = time.monotonic() + 60 * minutes
        while (found := self.status(name)) is None or found.state != _READY:
            if found is None:
                raise TwinError(f"the endpoint {name} is gone: somebody removed it meanwhile")
            if found.state in _FAILED:
                raise TwinError(f"the endpoint {name} is {found.state}: {found.problem}")
            if time.monotonic() > end:
                raise TwinError(f"the endpoint {name} is still {found.state} after {minutes:g} minutes")
            self._sleep(10.0)
        return found

    def _scale(self, plan: HostingPlan) -> None:
        if plan.most_instances == plan.instances:
            return
        target = scaled(plan.name)
        self._scaling.register_scalable_target(
            **target, MinCapacity=plan.instances, MaxCapacity=plan.most_instances
        )
        self._scaling.put_scaling_policy(
            **target,
            PolicyName=f"{plan.name}-calls",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=_policy(plan),
        )


def _policy(plan: HostingPlan) -> dict[str, Any]:
    """When to start another machine. Requests that wait in S3 call nothing: their number counts.

    AWS's guide to asynchronous endpoints has this metric. Without a machine it has no value, and what scales from
    none needs a policy more; here at least `plan.instances` run, which are one or more.
    """
    if not plan.asynchronous:
        measure = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        return {"TargetValue": _CALLS_A_MINUTE, "PredefinedMetricSpecification": measure}
    waiting = {
        "MetricName": "ApproximateBacklogSizePerInstance",
        "Namespace": "AWS/SageMaker",
        "Dimensions": [{"Name": "EndpointName", "Value": plan.name}],
        "Statistic": "Average",
    }
    return {"TargetValue": _WAITING, "CustomizedMetricSpecification": waiting}


def _told(left: Mapping[Part, str]) -> str:
    return "still there: " + "; ".join(f"{part.name} ({known})" for part, known in left.items())


def _way_out(name: str, left: Mapping[Part, str]) -> str:
    return f"it may cost money until it is gone: twin deploy delete --name {name}, or {by_hand(left)}"


@contextmanager
def _explained() -> Iterator[None]:
    try:
        yield
    except ClientError as error:
        raise TwinError(f"SageMaker: {error}", "check the account's rights") from error
    except BotoCoreError as error:
        raise InputError(f"AWS: {error}", "set up credentials and a region for boto3") from error


def _key(name: str) -> str:
    return f"llm-twin/{name}/model.tar.gz"
