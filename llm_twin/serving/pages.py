"""What the chat page needs beside the API: Markdown made safe for it. Its files are in web/app/.

The page is static and asks the API for all it shows. Its files hold nothing of the author's, so they need no
key. Not covered: who may ask the API (door), and which headers every answer carries (door).
"""

from fastapi import APIRouter, Request
from pydantic import Field

from llm_twin.serving.refusals import declared
from llm_twin.serving.render import html_of
from llm_twin.serving.room import Room
from llm_twin.types import Value

MOST_CHARACTERS = 50_000
"""Of a text to render."""


class Markdown(Value):
    """The body of POST /render."""

    text: str = Field(max_length=MOST_CHARACTERS)


class Rendered(Value):
    """The answer of POST /render: HTML that is safe to show."""

    html: str


def page_routes(room: Room) -> APIRouter:
    """The routes; work is done in `room`."""
    router = APIRouter()

    @router.post("/render", responses=declared(413, 429), tags=["page"])
    async def render(given: Markdown, request: Request) -> Rendered:
        """Markdown as HTML without scripts, images, or links to anything but the web and mail."""
        return Rendered(html=await room.one(lambda: html_of(given.text), request))

    return router
