"""``deft-llm recognize``: the class of clips, by a few labelled examples or as trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.clips import find_clips
from deft_llm.cli.console import (
    ClipInterval,
    ClipPaths,
    CsvRows,
    JsonRecords,
    Progress,
    Tally,
    stoppable,
    tidy_end,
)
from deft_llm.cli.explaining import parse_interval
from deft_llm.cli.lines import Lines, with_name
from deft_llm.cli.reading import USUAL, Reading, reads_videos
from deft_llm.cli.results import Results
from deft_llm.errors import UserError


@reads_videos
def recognize(
    clips: ClipPaths,
    support: Annotated[
        Path | None,
        typer.Option(help="labelled clips, five a class, in SUPPORT/CLASS/; any class names"),
    ] = None,
    model: Annotated[
        str | None,
        typer.Option(help="motion (with --support, the default), or what --weights holds"),
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(metavar="RUN", help="folder of a trained network")
    ] = None,
    heatmaps: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="folder for pictures of where an mpfnet looked"),
    ] = None,
    interval: ClipInterval = None,
    reading: Reading = USUAL,
    csv_file: CsvRows = None,
    json_file: JsonRecords = None,
) -> None:
    """Name the class of clips: one of SUPPORT's, without training, or one that was trained.

    With --support each class is the mean of its clips, and a clip gets the class that it is most
    like: by the measured motion, or to an mpfnet of --weights. Without it, the classes are those
    that the network was trained on. A heat map is the Grad-CAM of the named class, on the face at
    the apex.

    Exit status: 0 every clip was named; 1 some failed (each told on stderr, and in its row); 2 all
    failed, or nothing could be started; 130 stopped by Ctrl-C, which keeps what is done.
    """
    from deft_llm.cli.recognizing import Recognizing, clips_of_classes, lines_of

    # Heat maps of an earlier run are a folder of pictures, as a clip may be.
    found = find_clips(clips, passed_over=heatmaps)
    frames = parse_interval(interval, len(found))
    # Found before the network is loaded; measured after, with the bar.
    labelled = [] if support is None else clips_of_classes(support)
    read = [clip.path for clip in (*found, *(shot for _, shot in labelled))]
    tally, steps = Tally(len(found), "clips"), Progress(len(found) + len(labelled))
    with (
        stoppable(tally.kept),
        tidy_end(),
        Results(csv_file, json_file, read) as results,
        steps as progress,
    ):
        work = Recognizing.of(model, weights, labelled, reading, progress, heatmaps)
        lines = Lines(progress, results.on_stdout)
        for number, clip in enumerate(found):
            progress.at(len(labelled) + number, clip.path.name)
            try:
                row, record = work.recognize(clip, frames)
            except UserError as error:
                tally.failed += 1
                lines.complain(with_name(clip.path, error))
                # The same columns as those of a clip that was named.
                row, record = work.failure(clip, error)
            else:
                for label, text in lines_of(record):
                    lines.say(label, text)
            results.add(row, record)
            tally.done += record["error"] is None
    raise tally.end()
