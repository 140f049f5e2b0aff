"""``deft-llm scan``: the expression of 3D scans and 4D sequences of faces."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import CsvRows, JsonRecords, Tally, show, stoppable, tidy_end
from deft_llm.cli.lines import with_name
from deft_llm.cli.results import Results
from deft_llm.errors import UserError


def scan(
    scans: Annotated[
        list[Path],
        typer.Argument(
            metavar="SCAN...",
            help="OBJ, PLY, STL, WRL, NPZ, BNT or a depth map; a folder of these is a sequence",
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder for the reports' own folders")] = Path("out"),
    weights: Annotated[
        Path | None,
        typer.Option(
            metavar="RUN",
            help="folder of a trained network; micro reads sequences for micro-expressions",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(help="YAML that adds or renames expressions: {name: text or [texts]}"),
    ] = None,
    without: Annotated[
        list[float] | None,
        typer.Option(metavar="DEGREES", help="leave out the view at this yaw; may be repeated"),
    ] = None,
    pitch: Annotated[
        float | None, typer.Option(help="mm between the pixels of an orthographic depth map")
    ] = None,
    focal: Annotated[
        float | None, typer.Option(help="focal length of a depth map, in pixels")
    ] = None,
    report: Annotated[bool, typer.Option(help="write reports")] = True,
    csv_file: CsvRows = None,
    json_file: JsonRecords = None,
) -> None:
    """Name the expression of faces in 3D or 4D, with the weight of each view.

    Scans may be in any unit and look anywhere; every correction is told. Each gets the folder
    OUT/NAME with report.html, explanation.json and views.png.

    Exit status: 0 every scan was read; 1 some failed (each told on stderr); 2 all failed, or
    nothing could be started; 130 stopped by Ctrl-C, which keeps what is done.
    """
    from deft_llm.cli.scanning import Scanning

    work = Scanning.of(
        weights, prompts, tuple(without or ()), pitch, focal, out if report else None
    )
    tally = Tally(len(scans), "scans")
    with stoppable(tally.kept), tidy_end(), Results(csv_file, json_file, scans) as results:
        for path in scans:
            try:
                done = work.read(path)
            except UserError as error:
                tally.failed += 1
                typer.echo(f"deft-llm: {with_name(path, error)}", err=True)
                results.add(work.failed_row(path, error), {"scan": str(path), "error": str(error)})
                continue
            if not results.on_stdout:
                for label, line in done.lines:
                    show(label, line)
            results.add(done.row, done.record)
            tally.done += 1
    raise tally.end()
