"""Every setting, typed, with its default: built once at a front door from twin.toml and the environment.

Later wins: the defaults below, `HOME/twin.toml`, `HOME/.env`, environment variables (`TWIN_ASK__MODE=quote`
sets `mode` of `[ask]`). An unknown key is an error that names the nearest known one.
"""

import difflib
import tomllib
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from llm_twin.errors import InputError
from llm_twin.types import GateRule, PrivacyPlan, Recipe, Sampling

CONFIG = "twin.toml"


SECTIONS = (
    "opinions",
    "validation",
    "search",
    "general",
    "forgetting",
    "knowledge",
    "answers",
    "privacy",
)
"""The parts of an evaluation beside the headline, see sections.py; `[evaluate] sections` may leave some out."""


class Section(BaseModel):
    """A table of twin.toml."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class SourceSettings(Section):
    """Something to collect: a file, folder, feed, page or repository, and whose it is."""

    location: str
    author: str | None = None


class ModelSettings(Section):
    """Which models; names are those of `twin models`, a Hub id, a folder or a GGUF file."""

    chat: str = "qwen2.5-coder-0.5b"
    embedder: str = "all-minilm-l6-v2"
    source: Literal["auto", "hub", "pypi"] = "auto"
    cache: Path = Path("~/.cache/llm-twin/models")


class AdapterSettings(Section):
    """Which implementation stands behind each port: a name of wiring.py, or "package.module:function"."""

    documents: str = "sqlite"
    vectors: str = "qdrant-edge"
    embedder: str = "openvino"
    chat: str = "openvino"
    fetcher: str = "httpx"
    tracker: str = "files"
    queue: str = "huey"


class EndpointSettings(Section):
    """An OpenAI-compatible server. The key comes from TWIN_ENDPOINT__API_KEY; context 0 asks the server."""

    url: str = "http://127.0.0.1:8000/v1"
    model: str = ""
    api_key: SecretStr = SecretStr("")
    context: int = Field(0, ge=0)
    concurrency: int = Field(8, ge=1, le=256)
    timeout_seconds: float = Field(300.0, gt=0)


class EngineSettings(Section):
    """An engine on a machine of yours, as `twin engine` starts it. `context` counts tokens, `places` answers at once.

    `tensor_parallel` splits each layer over so many accelerators, `pipeline_parallel` the layers into so many parts.
    """

    port: int = Field(8000, ge=1, le=65_535)
    context: int = Field(4096, ge=1)
    places: int = Field(8, ge=1)
    tensor_parallel: int = Field(1, ge=1)
    pipeline_parallel: int = Field(1, ge=1)


class SageMakerSettings(Section):
    """Hosting on Amazon SageMaker; credentials are boto3's affair. `usd_per_hour` 0 takes the price that is known.

    `name` left out is the twin's own; `image` is an LMI or TGI container, and `environment` what it is told.
    """

    region: str = ""
    name: str = ""
    image: str = ""
    role: str = ""
    bucket: str = ""
    instance_type: str = "ml.g5.xlarge"
    instances: int = Field(1, ge=1)
    most_instances: int = Field(1, ge=1)
    asynchronous: bool = False
    usd_per_hour: float = Field(0.0, ge=0)
    environment: dict[str, str] = {"HF_MODEL_ID": "/opt/ml/model", "TENSOR_PARALLEL_DEGREE": "max"}


class FetchSettings(Section):
    """How to behave on the web."""

    user_agent: str = "llm-twin/0.1 (a personal archive; respects robots.txt)"
    min_interval_seconds: float = Field(1.0, ge=0)
    allow_private: bool = False
    refresh_hours: float = Field(24.0, ge=0)


class DatasetSettings(Section):
    """How samples are made. `instructions` is written by the chat model or by the titled-section template."""

    instructions: Literal["model", "template"] = "model"
    test_share: float = Field(0.25, gt=0, lt=1)
    least_words: int = Field(40, ge=10)
    target_words: int = Field(90, ge=10)
    most_words: int = Field(300, ge=40)
    near_duplicate: float = Field(0.5, gt=0, le=1)
    most_contamination: float = Field(0.05, ge=0, le=1)
    seed: int = 0


class EvaluateSettings(Section):
    """How much is measured: held-out passages, and how the models answer.

    With `--judge` a judge reads the answers to `judged` held-out requests, those to `answered` of them among these.
    `tasks` are names of lm-evaluation-harness or folders with tasks in its YAML, at most `task_items` items each.
    `search_model_arms` is how many questions the steps of the search get that ask the chat model, 8 to 15 seconds
    each on a CPU; 0 leaves these steps out.
    """

    passages: int = Field(48, ge=6)
    machine_passages: int = Field(96, ge=6)
    questions: int = Field(200, ge=1)
    search_model_arms: int = Field(0, ge=0)
    choices: int = Field(24, ge=4)
    answered: int = Field(12, ge=4)
    judged: int = Field(60, ge=4)
    sections: tuple[str, ...] = SECTIONS
    tasks: tuple[str, ...] = ()
    task_items: int = Field(200, ge=2)
    max_tokens: int = Field(200, ge=16)
    temperature: float = Field(0.9, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)


class AskSettings(Section):
    """How questions are answered.

    `prompt_lookup` lets the model on this machine guess its next words from the passages: answers come sooner. With
    `draft`, a small model of the same vocabulary guesses instead, which pays for models of some billion parameters.
    `int4` rounds the weights to 4 bits: less memory, and answers a little less exact.
    """

    mode: Literal["write", "quote"] = "write"
    passages: int = Field(5, ge=1)
    budget_tokens: int = Field(900, ge=64)
    max_tokens: int = Field(256, ge=16)
    temperature: float = Field(0.3, ge=0)
    top_p: float = Field(0.9, gt=0, le=1)
    prompt_lookup: bool = True
    draft: str = ""
    int4: bool = False

    def sampling(self) -> Sampling:
        """How the model generates where nobody asks otherwise."""
        return Sampling(max_tokens=self.max_tokens, temperature=self.temperature, top_p=self.top_p)


class SearchSettings(Section):
    """Steps of the search behind an answer, beside the search itself; on by default is what was measured to help.

    `rerank` is "late-interaction", "query-likelihood" or a cross-encoder: a folder, or a name on the Hub.
    `neighbours` is how many chunks on either side of a passage are read with it, where the budget allows.
    """

    follow_ups: bool = False
    filters: Literal["off", "rules", "model"] = "off"
    reformulations: int = Field(0, ge=0, le=5)
    hypothetical: bool = False
    rerank: str = ""
    diversity: bool = False
    neighbours: int = Field(0, ge=0, le=3)


class ServeSettings(Section):
    """How `twin serve` does; `llm_port` is that of `twin serve-llm`.

    `cors` lists origins of pages elsewhere that may ask; jobs over `queue` get 429. The newest `traces` answers
    leave how they came about; 0 keeps none.
    """

    host: str = "127.0.0.1"
    port: int = Field(8010, ge=0, le=65535)
    llm_port: int = Field(8011, ge=0, le=65535)
    max_concurrent: int = Field(8, ge=1, le=256)
    queue: int = Field(16, ge=0, le=10_000)
    cors: tuple[str, ...] = ()
    traces: int = Field(1000, ge=0, le=100_000)


class JobSettings(Section):
    """Jobs of `twin serve`. Ended ones beyond `keep` are forgotten; with `redis` the queue lies there.

    `webhooks_to_private` lets what a job calls back lie in your own network.
    """

    redis: SecretStr = SecretStr("")
    most_questions: int = Field(200, ge=1, le=10_000)
    waiting: int = Field(100, ge=1, le=100_000)
    keep: int = Field(1000, ge=0, le=100_000)
    webhooks_to_private: bool = False


class Settings(BaseSettings):
    """All of twin.toml."""

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix="TWIN_",
        env_nested_delimiter="__",
        nested_model_default_partial_update=True,
    )

    author: str = ""
    sources: tuple[SourceSettings, ...] = ()
    models: ModelSettings = ModelSettings()
    adapters: AdapterSettings = AdapterSettings()
    endpoint: EndpointSettings = EndpointSettings()
    engine: EngineSettings = EngineSettings()
    sagemaker: SageMakerSettings = SageMakerSettings()
    fetch: FetchSettings = FetchSettings()
    dataset: DatasetSettings = DatasetSettings()
    train: Recipe = Recipe()
    evaluate: EvaluateSettings = EvaluateSettings()
    privacy: PrivacyPlan = PrivacyPlan()
    gate: GateRule = GateRule()
    ask: AskSettings = AskSettings()
    search: SearchSettings = SearchSettings()
    serve: ServeSettings = ServeSettings()
    jobs: JobSettings = JobSettings()

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """The environment wins over twin.toml, whose values come in as arguments."""
        return env_settings, dotenv_settings, init_settings


def load(home: Path, **overrides: Any) -> Settings:
    """The settings of a workspace; `overrides` (command-line options) win over everything.

    Raises InputError naming the file and key for broken TOML, an unknown key or a value out of range.
    """
    path = home / CONFIG
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8")) if path.exists() else {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid TOML: {error}") from error
    try:
        settings = Settings(_env_file=home / ".env", **values)
        return settings.model_copy(update=overrides) if overrides else settings
    except ValidationError as error:
        raise InputError(*_explained(error, path)) from error


def _explained(error: ValidationError, path: Path) -> tuple[str, str]:
    """The first mistake in plain words, and the nearest known key where a key is unknown."""
    first = error.errors()[0]
    key = ".".join(str(step) for step in first["loc"])
    if first["type"] != "extra_forbidden":
        return f"{path}: {key}: {first['msg']}", "see `twin init --help` for the settings and their defaults"
    known = difflib.get_close_matches(key, known_keys(), n=1, cutoff=0.5)
    return f"{path}: there is no setting {key}", f"did you mean {known[0]}?" if known else "remove it"


def behind(settings: Settings, llm_url: str) -> Settings:
    """`settings` with the chat model behind the `twin serve-llm` at `llm_url`."""
    endpoint = {"url": llm_url.rstrip("/").removesuffix("/v1") + "/v1", "model": settings.models.chat}
    return settings.model_copy(
        update={
            "adapters": settings.adapters.model_copy(update={"chat": "openai"}),
            "endpoint": settings.endpoint.model_copy(update=endpoint),
        }
    )


def known_keys() -> list[str]:
    """Every setting as twin.toml names it: `author`, `ask`, `ask.mode`, ..."""
    keys = []
    for name, field in Settings.model_fields.items():
        keys.append(name)
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            keys += [f"{name}.{inner}" for inner in section.model_fields]
    return keys


def commented(author: str) -> str:
    """A twin.toml for `author` in which every setting stands with its default, commented out."""
    lines = [
        "# The twin's settings. Every key may be left out; the values shown after # are the defaults.",
        f"author = {_toml(author)}",
        "",
        "# What to collect on `twin run`; `twin collect PATH-OR-URL` adds to it. Name the author of writing that",
        "# is not yours: it is the background that the style score tells you from.",
        '# [[sources]]\n# location = "./my-articles"',
        '# [[sources]]\n# location = "./someone-else"\n# author = "Someone Else"',
    ]
    for name, field in Settings.model_fields.items():
        default = field.default
        if isinstance(default, BaseModel):
            doc = (type(default).__doc__ or "").strip().splitlines()[0]
            lines += ["", f"# {doc}", f"[{name}]"]
            lines += [f"# {key} = {_toml(value)}" for key, value in default]
    return "\n".join(lines) + "\n"


def _toml(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_toml(key)} = {_toml(each)}' for key, each in value.items())}}}"
    escaped = str(value).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
