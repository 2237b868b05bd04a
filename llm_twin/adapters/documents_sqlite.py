"""A DocumentStore in one SQLite file: every version of every document, kept through kill -9 and power loss.

A save is on the disk when it returns (write-ahead log, synchronous FULL), and several processes may read and
write at once. The statements are plain SQLAlchemy, so that another database can serve them; what only SQLite
needs sits in `_connect` and `_explain`. Not covered: changing a store that another release's schema made.
"""

import itertools
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from llm_twin.errors import InputError, TwinError
from llm_twin.ports import Saved
from llm_twin.types import Document

SCHEMA = 1
_PAGE = 200
_BUSY_SECONDS = 30
_START_AGAIN = "restore it from a copy, or move it away and run `twin collect` again"

_tables = sa.MetaData()
_schema = sa.Table("schema_version", _tables, sa.Column("version", sa.Integer, primary_key=True))
_versions = sa.Table(
    "document_versions",
    _tables,
    sa.Column("id", sa.String, primary_key=True),
    sa.Column("version", sa.Integer, primary_key=True),
    sa.Column("author", sa.String, nullable=False, index=True),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("payload", sa.JSON, nullable=False),
    sa.Column("saved_at", sa.DateTime(timezone=True), nullable=False),
)


class SqliteDocuments:
    """The documents in the file at `path`, made with its folder when absent; ":memory:" forgets on close.

    Raises InputError when the file is damaged, is something else, or was made by another release's schema,
    and TwinError when it can't be opened, read or written.
    """

    def __init__(self, path: Path | str) -> None:
        self._name = str(path)
        self._closed = False
        with _plainly(self._name):
            if self._name != ":memory:":
                Path(path).parent.mkdir(parents=True, exist_ok=True)
            self._engine = _connect(self._name)
            self._prepare()

    def save(self, document: Document) -> Saved:
        """Store `document`; "same" when its digest is already the current version's. Durable on return."""
        mine = sa.select(_versions.c.version, _versions.c.digest).where(_versions.c.id == document.id)
        with self._transaction(write=True) as db:
            current = db.execute(mine.order_by(_versions.c.version.desc()).limit(1)).first()
            if current is not None and current.digest == document.digest:
                return "same"
            version = 1 if current is None else current.version + 1
            db.execute(sa.insert(_versions).values(_row(document, version)))
        return "new" if current is None else "changed"

    def get(self, document_id: str) -> Document:
        """The current version; raises InputError when there is none."""
        versions = self.versions(document_id)
        if not versions:
            raise InputError(f"no document {document_id} in {self._name}")
        return versions[-1]

    def documents(self, author: str | None = None) -> Iterator[Document]:
        """Current versions, ordered by id. The store may be written to while this runs."""
        last = ""
        while page := self._page(author, last):
            yield from page
            last = page[-1].id

    def versions(self, document_id: str) -> list[Document]:
        """All versions, oldest first; empty when the id is unknown."""
        wanted = sa.select(_versions.c.payload).where(_versions.c.id == document_id)
        return self._read(wanted.order_by(_versions.c.version))

    def remove(self, document_id: str) -> None:
        """Remove a document and its versions; unknown ids are ignored."""
        with self._transaction(write=True) as db:
            db.execute(sa.delete(_versions).where(_versions.c.id == document_id))

    def verify(self) -> list[str]:
        """What is wrong with the stored data, a line each; empty when every page and row reads well."""
        try:
            with self._transaction() as db:
                told = [str(row[0]) for row in db.exec_driver_sql("PRAGMA integrity_check")]
            broken = [f"{self._name}: {line}" for line in told if line != "ok"]
            return broken or [line for d in self.documents() for line in self._doubles(d.id)]
        except TwinError as error:
            return [str(error)]

    def close(self) -> None:
        """Release the file; calling it twice is harmless."""
        self._closed = True
        self._engine.dispose()

    def _prepare(self) -> None:
        with self._transaction(write=True) as db:
            names = set(sa.inspect(db).get_table_names())
            if names and _schema.name not in names:
                raise InputError(f"{self._name} is a database of something else", "choose another --home")
            if not names:
                _tables.create_all(db)
                db.execute(sa.insert(_schema).values(version=SCHEMA))
            found = db.execute(sa.select(_schema.c.version)).scalar_one()
        if found != SCHEMA:
            raise InputError(
                f"{self._name} has schema {found} and this release reads schema {SCHEMA}",
                "install the release that made it, or collect again into another --home",
            )

    @contextmanager
    def _transaction(self, write: bool = False) -> Iterator[sa.Connection]:
        if self._closed:
            raise TwinError(f"{self._name} was closed")
        with _plainly(self._name), self._engine.execution_options(write=write).begin() as db:
            yield db

    def _page(self, author: str | None, after: str) -> list[Document]:
        newer = _versions.alias("newer")
        newest = sa.select(sa.func.max(newer.c.version)).where(newer.c.id == _versions.c.id).scalar_subquery()
        page = sa.select(_versions.c.payload).where(_versions.c.id > after, _versions.c.version == newest)
        if author is not None:
            page = page.where(_versions.c.author == author)
        return self._read(page.order_by(_versions.c.id).limit(_PAGE))

    def _read(self, wanted: sa.Select[Any]) -> list[Document]:
        with self._transaction() as db:
            return [Document.model_validate(payload) for payload in db.execute(wanted).scalars()]

    def _doubles(self, document_id: str) -> list[str]:
        pairs = itertools.pairwise(self.versions(document_id))
        return [f"{self._name}: {document_id} is stored twice" for a, b in pairs if a.digest == b.digest]


