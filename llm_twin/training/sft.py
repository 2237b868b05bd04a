"""Supervised fine-tuning: a LoRA (Hu et al. 2021) on a base model, by TRL and PEFT, on this machine's CPU or GPU.

The loss counts the author's tokens only. Token ids come from the same prompt files and the same tokenizer
as serving. A run can be killed at any moment: it goes on from its last complete checkpoint, with the same
order of samples. Not covered: more than one device, and quantised training.
"""

import json
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from llm_twin import prompts
from llm_twin.errors import InputError, MissingPart
from llm_twin.files import sync_folder, write_json
from llm_twin.ports import Progress, Tracker, silent
from llm_twin.training.grounded import conversation_with, fewer, grounded
from llm_twin.training.rehearsal import Rehearsed, asked
from llm_twin.types import Message, Recipe, Sample

SYSTEM_PROMPT = "twin.v1"
Row = dict[str, list[int]]
"""`input_ids` and `labels` of one sample."""
_COMPLETE = "COMPLETE"


class Trained(BaseModel):
    """What a run did; written as `trained.json` when it is finished, and only then.

    Tokens and seconds count the steps that led to the result, those before a restart included. Losses are
    in nats per token of the author's, each a mean over a tenth of the run.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    samples: int
    rehearsed: int = 0
    too_long: int
    steps: int
    tokens: int
    first_loss: float
    last_loss: float
    seconds: float
    tokens_per_second: float


def conversation(sample: Sample) -> list[Message]:
    """What the twin is asked with: the system prompt that serving uses too, then the instruction."""
    return [
        Message(role="system", content=prompts.render(SYSTEM_PROMPT, author=sample.author)),
        Message(role="user", content=sample.instruction),
    ]


@dataclass(frozen=True)
class Encoder:
    """Samples to token ids, with the tokenizer and the chat layout of one base model."""

    tokenizer: Any
    template: str
    end_of_turn: int

    @classmethod
    def of(cls, base: Path) -> "Encoder":
        """The encoder of a prepared model folder."""
        from tokenizers import Tokenizer

        card = json.loads((base / "model.json").read_text())
        tokenizer = Tokenizer.from_file(str(base / "tokenizer.json"))
        return cls(tokenizer, (base / "chat_template.jinja").read_text(), int(card["eos_token_ids"][0]))

    def encode(self, asked: Sequence[Message], response: str, whole: bool = True) -> Row:
        """Token ids of prompt and response, and labels that are -100 (no loss) on the prompt.

        The end of the turn is learnt where the response is `whole`.
        """
        prompt = prompts.chat_ids(self.tokenizer, self.template, asked)
        reply = prompts.reply_ids(self.tokenizer, response, self.end_of_turn)
        reply = reply if whole else reply[:-1]
        return {"input_ids": prompt + reply, "labels": [-100] * len(prompt) + reply}


def sft(
    samples: Sequence[Sample],
    base: Path,
    run: Path,
    recipe: Recipe,
    tracker: Tracker,
    progress: Progress = silent,
    rehearsed: Sequence[Rehearsed] = (),
) -> Trained:
    """Train on the train side of `samples` and on `rehearsed`; the adapter is `run/adapter`.

    A finished run returns at once.
    `base` is a prepared model folder, `run` a folder of this run alone: what lies in it is gone on from.
    Raises InputError when there is nothing to train on, MissingPart without the `train` extra.
    """
    finished = run / "trained.json"
    if finished.exists():
        return Trained.model_validate_json(finished.read_text())
    _require_train_extra()
    from llm_twin.training.load import quiet

    encoder = Encoder.of(base)
    own, too_long = _rows(samples, encoder, recipe)
    also = _fitting(
        [encoder.encode(asked(each.request), each.reply, each.whole) for each in rehearsed], recipe
    )
    checkpoint = last_checkpoint(run)
    clock = _Clock(_seconds_before(checkpoint))
    with quiet():
        trainer = _trainer([*own, *also], base, run, recipe, _reporter(tracker, progress, clock))
        trainer.train(resume_from_checkpoint=checkpoint)
        seconds = clock.seconds()
        tracker.finish()
        trainer.save_model(str(run / "adapter"))
    _sync(run / "adapter")
    trained = _trained(trainer.state, (len(own), len(also), too_long), seconds)
    write_json(finished, trained.model_dump())
    return trained


def last_checkpoint(run: Path) -> str | None:
    """The newest checkpoint that was written whole; half-written ones are removed."""
    import shutil

    complete = []
    for folder in (run / "checkpoints").glob("checkpoint-*"):
        if (folder / _COMPLETE).exists():
            complete.append(folder)
        else:
            shutil.rmtree(folder)
    return str(max(complete, key=lambda f: int(f.name.split("-")[1]))) if complete else None


def _rows(samples: Sequence[Sample], encoder: Encoder, recipe: Recipe) -> tuple[list[Row], int]:
    """The author's samples that are trained on, and how many were too long for it."""
    own = [sample for sample in samples if sample.split == "train"]
    passages = grounded(own, recipe.grounded, recipe.seed)
    rows = [_row(sample, passages.get(sample.id, []), encoder, recipe.max_tokens) for sample in own]
    if not rows:
        raise InputError(
            "there are no samples to train on", "collect more writing: twin collect ./my-articles"
        )
    fitting = _fitting(rows, recipe)
    if not fitting:
        raise InputError(
            f"none of {len(rows)} training samples fits {recipe.max_tokens} tokens", "raise train.max_tokens"
        )
    return fitting, len(rows) - len(fitting)


