"""Who is asking, as far as it matters: the authors whose writing they may see, and whose jobs are theirs."""

from typing import Annotated

from fastapi import Depends, Request

from llm_twin.serving.refusals import Refusal

Authors = frozenset[str] | None
"""None: everyone's, which is so on a machine of one's own without keys."""


def authors_of(request: Request) -> Authors:
    """The authors that the door (see `door`) found for this request's key."""
    authors: Authors = request.state.authors
    return authors


Seen = Annotated[Authors, Depends(authors_of)]


def owner_of(request: Request) -> str | None:
    """What stands for this request's key on the jobs it makes; None without keys, where every job is one's own."""
    owner: str | None = request.state.owner
    return owner


Owner = Annotated[str | None, Depends(owner_of)]


def may_see(seen: Authors, author: str) -> bool:
    """Whether writing by `author` may be shown."""
    return seen is None or author in seen


def chosen(seen: Authors, wanted: str | None, own: str) -> str:
    """The author to search: `wanted`, else `own` if it may be seen, else the key's first. Refusal (403) otherwise."""
    if wanted is not None and not may_see(seen, wanted):
        raise Refusal(403, f"this key does not see writing by {wanted}", "author_not_allowed", "author")
    return wanted or (own if may_see(seen, own) else sorted(seen or {own})[0])
