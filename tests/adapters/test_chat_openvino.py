"""What only the OpenVINO adapter promises; the rest is in tests/contracts/test_chat_model.py."""

import json
import shutil
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest

from llm_twin.adapters.chat_openvino import OpenVinoChat
from llm_twin.errors import InputError, MissingPart, TwinError
from llm_twin.models import read_card, write_card
from llm_twin.types import Message, Sampling

GREEDY = Sampling(max_tokens=16, temperature=0)
FOX = [
    Message(
        role="user",
        content="The quick brown fox jumps over the lazy dog while nine grey geese watch from the old stone wall."
        "\n\nRepeat this text word for word, and nothing else.",
    )
]
HELLO = [Message(role="user", content="Say hello.")]


@pytest.fixture(scope="module", params=[False, True], ids=["plain", "guessing"])
def chat(smol_model: Path, request: pytest.FixtureRequest) -> Iterator[OpenVinoChat]:
    """Whether streams guess words from the prompt or not, all of this holds; guessing is as servers have it, apart."""
    model = OpenVinoChat(smol_model, prompt_lookup=request.param, apart=request.param)
    yield model
    model.close()


@pytest.fixture
def copied(smol_model: Path, tmp_path: Path) -> Path:
    """A folder of the model that a test may damage."""
    return Path(shutil.copytree(smol_model, tmp_path / "model"))


def test_a_folder_without_a_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPart, match=str(tmp_path / "none")):
        OpenVinoChat(tmp_path / "none")


@pytest.mark.slow
def test_a_model_cut_short_is_refused_before_the_engine_crashes_on_it(copied: Path) -> None:
    with (copied / "serving.gguf").open("r+b") as file:
        file.truncate(3_000_000)
    with pytest.raises(InputError, match=r"serving\.gguf has 3000000 bytes"):
        OpenVinoChat(copied)


@pytest.mark.slow
@pytest.mark.parametrize("start", [b"\0" * 4, b"GGUF\3\0\0\0"])
def test_a_file_of_the_right_size_that_is_no_model_is_an_error_with_a_way_out(
    copied: Path, start: bytes
) -> None:
    size = (copied / "serving.gguf").stat().st_size
    (copied / "serving.gguf").unlink()
    (copied / "serving.gguf").write_bytes(start + b"\0" * (size - len(start)))
    with pytest.raises(TwinError, match=r"serving\.gguf") as raised:
        OpenVinoChat(copied).generate([HELLO], GREEDY)
    assert "twin models" in raised.value.way_out


@pytest.mark.slow
def test_a_model_without_a_file_to_serve_says_so(copied: Path) -> None:
    card = json.loads((copied / "model.json").read_text())
    (copied / "model.json").write_text(json.dumps(card | {"serving": None}))
    with pytest.raises(InputError, match=str(copied)) as raised:
        OpenVinoChat(copied)
    assert "GGUF" in raised.value.way_out


@pytest.mark.slow
@pytest.mark.parametrize("schema", ["{", '{"type": "nonsense"}', '{"type": 3}'])
def test_a_schema_that_is_none_is_refused_and_the_model_goes_on(chat: OpenVinoChat, schema: str) -> None:
    sampling = GREEDY.model_copy(update={"json_schema": schema})
    with pytest.raises(InputError, match="JSON schema") as raised:
        chat.generate([HELLO, HELLO], sampling)
    assert ".cc:" not in str(raised.value)
    with pytest.raises(InputError, match="JSON schema"):
        list(chat.stream(HELLO, sampling))
    assert list(chat.stream(HELLO, GREEDY))
    assert chat.generate([HELLO], GREEDY)[0].text


@pytest.mark.slow
def test_a_score_that_does_not_fit_is_refused(chat: OpenVinoChat) -> None:
    with pytest.raises(InputError, match=str(chat.context)):
        chat.score([HELLO], ["owl " * chat.context])


