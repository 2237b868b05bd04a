"""What only the HTTP chat promises: patience with busy servers, plain words for refusals, and a key that stays put."""

import json
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from llm_twin import wiring
from llm_twin.adapters.chat_http import HttpChat
from llm_twin.adapters.standins import ScriptedChat, echo
from llm_twin.errors import InputError, MissingPart, Refused, TwinError, Unavailable, Unreachable
from llm_twin.settings import load
from llm_twin.types import Completion, Message, Sampling
from llm_twin.workspace import Workspace

pytestmark = pytest.mark.enable_socket

GREEDY = Sampling(max_tokens=24, temperature=0)
JSON = {"Content-Type": "application/json"}
KEY = "sk-very-secret-1234"


def ask(text: str) -> list[Message]:
    return [Message(role="user", content=text)]


def opened(server: Any, **options: Any) -> HttpChat:
    return HttpChat(server.url, **{"sleep": lambda _: None, **options})


def fault(status: int, text: str = "", **headers: str) -> tuple[int, dict[str, str], bytes]:
    return status, {name.replace("_", "-"): value for name, value in headers.items()}, text.encode()


@pytest.fixture
def server(openai_server: Callable[..., Any]) -> Any:
    return openai_server(ScriptedChat(echo, name="parrot"))


# --- patience --------------------------------------------------------------------------------------------------


def test_a_busy_server_is_asked_again_after_the_pause_it_names(server: Any) -> None:
    slept: list[float] = []
    chat = opened(server, sleep=slept.append)
    server.faults = [fault(429, Retry_After="7"), fault(503), fault(500)]
    assert chat.generate([ask("Hello there.")], GREEDY)[0].text == "Hello there."
    assert slept[0] == 7
    assert 1 <= slept[1] <= 1.25 and 2 <= slept[2] <= 2.5, "pauses grow"


def test_patience_ends(server: Any) -> None:
    chat = opened(server, attempts=3)
    server.faults = [fault(503, '{"error": {"message": "loading model"}}')] * 3
    with pytest.raises(Unavailable, match=r"503.*loading model") as caught:
        chat.generate([ask("Hello.")], GREEDY)
    assert not isinstance(caught.value, InputError) and not server.faults


def test_a_server_that_asks_for_hours_is_not_waited_for(server: Any) -> None:
    slept: list[float] = []
    chat = opened(server, sleep=slept.append)
    server.faults = [fault(429, Retry_After="7200")]
    with pytest.raises(Unavailable, match="7200 s") as caught:
        chat.generate([ask("Hello.")], GREEDY)
    assert slept == [] and caught.value.seconds == 7200


def test_a_stream_is_asked_for_again_before_its_first_piece(server: Any) -> None:
    chat = opened(server)
    server.faults = [fault(429), fault(502)]
    assert "".join(chat.stream(ask("One two three."), GREEDY)) == "One two three."


def test_a_server_that_never_answers_is_given_up(server: Any) -> None:
    chat = opened(server, timeout_s=0.2)
    server.model.generate = lambda *_: time.sleep(1)
    with pytest.raises(Unavailable, match=r"no answer within 0.2 s"):
        chat.generate([ask("Hello.")], GREEDY)


def test_requests_run_side_by_side_and_no_more_of_them_than_allowed(server: Any) -> None:
    plain, lock, now, most = server.model.generate, threading.Lock(), 0, 0

    def slow(*given: Any) -> Any:
        """Counts itself out before it answers: the next request may come the moment the answer is read."""
        nonlocal now, most
        with lock:
            now += 1
            most = max(most, now)
        time.sleep(0.05)
        done = plain(*given)
        with lock:
            now -= 1
        return done

    server.model.generate = slow
    done = opened(server, concurrency=3).generate([ask(f"Number {i}.") for i in range(9)], GREEDY)
    assert [c.text for c in done] == [f"Number {i}." for i in range(9)]
    assert most == 3


def test_the_first_failure_ends_a_batch(server: Any) -> None:
    chat = opened(server, concurrency=1)
    server.faults = [fault(400, '{"error": "no"}')]
    with pytest.raises(InputError):
        chat.generate([ask(str(i)) for i in range(50)], GREEDY)
    assert sum(path.endswith("completions") for path, _ in server.asked) < 10


# --- refusals --------------------------------------------------------------------------------------------------


