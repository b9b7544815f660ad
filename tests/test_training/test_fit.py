"""The training loop: killed and resumed, shared by two processes, taught by its own average."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import toy_fit

from napari_precimed.errors import CancelledError, InputError
from napari_precimed.training.fit import FitOptions, FitState, fit
from napari_precimed.training.journal import Journal, open_tensorboard
from napari_precimed.training.ranks import Ranks
from napari_precimed.training.teacher import Unlabelled, disagreement, ramp

SCRIPT = Path(toy_fit.__file__)
TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2"]
TORCHRUN += ["--standalone"]


def history(folder: Path) -> list[dict[str, float]]:
    return json.loads((folder / "history.json").read_text())


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no SIGKILL")
def test_a_run_that_was_killed_draws_the_same_curve(tmp_path):
    whole, _ = toy_fit.run(tmp_path / "whole", dropout=0.3)
    folder = tmp_path / "killed"
    child = subprocess.Popen([sys.executable, str(SCRIPT), str(folder)])
    while not (folder / "last.pt").exists() and child.poll() is None:
        time.sleep(0.02)
    time.sleep(random.uniform(0.0, 2.0))
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL, "it ended before it was killed"
    reached = torch.load(folder / "last.pt", weights_only=True)["state"]["step"]
    assert 0 < reached < toy_fit.OPTIONS.steps
    resumed, _ = toy_fit.run(folder, dropout=0.3, resume=True)
    assert resumed.history == whole.history
    assert history(folder) == history(tmp_path / "whole")
    assert resumed.best_step == whole.best_step


def test_a_cancelled_run_loses_no_step(tmp_path):
    answers = iter([False] * 10 + [True])
    with pytest.raises(CancelledError, match="at step 10"):
        fit(toy_fit.network(0.0), toy_fit.batch, toy_fit.loss, lambda n: 0.0,
            replace(toy_fit.OPTIONS, save_every_s=1e9), tmp_path,
            cancelled=lambda: next(answers))  # fmt: skip
    assert torch.load(tmp_path / "last.pt", weights_only=True)["state"]["step"] == 10


@pytest.mark.slow
def test_two_processes_reach_what_one_reaches(tmp_path):
    alone, network = toy_fit.run(tmp_path / "alone", dropout=0.0)
    both = tmp_path / "both"
    done = subprocess.run([*TORCHRUN, str(SCRIPT), str(both), "together"], capture_output=True,
                          text=True, timeout=120)  # fmt: skip
    assert done.returncode == 0, done.stderr
    weights = torch.load(both / "weights.pt", weights_only=True)
    for name, value in network.state_dict().items():
        torch.testing.assert_close(weights[name], value, rtol=1e-4, atol=1e-5)
    ours = np.array([[h["loss"], h["score"]] for h in alone.history])
    theirs = np.array([[h["loss"], h["score"]] for h in history(both)])
    np.testing.assert_allclose(theirs, ours, rtol=1e-4, atol=1e-6)


@pytest.mark.slow
def test_an_error_in_one_process_ends_both_with_its_message(tmp_path):
    done = subprocess.run([*TORCHRUN, str(SCRIPT), str(tmp_path), "together", "broken"],
                          capture_output=True, text=True, timeout=120)  # fmt: skip
    assert done.returncode != 0
    told = [line for line in done.stderr.splitlines() if line.startswith("told: ")]
    assert {line.split(": ")[-1] for line in told} == {"the second process met a broken scan"}


@pytest.mark.slow
def test_torchrun_on_the_command_line_says_a_mistake_once(tmp_path):
    done = subprocess.run(
        [*TORCHRUN, "-m", "napari_precimed", "train", "unet", "--data", str(tmp_path / "none"),
         "--out", str(tmp_path / "out"), "--device", "cpu"],
        capture_output=True, text=True, timeout=120, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode != 0
    assert done.stderr.count("There are no scans at") == 1, done.stderr


def test_a_batch_is_shared_out_whole_and_not_among_too_many():
    parts = [list(range(7))[Ranks(k, 3).slice_of(7)] for k in range(3)]
    assert [case for part in parts for case in part] == list(range(7))
    assert all(parts)
    with pytest.raises(InputError, match="A batch of 2 cannot be shared among 3"):
        Ranks(0, 3).slice_of(2)


def test_without_patience_it_trains_to_the_end(tmp_path):
    options = FitOptions(steps=30, validate_every=1, patience=None)
    state = fit(torch.nn.Linear(1, 1), lambda s: {"x": torch.ones(2, 1)},
                lambda n, b: n(b["x"]).mean(), lambda n: 0.0, options, tmp_path)  # fmt: skip
    assert state.step == 30
    assert FitState(step=20, best_step=1).settled(replace(options, patience=5))


def test_the_loss_is_taken_in_the_precision_of_the_engine(tmp_path):
    seen = []

    def loss(network, given):
        out = network(given["x"])
        seen.append(out.dtype)
        return out.float().mean()

    for precision in ("float32", "bfloat16"):
        fit(torch.nn.Linear(1, 1), lambda s: {"x": torch.ones(2, 1)}, loss, lambda n: 0.0,
            FitOptions(steps=1).on("cpu", precision), tmp_path)  # fmt: skip
    assert seen == [torch.float32, torch.bfloat16]


def _taught(tmp_path: Path, name: str, *, n_labelled: int, unlabelled: bool) -> tuple[float, int]:
    """Two rings of points, few of them labelled; accuracy on new points, and lessons seen."""
    rng = np.random.default_rng(0)

    def points(n: int) -> tuple[torch.Tensor, torch.Tensor]:
        y = rng.integers(0, 2, n)
        angle = rng.uniform(0, 2 * np.pi, n)
        radius = 1 + 1.2 * y + rng.normal(0, 0.12, n)
        x = np.stack([radius * np.cos(angle), radius * np.sin(angle)], 1)
        return torch.from_numpy(x.astype(np.float32)), torch.from_numpy(y[:, None]).float()

    x, y = points(n_labelled)
    free, _ = points(400)
    new_x, new_y = points(500)
    lessons = []

    def consistency(network, teacher, given):
        lessons.append(len(given["image"]))
        return disagreement(network, teacher, given["image"])

    torch.manual_seed(3)
    network = torch.nn.Sequential(torch.nn.Linear(2, 32), torch.nn.ReLU(), torch.nn.Linear(32, 1))
    source = Unlabelled(lambda s: {"image": free[np.random.default_rng(s).integers(400, size=32)]},
                        consistency)  # fmt: skip
    fit(network, lambda s: {"x": x, "y": y},
        lambda n, b: torch.nn.functional.binary_cross_entropy_with_logits(n(b["x"]), b["y"]),
        lambda n: float(((n(new_x) > 0) == (new_y > 0)).float().mean()),
        FitOptions(steps=150, validate_every=150, ema_decay=0.95, learning_rate=1e-2,
                   warmup_steps=5),
        tmp_path / name, unlabelled=source if unlabelled else None)  # fmt: skip
    with torch.inference_mode():
        return float(((network(new_x) > 0) == (new_y > 0)).float().mean()), len(lessons)


def test_unlabelled_data_enter_the_training_and_do_no_harm(tmp_path):
    without, none = _taught(tmp_path, "without", n_labelled=12, unlabelled=False)
    with_them, lessons = _taught(tmp_path, "with", n_labelled=12, unlabelled=True)
    assert none == 0
    assert lessons == 150
    assert with_them >= without - 0.02
    ours, theirs = (torch.load(tmp_path / name / "last.pt", weights_only=True)["network"]
                    for name in ("with", "without"))  # fmt: skip
    assert not torch.equal(ours["0.weight"], theirs["0.weight"])


def test_the_teacher_counts_for_nothing_at_first_and_is_never_taught():
    assert ramp(0, 100) == pytest.approx(np.exp(-5))
    assert ramp(50, 100) < ramp(99, 100) < ramp(100, 100) == ramp(1000, 100) == 1
    network, teacher = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
    loss = disagreement(network, teacher, torch.randn(4, 2))
    loss.backward()
    assert network.weight.grad is not None
    assert teacher.weight.grad is None


def test_lines_of_progress_name_the_time_left():
    lines: list[str] = []
    journal = Journal(lines.append, 100)
    journal.after_step(1, 0.5, 1e-3)
    journal.after_validation(1, 0.5, 0.25, (0.25, 1))
    assert "step 1/100" in lines[-1]
    assert "validation 0.2500" in lines[-1]
    assert lines[-1].endswith("left")


def test_tensorboard_shows_loss_learning_rate_and_validation(tmp_path):
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    journal = Journal(None, 10, open_tensorboard(tmp_path, 0, print))
    for step in range(1, 4):
        journal.after_step(step, 1 / step, 1e-3)
    journal.after_validation(3, 0.5, 0.25, (0.25, 3))
    journal.close()
    events = accumulator.EventAccumulator(str(tmp_path))
    events.Reload()
    assert {"loss", "learning_rate", "validation"} <= set(events.Tags()["scalars"])
    assert [round(e.value, 3) for e in events.Scalars("loss")] == [1.0, 0.5, 0.333]
