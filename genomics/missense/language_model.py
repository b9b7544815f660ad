"""Pre-training: a language model learns to name residues of proteins from those around them.

No label is needed for it. The missense networks start from its weights. Proteins that resemble a
gene of validation or test are left out, so that nothing of those families is known beforehand.
"""

from __future__ import annotations

import math
import pickle
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from genomics.catalogue import LANGUAGE_MODEL
from genomics.encode import ALPHABET, GAP, UNKNOWN, encode_letters
from genomics.errors import ModelError
from genomics.families import find_relatives
from genomics.missense.networks import LanguageModel, NetworkConfig

_END = 16
"""Empty places on either side of a protein: the networks learn what its ends look like."""

Log = Callable[[str], None]
Tokens = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class PretrainOptions:
    """How the language model is fitted.

    Attributes
    ----------
    epochs : int
        Passes over the proteins; the learning rate falls to zero along a cosine.
    batch : int
        Chunks per step.
    learning_rate, weight_decay : float
        Of Adam with decoupled weight decay.
    bfloat16 : bool
        Run the LSTMs in bfloat16: 0.6 of the time on a CPU that has it, far slower on others.
    seed : int
    """

    epochs: int = 4
    batch: int = 64
    learning_rate: float = 3e-3
    weight_decay: float = 1e-2
    bfloat16: bool = False
    seed: int = 0


def read_language_model(folder: Path) -> dict[str, torch.Tensor]:
    """Return the weights of the language model in a model's folder, as float32.

    Raises
    ------
    ModelError
        They are missing or damaged.
    """
    path = folder / LANGUAGE_MODEL
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
        return {name: value.float() for name, value in state.items()}
    except (OSError, RuntimeError, AttributeError, pickle.UnpicklingError) as error:
        raise ModelError(f"{path}: damaged ({error}); train or install again") from error


def relatives_among(proteins: Mapping[str, str], held_out: Mapping[str, Sequence[str]]) -> set[str]:
    """Return the names of the proteins that resemble a held-out gene.

    See :mod:`genomics.families` for what resembling means. The names of the two may coincide.
    """
    apart = {f"held out: {name}": pieces for name, pieces in held_out.items()}
    pairs = find_relatives(apart, {name: [sequence] for name, sequence in proteins.items()})
    return {protein for _, protein in pairs}


def pretrain(
    proteins: Mapping[str, str],
    held_out: Mapping[str, str],
    network: NetworkConfig,
    options: PretrainOptions,
    log: Log = print,
) -> tuple[LanguageModel, dict[str, Any]]:
    """Fit a language model to proteins.

    Parameters
    ----------
    proteins, held_out : mapping of str to str
        Sequences to learn from, and those of held-out families, which are only measured.
    network : NetworkConfig
        Hyper-parameters of the missense network that shall start from it.

    Returns
    -------
    model, report
        ``report`` has the perplexity on the held-out families (in ``history``, on the first
        300,000 of their residues) and of the baseline on the same residues: the frequency of each
        residue among the proteins learnt from.
    """
    began = time.perf_counter()
    torch.manual_seed(options.seed)
    draw = np.random.default_rng(options.seed)
    model = network.build_language_model()
    optimiser = torch.optim.AdamW(
        model.parameters(), lr=options.learning_rate, weight_decay=options.weight_decay
    )
    stream, check = _streamed(proteins, model.length), _streamed(held_out, model.length)
    steps = options.epochs * math.ceil(_chunks(stream, model.length) / options.batch)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimiser, options.learning_rate, total_steps=steps + options.epochs, pct_start=0.05
    )
    history = []
    for epoch in range(options.epochs):
        total = count = 0.0
        for tokens in _batches(stream, model.length, options.batch, draw):
            loss, known = _loss(model, tokens, options.bfloat16)
            optimiser.zero_grad()
            (loss / known).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimiser.step()
            schedule.step()
            total, count = total + loss.item(), count + known
        history.append({"train": math.exp(total / count), "held_out": perplexity(model, check)})
        log(
            f"language model, epoch {epoch + 1}: perplexity {history[-1]['train']:.3f}, held-out "
            f"families {history[-1]['held_out']:.3f}, {time.perf_counter() - began:.0f} s"
        )
    return model, {
        "proteins": len(proteins),
        "residues": sum(map(len, proteins.values())),
        "held_out_proteins": len(held_out),
        "held_out_residues": sum(map(len, held_out.values())),
        "perplexity": perplexity(model, check, most=len(check)),
        "perplexity_unigram": unigram_perplexity(stream, check),
        "history": history,
        "seconds": round(time.perf_counter() - began, 1),
    }


