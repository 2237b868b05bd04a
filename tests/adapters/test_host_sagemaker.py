"""Hosting against moto's server, which answers as SageMaker, S3 and autoscaling do: made, told, removed, undone."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import boto3
import httpx
import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

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


def hosting(sleep: Callable[[float], None] = lambda seconds: None) -> SageMaker:
    """It does not wait between two looks."""
    return SageMaker(sleep=sleep)


def refuse(**arguments: Any) -> None:
    raise ClientError({"Error": {"Code": "AccessDenied", "Message": "not for you"}}, "call")


def lost() -> None:
    """The answer of a call does not come."""
    raise ReadTimeoutError(endpoint_url="https://sagemaker")


def interrupt(*given: Any, **more: Any) -> None:
    raise KeyboardInterrupt


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
    host, told = hosting(), list[str]()
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
    with pytest.raises(InputError, match="already the endpoint a-twin"):
        host.deploy(plan)
    boto3.client("s3").put_object(Bucket=BUCKET, Key="llm-twin/a-twin/answers/1.out", Body=b"Salt.")
    removed = host.delete("a-twin", BUCKET)
    assert everything() == NOTHING
    assert removed == [
        "autoscaling of a-twin",
        "endpoint a-twin",
        "endpoint configuration a-twin",
        "model a-twin",
        f"s3://{BUCKET}/llm-twin/a-twin/",
    ]
    assert host.delete("a-twin", BUCKET) == [] and host.delete("a-twin", "") == []


CALLS = [
    ("_s3", "upload_file"),
    ("_host", "create_model"),
    ("_host", "create_endpoint_config"),
    ("_host", "create_endpoint"),
    ("_scaling", "register_scalable_target"),
    ("_scaling", "put_scaling_policy"),
]


@pytest.mark.parametrize(("client", "call"), CALLS[1:])
def test_where_a_step_is_refused_nothing_is_left(
    aws: None, plan: HostingPlan, client: str, call: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()
    monkeypatch.setattr(getattr(host, client), call, refuse)
    with pytest.raises(TwinError, match=r"not for you.*all that was made is removed"):
        host.deploy(plan)
    assert everything() == NOTHING


@pytest.mark.parametrize("ends", [lost, interrupt])
@pytest.mark.parametrize(("client", "call"), CALLS)
def test_what_was_made_by_a_call_without_an_answer_is_removed(
    aws: None,
    plan: HostingPlan,
    client: str,
    call: str,
    ends: Callable[[], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    host = hosting()
    real, made = getattr(getattr(host, client), call), []

    def made_all_the_same(*given: Any, **more: Any) -> None:
        real(*given, **more)
        made.append(everything())
        ends()

    monkeypatch.setattr(getattr(host, client), call, made_all_the_same)
    said = "stopped; all that was made" if ends is interrupt else r"timeout.*all that was made"
    with pytest.raises(TwinError, match=said):
        host.deploy(plan)
    assert made != [NOTHING] and everything() == NOTHING


def test_what_is_made_after_its_answer_was_lost_is_removed_too(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    late: list[Callable[[], None]] = []
    host = hosting(lambda seconds: late.pop()() if late else None)
    real = host._host.create_model

    def slow(**given: Any) -> None:
        late.append(lambda: real(**given))
        lost()

    monkeypatch.setattr(host._host, "create_model", slow)
    with pytest.raises(TwinError, match="all that was made is removed"):
        host.deploy(plan)
    assert late == [] and everything() == NOTHING


def test_what_somebody_else_made_is_not_removed(aws: None, plan: HostingPlan) -> None:
    container = {"Image": plan.image}
    boto3.client("sagemaker").create_model(
        ModelName="a-twin", ExecutionRoleArn=ROLE, PrimaryContainer=container
    )
    with pytest.raises(InputError, match="already the model a-twin") as told:
        hosting().deploy(plan)
    assert told.value.way_out == "twin deploy delete --name a-twin"
    assert everything() == {**NOTHING, "models": ["a-twin"]}


def test_an_endpoint_that_fails_to_start_is_removed(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()
    describe = host._host.describe_endpoint

    def failed(**arguments: Any) -> Any:
        return {**describe(**arguments), "EndpointStatus": "Failed", "FailureReason": "no machine left"}

    monkeypatch.setattr(host._host, "describe_endpoint", failed)
    with pytest.raises(TwinError, match=r"no machine left; all that was made is removed"):
        host.deploy(plan)
    assert everything() == NOTHING


def test_an_endpoint_that_is_gone_before_it_answers_is_no_success(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()
    monkeypatch.setattr(host._host, "create_endpoint", lambda **given: None)
    with pytest.raises(TwinError, match=r"is gone.*all that was made is removed"):
        host.deploy(plan)


def test_weights_that_cannot_be_uploaded_are_told(aws: None, plan: HostingPlan) -> None:
    with pytest.raises(TwinError, match=r"SageMaker: Failed to upload.*all that was made is removed"):
        hosting().deploy(plan.model_copy(update={"bucket": "no-such-bucket"}))


def test_what_cannot_be_removed_is_named_with_the_command_that_does(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()

    def not_found(**arguments: Any) -> None:  # words that must not be taken for "it is not there"
        raise ClientError({"Error": {"Code": "AccessDenied", "Message": "role not found"}}, "DeleteModel")

    monkeypatch.setattr(host._host, "create_endpoint", refuse)
    monkeypatch.setattr(host._host, "delete_model", not_found)
    with pytest.raises(TwinError, match=r"still there: model a-twin \(there: .*role not found\)") as told:
        host.deploy(plan)
    assert "twin deploy delete --name a-twin" in told.value.way_out
    assert "aws sagemaker delete-model --model-name a-twin --region us-east-1" in told.value.way_out
    assert everything() == {**NOTHING, "models": ["a-twin"]}


def test_a_removal_that_removes_nothing_is_noticed(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    waited: list[float] = []
    host = hosting(waited.append)
    monkeypatch.setattr(host, "_waited", interrupt)
    monkeypatch.setattr(host._host, "delete_endpoint", lambda **given: None)
    with pytest.raises(TwinError, match=r"stopped; still there: endpoint a-twin \(InService\)") as told:
        host.deploy(plan)
    assert sum(waited) > 60 and "aws sagemaker delete-endpoint --endpoint-name a-twin" in told.value.way_out


def test_who_interrupts_the_removal_is_told_what_may_be_left(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()
    monkeypatch.setattr(host, "_waited", interrupt)
    monkeypatch.setattr(host._host, "delete_endpoint", interrupt)
    with pytest.raises(TwinError, match=r"endpoint a-twin \(stopped.*model a-twin \(stopped") as told:
        host.deploy(plan)
    assert "aws sagemaker delete-endpoint --endpoint-name a-twin" in told.value.way_out


def test_a_deletion_that_loses_its_connection_names_what_is_left(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()
    host.deploy(plan)
    monkeypatch.setattr(host._host, "delete_endpoint", lambda **given: lost())
    with pytest.raises(TwinError, match=r"still there: endpoint a-twin \(InService: .*timeout"):
        host.delete("a-twin", BUCKET)
    assert everything() == {**NOTHING, "endpoints": ["a-twin"]}
    monkeypatch.setattr(host._host, "describe_endpoint", lambda **given: lost())
    with pytest.raises(InputError, match="timeout"):
        host.delete("a-twin", BUCKET)
    monkeypatch.undo()


def test_a_part_that_may_not_be_looked_for_is_not_called_gone(
    aws: None, plan: HostingPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    host = hosting()
    host.deploy(plan)
    monkeypatch.setattr(host._host, "describe_model", refuse)
    with pytest.raises(
        TwinError, match=r"still there: model a-twin \(could not be looked for, .*not for you"
    ):
        host.delete("a-twin", BUCKET)
    assert everything() == NOTHING


def test_an_asynchronous_endpoint_keeps_its_answers_in_the_bucket(aws: None, plan: HostingPlan) -> None:
    hosting().deploy(plan.model_copy(update={"asynchronous": True, "most_instances": 1}))
    found = boto3.client("sagemaker").describe_endpoint_config(EndpointConfigName="a-twin")
    kept = found["AsyncInferenceConfig"]["OutputConfig"]["S3OutputPath"]
    assert kept == f"s3://{BUCKET}/llm-twin/a-twin/answers/"
    assert everything()["targets"] == []


@pytest.mark.parametrize("asynchronous", [False, True])
def test_machines_follow_the_calls_or_the_requests_that_wait(
    aws: None, plan: HostingPlan, asynchronous: bool
) -> None:
    hosting().deploy(plan.model_copy(update={"asynchronous": asynchronous}))
    scaling = boto3.client("application-autoscaling")
    (row,) = scaling.describe_scaling_policies(ServiceNamespace="sagemaker")["ScalingPolicies"]
    policy = row["TargetTrackingScalingPolicyConfiguration"]
    if asynchronous:
        measured = policy["CustomizedMetricSpecification"]
        assert (measured["Namespace"], measured["Statistic"]) == ("AWS/SageMaker", "Average")
        assert measured["MetricName"] == "ApproximateBacklogSizePerInstance"
        assert measured["Dimensions"] == [{"Name": "EndpointName", "Value": "a-twin"}]
        assert "PredefinedMetricSpecification" not in policy
    else:
        measured = policy["PredefinedMetricSpecification"]
        assert measured["PredefinedMetricType"] == "SageMakerVariantInvocationsPerInstance"
    assert everything()["targets"] == [(1, 3)], "never without a machine: the backlog of none has no value"
