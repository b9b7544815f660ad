"""Listening, the token, and ending: with a signal, or with the program that started the service."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import logging
import os
import socket
import sys
import threading
from dataclasses import dataclass, field
from pathlib import Path

import uvicorn

from genomics.errors import InputError
from genomics.service.access import LOOPBACK_NAMES, Guard, new_token, write_token
from genomics.service.api import Desk, build_app
from genomics.service.jobs import JobBook
from genomics.service.limits import Limits
from genomics.service.orders import Places
from genomics.service.pool import WorkerPool
from genomics.service.storage import Storage

_GRACE_SECONDS = 2
_MAX_CONNECTIONS = 128


@dataclass(frozen=True)
class ServeOptions:
    """How to serve.

    Attributes
    ----------
    host, port : str, int
        Port 0 takes a free one.
    token_file : Path or None
        Where the token goes; None prints it with the address.
    child : bool
        Started by a program on this machine: orders may name files by path, and the service ends
        when its standard input does.
    references : Path or None
        The folder of FASTA and GFF3 files that orders may name.
    allow_hosts : tuple of str
        Further names by which clients reach the service: its own, or its proxy's.
    ssl_certfile, ssl_keyfile : Path or None
    limits : Limits
    """

    host: str = "127.0.0.1"
    port: int = 0
    token_file: Path | None = None
    child: bool = False
    references: Path | None = None
    allow_hosts: tuple[str, ...] = ()
    ssl_certfile: Path | None = None
    ssl_keyfile: Path | None = None
    limits: Limits = field(default_factory=Limits)


def serve(options: ServeOptions) -> None:
    """Serve until stopped by Ctrl-C, SIGTERM or, for a child, the end of standard input.

    One line of JSON on stdout says the address (``url``), the process (``pid``) and the token
    (``token``, or ``token_file`` where it lies). The token is new at each start.

    Raises
    ------
    InputError
        The address cannot be listened on, or would send a genome in the clear.
    """
    _check(options)
    _log_to_stderr()
    token = new_token()
    listener = _listen(options.host, options.port)
    storage = Storage()
    try:
        server = uvicorn.Server(_config(options, token, storage))
        if options.token_file is not None:
            write_token(options.token_file, token)
        _announce(options, listener, token)
        if options.child:
            threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
        with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises the signal again at its end
            server.run(sockets=[listener])
    finally:
        storage.close()
        _remove_token(options.token_file, token)


def _check(options: ServeOptions) -> None:
    if (options.ssl_certfile is None) != (options.ssl_keyfile is None):
        raise InputError("--ssl-certfile and --ssl-keyfile go together; give both or neither")
    for file in (options.ssl_certfile, options.ssl_keyfile):
        if file is not None and not file.is_file():
            raise InputError(f"{file}: no such file; give the certificate and its key as PEM")
    if options.references is not None and not options.references.is_dir():
        raise InputError(f"{options.references}: no such folder; it holds the FASTA and GFF3 files")
    if _is_loopback(options.host):
        return
    if options.ssl_certfile is None:
        raise InputError(
            f"--host {options.host} can be reached from other machines: give --ssl-certfile and "
            "--ssl-keyfile, or stay on 127.0.0.1 behind a proxy that speaks TLS"
        )
    if not options.allow_hosts:
        raise InputError(
            f"--host {options.host} can be reached from other machines: give the name that "
            "clients use with --allow-host"
        )


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family)
    except (OSError, OverflowError) as error:
        raise InputError(
            f"{host}:{port}: cannot be listened on: {error}; choose another --host or --port"
        ) from error


def _config(options: ServeOptions, token: str, storage: Storage) -> uvicorn.Config:
    limits = options.limits
    book = JobBook(limits, storage)
    pool = WorkerPool(book, limits, storage.root)
    places = Places(options.child, options.references)
    guarded = Guard(
        build_app(Desk(book, storage, pool, limits, places)),
        token=token,
        hosts=(*LOOPBACK_NAMES, *options.allow_hosts),
        max_upload_bytes=limits.upload_bytes,
    )
    return uvicorn.Config(
        guarded,
        loop="asyncio",
        http="h11",
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="warning",
        access_log=False,  # it would hold ids; the guard writes ours
        proxy_headers=False,
        server_header=False,
        limit_concurrency=_MAX_CONNECTIONS,
        timeout_graceful_shutdown=_GRACE_SECONDS,
        ssl_certfile=options.ssl_certfile,
        ssl_keyfile=options.ssl_keyfile,
    )


def _announce(options: ServeOptions, listener: socket.socket, token: str) -> None:
    scheme = "https" if options.ssl_certfile else "http"
    host = f"[{options.host}]" if ":" in options.host else options.host
    line = {"url": f"{scheme}://{host}:{listener.getsockname()[1]}", "pid": os.getpid()}
    if options.token_file is None:
        line["token"] = token
    else:
        line["token_file"] = str(options.token_file)
    print(json.dumps(line), flush=True)


def _end_with_parent(server: uvicorn.Server) -> None:
    # Not sys.stdin: its lock, held by this thread, would stop the interpreter from ending.
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass
    server.should_exit = True


def _remove_token(path: Path | None, token: str) -> None:
    """Remove the token file, unless another service has written its own meanwhile."""
    with contextlib.suppress(OSError, UnicodeError):
        if path is not None and path.read_text(encoding="ascii").strip() == token:
            path.unlink()


def _log_to_stderr() -> None:
    logging.basicConfig(
        stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s", level=logging.WARNING
    )
    logging.getLogger("genomics.service").setLevel(logging.INFO)
