"""Running a network: where, in which precision, tile by tile, with progress and cancel."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from monai.data.utils import compute_importance_map
from numpy.typing import NDArray

from napari_precimed.errors import CancelledError, InputError

Progress = Callable[[str, int, int | None], None]
"""Called as progress(stage, done, total)."""

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Engine:
    """A device that was chosen, the precision it runs well in, and why.

    Attributes
    ----------
    device : torch.device
    dtype : torch.dtype
        Autocast precision; float32 means no autocast.
    reason : str
        Shown to the user and kept in the run record.
    """

    device: torch.device
    dtype: torch.dtype
    reason: str

    @property
    def precision(self) -> str:
        """The precision's name, "bfloat16" or the like."""
        return str(self.dtype).removeprefix("torch.")

    @contextmanager
    def running(self) -> Iterator[None]:
        """Inference mode under this engine's precision."""
        with (
            torch.inference_mode(),
            torch.autocast(self.device.type, self.dtype, enabled=self.dtype != torch.float32),
        ):
            yield


def choose_engine(device: str = "auto") -> Engine:
    """Choose device and precision.

    Parameters
    ----------
    device : {"auto", "cpu", "cuda", "mps"}

    Raises
    ------
    InputError
        If the device does not exist here; the message says what does.
    """
    if device not in DEVICES:
        raise InputError(f"There is no device '{device}'; choose one of {', '.join(DEVICES)}.")
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("There is no CUDA device here that torch can use; choose --device cpu.")
    if device in ("auto", "cuda") and torch.cuda.is_available():
        dtype = torch.bfloat16 if torch.cuda.is_bf16_supported() else torch.float16
        return Engine(torch.device("cuda"), dtype, torch.cuda.get_device_name())
    if device in ("auto", "mps"):
        problem = _mps_problem()
        if problem is None:
            return Engine(torch.device("mps"), torch.float32, "Apple GPU")
        if device == "mps":
            raise InputError(f"The Apple GPU cannot be used: {problem}. Choose --device cpu.")
    if _cpu_has_bfloat16():
        return Engine(torch.device("cpu"), torch.bfloat16, "CPU with bfloat16 instructions")
    return Engine(torch.device("cpu"), torch.float32, "CPU without bfloat16 instructions")


def _cpu_has_bfloat16() -> bool:
    read = getattr(torch.cpu, "get_capabilities", None)  # older torch has none
    capabilities: dict[str, object] = read() if read else {}
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def _mps_problem() -> str | None:
    """Why the Apple GPU cannot run a 3D network, found by running a tiny one; None if it can."""
    if not torch.backends.mps.is_available():
        return "this machine or this torch has none"
    try:
        up = torch.nn.ConvTranspose3d(1, 1, 2, stride=2).to("mps")
        up(torch.zeros(1, 1, 2, 2, 2, device="mps")).cpu()
    except (RuntimeError, NotImplementedError) as error:
        return str(error).splitlines()[0]
    return None


def tile_starts(
    shape: Sequence[int], tile: Sequence[int], overlap: float, wanted: NDArray[np.bool_] | None
) -> list[tuple[int, int, int]]:
    """Where the tiles of a sliding window start.

    Parameters
    ----------
    shape : sequence of 3
        Of the volume (z, y, x), at least the tile's.
    tile : sequence of 3
    overlap : float
        Share of a tile that its neighbour covers again, 0 to below 1.
    wanted : ndarray of bool, shape (z, y, x), or None
        Tiles that hold none of it are left out.
    """
    axes = []
    for size, length in zip(shape, tile, strict=True):
        step = max(1, round(length * (1 - overlap)))
        axes.append(sorted({min(start, size - length) for start in range(0, size, step)}))
    starts = [(z, y, x) for z in axes[0] for y in axes[1] for x in axes[2]]
    if wanted is None:
        return starts
    return [s for s in starts if wanted[_window(s, tile)].any()]


