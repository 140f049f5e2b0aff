"""``deft-llm corpora``: check, show, prepare and simulate datasets."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.console import Tally, check_output, stoppable
from deft_llm.config import validate_settings
from deft_llm.corpora.base import CORPORA, load_class
from deft_llm.corpora.other import read_named
from deft_llm.corpora.reading import Reading
from deft_llm.corpora.scans import SCAN_CORPORA, load_scan_corpus
from deft_llm.files import write_bytes, write_text

app = typer.Typer(no_args_is_help=True, help="Datasets: check, show, prepare, simulate.")

Folder = Annotated[Path, typer.Argument(help="folder of the dataset")]
Name = Annotated[str, typer.Option(help=f"one of {', '.join((*CORPORA, *SCAN_CORPORA))}")]
_SHOWN = 20  # lines of the report, unless --all is given


@app.command()
def check(
    folder: Folder,
    name: Name,
    frames: Annotated[bool, typer.Option(help="look for the frames too")] = True,
    everything: Annotated[bool, typer.Option("--all", help="print the whole report")] = False,
    json_file: Annotated[
        Path | None, typer.Option("--json", callback=check_output, help="write the report here")
    ] = None,
) -> None:
    """Read sheets and folders; print counts, and all rows that were mended or dropped."""
    if name in SCAN_CORPORA:
        scans = load_scan_corpus(name, folder)
        # Sheets and names of files alone; no scan is loaded.
        listing = scans.read()
        counted, report = [*listing.lines(), f"  published: {scans.published}"], listing.report
    else:
        # A dataset that is still copied can be checked by its sheets alone.
        reading = read_named(name, folder, frames)
        counted, report = lines(reading, load_class(name).schemes), reading.report
    for line in counted:
        typer.echo(line)
    # A sheet with a wrong column gives a note for every row of it.
    notes = list(report)
    for note in notes if everything else notes[:_SHOWN]:
        typer.echo(f"  {note}")
    if len(notes) > _SHOWN and not everything:
        typer.echo(f"  and {len(notes) - _SHOWN} more: --all prints them")
    if json_file is not None:
        write_text(json_file, json.dumps(report.rows(), indent=1) + "\n")


def lines(reading: Reading, schemes: tuple[str, ...]) -> list[str]:
    """Summary of a reading: clips, classes of each scheme, checks against published counts."""
    subjects = len({a.subject for a in reading.annotations})
    found = [f"{reading.name}: {len(reading.entries)} clips of {subjects} subjects"]
    for scheme in schemes:
        counts = " · ".join(f"{k} {n}" for k, n in reading.classes(scheme).items())
        found.append(f"  {scheme} classes: {counts}")
    checks = [f"  {line}" for line in reading.checks()]
    found += checks or ["  no count is published in the specs at hand"]
    return [*found, f"report: {reading.report.summary()}"]


@app.command()
def show(
    folder: Folder,
    name: Name,
    out: Annotated[Path, typer.Option(callback=check_output, help="PNG to write")] = Path(
        "contact_sheet.png"
    ),
    count: Annotated[int, typer.Option(help="number of clips", min=1)] = 12,
) -> None:
    """Write a contact sheet: onset, apex and offset of clips spread over the dataset."""
    from deft_llm.corpora.show import choose, contact_sheet
    from deft_llm.viz.overlay import encode_png

    reading = read_named(name, folder)
    write_bytes(out, encode_png(contact_sheet(choose(reading.entries, count))))
    typer.echo(f"{out}")


@app.command()
def prepare(
    folder: Folder,
    name: Name,
    cache: Annotated[Path, typer.Option(help="folder of the cache")] = Path("cache"),
    workers: Annotated[int, typer.Option(help="processes", min=1)] = os.cpu_count() or 1,
    yunet: Annotated[Path | None, typer.Option(help="YuNet's ONNX, to find faces")] = None,
    landmarks: Annotated[
        str | None,
        typer.Option(
            metavar="FINDER",
            help="what places the landmarks: network (the default), face-mesh or mean",
        ),
    ] = None,
    raw: Annotated[
        bool, typer.Option(help="store frames for mol and mpfnet, 0.6 MB a clip")
    ] = False,
) -> None:
    """Measure every clip once, into the cache; after an interruption, call again to resume.

    Exit status: 0 every clip was measured; 1 some failed (each told, and in the listing); 2 all
    failed, or nothing could be started; 130 stopped by Ctrl-C, which keeps what is measured.
    """
    from deft_llm.data.prepared import PrepareSettings
    from deft_llm.data.prepared import prepare as run
    from deft_llm.data.raw_frames import RAW_SIDE

    # Raw frames are kept at a size or, by 0, not at all.
    named = {} if landmarks is None else {"landmarks": landmarks}
    values = {"yunet": yunet, "raw": RAW_SIDE if raw else 0, **named}
    settings = validate_settings(PrepareSettings, values, "prepare")
    reading = read_named(name, folder)
    with stoppable(f"what was measured is in {cache}; the same command goes on"):
        rows = run(reading, cache, settings, workers)
    # They stay in the listing with the reason: who trains sees what is missing.
    bad = [row for row in rows if row.problem]
    # Failures are kept as well: a clip without a face is not searched again.
    had = sum(row.cached for row in rows)
    typer.echo(f"{len(rows) - len(bad)} of {len(rows)} clips measured, {had} were in the cache")
    for row in bad:
        typer.echo(f"  {row.annotation.clip}: {row.problem}")
    typer.echo(f"listed in {cache / reading.listing}")
    raise Tally(len(rows), "clips", failed=len(bad)).end()


@app.command()
def simulate(
    folder: Annotated[Path, typer.Argument(help="new folder")],
    name: Name,
    subjects: Annotated[int, typer.Option(min=1)] = 8,
    clips: Annotated[int, typer.Option(help="clips per subject", min=2)] = 6,
    seed: Annotated[int, typer.Option(help="number of people before the first", min=0)] = 0,
    workers: Annotated[int, typer.Option(help="processes", min=1)] = os.cpu_count() or 1,
) -> None:
    """Write simulated clips, or scans, in the dataset's own layout."""
    with stoppable("nothing is kept; the same command starts anew"):
        if name in SCAN_CORPORA:
            from deft_llm.corpora.scan_layouts import ScanLayoutSettings, write_scan_corpus

            settings = ScanLayoutSettings(subjects=subjects, scans=clips, seed=seed)
            count = write_scan_corpus(name, folder, settings, workers)
            typer.echo(f"{count} scans in {folder}")
            return
        from deft_llm.corpora.synthetic import write_corpus

        written = write_corpus(
            name, folder, subjects=subjects, clips=clips, seed=seed, workers=workers
        )
        typer.echo(f"{len(written)} clips in {folder}")