def test_nobody_at_the_address_is_said_with_the_address() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(Unreachable, match=url) as caught:
        HttpChat(url, "any")
    assert "endpoint.url" in caught.value.way_out


@pytest.mark.parametrize(("key", "said"), [("", "asks for a key"), (KEY, "refuses the key")])
def test_a_wrong_key_is_said_and_never_shown(openai_server: Callable[..., Any], key: str, said: str) -> None:
    guarded = openai_server(ScriptedChat(echo), key="the right one")
    guarded.faults = [fault(401, json.dumps({"error": {"message": f"Incorrect key: {key}"}}))]
    with pytest.raises(Refused, match=said) as caught:
        opened(guarded, api_key=key)
    assert caught.value.told == ""
    assert KEY not in str(caught.value) + caught.value.way_out + repr(caught.value.__context__)
    assert "TWIN_ENDPOINT__API_KEY" in caught.value.way_out
    assert opened(guarded, api_key="the right one").name == "scripted"


def test_a_key_that_is_none_is_refused_before_anything_is_asked() -> None:
    with pytest.raises(InputError, match="characters") as caught:
        HttpChat("http://127.0.0.1:9/v1", api_key=f"{KEY}\n")
    assert KEY not in str(caught.value)


def test_the_key_does_not_follow_a_redirect(server: Any) -> None:
    chat = opened(server, api_key=KEY)
    server.faults = [fault(307, Location=server.url + "/elsewhere")]
    with pytest.raises(InputError, match="307"):
        chat.generate([ask("Hello.")], GREEDY)
    assert not any("elsewhere" in path for path, _ in server.asked)


def test_an_unknown_model_is_told_with_those_that_are_served(server: Any) -> None:
    with pytest.raises(InputError, match=r"serves no 'parot'") as caught:
        opened(server, model="parot")
    assert "parrot" in caught.value.way_out


def test_without_a_name_the_only_model_is_meant_and_of_several_none(server: Any) -> None:
    assert opened(server).name == "parrot"
    several = {"data": [{"id": "one"}, {"id": "two:latest", "max_model_len": 5}]}
    server.faults = [fault(200, json.dumps(several))] * 2
    with pytest.raises(InputError, match="2 models"):
        opened(server)
    assert opened(server, model="two").name == "two:latest"


def test_what_the_server_refuses_is_said_in_its_words(server: Any) -> None:
    chat = opened(server)
    server.faults = [fault(400, '{"error": {"message": "This model\'s maximum context is 12"}}')]
    with pytest.raises(Refused, match="maximum context is 12") as caught:
        chat.generate([ask("Hello.")], GREEDY)
    assert caught.value.told == "This model's maximum context is 12"


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8000", "ftp://host/v1", "http://user:pass@host/v1", "http://"]
)
def test_an_address_that_is_none_is_refused(url: str) -> None:
    with pytest.raises(InputError, match=r"endpoint\.url") as caught:
        HttpChat(url)
    assert "pass@" not in str(caught.value)


def test_a_web_page_at_the_address_is_no_endpoint(server: Any) -> None:
    server.faults = [fault(200, "<html>Welcome</html>", Content_Type="text/html")]
    with pytest.raises(InputError, match="not JSON"):
        opened(server)


# --- what servers differ in -----------------------------------------------------------------------------------


def events(*sent: Any) -> tuple[int, dict[str, str], bytes]:
    """A stream of these events."""
    lines = [f"data: {json.dumps(each)}\n\n" for each in sent] + ["data: [DONE]\n\n"]
    return fault(200, "".join(lines), Content_Type="text/event-stream")


def words(*pieces: str, finish: str | None = None) -> list[dict[str, Any]]:
    rows = [{"choices": [{"delta": {"content": piece}}], "usage": None} for piece in pieces]
    end = [{"choices": [{"delta": {}, "finish_reason": finish}]}] if finish else []
    return [*rows, *end]


def returned(stream: Any) -> Completion:
    while True:
        try:
            next(stream)
        except StopIteration as end:
            assert isinstance(end.value, Completion)
            return end.value


