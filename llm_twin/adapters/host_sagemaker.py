"""Hosting on Amazon SageMaker: model, endpoint configuration, endpoint and autoscaling, by boto3.

What a deployment makes is undone in reverse order when a later step fails, so that nothing is left that costs money;
what cannot be undone is named. Needs the extra `aws`. Credentials and region are boto3's own affair. Not covered:
private networks, encryption keys of your own, several models behind one endpoint.
"""

import re
import tarfile
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import boto3
from botocore.exceptions import BotoCoreError, ClientError

from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Progress, silent
from llm_twin.types import Hosted, HostingPlan

VARIANT = "twin"
_STEPS = ("upload", "model", "endpoint configuration", "endpoint", "wait", "autoscaling")
_READY, _FAILED = "InService", ("Failed", "OutOfService")
_TARGET = "sagemaker:variant:DesiredInstanceCount"
_MISSING = re.compile(r"\b(could not find|no scalable target found|not found)\b", re.I)
_NAMESPACE = "sagemaker"
_CALLS_A_MINUTE = 30.0
"""Calls of one machine a minute from which another is started."""


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

        On failure all that was made is removed again.
        """
        if self.status(plan.name) is not None:
            raise InputError(f"there is an endpoint {plan.name}", f"twin deploy delete {plan.name}")
        undo: list[tuple[str, Callable[[], Any]]] = []
        steps: tuple[Callable[[], None], ...] = (
            lambda: self._upload(plan, undo),
            lambda: self._model(plan, undo),
            lambda: self._configuration(plan, undo),
            lambda: self._endpoint(plan, undo),
            lambda: self._wait(plan.name, minutes),
            lambda: self._scale(plan, undo),
        )
        try:
            for number, (name, step) in enumerate(zip(_STEPS, steps, strict=True)):
                progress(number, len(steps), name)
                step()
        except BaseException as error:
            left = _undone(undo)
            foreseen = isinstance(error, ClientError | BotoCoreError | TwinError)
            if not foreseen and not left:
                raise
            what = error if foreseen else "stopped"
            told = f"; could not be removed: {', '.join(left)}" if left else "; all that was made is removed"
            way_out = (
                "remove it once it is made: twin deploy delete" if left else "put it right and deploy again"
            )
            raise TwinError(f"SageMaker: {what}{told}", way_out) from error
        progress(len(steps), len(steps), "ready")
        return self.status(plan.name) or Hosted(name=plan.name, state="gone", instances=0)

    def status(self, name: str) -> Hosted | None:
        """What stands behind `name`; None where there is no such endpoint."""
        try:
            found = self._host.describe_endpoint(EndpointName=name)
        except ClientError as error:
            if _is_missing(error):
                return None
            raise TwinError(f"SageMaker: {error}", "check the account's rights") from error
        except BotoCoreError as error:
            raise InputError(f"AWS: {error}", "set up credentials and a region for boto3") from error
        variants = found.get("ProductionVariants") or [{}]
        return Hosted(
            name=name,
            state=found["EndpointStatus"],
            instances=variants[0].get("CurrentInstanceCount", 0),
            problem=found.get("FailureReason", ""),
        )

    def delete(self, name: str, bucket: str) -> list[str]:
        """Remove all that a deployment of `name` made; what was removed. Raises TwinError when something stays."""
        removed, left = [], []
        for what, remove in self._removals(name, bucket):
            try:
                remove()
                removed.append(what)
            except ClientError as error:
                if not _is_missing(error):
                    left.append(f"{what} ({error})")
        if left:
            raise TwinError(f"SageMaker: could not be removed: {'; '.join(left)}", "remove it in the console")
        return removed

    def _removals(self, name: str, bucket: str) -> list[tuple[str, Callable[[], Any]]]:
        """In reverse order of their making."""
        target = {"ServiceNamespace": _NAMESPACE, "ScalableDimension": _TARGET, "ResourceId": _resource(name)}
        return [
            ("autoscaling", lambda: self._scaling.deregister_scalable_target(**target)),
            ("endpoint", lambda: self._host.delete_endpoint(EndpointName=name)),
            ("endpoint configuration", lambda: self._host.delete_endpoint_config(EndpointConfigName=name)),
            ("model", lambda: self._host.delete_model(ModelName=name)),
            ("weights and answers in the bucket", lambda: self._clear(bucket, name)),
        ]

    def _clear(self, bucket: str, name: str) -> None:
        """Remove all that lies in the bucket under `name`: weights, and what was asked and answered through S3."""
        pages = self._s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=f"llm-twin/{name}/")
        for page in pages:
            for row in page.get("Contents", []):
                self._s3.delete_object(Bucket=bucket, Key=row["Key"])

    def _upload(self, plan: HostingPlan, undo: list[tuple[str, Callable[[], Any]]]) -> None:
        with tempfile.TemporaryDirectory() as folder:
            packed = Path(folder) / "model.tar.gz"
            with tarfile.open(packed, "w:gz", compresslevel=1) as archive:
                for path in sorted(plan.model.iterdir()):
                    archive.add(path, path.name)
            undo.append(
                ("uploaded weights", lambda: self._s3.delete_object(Bucket=plan.bucket, Key=_key(plan.name)))
            )
            self._s3.upload_file(str(packed), plan.bucket, _key(plan.name))

    def _model(self, plan: HostingPlan, undo: list[tuple[str, Callable[[], Any]]]) -> None:
        container = {
            "Image": plan.image,
            "ModelDataUrl": f"s3://{plan.bucket}/{_key(plan.name)}",
            "Environment": plan.environment,
        }
        self._host.create_model(ModelName=plan.name, ExecutionRoleArn=plan.role, PrimaryContainer=container)
        undo.append(("model", lambda: self._host.delete_model(ModelName=plan.name)))

    def _configuration(self, plan: HostingPlan, undo: list[tuple[str, Callable[[], Any]]]) -> None:
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
        undo.append(
            (
                "endpoint configuration",
                lambda: self._host.delete_endpoint_config(EndpointConfigName=plan.name),
            )
        )

    def _endpoint(self, plan: HostingPlan, undo: list[tuple[str, Callable[[], Any]]]) -> None:
        self._host.create_endpoint(EndpointName=plan.name, EndpointConfigName=plan.name)
        undo.append(("endpoint", lambda: self._host.delete_endpoint(EndpointName=plan.name)))

    def _wait(self, name: str, minutes: float) -> None:
        end = time.monotonic() + 60 * minutes
        while (found := self.status(name)) is not None and found.state != _READY:
            if found.state in _FAILED:
                raise TwinError(f"the endpoint {name} is {found.state}: {found.problem}")
            if time.monotonic() > end:
                raise TwinError(f"the endpoint {name} is still {found.state} after {minutes:g} minutes")
            self._sleep(10.0)

    def _scale(self, plan: HostingPlan, undo: list[tuple[str, Callable[[], Any]]]) -> None:
        if plan.most_instances == plan.instances:
            return
        target = {
            "ServiceNamespace": _NAMESPACE,
            "ScalableDimension": _TARGET,
            "ResourceId": _resource(plan.name),
        }
        self._scaling.register_scalable_target(
            **target, MinCapacity=plan.instances, MaxCapacity=plan.most_instances
        )
        undo.append(("autoscaling", lambda: self._scaling.deregister_scalable_target(**target)))
        measure = {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"}
        policy = {"TargetValue": _CALLS_A_MINUTE, "PredefinedMetricSpecification": measure}
        self._scaling.put_scaling_policy(
            **target,
            PolicyName=f"{plan.name}-calls",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration=policy,
        )


def _undone(undo: list[tuple[str, Callable[[], Any]]]) -> list[str]:
    """Undo in reverse order; what could not be."""
    left: list[str] = []
    with ExitStack() as stack:
        for what, remove in undo:
            stack.callback(_tried, what, remove, left)
    return left


def _tried(what: str, remove: Callable[[], Any], left: list[str]) -> None:
    try:
        remove()
    except (ClientError, BotoCoreError) as error:
        if not (isinstance(error, ClientError) and _is_missing(error)):
            left.append(what)


def _is_missing(error: ClientError) -> bool:
    code, said = error.response["Error"]["Code"], error.response["Error"].get("Message", "")
    return code in ("ObjectNotFoundException", "NoSuchKey", "ResourceNotFound") or bool(_MISSING.search(said))


def _key(name: str) -> str:
    return f"llm-twin/{name}/model.tar.gz"


def _resource(name: str) -> str:
    return f"endpoint/{name}/variant/{VARIANT}"
