"""The table of intervals in which spotting is exchanged: MEGC's submissions and the STRS-Metric.

``subject,video,onset,offset,emotion``, one row an expression, frames counted from 1 as the files of
the corpora are; here frames count from 0 and videos are sampled at their full rate. Subjects and
videos are text: "006" stays "006". A file with the header alone says that nothing was found.

The format has no apex: a column "apex" is read where there is one, else the apex is the middle.
It does not list videos without expressions either; name those when the rows become videos.
"""

from __future__ import annotations

import csv
import io
import logging
from collections.abc import Mapping
from pathlib import Path

from deft_llm import facs
from deft_llm.clip import Expression, Interval
from deft_llm.corpora.cells import as_text, tables
from deft_llm.corpora.headers import find_header
from deft_llm.corpora.sheets import NOT_CODED, frame_number
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import write_bytes
from deft_llm.metrics.spotting import SpottedVideo

logger = logging.getLogger(__name__)

VideoKey = tuple[str, str]
"""Subject and video."""
Found = Mapping[VideoKey, tuple[Expression, ...]]

COLUMNS = ("subject", "video", "onset", "offset", "emotion")
_HEADERS: dict[str, tuple[str, ...]] = {
    # "clip" is what the sheets of all corpora call it, with all its other names.
    **{"subject": ("subject",), "clip": ("video", "vid"), "onset": ("onset", "pred_onset")},
    **{"offset": ("offset", "pred_offset"), "emotion": ("emotion", "pred_emotion")},
    "apex": ("apex",),
}
_NEEDED = ("subject", "clip", "onset", "offset", "emotion")
_OTHER_WORDS = {"happy": "happiness", "sad": "sadness", "angry": "anger", "other": "others"}
_NO_EMOTION = frozenset({"", "neutral", "nan", "none", "-", "/"})


def read_spotting(path: Path, first: int = 1) -> dict[VideoKey, tuple[Expression, ...]]:
    """The expressions of each video, in order of the rows.

    A border before the first frame, which the public code writes for expressions at the start, is
    moved to the first frame, with a warning.

    Args:
        path: CSV in any common dialect and encoding, or a workbook.
        first: Number that the file gives to the first frame of a video.

    Raises:
        UserError: If a column is missing, or a row holds no frame number, an unknown emotion or
            an onset after its offset.
    """
    found = [(table, find_header(table.cells, _HEADERS)) for table in tables(path)]
    table, header = max(found, key=lambda pair: len(pair[1].columns))
    missing = [_HEADERS[name][0] for name in _NEEDED if name not in header.columns]
    if missing:
        raise UserError(
            f"{path}: no column {missing[0]!r}; expected a first line {','.join(COLUMNS)}"
        )
    videos: dict[VideoKey, list[Expression]] = {}
    outside = 0
    for number, line in enumerate(table.cells[header.rows :], header.rows + 1):
        row = {
            name: as_text(line[k]) if k < len(line) else "" for name, k in header.columns.items()
        }
        if not any(row.values()):
            continue
        where = f"{path}, row {number}"
        frames = {name: _frame(row, name, first, where) for name in ("onset", "offset")}
        outside += min(frames.values()) < 0
        key = (row["subject"], row["clip"])
        if not all(key):
            raise UserError(f"{where}: no subject or no video; expected the name of both")
        interval = _interval(frames, row, first, where)
        videos.setdefault(key, []).append(Expression(interval, _emotion(row["emotion"], where)))
    if outside:
        logger.warning(
            "%s: %d rows begin before the first frame (number %d); taken from there",
            *(path, outside, first),
        )
    return {key: tuple(rows) for key, rows in videos.items()}


def write_spotting(path: Path, found: Found, first: int = 1) -> None:
    """Write expressions as ``subject,video,onset,offset,emotion``, atomically.

    Args:
        path: The CSV file.
        found: Subject and video -> expressions, in frames of the video at its full rate.
        first: Number of a video's first frame.

    Raises:
        UserError: If the file cannot be written.
    """
    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(COLUMNS)
    for key, expressions in found.items():
        for each in expressions:
            frames = (each.interval.onset + first, each.interval.offset + first)
            writer.writerow((*key, *frames, each.emotion or ""))
    write_bytes(path, buffer.getvalue().encode())


def spotted_videos(
    coded: Found, found: Found, seconds: Mapping[VideoKey, float] | None = None
) -> list[SpottedVideo]:
    """Join coded and found expressions to videos.

    Args:
        coded: From ``read_spotting``.
        found: The same.
        seconds: Length of every video, also of those in neither table; without it, no rate of
            false alarms is known, and videos without any row are not counted.

    Returns:
        Every video of any of the three.

    Raises:
        UserError: If no video of the found ones is among the coded ones or ``seconds``: then the
            two spell their names in different ways.
    """
    lengths = seconds or {}
    known = {*coded, *lengths}
    strange = [key for key in found if key not in known]
    # One unknown video may be one without coded expressions; if all are, the names differ.
    if strange and len(strange) == len(found) and known:
        raise UserError(
            f"found expressions of video {'/'.join(strange[0])!r} and others, none of which is "
            f"coded; expected names such as {'/'.join(min(known))!r}"
        )
    return [
        SpottedVideo(*key, coded.get(key, ()), found.get(key, ()), lengths.get(key, float("nan")))
        for key in dict.fromkeys((*coded, *lengths, *found))
    ]


def _frame(row: Mapping[str, str], name: str, first: int, where: str) -> int:
    """A frame, from 0; negative where it lies before the video."""
    try:
        number = frame_number(row[name])
    except ValueError:
        number = None
    # The sheets of corpora write -1 for "not coded"; here it is a border before the video.
    if number is None and row[name] == "-1":
        number = -1
    if number is None:
        raise UserError(f"{where}: {name} {row[name]!r}; expected a frame number")
    return number - first


def _interval(
    frames: Mapping[str, int], row: Mapping[str, str], first: int, where: str
) -> Interval:
    onset, offset = max(frames["onset"], 0), max(frames["offset"], 0)
    if frames["onset"] > frames["offset"]:
        raise UserError(
            f"{where}: onset {row['onset']} after offset {row['offset']}; expected an onset before "
            "its offset"
        )
    coded = row.get("apex", "").lower() not in NOT_CODED
    apex = _frame(row, "apex", first, where) if coded else (onset + offset) // 2
    return Interval(onset, min(max(apex, onset), offset), offset)


def _emotion(text: str, where: str) -> str | None:
    name = text.casefold()
    if name in _NO_EMOTION:
        return None
    name = _OTHER_WORDS.get(name, name)
    if name not in facs.LABELS:
        raise UserError(
            f"{where}: emotion {text!r}; expected one of {', '.join(facs.LABELS)}"
            f"{did_you_mean(name, facs.LABELS)}"
        )
    return name
