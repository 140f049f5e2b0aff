"""``deft-llm explain``: the main command, from clips to reports of the evidence."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.clips import FoundClip, find_clips
from deft_llm.cli.console import (
    Checkpoint,
    ClipInterval,
    ClipPaths,
    CsvRows,
    JsonRecords,
    Progress,
    Tally,
    stoppable,
    tidy_end,
)
from deft_llm.cli.explaining import STAGES, ClipFailed, Explaining, parse_interval
from deft_llm.cli.eyes import SENSOR, EyesFile, EyesSensor, EyesStart, eyes_given
from deft_llm.cli.lines import Lines
from deft_llm.cli.reading import USUAL, Reading, reads_videos
from deft_llm.cli.results import Results
from deft_llm.cli.scan_option import ScanFile, scan_given
from deft_llm.errors import UserError
from deft_llm.files import check_folder
from deft_llm.resources import EMBEDDED


@reads_videos
def explain(
    clips: ClipPaths,
    out: Annotated[Path, typer.Option(help="folder for the reports' own folders")] = Path("out"),
    checkpoint: Checkpoint = Path(EMBEDDED),
    ask: Annotated[
        list[str] | None, typer.Option(help="a question about the clip; again for the next one")
    ] = None,
    interval: ClipInterval = None,
    every: Annotated[
        bool, typer.Option("--all", help="explain every movement of a clip, not the strongest")
    ] = False,
    eyes: EyesFile = None,
    eyes_start: EyesStart = 0.0,
    eyes_sensor: EyesSensor = SENSOR,
    scan: ScanFile = None,
    samples: Annotated[
        int,
        typer.Option(
            min=0,
            max=64,
            help="also sample N answers, and take what the measurement bears out best",
        ),
    ] = 0,
    reading: Reading = USUAL,
    csv_file: CsvRows = None,
    json_file: JsonRecords = None,
    report: Annotated[
        bool, typer.Option("--report/--no-report", help="write a report of each clip")
    ] = True,
    figure: Annotated[
        bool, typer.Option("--figure", help="add a figure for a paper, as PDF and SVG")
    ] = False,
) -> None:
    """Name emotion and AUs of clips; write reports of the evidence.

    Each clip gets the folder OUT/NAME; clips found in a folder keep their place in it. A clip that
    is explained again replaces its own report and no other: another clip of the same name gets
    NAME-2. With "-" nothing but the rows or objects (UTF-8, an array) goes to stdout.

    Exit status: 0 every clip was explained; 1 some failed (each told on stderr, and in its row);
    2 all failed, or nothing could be started; 130 stopped by Ctrl-C, which keeps what is done.
    """
    # All that can be wrong with arguments and options is told before anything slow is loaded.
    found = find_clips(clips)
    frames = parse_interval(interval, len(found))
    if every and frames is not None:
        raise UserError("--interval names one movement, --all finds them all; give one of the two")
    if report:
        check_folder("--out", out)
    # A recording, as a scan or an interval, is of one clip and cannot be of several.
    recorded_eyes = eyes_given(eyes, eyes_start, eyes_sensor, len(found))
    beside, scan_line = scan_given(scan, len(found))
    read = [clip.path for clip in found] + [path for path in (eyes, scan) if path is not None]
    tally, steps = Tally(len(found), "clips"), Progress(len(found) * len(STAGES))
    with (
        stoppable(tally.kept),
        tidy_end(),
        Results(csv_file, json_file, read) as results,
        steps as progress,
    ):
        work = Explaining(
            checkpoint=checkpoint,
            out=out if report else None,
            questions=tuple(ask or ()),
            interval=frames,
            every=every,
            eyes=recorded_eyes,
            scan=beside,
            samples=samples,
            reading=reading,
            figure=figure,
            lines=Lines(progress, results.on_stdout),
        )
        work.check()
        if scan_line:
            work.lines.say("scan", scan_line)
        _explain_all(found, work, results, tally)
    raise tally.end()


def _explain_all(
    found: Sequence[FoundClip], work: Explaining, results: Results, tally: Tally
) -> None:
    for number, clip in enumerate(found):
        work.lines.head(number, len(found), clip.path)
        try:
            for row, record in work.explain(clip, number * len(STAGES)):
                results.add(row, record)
            tally.done += 1
        except ClipFailed as error:
            tally.failed += 1
            work.lines.complain(str(error))
            # The columns of a row load numpy, which a clip that cannot be read does not need.
            if results.wanted:
                results.add(*work.failure(clip, error))
    if len(found) > 1:
        work.lines.say("done", f"{tally.done} of {len(found)} clips explained", apart=True)
