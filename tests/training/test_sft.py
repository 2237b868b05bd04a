"""Fine-tuning: a tiny model for everything around the run, the small real one for a run that learns."""

import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from llm_twin import prompts
from llm_twin.adapters.track_files import METRICS, PLOT, FileTracker, read_metrics
from llm_twin.errors import InputError, MissingPart
from llm_twin.training.rehearsal import Rehearsed
from llm_twin.training.sft import Encoder, Row, Trained, conversation, last_checkpoint, sft
from llm_twin.types import Recipe, Sample

MakeModel = Callable[..., Path]
MakeSamples = Callable[..., list[Sample]]
RECIPE = Recipe(rank=4, alpha=8, epochs=2.0, batch_size=4, save_every=2, learning_rate=1e-2, max_tokens=256)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory, tiny_model: MakeModel) -> Path:
    return tiny_model(tmp_path_factory.mktemp("model") / "base")


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory, base: Path, make_samples: MakeSamples
) -> tuple[Path, Trained]:
    """The folder of an uninterrupted run, and what it did."""
    run = tmp_path_factory.mktemp("run") / "sft"
    return run, sft(make_samples(12), base, run, RECIPE, FileTracker(run))


def row_of(base: Path, sample: Sample) -> Row:
    return Encoder.of(base).encode(conversation(sample), sample.response)


def curve(run: Path) -> dict[int, float]:
    return {row["step"]: row["loss"] for row in read_metrics(run / METRICS)}


def weights(run: Path) -> dict[str, torch.Tensor]:
    from safetensors.torch import load_file

    return load_file(run / "adapter" / "adapter_model.safetensors")


def interrupted(program: str, base: Path, run: Path, samples: list[Sample]) -> None:
    """Train in a process that `program`, which may change the module `training`, makes kill itself."""
    listed = run.parent / "samples.jsonl"
    listed.write_text("".join(sample.model_dump_json() + "\n" for sample in samples))
    code = f"""
import os, signal, sys
from pathlib import Path
from llm_twin.adapters.track_files import FileTracker
from llm_twin.training import sft as training
from llm_twin.types import Recipe, Sample

def die():
    os.kill(os.getpid(), signal.SIGKILL)

base, run, listed, recipe = sys.argv[1:]
tracker = FileTracker(Path(run))
{program}
samples = [Sample.model_validate_json(line) for line in Path(listed).read_text().splitlines()]
training.sft(samples, Path(base), Path(run), Recipe.model_validate_json(recipe), tracker)
"""
    arguments = [sys.executable, "-W", "error", "-c", code, base, run, listed, RECIPE.model_dump_json()]
    ended = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert ended.returncode == -signal.SIGKILL, ended.stderr


