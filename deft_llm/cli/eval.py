"""``deft-llm eval`` and ``calibrate``, also ``eval/run.py`` and ``eval/calibrate.py``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm import resources
from deft_llm.cli.console import JsonFile, check_output, log_progress, show, stoppable
from deft_llm.errors import UserError
from deft_llm.metrics.figures import report

_LEADERBOARD, _EXPORT = "leaderboard", "export"  # in place of a benchmark


def evaluate(
    benchmark: Annotated[
        str,
        typer.Argument(
            help="a YAML file, or one of ours: simulated, casme2, mevqa …; leaderboard joins "
            "results, export writes a task for another harness"
        ),
    ],
    overrides: Annotated[
        list[str] | None,
        typer.Argument(
            help="dotted changes, e.g. corpus=/data/CASME2; for leaderboard: folders of results"
        ),
    ] = None,
    models: Annotated[
        str | None, typer.Option(help="entries to run, e.g. ststnet,htnet (recognition)")
    ] = None,
    seeds: Annotated[int | None, typer.Option(help="runs of each model (recognition)")] = None,
    oracle_epoch: Annotated[
        bool,
        typer.Option(
            "--oracle-epoch",
            help="keep the epoch that is best on the test subject, as much of the field does; "
            "every table says so (recognition)",
        ),
    ] = False,
    page: Annotated[
        Path | None,
        typer.Option("--page", help="page to write (leaderboard); default: leaderboard.html"),
    ] = None,
    form: Annotated[
        str | None,
        typer.Option("--format", help="lmms-eval (the default) or vlmevalkit (export)"),
    ] = None,
    json_file: JsonFile = None,
    check: Annotated[
        bool, typer.Option("--check", help="end with status 1 when a figure falls short")
    ] = False,
) -> None:
    """Run a benchmark; print its tables, then its figures with their targets."""
    log_progress()
    changes = list(overrides or ())
    measuring = {
        **{"--models": models is not None, "--seeds": seeds is not None},
        **{"--oracle-epoch": oracle_epoch, "--json": json_file is not None, "--check": check},
    }
    own = {_LEADERBOARD: {"--page": page is not None}, _EXPORT: {"--format": form is not None}}
    _refuse_others(benchmark, own | {"": measuring})
    if benchmark == _LEADERBOARD:
        return _join([Path(folder) for folder in changes], page or Path("leaderboard.html"))
    if benchmark == _EXPORT:
        return _export(form or "lmms-eval", changes)
    if models is not None:
        # As an override, so that the benchmark itself refuses what it does not know.
        changes.append(f"models=[{models}]")
    if seeds is not None:
        changes.append(f"seeds={seeds}")
    if oracle_epoch:
        changes.append("oracle_epoch=true")
    # An unknown benchmark fails here, before the slow imports.
    path = resources.benchmark(benchmark)
    from deft_llm.evaluation.benchmark import run

    # Not all benchmarks store what they have done: those of minutes begin anew.
    with stoppable("the same command uses what is stored by now, and does the rest"):
        figures, tables = run(path, changes)
    print(tables, end="\n\n")
    # Figures last: who runs many benchmarks reads the last lines.
    raise typer.Exit(report(figures, json_file, check))


def _refuse_others(benchmark: str, given: dict[str, dict[str, bool]]) -> None:
    """Refuse options that would change nothing.

    Args:
        benchmark: The first argument.
        given: ``leaderboard``, ``export`` or "", for any benchmark -> its options, and whether the
            user gave them.

    Raises:
        UserError: If an option of another one is given.
    """
    own = benchmark if benchmark in given else ""
    for owner, options in given.items():
        for option in (name for name, there in options.items() if there and owner != own):
            where = f"eval {owner}" if owner else "benchmarks"
            raise UserError(f"{option}: is for {where}, and eval {benchmark} has no use for it")


def _join(folders: list[Path], page: Path) -> None:
    """Write the page of several result folders."""
    from deft_llm.evaluation.corpus_table.leaderboard import leaderboard
    from deft_llm.files import write_text

    check_output(page)
    write_text(page, leaderboard(folders))
    show("written", page)


def _export(form: str, changes: list[str]) -> None:
    """Write clips as a task of another harness."""
    from deft_llm.evaluation.export.benchmark import export

    with stoppable("the same command goes on with what is left"):
        files, said = export(form, changes)
    print(said)
    for file in files:
        show("written", file)


def calibrate(
    file: Annotated[
        str, typer.Argument(help="a YAML file that names the model and validation faces")
    ] = "calibration",
    overrides: Annotated[
        list[str] | None, typer.Argument(help="dotted changes, e.g. checkpoint=runs/x/final")
    ] = None,
) -> None:
    """Fit the temperatures of a checkpoint's label likelihoods on separate faces."""
    changes = list(overrides or ())
    # typer gives it to the first argument, since all are optional.
    if "=" in file:  # no file was given, so the first override was parsed as one
        file, changes = "calibration", [file, *changes]
    log_progress()
    path = resources.benchmark(file)
    from deft_llm.evaluation.explanation.calibrate import calibrate as fit

    figures, written = fit(path, changes)
    show("written", written)
    report(figures)
