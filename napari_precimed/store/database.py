"""Opening the database, and saying what is wrong when it refuses."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import platformdirs
from sqlalchemy import Engine, create_engine, event, inspect, select, update
from sqlalchemy import text as sql
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.orm import Session

from napari_precimed.errors import StoreError
from napari_precimed.store.tables import SCHEMA_VERSION, UPGRADES, Base, SchemaVersion

URL_VARIABLE = "PRECIMED_DATABASE"
BUSY_TIMEOUT_S = 10
"""How long SQLite waits for another program that is writing; `?timeout=` in the URL overrides."""

_SQLITE_MAGIC = b"SQLite format 3\0"
_ELSEWHERE = f"set {URL_VARIABLE} to"
_MENDS = (
    ("locked", "another program is writing to it; close that program and try again"),
    ("readonly", f"no permission to write there; {_ELSEWHERE} a place that you may write"),
    ("unable to open", f"no permission, or no folder; {_ELSEWHERE} a place that you may write"),
    ("not a database", f"it is no SQLite database; move it away, or {_ELSEWHERE} another file"),
    ("malformed", f"it is damaged; restore it from a copy, or {_ELSEWHERE} another file"),
    ("disk is full", f"the disk is full; free some space, or {_ELSEWHERE} another disk"),
)


def default_url() -> str:
    """The URL in PRECIMED_DATABASE, else a SQLite file in the platform's data folder."""
    folder = Path(platformdirs.user_data_dir("napari-precimed", appauthor=False))
    return os.environ.get(URL_VARIABLE) or f"sqlite:///{(folder / 'cases.sqlite').as_posix()}"


def open_engine(text: str) -> Engine:
    """An engine for a SQLAlchemy URL; nothing is connected yet.

    Raises
    ------
    StoreError
        If it is no URL, its driver is not installed, or its folder cannot be made.
    """
    try:
        url = make_url(text)
        engine = create_engine(url, json_serializer=_to_json, connect_args=_connect_args(url))
    except (ArgumentError, NoSuchModuleError, ValueError) as error:
        raise StoreError(
            f"'{_without_password(text)}' is not the URL of a database; give {URL_VARIABLE} one "
            "like sqlite:////home/me/cases.sqlite or postgresql+psycopg://user@host/cases."
        ) from error
    except ImportError as error:
        raise StoreError(
            f"The driver of {url.drivername} is not installed ({error}); pip install {error.name}."
        ) from error
    if url.get_backend_name() == "sqlite":
        _prepare_place(url)
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def transaction(engine: Engine, *, writing: bool) -> Iterator[Session]:
    """A session in one transaction: all of it happens, or nothing.

    Raises
    ------
    StoreError
        If the database refuses; names it and the mend.
    """
    try:
        # IMMEDIATE takes the write lock at once, where SQLite waits for it; a later upgrade of a
        # reading transaction would fail without waiting.
        options = engine.execution_options(precimed_begin="IMMEDIATE" if writing else "DEFERRED")
        with Session(options) as session, session.begin():
            yield session
    except SQLAlchemyError as error:
        raise StoreError(_worded(engine.url, error)) from error


def prepare_tables(engine: Engine) -> None:
    """Make the tables where there are none, and bring those of an earlier release up to date.

    Raises
    ------
    StoreError
        If the database was made by a newer version, or refuses.
    """
    with transaction(engine, writing=True) as session:
        if not inspect(session.connection()).has_table(SchemaVersion.__tablename__):
            Base.metadata.create_all(session.connection())
            session.add(SchemaVersion(version=SCHEMA_VERSION))
        found = session.scalars(select(SchemaVersion.version)).first()
        for version in range(found or SCHEMA_VERSION, SCHEMA_VERSION):
            for statement in UPGRADES[version]:
                session.execute(sql(statement))
            session.execute(update(SchemaVersion).values(version=version + 1))
            found = version + 1
    if found != SCHEMA_VERSION:
        raise StoreError(
            f"{shown(engine.url)} has tables of version {found}, this release reads version "
            f"{SCHEMA_VERSION}; update napari-precimed, or set {URL_VARIABLE} to another database."
        )


def shown(url: URL) -> str:
    """The database as the user may read it: the file, or the URL without its password."""
    if url.get_backend_name() == "sqlite":
        return f"The case database '{url.database or 'in memory'}'"
    return f"The case database {url.render_as_string(hide_password=True)}"


def _worded(url: URL, error: SQLAlchemyError) -> str:
    cause = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
    for sign, mend in _MENDS:
        if sign in cause.lower():
            return f"{shown(url)} cannot be used: {mend} ({cause})."
    return f"{shown(url)} refused: {cause}."


def _without_password(text: str) -> str:
    """A text that failed to parse as a URL may still hold a password before its @."""
    return text.rpartition("@")[2] if "@" in text else text


def _connect_args(url: URL) -> dict[str, Any]:
    given = url.get_backend_name() != "sqlite" or "timeout" in url.query
    return {} if given else {"timeout": BUSY_TIMEOUT_S}


def _prepare_place(url: URL) -> None:
    """Make the folder of a SQLite file, and refuse a file that is something else.

    SQLite itself would take a file of a few bytes for an empty database, and overwrite it.
    """
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        return
    path = Path(url.database)
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)  # patients' data: the owner's
        start = b""
        if path.exists():
            with path.open("rb") as stream:
                start = stream.read(len(_SQLITE_MAGIC))
    except OSError as error:
        raise StoreError(
            f"The case database '{path}' cannot be opened: {error.strerror}; {_ELSEWHERE} a place "
            "that you may write."
        ) from error
    if start and start != _SQLITE_MAGIC:
        raise StoreError(
            f"'{path}' is no SQLite database; move it away, or {_ELSEWHERE} another file."
        )


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    connection.isolation_level = None  # we say BEGIN ourselves, so that DDL is in it too
    for pragma in ("foreign_keys=ON", "journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}").close()


def _begin_sqlite(connection: Any) -> None:
    mode = connection.get_execution_options().get("precimed_begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {mode}")


def _to_json(value: Any) -> str:
    return json.dumps(value, allow_nan=False, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    """What the standard encoder does not know: NumPy's values and paths."""
    if isinstance(value, (np.generic, np.ndarray)):
        return value.tolist()
    if isinstance(value, Path):
        return str(value)
    raise TypeError(f"{value!r} cannot be kept with a case: it is no JSON value")