DIE_AFTER_STEP_5 = """
log = tracker.log
tracker.log = lambda step, metrics: die() if step == 5 else log(step, metrics)
"""
DIE_BEFORE_CHECKPOINT_4_IS_MARKED = """
sync = training._sync
training._sync = lambda folder: die() if folder.name == "checkpoint-4" else sync(folder)
"""
DIE_BEFORE_THE_END_IS_NOTED = """
write = training.write_json
training.write_json = lambda path, value: die() if path.name == "trained.json" else write(path, value)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("program", "steps_on_disk", "goes_on_from"),
    [
        (DIE_AFTER_STEP_5, 4, "checkpoint-4"),
        (DIE_BEFORE_CHECKPOINT_4_IS_MARKED, 4, "checkpoint-2"),
        (DIE_BEFORE_THE_END_IS_NOTED, 6, "checkpoint-6"),
    ],
    ids=["between checkpoints", "in a checkpoint", "at the end"],
)
def test_a_killed_run_goes_on_and_ends_as_if_nothing_had_happened(
    tmp_path: Path,
    base: Path,
    make_samples: MakeSamples,
    finished: tuple[Path, Trained],
    program: str,
    steps_on_disk: int,
    goes_on_from: str,
) -> None:
    whole, expected = finished
    run = tmp_path / "run"
    interrupted(program, base, run, make_samples(12))
    assert list(curve(run)) == list(range(1, steps_on_disk + 1))
    assert not (run / "trained.json").exists()
    assert Path(last_checkpoint(run) or "").name == goes_on_from

    trained = sft(make_samples(12), base, run, RECIPE, FileTracker(run))
    assert curve(run) == pytest.approx(curve(whole), rel=1e-4)
    for name, weight in weights(whole).items():
        torch.testing.assert_close(weights(run)[name], weight, rtol=1e-3, atol=1e-5)
    timing = {"seconds", "tokens_per_second"}
    assert trained.model_dump(exclude=timing) == pytest.approx(expected.model_dump(exclude=timing))


def test_a_run_says_what_it_did(
    finished: tuple[Path, Trained], base: Path, make_samples: MakeSamples
) -> None:
    run, trained = finished
    tokens = sum(len(row_of(base, s)["input_ids"]) for s in make_samples(12))
    assert (trained.samples, trained.too_long, trained.steps) == (12, 0, 6)
    assert trained.tokens == 2 * tokens  # two epochs, padding not counted
    assert trained.tokens_per_second == pytest.approx(trained.tokens / trained.seconds)
    assert trained.first_loss == pytest.approx(curve(run)[1])
    assert trained.last_loss == pytest.approx(curve(run)[6])
    assert trained.last_loss < trained.first_loss
    assert json.loads((run / "trained.json").read_text()) == trained.model_dump()
    assert (run / PLOT).exists()
    rows = read_metrics(run / METRICS)
    assert all(row["learning_rate"] > 0 and row["tokens_per_second"] > 0 for row in rows)


def test_a_finished_run_returns_at_once(finished: tuple[Path, Trained], tmp_path: Path) -> None:
    run, trained = finished
    before = (run / METRICS).read_bytes()
    assert sft([], tmp_path / "no model", run, RECIPE, FileTracker(run)) == trained
    assert (run / METRICS).read_bytes() == before


def test_another_seed_gives_another_run(
    finished: tuple[Path, Trained], base: Path, make_samples: MakeSamples, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    sft(make_samples(12), base, run, RECIPE.model_copy(update={"seed": 1}), FileTracker(run))
    assert curve(run) != pytest.approx(curve(finished[0]), rel=1e-4)


def test_samples_that_are_too_long_are_counted_and_left_out(
    base: Path, make_samples: MakeSamples, tmp_path: Path
) -> None:
    samples = make_samples(12)
    lengths = sorted(len(row_of(base, s)["input_ids"]) for s in samples)
    limit = lengths[8]
    longer = sum(length > limit for length in lengths)
    assert longer
    recipe = RECIPE.model_copy(update={"max_tokens": limit, "epochs": 0.5})
    trained = sft(samples, base, tmp_path, recipe, FileTracker(tmp_path))
    assert (trained.samples, trained.too_long) == (12 - longer, longer)


@pytest.mark.parametrize(("count", "split", "why"), [(0, "train", "no samples"), (3, "test", "no samples")])
def test_no_sample_of_the_train_side_is_bad_input(
    base: Path, make_samples: MakeSamples, tmp_path: Path, count: int, split: str, why: str
) -> None:
    with pytest.raises(InputError, match=why) as caught:
        sft(make_samples(count, split), base, tmp_path / "run", RECIPE, FileTracker(tmp_path))
    assert caught.value.way_out


def test_samples_that_are_all_too_long_are_bad_input(
    base: Path, make_samples: MakeSamples, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"max_tokens": 32})
    with pytest.raises(InputError, match="none of 3 training samples fits 32 tokens"):
        sft(make_samples(3), base, tmp_path / "run", recipe, FileTracker(tmp_path))


def test_a_missing_extra_is_named(
    base: Path, make_samples: MakeSamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib.util

    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name in ("trl", "peft") else find(name)
    )
    with pytest.raises(MissingPart, match="training needs trl, peft") as caught:
        sft(make_samples(3), base, tmp_path / "run", RECIPE, FileTracker(tmp_path))
    assert "llm-twin[train]" in caught.value.way_out


def test_half_written_checkpoints_are_removed_and_ignored(tmp_path: Path) -> None:
    assert last_checkpoint(tmp_path) is None
    for step, complete in ((2, True), (10, True), (12, False)):
        folder = tmp_path / "checkpoints" / f"checkpoint-{step}"
        folder.mkdir(parents=True)
        (folder / "optimizer.pt").write_bytes(b"...")
        if complete:
            (folder / "COMPLETE").write_text("1.5")
    assert last_checkpoint(tmp_path) == str(tmp_path / "checkpoints" / "checkpoint-10")
    assert sorted(p.name for p in (tmp_path / "checkpoints").iterdir()) == ["checkpoint-10", "checkpoint-2"]


def test_what_is_rehearsed_is_learnt_beside_the_samples(
    base: Path, make_samples: MakeSamples, tmp_path: Path
) -> None:
    rehearsed = [Rehearsed(request=f"What is {i}?", reply=f"A number, {i}.", whole=True) for i in range(4)]
    tracker = FileTracker(tmp_path)
    trained = sft(make_samples(12), base, tmp_path, RECIPE, tracker, rehearsed=rehearsed)
    assert (trained.samples, trained.rehearsed, trained.steps) == (12, 4, 8)


def test_the_loss_counts_the_authors_words_and_the_end_of_the_turn(
    base: Path, make_samples: MakeSamples
) -> None:
    (sample,) = make_samples(1)
    tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
    template = (base / "chat_template.jinja").read_text()
    row = row_of(base, sample)
    learnt = [label for label in row["labels"] if label != -100]
    assert tokenizer.decode(learnt[:-1]) == sample.response
    assert learnt[-1] == 2
    # What serving asks with is, token by token, what training showed.
    prompt = prompts.chat_ids(tokenizer, template, conversation(sample))
    assert row["input_ids"] == prompt + learnt
    assert row["labels"][: len(prompt)] == [-100] * len(prompt)


@pytest.mark.parametrize(("architecture", "settings"), [("llama", {}), ("granite", {"logits_scaling": 0.2})])
def test_the_loss_is_the_models_own_cross_entropy_on_the_responses(
    tmp_path: Path,
    tiny_safetensors: MakeModel,
    make_samples: MakeSamples,
    architecture: str,
    settings: dict[str, object],
) -> None:
    from llm_twin.training.load import load_base

    base = tiny_safetensors(tmp_path / "base", architecture, **settings)
    recipe = RECIPE.model_copy(update={"batch_size": 6, "epochs": 1.0})
    sft(make_samples(6), base, tmp_path / "run", recipe, FileTracker(tmp_path / "run"))

    model, _ = load_base(base, torch.float32)
    total, count = 0.0, 0
    for sample in make_samples(6):
        row = row_of(base, sample)
        with torch.no_grad():
            logits = model(input_ids=torch.tensor([row["input_ids"]])).logits[0, :-1]
        labels = torch.tensor(row["labels"][1:])
        total += float(torch.nn.functional.cross_entropy(logits, labels, ignore_index=-100, reduction="sum"))
        count += int((labels != -100).sum())
    assert curve(tmp_path / "run") == {1: pytest.approx(total / count, rel=5e-3)}


@pytest.mark.slow
def test_the_small_real_model_learns_and_goes_on_from_a_checkpoint(
    smol_model: Path, make_samples: MakeSamples, tmp_path: Path
) -> None:
    recipe = RECIPE.model_copy(update={"learning_rate": 1e-3})
    whole, run = tmp_path / "whole", tmp_path / "run"
    trained = sft(make_samples(12), smol_model, whole, recipe, FileTracker(whole))
    losses = list(curve(whole).values())
    assert len(losses) == 6
    assert trained.last_loss < trained.first_loss - 0.5

    # Back to where a kill after step 5 leaves a run: its last checkpoint is that of step 4.
    shutil.copytree(whole, run)
    for lost in (run / "checkpoints" / "checkpoint-6", run / "adapter"):
        shutil.rmtree(lost)
    (run / "trained.json").unlink()
    sft(make_samples(12), smol_model, run, recipe, FileTracker(run))
    assert list(curve(run).values()) == pytest.approx(losses, rel=5e-3)