@pytest.mark.parametrize(
    ("told", "finish"),
    [("stop", "stop"), ("length", "length"), ("content_filter", "content_filter"), ("eos_token", "stop")],
)
def test_a_streams_usage_and_end_are_what_the_server_says(server: Any, told: str, finish: str) -> None:
    chat = opened(server)
    usage = {"choices": [], "usage": {"prompt_tokens": 70, "completion_tokens": 50}}
    server.faults = [events(*words(" One", " two", finish=told), usage)]
    done = returned(chat.stream(ask("Hello."), GREEDY))
    assert done == Completion(text="One two", prompt_tokens=70, completion_tokens=50, finish=finish)
    paths = [path for path, _ in server.asked]
    assert paths == ["/v1/models", "/v1/chat/completions"], "nothing is counted"
    assert server.asked[-1][1]["stream_options"] == {"include_usage": True}


@pytest.mark.parametrize(("most", "finish"), [(3, "length"), (4, "stop")])
def test_what_a_server_does_not_say_is_counted(server: Any, most: int, finish: str) -> None:
    chat = opened(server)
    server.faults = [events(*words("One", " two", " three"))]
    done = returned(chat.stream(ask("Hello there."), Sampling(max_tokens=most)))
    read = server.model.count_tokens(ask("Hello there."))
    assert (done.prompt_tokens, done.completion_tokens, done.finish) == (read, 3, finish)
    reply = {"choices": [{"message": {"content": "One two three"}}], "usage": None}
    server.faults = [fault(200, json.dumps(reply), **JSON)]
    assert chat.generate([ask("Hello there.")], Sampling(max_tokens=most)) == [done]
    assert [path for path, _ in server.asked].count("/tokenize") == 3, (
        "prompt, text and an empty turn, once each"
    )


def test_a_server_that_knows_no_stream_options_is_asked_without(server: Any) -> None:
    chat = opened(server)
    refusal = {"error": {"message": "Unrecognized request argument supplied: stream_options"}}
    whole = events(*words("One", finish="stop"))
    server.faults = [fault(400, json.dumps(refusal)), whole]
    assert returned(chat.stream(ask("Hello."), GREEDY)).text == "One"
    server.faults = [whole]
    list(chat.stream(ask("Hello."), GREEDY))
    bodies = [body for path, body in server.asked if path.endswith("chat/completions")]
    assert ["stream_options" in body for body in bodies] == [True, False, False]