def _streamed(proteins: Mapping[str, str], length: int) -> Tokens:
    """Return all proteins behind each other, with empty places between them.

    At least two chunks of ``length`` long, so that one can be cut anywhere.
    """
    ends = "-" * _END
    text = ends + ends.join(proteins[name] for name in sorted(proteins)) + ends
    text = text.ljust(2 * length, "-")
    return encode_letters([text])[0].numpy().astype(np.uint8)


def _chunks(stream: Tokens, chunk: int) -> int:
    return max(1, len(stream) // chunk - 1)


def _batches(
    stream: Tokens, length: int, batch: int, draw: np.random.Generator
) -> Iterator[torch.Tensor]:
    """Yield the whole stream once, cut at places that differ from epoch to epoch."""
    first = int(draw.integers(max(1, min(length, len(stream) - length))))
    starts = draw.permutation(first + length * np.arange(_chunks(stream, length)))
    for part in np.split(starts, range(batch, len(starts), batch)):
        yield torch.from_numpy(stream[part[:, None] + np.arange(length)].astype(np.int64))


def _loss(
    model: LanguageModel, tokens: torch.Tensor, bfloat16: bool = False
) -> tuple[torch.Tensor, int]:
    """Return the summed cross-entropy of the hidden residues, and how many there are."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bfloat16):
        logits, hidden = model.predict(tokens)
    targets = torch.where(hidden & (tokens != UNKNOWN), tokens, GAP).reshape(-1)
    loss = nn.functional.cross_entropy(
        logits.float().reshape(-1, len(ALPHABET)), targets, ignore_index=GAP, reduction="sum"
    )
    return loss, int((targets != GAP).sum())


def perplexity(model: LanguageModel, stream: Tokens, most: int = 300_000) -> float:
    """Return exp of the mean cross-entropy over at most the first ``most`` places of a stream."""
    model.eval()
    total = count = 0.0
    rows = stream[: max(1, min(most, len(stream)) // model.length) * model.length]
    chunks = torch.from_numpy(rows.reshape(-1, model.length).astype(np.int64))
    with torch.inference_mode(), torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        for tokens in chunks.split(256):
            loss, known = _loss(model, tokens)
            total, count = total + loss.item(), count + known
    model.train()
    return math.exp(total / count)


def unigram_perplexity(learnt: Tokens, stream: Tokens) -> float:
    """Return the perplexity of ``stream`` under the residue frequencies of ``learnt``."""
    known = [index for index in range(len(ALPHABET)) if index not in (GAP, UNKNOWN)]
    frequency = np.bincount(learnt, minlength=len(ALPHABET))[known] + 1.0
    count = np.bincount(stream, minlength=len(ALPHABET))[known]
    return math.exp(-(count * np.log(frequency / frequency.sum())).sum() / count.sum())


def zero_shot(
    model: LanguageModel, windows: Sequence[str], mutants: Sequence[str]
) -> npt.NDArray[np.float64]:
    """Return how much less the language model expects each mutant than the wild type, shape (n,).

    A scorer that no label has taught: the log-odds of the residue in the middle of the window
    against the mutant, given all the others. Higher means more likely pathogenic.
    """
    tokens, changed = encode_letters(windows), encode_letters(mutants).reshape(-1)
    middle = tokens.shape[1] // 2
    wild_type = tokens[:, middle].clone()
    tokens[:, middle] = UNKNOWN
    model.eval()
    with torch.inference_mode():
        logits = torch.cat([model.logits(part)[:, middle] for part in tokens.split(1024)])
    rows = torch.arange(len(logits))
    return (logits[rows, wild_type] - logits[rows, changed]).double().numpy()
