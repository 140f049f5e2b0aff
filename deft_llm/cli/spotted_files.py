"""The files of a searched video: table, object, plot of the curve, and the page."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from deft_llm import __version__, facs
from deft_llm.cli.lines import counted
from deft_llm.cli.search_log import OBJECT, PAGE, PICTURES, PLOT, TABLE, SearchLog
from deft_llm.files import csv_line, write_bytes
from deft_llm.spotters.finder import Finder, Spotted
from deft_llm.viz.spotting_page import Section, spotting_page
from deft_llm.viz.spotting_plot import Curve, Mark, spotting_plot

COLUMNS = (
    *("file", "kind", "onset frame", "apex frame", "offset frame", "onset s", "apex s", "offset s"),
    *("emotion", "probability", "score", "aus", "strongest motion"),
)


def row_of(name: str, spotted: Spotted) -> dict[str, Any]:
    """An expression's table row, keyed by ``COLUMNS``."""
    inside, top = spotted.expression.interval, next(iter(spotted.evidence), None)
    # Without a model, or where nothing was named, there are none.
    sure = max(spotted.probabilities.values(), default=None)
    moved = f"{top.region} {top.direction} {top.magnitude:.2f} px, z {top.z:.1f}" if top else ""
    values = (
        *(name, spotted.kind, inside.onset, inside.apex, inside.offset, *spotted.seconds),
        *(spotted.expression.emotion, None if sure is None else round(sure, 4)),
        *(round(spotted.expression.score, 4), " ".join(map(facs.au_short, spotted.aus)), moved),
    )
    return dict(zip(COLUMNS, values, strict=True))


def record_of(name: str, spotted: Spotted) -> dict[str, Any]:
    """An expression's object."""
    values = spotted.to_dict()
    expression, seconds = values.pop("expression"), values.pop("seconds")
    moments = ("onset", "apex", "offset")
    return {
        "file": name,
        **{
            moment: {"frame": expression["interval"][moment], "seconds": second}
            for moment, second in zip(moments, seconds, strict=True)
        },
        "emotion": expression["emotion"],
        "score": round(expression["score"], 4),
        **values,
    }


@dataclass(frozen=True)
class Searched:
    """What a search of a video found, also one that was stopped.

    Attributes:
        log: What was seen, and the folder.
        name: Of the video.
        found: The expressions to list.
        finder: What searched.
        remarks: What the user should know.
        read: Numbers of the frames that are to be searched.
        whole: Whether the video was searched to its end.
    """

    log: SearchLog
    name: str
    found: Sequence[Spotted]
    finder: Finder
    remarks: Sequence[str]
    read: range
    whole: bool


def write_files(searched: Searched, explained: bool) -> None:
    """Write the files of a video.

    Args:
        searched: What was found.
        explained: Write the page.

    Raises:
        UserError: If a file cannot be written.
    """
    name, found, folder = searched.name, searched.found, searched.log.folder
    rows = [row_of(name, each) for each in found]
    table = "".join(map(csv_line, (COLUMNS, *(list(row.values()) for row in rows))))
    # The table first: if the disk is full, the numbers are there.
    write_bytes(folder / TABLE, table.encode("utf-8", "backslashreplace"))
    record = _record(searched)
    text = json.dumps(record, ensure_ascii=False) + "\n"
    write_bytes(folder / OBJECT, text.encode("utf-8", "backslashreplace"))
    seconds, values = record["curve"]["seconds"], record["curve"]["values"]
    # A video that was stopped before its first part, or shows nothing at all.
    if not seconds:
        return
    # JSON has no NaN, so the log keeps None.
    height = np.array([np.nan if value is None else value for value in values], np.float64)
    curve = Curve(np.array(seconds), height, searched.finder.axis, searched.finder.threshold)
    marks = [_mark(each) for each in found]
    write_bytes(folder / PLOT, spotting_plot(curve, marks, name))
    if explained:
        summary = _summary(searched, record, seconds[-1] - seconds[0])
        sections = _sections(searched.log, found, marks)
        page = spotting_page(name, summary, curve, sections, searched.remarks)
        write_bytes(folder / PAGE, page.encode("utf-8", "backslashreplace"))


def _record(searched: Searched) -> dict[str, Any]:
    """The object of a video."""
    parts, finder = searched.log.seen, searched.finder
    times = [time for part in parts for time in part.times]
    values = [value for part in parts for value in part.curve]
    numbers = [frame for part in parts for frame in part.frames]
    shares = _shares(numbers, searched.read)
    return {
        "version": __version__,
        "file": searched.name,
        "finder": finder.key,
        "whole": searched.whole,
        "searched_seconds": times[-1] if times else 0.0,
        "frames": sum(shares),
        "frames_with_face": sum(
            share for share, value in zip(shares, values, strict=True) if value is not None
        ),
        "remarks": list(searched.remarks),
        "expressions": [record_of(searched.name, each) for each in searched.found],
        "curve": {
            "axis": finder.axis,
            "threshold": finder.threshold,
            "frames": numbers,
            "seconds": times,
            "values": values,
        },
    }


def _shares(numbers: Sequence[int], read: range) -> list[int]:
    """How many frames of the video each point of the curve stands for.

    A network is given the frames of a fast video with gaps, and all of them are searched.
    """
    if not numbers:
        return []
    places = [(number - read.start) // read.step for number in numbers]
    gap = places[1] - places[0] if len(places) > 1 else 1
    # The last gap may be cut off by the video's end, which a damaged file tells wrongly.
    end = min(places[-1] + gap, max(len(read), places[-1] + 1))
    return [after - place for place, after in pairwise([*places, end])]


def _summary(searched: Searched, record: Mapping[str, Any], seconds: float) -> str:
    count = {k: sum(each.kind == k for each in searched.found) for k in ("micro", "macro")}
    told = [counted(n, f"{kind}-expression") for kind, n in count.items() if n]
    rest = "" if searched.whole else " · stopped before its end"
    # Where nobody is seen, nothing can be found.
    nothing = "no expression" if record["frames_with_face"] else "no face"
    what = ", ".join(told) or nothing
    return f"{record['frames']} frames · {seconds:.1f} s searched{rest} · {what}"


def _mark(spotted: Spotted) -> Mark:
    words = [spotted.expression.emotion, " ".join(map(facs.au_short, spotted.aus))]
    # Without a model there is no emotion, and for a macro-expression often no AU.
    label = " ".join(word for word in words if word) or spotted.kind
    return Mark(*spotted.seconds, label, spotted.kind == "macro")


def _sections(log: SearchLog, found: Sequence[Spotted], marks: Sequence[Mark]) -> list[Section]:
    sections = []
    alone = {s.expression.interval.apex: s.seconds for part in log.seen for s in part.spotted}
    for each, mark in zip(found, marks, strict=True):
        inside = each.expression.interval
        # Every expression that is listed was explained, as macro-expressions are listed only if
        # wanted.
        said = log.told[inside.apex]
        frames = (inside.onset, inside.apex, inside.offset)
        moments, motion = (
            {caption: (log.folder / name).read_bytes() for caption, name in said[kind].items()}
            for kind in PICTURES
        )
        score, eyes = each.expression.score, said["interocular_px"]
        # Of several movements that are one expression, the largest was explained.
        onset, _, offset = alone[inside.apex]
        largest = None if alone[inside.apex] == each.seconds else (onset, offset)
        sections.append(
            Section(mark, frames, score, each.scorer, said, moments, motion, eyes, largest)
        )
    return sections