def test_a_stream_too_learns_the_newer_name_of_the_length_limit(server: Any) -> None:
    chat = opened(server)
    refusal = {"error": {"message": "Unsupported: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    server.faults = [fault(400, json.dumps(refusal)), events(*words("Yes.", finish="stop"))]
    assert "".join(chat.stream(ask("Well?"), GREEDY)) == "Yes."
    bodies = [body for path, body in server.asked if path.endswith("chat/completions")]
    assert [body.get("max_completion_tokens") for body in bodies] == [None, 24]


def test_llama_cpp_lays_out_and_counts(server: Any) -> None:
    laid_out = {"prompt": "<user> Hello. <assistant>"}
    props = {"default_generation_settings": {"n_ctx": 321}}
    server.faults = [fault(200, '{"data": [{"id": "parrot"}]}'), fault(200, json.dumps(props))]
    chat = opened(server)
    assert chat.context == 321
    answers: list[Any] = [{"tokens": []}, laid_out, {"tokens": [5, 6, 7]}]
    server.faults = [fault(200, json.dumps(a)) for a in answers]
    assert chat.count_tokens(ask("Hello.")) == 3
    assert server.asked[-1] == (
        "/tokenize",
        {"content": laid_out["prompt"], "add_special": True, "parse_special": True},
    )


def test_a_server_that_does_not_say_how_much_fits_must_be_told(server: Any) -> None:
    server.faults = [fault(200, '{"data": [{"id": "parrot"}]}'), fault(404)]
    with pytest.raises(InputError, match="how many tokens fit") as caught:
        opened(server)
    assert "endpoint.context" in caught.value.way_out
    server.faults = [fault(200, '{"data": [{"id": "parrot"}]}')]
    assert opened(server, context=77).context == 77


def test_the_newer_name_of_the_length_limit_is_learnt_from_the_refusal(server: Any) -> None:
    refusal = {"error": {"message": "Unsupported: 'max_tokens'. Use 'max_completion_tokens' instead."}}
    reply = {
        "choices": [{"message": {"content": "Yes."}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 1},
    }
    chat = opened(server, concurrency=1)
    server.faults = [fault(400, json.dumps(refusal)), *[fault(200, json.dumps(reply))] * 2]
    assert [c.text for c in chat.generate([ask("Well?")] * 2, GREEDY)] == ["Yes.", "Yes."]
    limits = [body for path, body in server.asked if path.endswith("chat/completions")]
    assert [b.get("max_tokens") for b in limits] == [24, None, None]
    assert [b.get("max_completion_tokens") for b in limits] == [None, 24, 24]


def test_a_schema_a_seed_for_each_prompt_and_a_penalty_are_sent(server: Any) -> None:
    sampling = Sampling(max_tokens=9, seed=5, json_schema='{"type": "object"}', repetition_penalty=1.2)
    opened(server, concurrency=1).generate([ask("One."), ask("Two.")], sampling)
    bodies = [body for path, body in server.asked if path.endswith("chat/completions")]
    assert [b["seed"] for b in bodies] == [5, 6]
    assert bodies[0]["response_format"]["json_schema"]["schema"] == {"type": "object"}
    assert bodies[0]["repetition_penalty"] == bodies[0]["repeat_penalty"] == 1.2
    assert "response_format" not in opened(server)._body(ask("Three."), GREEDY, 0)


def test_a_reply_that_a_provider_withholds_says_so(server: Any) -> None:
    chat = opened(server)
    reply = {
        "choices": [{"message": {"content": None}, "finish_reason": "content_filter"}],
        "usage": {"prompt_tokens": 3, "completion_tokens": 0},
    }
    server.faults = [fault(200, json.dumps(reply))]
    (done,) = chat.generate([ask("Hello.")], GREEDY)
    assert (done.text, done.finish) == ("", "content_filter")


@pytest.mark.parametrize("without", ["/tokenize", "probabilities"])
def test_a_server_without_probabilities_is_a_missing_part(server: Any, without: str) -> None:
    server.without = {without}
    if without == "probabilities":
        server.complete = lambda _: {"choices": [{"text": "x"}]}
    with pytest.raises(MissingPart, match="how probable") as caught:
        opened(server).score([ask("Hello.")], ["Hi."])
    assert "vLLM" in caught.value.way_out


def test_a_layout_that_changes_replies_is_not_scored(openai_server: Callable[..., Any]) -> None:
    """Some layouts put a block of thoughts before the last reply."""

    def layout(messages: list[dict[str, str]], reply: bool) -> list[int]:
        return [1, 2] if reply else [1, 2, 99, 98, 7, 3]

    thinking = openai_server(ScriptedChat(echo), layout, lambda _: [7])
    with pytest.raises(TwinError, match="chat layout"):
        opened(thinking).score([ask("Hello.")], ["Hi."])


@pytest.mark.parametrize(
    "sent", ['data: {"choices": [{"delta": {"content": "One"}}]}\n\n', 'data: {"error": "out of memory"}\n\n']
)
def test_a_stream_that_breaks_off_is_an_error_and_not_a_short_answer(server: Any, sent: str) -> None:
    chat = opened(server)
    server.faults = [fault(200, sent, Content_Type="text/event-stream")]
    with pytest.raises(Unavailable, match=r"broke off|out of memory"):
        list(chat.stream(ask("Hello."), GREEDY))


# --- wiring ----------------------------------------------------------------------------------------------------


def workspace(home: Path, server: Any, **settings: str) -> Workspace:
    lines = [f'url = "{server.url}"', *(f'{key} = "{value}"' for key, value in settings.items())]
    (home / "twin.toml").write_text('[adapters]\nchat = "openai"\n[endpoint]\n' + "\n".join(lines))
    return Workspace(home, load(home))


def test_twin_toml_names_the_endpoint_and_no_setting_shows_the_key(
    openai_server: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = openai_server(ScriptedChat(echo, name="parrot"), key=KEY)
    monkeypatch.setenv("TWIN_ENDPOINT__API_KEY", KEY)
    space = workspace(tmp_path, guarded, model="parrot")
    chat = wiring.open_chat(space, tmp_path / "anywhere")
    assert chat.generate([ask("Hello.")], GREEDY)[0].text == "Hello."
    assert KEY not in repr(space.settings) + space.settings.model_dump_json()


def test_an_endpoint_never_passes_another_model_for_a_trained_twin(server: Any, tmp_path: Path) -> None:
    space = workspace(tmp_path, server)
    with pytest.raises(InputError, match=r"serves no 'wren-0123'"):
        wiring.open_chat(space, tmp_path / "models" / "wren-0123")
    server.model.name = "wren-0123"
    assert wiring.open_chat(space, tmp_path / "models" / "wren-0123").name == "wren-0123"
