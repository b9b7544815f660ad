"""``python -m genomics``: score a VCF, train a model, evaluate one.

Exit codes: 0 done; 2 the input or the options are wrong, said in one line; 3 the work failed.
With ``--json`` one JSON object goes to stdout and nothing else; progress goes to stderr.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import typer

from genomics.errors import CancelledError, InputError

EXIT_INPUT, EXIT_FAILED = 2, 3
_INTERRUPTED = 130
"""What typer returns after Ctrl-C."""
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""A mistyped command line; typer does not export click's name for it."""

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Variants of one patient: read, placed in their genes, scored. Not a medical device.",
)


@app.command()
def score(
    vcf: Path = typer.Argument(help="VCF, plain, gzip or bgzip."),
    out: Path = typer.Option(..., "-o", "--out", help="OUT.tsv, OUT.vcf or OUT.vcf.gz."),
    reference: Path | None = typer.Option(None, help="FASTA; not needed for an annotated VCF."),
    genes: Path | None = typer.Option(None, help="GFF3; goes with --reference."),
    sample: str | None = typer.Option(None, help="The patient's column, where there are several."),
    model: str = typer.Option("missense-lstm", help="A built-in model, or a trained one's folder."),
    workers: int = typer.Option(1, min=1, help="Processes that share the work, by chromosome."),
    cluster: str | None = typer.Option(
        None, help="Address of a Dask scheduler whose workers share the work; [cluster] extra."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Score the variants of one sample: a score, a class by rule, or a reason for each."""
    from genomics.output import check_output
    from genomics.score import score_vcf

    check_output(out, vcf)
    report = score_vcf(
        vcf,
        sample=sample,
        reference=reference,
        genes=genes,
        model=model,
        progress=_counted,
        out=out,
        workers=workers,
        cluster=cluster,
    )
    ledger = report.ledger
    if as_json:
        summary = {"sample": report.sample_id, "ledger": ledger, "out": str(out)}
        print(json.dumps(summary | {"run": dict(report.run)}, indent=1))
        return
    print(
        f"{ledger['alleles']} alleles of {ledger['records']} records = {ledger['scored']} scored "
        f"+ {ledger['by_rule']} by rule + {sum(ledger['not_scored'].values())} not scored"
    )
    for reason, count in ledger["not_scored"].items():
        print(f"  {count:7}  {reason}")
    print(f"wrote {out}")


def _counted(done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        of = "" if total is None else f" of {total}"
        print(f"\r{done}{of} records", end="\n" if done == total else "", file=sys.stderr)


@app.command()
def train(
    name: str = typer.Argument(help="The model to train: missense-lstm."),
    data: Path = typer.Option(..., help="Table of labelled variants, or the folder that holds it."),
    out: Path = typer.Option(..., help="Folder to write; must not exist."),
    epochs: int = typer.Option(20, min=1, help="At most; training stops early by itself."),
    members: int = typer.Option(3, min=1, help="Networks in the ensemble."),
    flank: int = typer.Option(50, min=1, max=50, help="Residues read on either side."),
    seed: int = typer.Option(0, help="Of initialisation and shuffling; the split has its own."),
) -> None:
    """Train a model on a table of labelled variants, genes split."""
    from genomics.lstm import FlankLstmConfig
    from genomics.training import FitOptions, train_missense

    _expect_missense(name)
    config = train_missense(
        data,
        out,
        FlankLstmConfig(flank=flank, members=members),
        FitOptions(epochs=epochs, seed=seed),
        log=_say,
    )
    best = max(max(history) for history in config["training"]["history"])
    _say(f"wrote {out}; best validation AUROC of one network {best:.3f}")


@app.command()
def evaluate(
    name: str = typer.Argument(help="A built-in model, or the folder of a trained one."),
    data: Path = typer.Option(..., help="Table of labelled variants, or the folder that holds it."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Measure a model on genes that neither training nor validation has seen."""
    from genomics.evaluation import evaluate_missense

    result = evaluate_missense(name, data)
    if as_json:
        print(json.dumps(result, indent=1))
        return
    n = result["n"]
    print(f"{result['model']} on {n['cases']} variants of {n['genes']} genes")
    print(
        f"left out: {n['left_out_seen_cases']} of genes that training or validation saw, "
        f"{n['left_out_seen_windows']} whose protein window they saw under another gene's symbol"
    )
    for metric, figure in result["metrics"].items():
        print(f"  {metric:26} {_figure(figure)}")


def _figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"not defined (n {figure['n']})"
    low, high = figure["ci95"]
    interval = "" if low is None else f" (95 % CI {low:.3f} to {high:.3f})"
    return f"{figure['value']:.3f}{interval}, n {figure['n']}"


def _expect_missense(name: str) -> None:
    if name != "missense-lstm":
        raise InputError(f"{name}: no such recipe; the only one is missense-lstm")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def run(command: Callable[[], Any]) -> int:
    """Run a command and turn its errors into one line and an exit code."""
    try:
        code = command()
        if code == _INTERRUPTED:
            raise KeyboardInterrupt
    except _UsageError as error:
        _say_usage(error)
        return EXIT_INPUT
    except InputError as error:
        _say(f"genomics: {error}")
        return EXIT_INPUT
    except (CancelledError, KeyboardInterrupt, typer.Abort):
        _say("genomics: cancelled; nothing was written")
        return EXIT_FAILED
    except Exception as error:
        _say(f"genomics: the work failed: {type(error).__name__}: {error}")
        return EXIT_FAILED
    return code or 0


def _say_usage(error: Any) -> None:
    message = " ".join(error.format_message().split())
    if message:  # it is empty where the help was printed instead
        command = error.ctx.command_path if error.ctx else "genomics"
        _say(f"genomics: {message.rstrip('.')}. See: {command} --help")


def main() -> None:
    """Parse the command line, run and exit."""
    # A scheduler's stop ends as Ctrl-C does: half-written output is removed on the way out.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(run(lambda: app(prog_name="python -m genomics", standalone_mode=False)))


if __name__ == "__main__":
    main()