@pytest.mark.slow
def test_a_batch_that_is_interrupted_leaves_nothing_behind(chat: OpenVinoChat) -> None:
    def interrupt(done: int, total: int, note: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        chat.generate([HELLO] * 3, GREEDY, interrupt)
    seen: list[int] = []
    (done,) = chat.generate([HELLO], GREEDY, lambda done, total, note: seen.append(total))
    assert done.text and set(seen) == {1}


@pytest.mark.slow
def test_the_same_prompt_twice_in_a_batch_is_sampled_twice(chat: OpenVinoChat) -> None:
    story = [Message(role="user", content="Tell me a story.")]
    one, two = chat.generate([story] * 2, Sampling(max_tokens=16, temperature=0.9, seed=5))
    assert one.text != two.text


@pytest.mark.slow
def test_a_character_that_spans_tokens_is_never_shown_in_halves(chat: OpenVinoChat) -> None:
    one = json.dumps({"type": "string", "enum": ["🦉 naïve 東京 🦉"]})
    pieces = list(chat.stream(HELLO, Sampling(max_tokens=40, temperature=0, json_schema=one)))
    assert not any("\ufffd" in piece for piece in pieces)
    assert json.loads("".join(pieces)) == "🦉 naïve 東京 🦉"


@pytest.mark.slow
def test_an_answer_that_is_cut_within_a_character_says_so(chat: OpenVinoChat) -> None:
    """Its text has fewer tokens than were written, so a count of it would take it for finished."""
    one = json.dumps({"type": "string", "enum": ["🦉🦉🦉🦉🦉🦉"]})
    shown = []
    for most in range(3, 9):
        stream = chat.stream(HELLO, Sampling(max_tokens=most, temperature=0, json_schema=one))
        text = ""
        while True:
            try:
                text += next(stream)
            except StopIteration as end:
                done = end.value
                break
        assert (done.completion_tokens, done.finish) == (most, "length")
        shown.append(text)
    assert len(set(shown)) < len(shown), "some tokens are no whole character"


@pytest.mark.slow
def test_threads_are_answered_each_with_its_own(chat: OpenVinoChat) -> None:
    # The second time the prompt comes out of the cache, as it does for the threads: that may decide a tie otherwise.
    _, expected = ("".join(chat.stream(HELLO, GREEDY)) for _ in range(2))
    found: list[str] = []
    threads = [
        threading.Thread(target=lambda: found.append("".join(chat.stream(HELLO, GREEDY)))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [expected] * 3


@pytest.mark.slow
def test_what_stands_in_the_prompt_is_guessed_and_comes_several_words_at_a_time(smol_model: Path) -> None:
    sampling = Sampling(max_tokens=40, temperature=0)
    longest = {}
    for lookup in (False, True):
        with closing(OpenVinoChat(smol_model, prompt_lookup=lookup)) as model:
            pieces = list(model.stream(FOX, sampling))
            assert "quick brown fox jumps" in "".join(pieces)
            longest[lookup] = max(len(piece.split()) for piece in pieces)
    assert longest[False] == 1 < 3 <= longest[True]


@pytest.mark.slow
def test_streams_are_written_side_by_side(chat: OpenVinoChat) -> None:
    """One reader takes a piece of each in turn: with turns of their own the second would never begin."""
    stories = [
        [Message(role="user", content=f"Tell me a story about {what}.")] for what in ("owls", "salt", "rain")
    ]
    alone = ["".join(chat.stream(story, GREEDY)) for story in stories]
    streams = [chat.stream(story, GREEDY) for story in stories]
    texts = [next(stream) for stream in streams]
    texts = [text + "".join(stream) for text, stream in zip(texts, streams, strict=True)]
    assert all(text and text.split()[0] == one.split()[0] for text, one in zip(texts, alone, strict=True))


@pytest.mark.slow
def test_a_batch_waits_for_no_stream(chat: OpenVinoChat) -> None:
    stream = chat.stream([Message(role="user", content="Tell me a story.")], Sampling(max_tokens=400))
    assert next(stream)
    assert chat.generate([HELLO], GREEDY)[0].text
    stream.close()


@pytest.mark.slow
def test_a_model_that_was_warmed_answers_as_before(chat: OpenVinoChat) -> None:
    before = "".join(chat.stream(HELLO, GREEDY))
    chat.warm()
    assert "".join(chat.stream(HELLO, GREEDY)) == before


@pytest.mark.slow
def test_a_stream_may_be_read_and_closed_by_different_threads(chat: OpenVinoChat) -> None:
    """A web server reads each piece on whatever thread is free."""
    stream = chat.stream([Message(role="user", content="Tell me a story.")], GREEDY)
    first: list[str] = []
    reader = threading.Thread(target=lambda: first.append(next(stream)))
    reader.start()
    reader.join(60)
    closer = threading.Thread(target=stream.close)
    closer.start()
    closer.join(60)
    assert first and chat.generate([HELLO], GREEDY)[0].text


@pytest.mark.slow
def test_scores_are_those_of_torch_on_the_same_ids(smol_model: Path, tmp_path: Path) -> None:
    """On weights as Q8_0; those of the file that is published, in Q4_1, the engine reads less exactly."""
    import torch

    from llm_twin.gguf_file import rewrite
    from llm_twin.prompts import reply_ids
    from llm_twin.training.load import load_base, quiet

    pairs = [
        ("What is the capital of France?", "The capital of France is Paris."),
        ("Why do clocks run slow in winter?", "The oil thickens in the cold — clean the pivots."),
        ("Say something odd.", "Gannet purple seven; the spanner sang <|im_end|> twice."),
    ]
    prompts = [
        [Message(role="system", content="Be brief."), Message(role="user", content=asked)]
        for asked, _ in pairs
    ]
    rewrite(smol_model / "base.gguf", tmp_path / "base.gguf", "q8_0")
    names = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
    for name in names:
        shutil.copy(smol_model / name, tmp_path)
    card = read_card(smol_model).model_copy(update={"serving": "base.gguf"})
    write_card(tmp_path, ["base.gguf", *names], **card.model_dump(exclude={"layout", "files"}))
    chat = OpenVinoChat(tmp_path)
    scores = chat.score(prompts, [reply for _, reply in pairs])
    with quiet():
        model, _ = load_base(tmp_path, torch.float32)
    for messages, (_, reply), found in zip(prompts, pairs, scores, strict=True):
        head, tail = chat._ids(messages), reply_ids(chat._tokenizer, reply, chat._stop_ids[0])
        with torch.no_grad():
            logits = model(torch.tensor([head + tail])).logits[0].double().log_softmax(-1)
        expected = np.array([float(logits[len(head) + i - 1, token]) for i, token in enumerate(tail)])
        assert found.shape == expected.shape
        assert found.mean() == pytest.approx(expected.mean(), abs=0.05)
        assert np.corrcoef(found, expected)[0, 1] > 0.99, "each token's score, and not the mean alone"


@pytest.mark.slow
def test_replies_to_one_prompt_score_as_they_do_alone(chat: OpenVinoChat) -> None:
    """Whether they share the reading of the prompt, or have been read before, reply and all."""
    other = [Message(role="user", content="Name a bird. " * 40)]
    prompts = [HELLO, other, other, HELLO, other, other]
    replies = ["Hi.", "owl", "gannet", "No.", "owl", "a long list of birds, " * 20]
    alone = [chat.score([prompt], [reply])[0] for prompt, reply in zip(prompts, replies, strict=True)]
    for together in (chat.score(prompts, replies), chat.score(prompts, replies)):
        for one, found in zip(alone, together, strict=True):
            assert one.shape == found.shape
            assert found == pytest.approx(one, abs=0.35, rel=0.2), "what is unlikely is read less exactly"
            assert found.mean() == pytest.approx(one.mean(), abs=0.12)


@pytest.mark.slow
def test_temperatures_too_small_to_be_told_from_none_are_none(chat: OpenVinoChat) -> None:
    for tiny in ({"temperature": 1e-50}, {"temperature": 1.0, "top_p": 1e-50}):
        sampling = Sampling.model_validate({"max_tokens": 16, **tiny})
        first = next(chat.stream(HELLO, sampling))
        assert first == next(chat.stream(HELLO, GREEDY)), (
            "the engine itself refuses a temperature that rounds to 0"
        )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["batch", "schema"])
def test_streams_go_on_while_something_else_is_written(chat: OpenVinoChat, kind: str) -> None:
    """A reader of a stream gets most of it while a long batch, or an answer that follows a schema, goes on."""
    story = [Message(role="user", content="Tell me a story.")]
    stream = chat.stream(story, Sampling(max_tokens=20, temperature=0.9, seed=4))
    next(stream)
    ended = threading.Event()
    schema = json.dumps({"type": "string", "minLength": 200})

    def other() -> None:
        if kind == "batch":
            chat.generate([story] * 2, Sampling(max_tokens=60, temperature=1.0))
        else:
            list(chat.stream(story, Sampling(max_tokens=60, temperature=1.0, json_schema=schema)))
        ended.set()

    thread = threading.Thread(target=other)
    thread.start()
    pieces = list(stream)
    assert len(pieces) > 5 and not ended.is_set(), "it did not wait for the other"
    thread.join(120)
    assert ended.is_set()


@pytest.mark.slow
def test_a_draft_guesses_several_words_at_a_time_and_what_is_written_stays_right(smol_model: Path) -> None:
    with closing(OpenVinoChat(smol_model, prompt_lookup=True, draft=smol_model)) as helped:
        pieces = list(helped.stream(FOX, Sampling(max_tokens=40, temperature=0)))
    assert "quick brown fox jumps" in "".join(pieces)
    assert max(len(piece.split()) for piece in pieces) > 1
    assert {p.suffix for p in (smol_model / "draft").iterdir()} == {".xml", ".bin"}


@pytest.mark.slow
def test_a_draft_of_another_vocabulary_is_refused(smol_model: Path, copied: Path) -> None:
    tokenizer = json.loads((copied / "tokenizer.json").read_text())
    tokenizer["model"]["vocab"]["zzzz"] = tokenizer["model"]["vocab"].pop("Ġowl")
    tokenizer["model"]["merges"] = [m for m in tokenizer["model"]["merges"] if "".join(m) != "Ġowl"]
    (copied / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(InputError, match="another vocabulary"):
        OpenVinoChat(smol_model, draft=copied)


@pytest.mark.slow
def test_weights_at_four_bits_are_smaller_and_say_nearly_the_same(copied: Path) -> None:
    reply = "The capital of France is Paris, a large city on the river Seine."
    asked = [Message(role="user", content="What is the capital of France?")]
    scores = {}
    for int4 in (False, True):
        with closing(OpenVinoChat(copied, int4=int4)) as model:
            scores[int4] = model.score([asked], [reply])[0].mean()
    made = copied / "serving-int4.gguf"
    assert made.stat().st_size < 0.8 * (copied / "serving.gguf").stat().st_size
    assert scores[True] == pytest.approx(scores[False], abs=0.3) and scores[True] != scores[False]
    before = made.stat().st_mtime_ns
    OpenVinoChat(copied, int4=True)
    assert made.stat().st_mtime_ns == before, "made once"
