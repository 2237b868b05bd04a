"""Hosting against moto's server, which answers as SageMaker, S3 and autoscaling do: made, told, removed, undone."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError

from llm_twin.adapters.host_sagemaker import SageMaker
from llm_twin.errors import InputError, TwinError
from llm_twin.types import HostingPlan

pytestmark = pytest.mark.slow
ROLE = "arn:aws:iam::123456789012:role/twin"
BUCKET = "twins"


@pytest.fixture
def aws(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """An account of its own, with a bucket."""
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    for name, value in {
        "AWS_ENDPOINT_URL": f"http://{host}:{port}",
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    boto3.client("s3").create_bucket(Bucket=BUCKET)
    yield
    httpx.post(f"http://{host}:{port}/moto-api/reset")  # the account outlives the server
    server.stop()


@pytest.fixture
def plan(tmp_path: Path) -> HostingPlan:
    (tmp_path / "model.safetensors").write_bytes(os.urandom(1000))
    (tmp_path / "config.json").write_text("{}")
    return HostingPlan(
        name="a-twin", model=tmp_path, image="123.dkr.ecr.us-east-1.amazonaws.com/lmi:1", role=ROLE,
        bucket=BUCKET, instance_type="ml.g4dn.xlarge", instances=1, most_instances=3,
        environment={"TENSOR_PARALLEL_DEGREE": "max"},
    )  # fmt: skip


def everything() -> dict[str, list[Any]]:
    host, scaling = boto3.client("sagemaker"), boto3.client("application-autoscaling")
    objects = boto3.client("s3").list_objects_v2(Bucket=BUCKET).get("Contents", [])
    return {
        "objects": [row["Key"] for row in objects],
        "models": [row["ModelName"] for row in host.list_models()["Models"]],
        "configurations": [
            row["EndpointConfigName"] for row in host.list_endpoint_configs()["EndpointConfigs"]
        ],
        "endpoints": [row["EndpointName"] for row in host.list_endpoints()["Endpoints"]],
        "targets": [
            (row["MinCapacity"], row["MaxCapacity"])
            for row in scaling.describe_scalable_targets(ServiceNamespace="sagemaker")["ScalableTargets"]
        ],
    }


NOTHING: dict[str, list[Any]] = {
    what: [] for what in ("objects", "models", "configurations", "endpoints", "targets")
}


def test_a_deployment_is_made_told_and_removed_whole(aws: None, plan: HostingPlan) -> None:
    host, told = SageMaker(), list[str]()
    assert host.status("a-twin") is None
    hosted = host.deploy(plan, lambda done, total, note="": told.append(note))
    assert hosted == host.status("a-twin")
    assert (hosted.state, hosted.name) == ("InService", "a-twin")
    assert told[0] == "upload" and told[-1] == "ready"
    assert everything() == {
        "objects": ["llm-twin/a-twin/model.tar.gz"],
        "models": ["a-twin"],
        "configurations": ["a-twin"],
        "endpoints": ["a-twin"],
        "targets": [(1, 3)],
    }
    made = boto3.client("sagemaker").describe_model(ModelName="a-twin")["PrimaryContainer"]
    assert made["ModelDataUrl"] == f"s3://{BUCKET}/llm-twin/a-twin/model.tar.gz"
    assert made["Environment"] == plan.environment
    with pytest.raises(InputError, match="there is an endpoint a-twin"):
        host.deploy(plan)
    boto3.client("s3").put_object(Bucket=BUCKET, Key="llm-twin/a-twin/answers/1.out", Body=b"Salt.")
    removed = host.delete("a-twin", BUCKET)
    assert everything() == NOTHING
    assert {"endpoint", "endpoint configuration", "model", "autoscaling"} <= set(removed)
    host.delete("a-twin", BUCKET)


@pytest.mark.parametrize(
    ("client", "call"),
    [
        ("_host", "create_model"),
        ("_host", "create_endpoint_config"),
        ("_host", "create_endpoint"),
        ("_scaling", "put_scaling_policy"),
    ],
)
def test_where_a_step_fails_nothing_is_left(
    aws: None, plan: HostingPlan, client: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SageMaker()

    def refuse(**arguments: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, call)

    monkeypatch.setattr(getattr(host, client), call, refuse)
    with pytest.raises(TwinError, match=r"not for you.*all that was made is removed"):
        host.deploy(plan)
    assert everything() == NOTHING


def test_an_endpoint_that_fails_to_start_is_removed(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SageMaker()
    describe = host._host.describe_endpoint

    def failed(**arguments: Any) -> Any:
        return {**describe(**arguments), "EndpointStatus": "Failed", "FailureReason": "no machine left"}

    monkeypatch.setattr(host._host, "describe_endpoint", failed)
    with pytest.raises(TwinError, match="no machine left"):
        host.deploy(plan)
    monkeypatch.undo()


def test_what_cannot_be_removed_is_named(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SageMaker()

    def refuse(**arguments: Any) -> None:
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "call")

    monkeypatch.setattr(host._host, "create_endpoint", refuse)
    monkeypatch.setattr(host._host, "delete_model", refuse)
    with pytest.raises(TwinError, match="could not be removed: model"):
        host.deploy(plan)


def test_what_an_interrupted_deployment_leaves_is_named(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = SageMaker()

    def refuse(**arguments: Any) -> None:
        raise ClientError({"Error": {"Code": "ValidationException", "Message": "in progress"}}, "call")

    def interrupt(name: str, minutes: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(host, "_wait", interrupt)
    with pytest.raises(KeyboardInterrupt):
        host.deploy(plan)
    assert everything() == NOTHING
    monkeypatch.setattr(host._host, "delete_endpoint", refuse)
    with pytest.raises(TwinError, match="stopped; could not be removed: endpoint") as told:
        host.deploy(plan)
    assert "twin deploy delete" in told.value.way_out


def test_an_asynchronous_endpoint_keeps_its_answers_in_the_bucket(aws: None, plan: HostingPlan) -> None:
    SageMaker().deploy(plan.model_copy(update={"asynchronous": True, "most_instances": 1}))
    found = boto3.client("sagemaker").describe_endpoint_config(EndpointConfigName="a-twin")
    kept = found["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"]
    assert kept == f"s3://{BUCKET}/llm-twin/a-twin/answers/"
    assert everything()["targets"] == []
