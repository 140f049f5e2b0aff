"""``deft-llm spot``: every micro-expression of videos of any length."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from deft_llm.cli.clips import FoundClip, find_clips
from deft_llm.cli.console import (
    NAMED_PATH,
    Checkpoint,
    Progress,
    Tally,
    check_output,
    refuse_input,
    stoppable,
    tidy_end,
)
from deft_llm.cli.eyes import SENSOR, EyesFile, EyesSensor, EyesStart, eyes_given
from deft_llm.cli.lines import Lines
from deft_llm.cli.reading import USUAL, Reading, reads_videos
from deft_llm.cli.results import Results
from deft_llm.cli.spotting import Spotting, VideoFailed, seconds_of, video_key
from deft_llm.errors import UserError
from deft_llm.resources import EMBEDDED


@reads_videos
def spot(
    videos: Annotated[
        list[Path],
        typer.Argument(
            metavar="VIDEO...",
            click_type=NAMED_PATH,
            help="videos of any length, folders of frames, and folders that hold these",
        ),
    ],
    out: Annotated[Path, typer.Option(help="folder for the results' own folders")] = Path("out"),
    explain: Annotated[
        bool, typer.Option("--explain", help="let the model explain each expression, on one page")
    ] = False,
    macro: Annotated[
        bool, typer.Option("--macro", help="list macro-expressions as well, apart")
    ] = False,
    spotter: Annotated[
        str,
        typer.Option(
            help="what searches: embedded, the network that comes along; the folder of another; "
            "returning, without a network"
        ),
    ] = EMBEDDED,
    checkpoint: Checkpoint = Path(EMBEDDED),
    eyes: EyesFile = None,
    eyes_start: EyesStart = 0.0,
    eyes_sensor: EyesSensor = SENSOR,
    reading: Reading = USUAL,
    csv_file: Annotated[
        Path | None, typer.Option("--csv", help="write the rows of all videos; - for stdout")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="write the objects of all videos; - for stdout")
    ] = None,
    megc: Annotated[
        Path | None,
        typer.Option(
            callback=check_output,
            help="also write MEGC's table: subject, video, onset, offset, emotion",
        ),
    ] = None,
) -> None:
    """Find every micro-expression of videos; write tables, a plot of the curve, a report.

    Each video gets the folder OUT/NAME with spotted.csv, spotted.json, curve.png and, with
    --explain, report.html. Of several videos the rate a minute is told: if the people rest in all
    of them, these are false alarms. Ctrl-C keeps what was found; the same command goes on.

    Exit status: 0 every video was searched; 1 some failed (each told on stderr); 2 all failed, or
    nothing could be started; 130 stopped by Ctrl-C.
    """
    if checkpoint != Path(EMBEDDED) and not explain:
        raise UserError("--checkpoint (--model) needs --explain: only then is a model asked")
    # Here, because it loads numpy, which --help does not need.
    from deft_llm.cli.spotted_files import COLUMNS

    found = find_clips(videos)
    recorded_eyes = eyes_given(eyes, eyes_start, eyes_sensor, len(found))
    read = [clip.path for clip in found] + ([eyes] if eyes is not None else [])
    if megc is not None:
        refuse_input("--megc", megc, read)
        _check_keys(found)
    # Seconds, not videos: one of an hour beside one of a minute.
    lengths = [seconds_of(clip, reading) for clip in found]
    # At least 1, of which a bar can show a share.
    tally, progress_bar = Tally(len(found), "videos"), Progress(max(1, round(sum(lengths))))
    work: Spotting | None = None
    with (
        stoppable(lambda: "nothing was searched" if work is None else work.kept),
        tidy_end(),
        Results(csv_file, json_file, read, COLUMNS) as results,
        progress_bar as progress,
    ):
        work = Spotting(
            out=out,
            spotter=spotter,
            eyes=recorded_eyes,
            checkpoint=checkpoint if explain else None,
            macro=macro,
            reading=reading,
            results=results,
            megc=megc,
            lines=Lines(progress, results.on_stdout),
        )
        work.check()
        for number, clip in enumerate(found):
            work.lines.head(number, len(found), clip.path)
            try:
                # The bar begins where the videos before this one end, also where they failed.
                work.search(clip, sum(lengths[:number]), lengths[number])
            except VideoFailed as error:
                tally.failed += 1
                work.lines.complain(str(error))
        work.finish(several=len(found) > 1)
    raise tally.end()


def _check_keys(found: Sequence[FoundClip]) -> None:
    """Refuse videos that would share their rows in MEGC's table, which knows no folders.

    Raises:
        UserError: If two have the same subject and name.
    """
    known: dict[tuple[str, str], Path] = {}
    for clip in found:
        key = video_key(clip)
        if key in known:
            raise UserError(
                f"--megc: {known[key]} and {clip.path} are both video {key[1]!r} of subject "
                f"{key[0]!r}; search one of them apart"
            )
        known[key] = clip.path