def _row(document: Document, version: int) -> dict[str, Any]:
    return {
        "id": document.id,
        "version": version,
        "author": document.author,
        "kind": document.kind,
        "digest": document.digest,
        "payload": document.model_dump(mode="json"),
        "saved_at": datetime.now(UTC),
    }


def _connect(name: str) -> sa.Engine:
    engine = sa.create_engine(
        sa.URL.create("sqlite", database=name),
        poolclass=sa.StaticPool if name == ":memory:" else sa.QueuePool,
        connect_args={"timeout": _BUSY_SECONDS, "check_same_thread": False},
    )

    @sa.event.listens_for(engine, "connect")
    def set_up(connection: sqlite3.Connection, _: object) -> None:
        connection.isolation_level = None  # transactions begin below, not where the driver guesses
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")

    @sa.event.listens_for(engine, "begin")
    def begin(db: sa.Connection) -> None:
        # A writer takes the lock before it reads, so that no two find the same version to be the newest.
        db.exec_driver_sql("BEGIN IMMEDIATE" if db.get_execution_options().get("write") else "BEGIN")

    return engine


@contextmanager
def _plainly(name: str) -> Iterator[None]:
    """Turn the ways a store can fail into the house's errors, naming the file."""
    try:
        yield
    except DatabaseError as error:
        raise _explain(name, error.orig) from error
    except sqlite3.Error as error:  # while connecting, SQLAlchemy passes the driver's own on
        raise _explain(name, error) from error
    except ValueError as error:
        raise InputError(f"{name} holds a row that is no document: {error}", _START_AGAIN) from error
    except OSError as error:
        raise TwinError(
            f"{name} can't be opened: {error.strerror}", "check the path and its rights"
        ) from error


def _explain(name: str, error: BaseException | None) -> TwinError:
    code = str(getattr(error, "sqlite_errorname", ""))
    if code.startswith(("SQLITE_CORRUPT", "SQLITE_NOTADB")):
        return InputError(f"{name} is damaged or is no document store: {error}", _START_AGAIN)
    if code.startswith("SQLITE_FULL"):
        return TwinError(
            f"no room left on the disk for {name}; what was being saved is not", "free some space"
        )
    if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
        return TwinError(f"{name} can't be written: {error}", "check its rights and those of its folder")
    if code.startswith("SQLITE_BUSY"):
        return TwinError(f"{name} was busy for {_BUSY_SECONDS} seconds", "let the other command finish first")
    return TwinError(f"{name} failed: {error}", "look at the disk it lies on")
