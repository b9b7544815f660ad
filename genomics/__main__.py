"""``python -m genomics``: score a VCF, explain a variant, train and evaluate models, serve.

Exit codes: 0 done; 2 the input or the options are wrong, said in one line; 3 the work failed.
With ``--json`` one JSON object goes to stdout and nothing else; progress goes to stderr.
"""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import typer

from genomics.errors import CancelledError, InputError

EXIT_INPUT, EXIT_FAILED = 2, 3
_INTERRUPTED = 130
"""What typer returns after Ctrl-C."""
_UsageError: type[Exception] = typer.BadParameter.__bases__[0]
"""A mistyped command line; typer does not export click's name for it."""

_LENIENT = "Read on where a line breaks a rule of form only; what was let pass is reported."

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Variants of one patient: read, placed in their genes, scored. Not a medical device.",
)


@app.command()
def score(
    vcf: Path = typer.Argument(help="VCF, plain, gzip or bgzip."),
    out: Path = typer.Option(..., "-o", "--out", help="OUT.tsv, OUT.json, OUT.vcf or OUT.vcf.gz."),
    reference: Path | None = typer.Option(None, help="FASTA; not needed for an annotated VCF."),
    genes: Path | None = typer.Option(None, help="GFF3; goes with --reference."),
    sample: str | None = typer.Option(None, help="The patient's column, where there are several."),
    model: str = typer.Option("missense-lstm", help="A built-in model, or a trained one's folder."),
    lenient: bool = typer.Option(False, help=_LENIENT),
    workers: int = typer.Option(1, min=1, help="Processes that share the work, by chromosome."),
    cluster: str | None = typer.Option(
        None, help="Address of a Dask scheduler whose workers share the work; [cluster] extra."
    ),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Score the variants of one sample: a score, a class by rule, or a reason for each."""
    from genomics.ledger import ledger_lines
    from genomics.output import check_output
    from genomics.score import score_vcf

    check_output(out, vcf)
    report = score_vcf(
        vcf,
        sample=sample,
        reference=reference,
        genes=genes,
        model=model,
        lenient=lenient,
        looked=lambda found: _say("\n".join(found.lines())),
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
    print("\n".join(ledger_lines(ledger)))
    if "deviations" in report.run:
        print(f"let pass: {report.run['deviations']['total']} lines that break a rule of form")
    print(f"wrote {out}")


def _counted(done: int, total: int | None) -> None:
    if sys.stderr.isatty():
        of = "" if total is None else f" of {total}"
        print(f"\r{done}{of} records", end="\n" if done == total else "", file=sys.stderr)


@app.command()
def check(
    vcf: Path = typer.Argument(help="VCF, plain, gzip or bgzip."),
    reference: Path | None = typer.Option(None, help="FASTA that the VCF should be on."),
    lenient: bool = typer.Option(False, help=_LENIENT),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Say what a VCF is: build, names, REF, order, phase, sex, origin; and why it is refused."""
    from genomics.preflight import preflight

    found = preflight(vcf, reference, lenient=lenient)
    if as_json:
        print(json.dumps(found.to_dict(), indent=1))
    else:
        print("\n".join(found.lines()))
    found.refuse()


@app.command()
def train(
    name: str = typer.Argument(
        help="missense-lstm, missense-transformer, nucleotide-lstm or gene-function."
    ),
    data: Path = typer.Option(..., help="Table of labelled variants, or the folder that holds it."),
    out: Path = typer.Option(..., help="Folder to write; must not exist."),
    epochs: int | None = typer.Option(
        None, min=0, help="At most; training stops early. A missense model's come after its head's."
    ),
    head_epochs: int = typer.Option(6, min=0, help="At most; of the classifier alone."),
    members: int | None = typer.Option(None, min=1, help="Networks in the ensemble."),
    flank: int | None = typer.Option(
        None, min=1, max=100, help="Residues (at most 50) or bases read on either side."
    ),
    seed: int = typer.Option(0, help="Of initialisation and shuffling; the split has its own."),
    pretrain_epochs: int = typer.Option(4, min=1, help="Passes over proteins.fasta.gz."),
    language_model: Path | None = typer.Option(
        None, help="A trained model's folder: take its language model, pre-train none."
    ),
    checkpoints: Path | None = typer.Option(
        None, help="Folder that keeps each fitted network; a stopped training goes on from it."
    ),
    bfloat16: bool = typer.Option(False, help="Faster on a CPU that has it, else far slower."),
) -> None:
    """Train a model on labelled variants or genes; genes of one family stay in one part."""
    if name == "nucleotide-lstm":
        _train_nucleotide(data, out, epochs or 20, members or 3, flank, seed)
        return
    if name == "gene-function":
        _train_gene_function(data, out, epochs or 20, seed)
        return
    from genomics.missense.language_model import PretrainOptions
    from genomics.training import RECIPES, FitOptions, train_missense

    _expect_recipe(name, (*RECIPES, "nucleotide-lstm", "gene-function"))
    if flank is not None and flank > 50:
        raise InputError(f"--flank {flank}: {name} reads at most 50 residues")
    asked: dict[str, Any] = {"flank": flank or 50} | ({"members": members} if members else {})
    config = train_missense(
        data,
        out,
        RECIPES[name](**asked),
        FitOptions(
            epochs=3 if epochs is None else epochs,
            head_epochs=head_epochs,
            seed=seed,
            bfloat16=bfloat16,
        ),
        language_model or PretrainOptions(epochs=pretrain_epochs, seed=seed, bfloat16=bfloat16),
        log=_say,
        name=name,
        checkpoints=checkpoints,
    )
    best = max(max(history) for history in config["training"]["history"])
    _say(f"wrote {out}; best validation AUROC of one network {best:.3f}")


def _train_gene_function(data: Path, out: Path, epochs: int, seed: int) -> None:
    from genomics.gene_function.training import GeneFunctionFitOptions, train_gene_function

    options = GeneFunctionFitOptions(epochs=epochs, seed=seed)
    config = train_gene_function(data, out, options=options, log=_say)
    best = max(config["training"]["history"])
    _say(f"wrote {out}; best validation balanced accuracy {best:.3f}")


def _train_nucleotide(
    data: Path, out: Path, epochs: int, members: int, flank: int | None, seed: int
) -> None:
    from genomics.nucleotide.network import NucleotideLstmConfig
    from genomics.nucleotide.training import NucleotideFitOptions, train_nucleotide

    network = NucleotideLstmConfig(members=members)
    network = network if flank is None else replace(network, flank=flank)
    options = NucleotideFitOptions(epochs=epochs, seed=seed)
    config = train_nucleotide(data, out, network, options, log=_say)
    spoken = [name for name, verdict in config["verdicts"].items() if verdict["scores"]]
    _say(f"wrote {out}; it scores {', '.join(spoken) or 'no class'}")


@app.command()
def evaluate(
    name: str = typer.Argument(help="A built-in model, or the folder of a trained one."),
    data: Path = typer.Option(..., help="Table of labelled variants, or the folder that holds it."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Measure a model on genes that neither training nor validation has seen."""
    from genomics.catalogue import open_model

    kind = open_model(name).name
    if kind != "missense-lstm":
        other = {"nucleotide-lstm": _evaluate_nucleotide, "gene-function": _evaluate_gene_function}
        other[kind](name, data, as_json)
        return
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


def _evaluate_nucleotide(name: str, data: Path, as_json: bool) -> None:
    from genomics.nucleotide.evaluation import evaluate_nucleotide

    result = evaluate_nucleotide(name, data)
    if as_json:
        print(json.dumps(result, indent=1))
        return
    n = result["n"]
    print(
        f"{result['model']} on {n['cases']} variants of {n['genes']} genes and "
        f"{n['elements']} regulatory elements"
    )
    for metric, figure in result["metrics"].items():
        print(f"  {metric:30} {_figure(figure)}")
    for each in result["subgroups"]:
        print(f"  {each['name']}: {'scored' if each['scores'] else 'silent'}")
        for metric, figure in each["metrics"].items():
            print(f"    {metric:28} {_figure(figure)}")


def _evaluate_gene_function(name: str, data: Path, as_json: bool) -> None:
    from genomics.gene_function.training import evaluate_gene_function

    result = evaluate_gene_function(name, data)
    if as_json:
        print(json.dumps(result, indent=1))
        return
    print(
        f"{result['model']} on {result['n']['genes']} genes of {result['n']['families']} families"
    )
    for metric, figure in result["metrics"].items():
        print(f"  {metric:30} {_figure(figure)}")
    for each in result["subgroups"]:
        ours, kmers = (each["metrics"][key]["value"] for key in ("recall", "recall_kmers"))
        print(f"  {each['name']:28} recall {ours:.2f}, k-mers {kmers:.2f}, n {each['genes']}")


@app.command()
def explain(
    variant: str = typer.Argument(help="chrom:pos:ref:alt, or chrom-pos-ref-alt."),
    reference: Path = typer.Option(..., help="FASTA."),
    genes: Path = typer.Option(..., help="GFF3."),
    out: Path = typer.Option(..., "-o", "--out", help="OUT.png or OUT.tsv."),
    model: str = typer.Option("missense-lstm", help="A built-in model, or a trained one's folder."),
    data: Path | None = typer.Option(None, help="Labelled table to look for precedents in."),
    as_json: bool = typer.Option(False, "--json", help="Print one JSON object on stdout."),
) -> None:
    """Say what moved the score of one missense variant, and which labelled ones are like it."""
    from genomics.explain.of_variant import explain_variant, parse_variant
    from genomics.explain.output import ENDINGS, write_explanation
    from genomics.output import check_output

    parse_variant(variant)
    check_output(out, reference, ENDINGS)
    found = explain_variant(variant, reference, genes, model, data)
    write_explanation(found, out)
    if as_json:
        print(json.dumps(found.to_dict() | {"out": str(out)}, indent=1))
        return
    why = found.explanation
    print(f"{found.title}: probability {found.probability:.3f}, doubt {found.doubt:.3f}")
    for row in why.strongest():
        print(f"  {row['residue']}{row['offset']:+d} ({row['role']}): {row['attribution']:+.3f}")
    print(f"agreement {why.agreement:.2f}, completeness error {why.completeness_error:.4f}")
    for each in found.precedents:
        print(f"  {each}")
    print(f"wrote {out}")


@app.command()
def serve(
    host: str = typer.Option("127.0.0.1", help="Others than loopback need a certificate."),
    port: int = typer.Option(0, min=0, max=65535, help="0 takes a free one."),
    token_file: Path | None = typer.Option(None, help="Write the token there, not on stdout."),
    child: bool = typer.Option(
        False, "--child", help="Read files by path, and end when standard input ends."
    ),
    references: Path | None = typer.Option(None, help="Folder of FASTA and GFF3 files to offer."),
    allow_host: list[str] = typer.Option([], help="A name that clients use; may be repeated."),
    ssl_certfile: Path | None = typer.Option(None, help="Certificate chain, PEM."),
    ssl_keyfile: Path | None = typer.Option(None, help="Its private key, PEM."),
    workers: int = typer.Option(0, min=0, max=64, help="Jobs at one time; 0: half the cores."),
    jobs: int = typer.Option(64, min=1, help="Jobs held at one time, with kept results."),
    upload_mib: float = typer.Option(2048, min=0.001, help="Largest VCF that is taken."),
    job_minutes: float = typer.Option(60, min=0.001, help="A longer job is ended."),
    job_memory_gib: float = typer.Option(4, min=0.01, help="A larger job is ended."),
    keep_minutes: float = typer.Option(15, min=0.001, help="Results are dropped after this."),
) -> None:
    """Score for other programs over HTTP; see docs/sidecar.md."""
    from genomics.service import limits
    from genomics.service import server as service

    service.serve(
        service.ServeOptions(
            host=host,
            port=port,
            token_file=token_file,
            child=child,
            references=references,
            allow_hosts=tuple(allow_host),
            ssl_certfile=ssl_certfile,
            ssl_keyfile=ssl_keyfile,
            limits=limits.Limits(
                workers=workers or limits.default_workers(),
                jobs=jobs,
                upload_bytes=round(upload_mib * 2**20),
                job_seconds=60 * job_minutes,
                job_memory_bytes=round(job_memory_gib * limits.GIB),
                keep_seconds=60 * keep_minutes,
            ),
        )
    )


def _figure(figure: dict[str, Any]) -> str:
    if figure["value"] is None:
        return f"not defined (n {figure['n']})"
    low, high = figure["ci95"]
    interval = "" if low is None else f" (95 % CI {low:.3f} to {high:.3f})"
    return f"{figure['value']:.3f}{interval}, n {figure['n']}"


def _expect_recipe(name: str, recipes: Iterable[str]) -> None:
    if name not in recipes:
        raise InputError(f"{name}: no such recipe; there are {', '.join(recipes)}")


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
