"""Who may ask: looked at before a request's body is read.

The Host header must name this service, or a web page could reach it under a name of its own (DNS
rebinding). A request that a web page sent (``Origin``) is refused: the service is for programs, and
it sends no CORS headers. The token is compared in constant time.
"""

from __future__ import annotations

import hmac
import json
import logging
import os
import secrets
import tempfile
import time
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

from fastapi import HTTPException

from genomics.errors import OutputError

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

STATUS_PATH = "/jobs/{job_id}"
MAX_JSON_BYTES = 64 * 1024
LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
_TOKEN_BYTES = 32

log = logging.getLogger("genomics.service")


class Guard:
    """Refuses what is not for this service, counts bodies, and writes the access log.

    Parameters
    ----------
    app : ASGI application
    token : str
    hosts : sequence of str
        Names that a Host header may give, without port.
    max_upload_bytes : int
        Of the body of a PUT; other bodies may have `MAX_JSON_BYTES`.
    """

    def __init__(
        self, app: App, *, token: str, hosts: tuple[str, ...], max_upload_bytes: int
    ) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()
        self._hosts = frozenset(host.lower() for host in hosts)
        self._max_upload_bytes = max_upload_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                # Results are a patient's: no cache may keep them.
                message["headers"] = [*message.get("headers", ()), (b"cache-control", b"no-store")]
            await send(message)

        try:
            refusal = self._refusal(scope)
            if refusal is None:
                await self._app(scope, self._counted(scope, receive), noted)
            else:
                await _answer(noted, *refusal)
        finally:
            _note(scope, status, time.perf_counter() - began)

    def _refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = dict(scope["headers"])
        host = _without_port(headers.get(b"host", b"").decode("latin-1"))
        if host not in self._hosts:
            return 421, "this service does not go by that name; see --allow-host"
        if b"origin" in headers:
            return 403, "requests of web pages are refused"
        if not hmac.compare_digest(headers.get(b"authorization", b""), self._expected):
            return 401, "the token is missing or wrong; send Authorization: Bearer TOKEN"
        if int(_digits(headers.get(b"content-length", b"0"))) > self._limit(scope):
            return 413, self._too_large(scope)
        return None

    def _limit(self, scope: Scope) -> int:
        return self._max_upload_bytes if scope["method"] == "PUT" else MAX_JSON_BYTES

    def _too_large(self, scope: Scope) -> str:
        limit = self._limit(scope)
        mend = "compress or split the VCF" if scope["method"] == "PUT" else "send less"
        return f"the body is larger than {limit} bytes, the limit of this service; {mend}"

    def _counted(self, scope: Scope, receive: Receive) -> Receive:
        """Count what comes: a body sent in chunks announces no length."""
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            if got > self._limit(scope):
                raise HTTPException(413, self._too_large(scope))
            return message

        return counted


def _without_port(host: str) -> str:
    """Return the name of a Host header: ``[::1]:80`` is ``::1``."""
    if host.startswith("["):
        return host[1:].partition("]")[0].lower()
    return host.partition(":")[0].lower()


def _digits(value: bytes) -> bytes:
    return value if value.isdigit() else b"0"


async def _answer(send: Send, status: int, detail: str) -> None:
    body = json.dumps({"detail": detail}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    if status == 401:
        headers.append((b"www-authenticate", b"Bearer"))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def _note(scope: Scope, status: int, seconds: float) -> None:
    """Log a request by its path's pattern: no id, no name, no query, no address.

    Looking where a job is goes without a line: a client does so several times a second.
    """
    path = getattr(scope.get("route"), "path", "(no such path)" if status == 404 else "(refused)")
    polled = status == 200 and scope["method"] == "GET" and path == STATUS_PATH
    level = logging.DEBUG if polled else logging.INFO
    log.log(level, "%s %s %d %.0f ms", scope["method"], path, status, 1000 * seconds)


def new_token() -> str:
    """Return 256 random bits in letters that a header can hold."""
    return secrets.token_urlsafe(_TOKEN_BYTES)


def write_token(path: Path, token: str) -> None:
    """Write the token to a file that only its user can read (mode 600; on Windows, the folder's).

    Raises
    ------
    OutputError
    """
    try:
        # mkstemp makes the file with mode 600: at no moment can another user read it.
        handle, draft = tempfile.mkstemp(dir=path.absolute().parent, prefix=f".{path.name}.")
        with os.fdopen(handle, "w", encoding="ascii") as stream:
            stream.write(f"{token}\n")
        Path(draft).replace(path)
    except OSError as error:
        raise OutputError(
            f"{path}: the token cannot be written: {error.strerror or error}; name another file"
        ) from error
