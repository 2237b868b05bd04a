"""What somebody wrote, in any field of a request: text that can be kept and shown."""

from typing import Annotated

from pydantic import AfterValidator


def whole(text: str) -> str:
    """`text`; ValueError for half a surrogate pair, which JSON can spell and no file, tokenizer or answer can hold."""
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("half a surrogate pair is no text") from None
    return text


Text = Annotated[str, AfterValidator(whole)]
