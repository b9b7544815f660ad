"""The sliding window, on networks whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from napari_precimed.errors import CancelledError, InputError
from napari_precimed.models.inference import Engine, choose_engine, slide, tile_starts

CPU = Engine(torch.device("cpu"), torch.float32, "test")
TILE = (4, 8, 8)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


@given(
    shape=st.tuples(st.integers(4, 30), st.integers(8, 40), st.integers(8, 40)),
    overlap=st.floats(0, 0.8),
)
@settings(max_examples=60, deadline=None)
def test_tiles_cover_every_voxel_and_stay_inside(shape, overlap):
    covered = np.zeros(shape, bool)
    for z, y, x in tile_starts(shape, TILE, overlap, None):
        assert z + TILE[0] <= shape[0]
        assert y + TILE[1] <= shape[1]
        assert x + TILE[2] <= shape[2]
        covered[z : z + TILE[0], y : y + TILE[1], x : x + TILE[2]] = True
    assert covered.all()


@pytest.mark.parametrize("shape", [(4, 8, 8), (9, 20, 13), (2, 5, 30)])
def test_a_network_that_returns_its_input_gives_back_the_image(shape):
    image = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    found = slide(torch.nn.Identity(), image, CPU, tile=TILE)
    np.testing.assert_allclose(found, sigmoid(image), atol=1e-5)


def test_only_wanted_tiles_are_computed():
    wanted = np.zeros((16, 32, 32), bool)
    wanted[2, 3, 3] = True
    found = slide(torch.nn.Identity(), np.ones(wanted.shape, np.float32), CPU, tile=TILE,
                  wanted=wanted)  # fmt: skip
    assert found[2, 3, 3] == pytest.approx(sigmoid(1))
    assert found[10, 20, 20] == 0
    assert (found > 0).mean() < 0.2


def test_progress_counts_up_to_the_total_and_cancel_stops_between_tiles():
    reports = []

    def cancelled():
        return len(reports) >= 3

    with pytest.raises(CancelledError):
        slide(torch.nn.Identity(), np.zeros((16, 32, 32), np.float32), CPU, tile=TILE, batch=2,
              progress=lambda *report: reports.append(report), cancelled=cancelled)  # fmt: skip
    assert [done for _, done, _ in reports] == [2, 4, 6]
    total = reports[0][2]
    assert total > 6
    reports.clear()
    slide(torch.nn.Identity(), np.zeros((16, 32, 32), np.float32), CPU, tile=TILE,
          progress=lambda *report: reports.append(report))  # fmt: skip
    assert reports[-1][1:] == (total, total)


def test_when_memory_runs_out_the_batch_is_halved_and_the_answer_is_the_same():
    class Small(torch.nn.Module):
        batches: list[int] = []  # noqa: RUF012

        def forward(self, x):
            self.batches.append(len(x))
            if len(x) > 1:
                raise torch.OutOfMemoryError("pretend")
            return x

    network = Small()
    image = np.random.default_rng(0).normal(size=(8, 16, 16)).astype(np.float32)
    found = slide(network, image, CPU, tile=TILE, batch=4)
    np.testing.assert_allclose(found, sigmoid(image), atol=1e-5)
    assert network.batches[:3] == [4, 2, 1]


def test_memory_too_small_for_one_tile_is_an_error_not_a_loop():
    class Hungry(torch.nn.Module):
        def forward(self, x):
            raise torch.OutOfMemoryError("pretend")

    with pytest.raises(torch.OutOfMemoryError):
        slide(Hungry(), np.zeros((8, 16, 16), np.float32), CPU, tile=TILE)


def test_a_device_that_does_not_exist_is_refused_with_those_that_do():
    with pytest.raises(InputError, match="'gpu'; choose one of auto, cpu, cuda, mps"):
        choose_engine("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(InputError, match="no CUDA device here"):
            choose_engine("cuda")


def test_the_engine_says_why():
    engine = choose_engine("cpu")
    assert engine.precision in ("bfloat16", "float32")
    assert "CPU" in engine.reason