def _row(sample: Sample, passages: list[str], encoder: Encoder, most: int) -> Row:
    """A sample, asked with as many of its passages as fit."""
    while passages:
        row = encoder.encode(conversation_with(sample, passages), sample.response)
        if len(row["input_ids"]) <= most:
            return row
        passages = fewer(passages, sample)
    return encoder.encode(conversation(sample), sample.response)


def _fitting(rows: Sequence[Row], recipe: Recipe) -> list[Row]:
    return [row for row in rows if len(row["input_ids"]) <= recipe.max_tokens]


def _trainer(rows: list[Row], base: Path, run: Path, recipe: Recipe, reporter: Any) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import PrinterCallback, set_seed

    from llm_twin.training.load import load_base
    from llm_twin.training.loss import ResponseTrainer

    set_seed(recipe.seed)
    model, tokenizer = load_base(base)
    lora = LoraConfig(
        r=recipe.rank,
        lora_alpha=recipe.alpha,
        lora_dropout=0.0,
        target_modules="all-linear",
        task_type="CAUSAL_LM",
    )
    trainer = ResponseTrainer(
        model=model,
        args=_arguments(run, recipe, len(rows)),
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        peft_config=lora,
        callbacks=[reporter],
    )
    trainer.remove_callback(PrinterCallback)  # the reporter speaks for the run
    return trainer


def _arguments(run: Path, recipe: Recipe, rows: int) -> Any:
    import torch
    from trl import SFTConfig

    from llm_twin.training.load import has_bfloat16

    steps = max(1, round(recipe.epochs * rows / recipe.batch_size))
    return SFTConfig(
        output_dir=str(run / "checkpoints"),
        max_steps=steps,
        per_device_train_batch_size=recipe.batch_size,
        learning_rate=recipe.learning_rate,
        lr_scheduler_type="cosine",
        warmup_steps=round(recipe.warmup_share * steps),
        max_length=None,
        dataset_kwargs={"skip_prepare_dataset": True},
        activation_checkpointing=False,
        bf16=has_bfloat16(),
        use_cpu=not torch.cuda.is_available(),
        include_num_input_tokens_seen="non_padding",
        logging_steps=1,
        save_steps=recipe.save_every,
        save_total_limit=2,
        seed=recipe.seed,
        data_seed=recipe.seed,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
    )


class _Clock:
    """Seconds spent on a run, those before a restart included."""

    def __init__(self, before: float) -> None:
        self.before = before
        self.start()

    def start(self) -> None:
        """Begin to count, or begin again."""
        self.started = time.monotonic()

    def seconds(self) -> float:
        """Until now."""
        return self.before + time.monotonic() - self.started


def _seconds_before(checkpoint: str | None) -> float:
    return float(json.loads((Path(checkpoint) / _COMPLETE).read_text())) if checkpoint else 0.0


def _reporter(tracker: Tracker, progress: Progress, clock: _Clock) -> Any:
    from transformers import TrainerCallback

    class Reporter(TrainerCallback):
        """Hands each logged step on, and marks checkpoints as complete once they are."""

        def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            self.seen = state.num_input_tokens_seen
            clock.start()

        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
            if "loss" not in logs:
                return
            rate = (state.num_input_tokens_seen - self.seen) / (clock.seconds() - clock.before)
            metrics = {k: float(logs[k]) for k in ("loss", "learning_rate", "grad_norm") if k in logs}
            tracker.log(state.global_step, {**metrics, "tokens_per_second": rate})
            progress(state.global_step, state.max_steps, f"loss {metrics['loss']:.3f} · {rate:.0f} tokens/s")

        def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
            folder = Path(args.output_dir) / f"checkpoint-{state.global_step}"
            _sync(folder)
            write_json(folder / _COMPLETE, clock.seconds())

    return Reporter()


def _trained(state: Any, counts: tuple[int, int, int], seconds: float) -> Trained:
    losses = [entry["loss"] for entry in state.log_history if "loss" in entry]
    window = max(1, len(losses) // 10)
    return Trained(
        samples=counts[0],
        rehearsed=counts[1],
        too_long=counts[2],
        steps=state.global_step,
        tokens=state.num_input_tokens_seen,
        first_loss=sum(losses[:window]) / window,
        last_loss=sum(losses[-window:]) / window,
        seconds=seconds,
        tokens_per_second=state.num_input_tokens_seen / seconds,
    )


def _sync(folder: Path) -> None:
    """Have the files of `folder` on disk before anything says that they are there."""
    for path in folder.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    sync_folder(folder)


def _require_train_extra() -> None:
    from importlib.util import find_spec

    missing = [
        name
        for name in ("torch", "transformers", "trl", "peft", "accelerate", "datasets")
        if find_spec(name) is None
    ]
    if missing:
        raise MissingPart(f"training needs {', '.join(missing)}", "pip install 'llm-twin[train]'")
