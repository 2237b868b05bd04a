"""Half a surrogate pair is refused by every route that takes text, and every other text is taken."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError
from starlette.testclient import TestClient

from llm_twin.serving.written import Text

HALF = "\\ud800"
JSON = {"content-type": "application/json"}
TURN = f'{{"role": "user", "content": "salt {HALF}"}}'
WHOLE = '{"role": "user", "content": "salt"}'
SCHEMA = f'{{"type": "json_schema", "json_schema": {{"name": "a", "schema": {{"enum": ["{HALF}"]}}}}}}'
BODIES = [
    ("/v1/chat/completions", f'{{"messages": [{TURN}]}}'),
    ("/v1/chat/completions", f'{{"messages": [{TURN}], "model": "wren-marlow:plain"}}'),
    ("/v1/chat/completions", f'{{"messages": [{TURN}, {WHOLE}]}}'),
    (
        "/v1/chat/completions",
        f'{{"messages": [{{"role": "user", "content": [{{"type": "text", "text": "{HALF}"}}]}}]}}',
    ),
    ("/v1/chat/completions", f'{{"messages": [{WHOLE}], "stop": ["{HALF}"]}}'),
    ("/v1/chat/completions", f'{{"messages": [{WHOLE}], "model": "{HALF}"}}'),
    ("/v1/chat/completions", f'{{"messages": [{WHOLE}], "response_format": {SCHEMA}}}'),
    ("/v1/chat/completions", f'{{"messages": [{WHOLE}], "{HALF}": 1}}'),
    ("/v1/embeddings", f'{{"input": "{HALF}"}}'),
    ("/v1/embeddings", f'{{"input": ["salt", "{HALF}"]}}'),
    ("/v1/embeddings", f'{{"input": "salt", "model": "{HALF}"}}'),
    ("/search", f'{{"query": "salt {HALF}"}}'),
    ("/search", f'{{"query": "salt", "author": "{HALF}"}}'),
    ("/search", f'{{"query": "salt", "platform": "{HALF}"}}'),
    ("/voice", f'{{"text": "salt {HALF}"}}'),
    ("/render", f'{{"text": "salt {HALF}"}}'),
    ("/jobs", f'{{"questions": ["salt {HALF}"]}}'),
    *(
        (
            "/feedback",
            f'{{"model": "wren-marlow", "question": "a", "answer": "b", "edit": "c", "{field}": "{HALF}"}}',
        )
        for field in ("model", "question", "answer", "edit")
    ),
]


def test_no_route_takes_half_a_surrogate_pair(client: Callable[..., TestClient]) -> None:
    made = client()
    for path, body in BODIES:
        response = made.post(path, content=body, headers=JSON)
        assert response.status_code == 422, (path, body, response.text)
        assert response.json()["error"]["code"] == "invalid_request"
    assert made.get("/traces").json() == {"total": 0, "traces": []}
    mended = [
        made.post(path, content=body.replace(HALF, "a"), headers=JSON).status_code for path, body in BODIES
    ]
    assert mended.count(422) == 1, "one has a field that there is not"


@given(st.text(st.characters(exclude_categories=())))
def test_what_can_be_written_down_is_text_and_nothing_else(text: str) -> None:
    adapter: TypeAdapter[Any] = TypeAdapter(Text)
    if any("\ud800" <= letter <= "\udfff" for letter in text):
        with pytest.raises(ValidationError, match="surrogate"):
            adapter.validate_python(text)
    else:
        assert adapter.validate_python(text) == text
