"""Messages between the window and its computing process: pickles whose arrays travel unpickled.

Large arrays go over the pipe as raw buffers (pickle protocol 5, out of band), so that neither side
holds the interpreter lock while hundreds of megabytes are copied.
"""

from __future__ import annotations

import io
import pickle
import struct
from typing import IO, Any, BinaryIO

import numpy as np

_HEADER = struct.Struct("<QI")
_LENGTH = struct.Struct("<Q")


class _Pickler(pickle.Pickler):
    """Makes arrays contiguous first: only contiguous ones leave their bytes out of the pickle."""

    def reducer_override(self, obj: Any) -> Any:
        if type(obj) is np.ndarray and not (obj.flags.c_contiguous or obj.flags.f_contiguous):
            return np.ascontiguousarray(obj).__reduce_ex__(5)
        return NotImplemented


def send(stream: IO[bytes], message: Any) -> None:
    """Write one message; both ends must be the same version of this package."""
    buffers: list[pickle.PickleBuffer] = []
    body = io.BytesIO()
    _Pickler(body, protocol=5, buffer_callback=buffers.append).dump(message)
    raw = [buffer.raw() for buffer in buffers]
    stream.write(_HEADER.pack(body.tell(), len(raw)))
    stream.write(b"".join(_LENGTH.pack(part.nbytes) for part in raw))
    stream.write(body.getbuffer())
    for part in raw:
        stream.write(part)
    stream.flush()


def receive(stream: BinaryIO) -> Any:
    """Read one message.

    Raises
    ------
    EOFError
        If the other end is gone.
    """
    body_size, n_buffers = _HEADER.unpack(_read(stream, _HEADER.size))
    sizes = [_LENGTH.unpack(_read(stream, _LENGTH.size))[0] for _ in range(n_buffers)]
    body = _read(stream, body_size)
    return pickle.loads(body, buffers=[_read(stream, size) for size in sizes])


def _read(stream: BinaryIO, size: int) -> bytearray:
    data = bytearray(size)
    view, got = memoryview(data), 0
    while got < size:
        n = stream.readinto(view[got:])  # type: ignore[attr-defined]
        if not n:
            raise EOFError
        got += n
    return data
