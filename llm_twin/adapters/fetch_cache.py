"""Pages fetched before, on disk, so that a server can answer "not modified".

One file a URL: a line of JSON (URL, content type, validators, digest of the body), then the body. Files
are written atomically, and one that does not read back whole is as good as none: the page is fetched
again. Nothing is ever removed here; deleting the folder is always safe.
"""

import hashlib
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True)
class CachedPage:
    """A page as it was last sent, and what the server wants to hear to say whether it still is."""

    url: str
    content_type: str
    etag: str
    modified: str
    body: bytes

    @property
    def conditions(self) -> dict[str, str]:
        """Request headers that ask for the page only if it changed."""
        wanted = {"If-None-Match": self.etag, "If-Modified-Since": self.modified}
        return {name: value for name, value in wanted.items() if value}


class PageCache:
    """Pages by URL in a folder; with no folder nothing is kept."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder

    def load(self, url: str) -> CachedPage | None:
        """The page of `url` as it was saved, or None."""
        path = self._path(url)
        if path is None or not path.is_file():
            return None
        head, _, body = path.read_bytes().partition(b"\n")
        try:
            about = json.loads(head)
            if about.pop("sha256") != hashlib.sha256(body).hexdigest() or about["url"] != url:
                return None
            return CachedPage(body=body, **about)
        except (ValueError, KeyError, TypeError, AttributeError):
            return None

    def save(self, page: CachedPage) -> None:
        """Keep `page`; it is on the disk whole or not at all."""
        path = self._path(page.url)
        if path is None:
            return
        about = {name: value for name, value in asdict(page).items() if name != "body"}
        about["sha256"] = hashlib.sha256(page.body).hexdigest()
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(json.dumps(about).encode("ascii") + b"\n" + page.body)
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise

    def _path(self, url: str) -> Path | None:
        name = hashlib.sha256(url.encode("utf-8")).hexdigest()
        return None if self._folder is None else self._folder / name[:2] / name