def slide(
    network: torch.nn.Module,
    image: NDArray[np.float32],
    engine: Engine,
    *,
    tile: tuple[int, int, int],
    overlap: float = 0.5,
    batch: int = 4,
    wanted: NDArray[np.bool_] | None = None,
    progress: Progress | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> NDArray[np.float32]:
    """Probability at each voxel, by a sliding window with Gaussian blending.

    Parameters
    ----------
    network : torch.nn.Module
        (batch, 1, z, y, x) of tile shape -> logits of the same shape.
    image : ndarray of float32, shape (z, y, x)
    engine : Engine
    tile : tuple of int
        (z, y, x); a smaller image is mirrored up to it.
    overlap, wanted
        As in `tile_starts`.
    batch : int
        Tiles per pass; halved, down to one, when memory runs out.
    progress, cancelled : callable, optional
        Told and asked after each pass.

    Returns
    -------
    ndarray of float32, shape (z, y, x)
        0 where no tile lay.

    Raises
    ------
    CancelledError
    """
    missing = [max(0, t - n) for t, n in zip(tile, image.shape, strict=True)]
    if any(missing):
        pad = [(0, m) for m in missing]
        wide = np.pad(image, pad, mode="symmetric")
        part = None if wanted is None else np.pad(wanted, pad)
        whole = slide(
            network, wide, engine, tile=tile, overlap=overlap, batch=batch, wanted=part,
            progress=progress, cancelled=cancelled,
        )  # fmt: skip
        return whole[tuple(slice(n) for n in image.shape)]
    starts = tile_starts(image.shape, tile, overlap, wanted)
    blend = _Blend(image.shape, tile)
    network = on_engine(network, engine)
    done = 0
    while done < len(starts):
        if cancelled and cancelled():
            raise CancelledError("Cancelled; nothing was changed.")
        group = starts[done : done + batch]
        tiles = np.stack([image[_window(start, tile)] for start in group])[:, None]
        try:
            found = _predict(network, tiles, engine)
        except (torch.OutOfMemoryError, MemoryError):
            if batch == 1:
                raise
            batch = max(1, batch // 2)
            _free_memory(engine)
            continue
        blend.add(group, found[:, 0])
        done += len(group)
        if progress:
            progress("segment", done, len(starts))
    return blend.mean()


class _Blend:
    """A Gaussian-weighted mean of overlapping tiles."""

    def __init__(self, shape: tuple[int, ...], tile: tuple[int, int, int]) -> None:
        bell = compute_importance_map(tile, mode="gaussian", sigma_scale=0.125).numpy()
        self.bell = np.maximum(bell, 1e-3).astype(np.float32)
        self.total = np.zeros(shape, np.float32)
        self.weight = np.zeros(shape, np.float32)

    def add(self, starts: Sequence[Sequence[int]], tiles: NDArray[np.float32]) -> None:
        for start, tile in zip(starts, tiles, strict=True):
            window = _window(start, self.bell.shape)
            self.total[window] += tile * self.bell
            self.weight[window] += self.bell

    def mean(self) -> NDArray[np.float32]:
        """0 where no tile lay; the sums are used up."""
        return np.divide(self.total, self.weight, out=self.total, where=self.weight > 0)


def on_engine(network: torch.nn.Module, engine: Engine) -> torch.nn.Module:
    """The network on the engine's device, in the memory order in which 3D convolution is fast."""
    channels_last: Any = {"memory_format": torch.channels_last_3d}  # not in torch's stubs
    return network.to(engine.device, **channels_last)


def _predict(
    network: torch.nn.Module, tiles: NDArray[np.float32], engine: Engine
) -> NDArray[np.float32]:
    with engine.running():
        image = torch.from_numpy(tiles).to(engine.device, memory_format=torch.channels_last_3d)
        return torch.sigmoid(network(image).float()).cpu().numpy()


def _window(start: Sequence[int], tile: Sequence[int]) -> tuple[slice, ...]:
    return tuple(slice(s, s + n) for s, n in zip(start, tile, strict=True))


def _free_memory(engine: Engine) -> None:
    gc.collect()
    if engine.device.type == "cuda":
        torch.cuda.empty_cache()
