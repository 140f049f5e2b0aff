"""Validate a data folder: every problem is reported with file, line and field."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.clip import OFFSET_PHASE, ONSET_PHASE
from deft_llm.errors import UserError
from deft_llm.files import read_lines

TRAIN_FIELDS = ("id", "clip", "subject", "mirrored", "conversations", "evidence")
Row = dict[str, Any]


@dataclass(frozen=True)
class Problem:
    """One problem of a data folder.

    Attributes:
        file: Name of the file.
        line: From 1.
        field: For example "evidence[2].direction".
        what: What was found and what was expected.
    """

    file: str
    line: int
    field: str
    what: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}, {self.field}: {self.what}"


def validate_folder(folder: Path) -> Iterator[Problem]:
    """All problems of a data folder, in order.

    Raises:
        UserError: If ``clips.jsonl`` or ``train.jsonl`` is missing, or a line is no JSON object.
    """
    clips: set[str] = set()
    for number, row in enumerate(read_lines(folder / "clips.jsonl"), 1):
        for field, what in _clip_problems(row, folder):
            yield Problem("clips.jsonl", number, field, what)
        if isinstance(row.get("clip"), str):
            if row["clip"] in clips:
                yield Problem("clips.jsonl", number, "clip", f"{row['clip']!r} is there twice")
            clips.add(row["clip"])
    checks: dict[str, Callable[[Row], Iterator[tuple[str, str]]]] = {
        "train.jsonl": lambda row: _conversation_problems(row, clips, "conversations"),
        # Rows about a hidden face name a clip that was left out, so ids are checked in train.jsonl
        # only.
        "extra.jsonl": lambda row: _conversation_problems(row, None, "conversations"),
        "messages.jsonl": lambda row: _conversation_problems(row, None, "messages"),
    }
    for name, check in checks.items():
        # DEFT-LLM's own recipe writes train.jsonl alone.
        if name != "train.jsonl" and not (folder / name).is_file():
            continue
        for number, row in enumerate(read_lines(folder / name), 1):
            for field, what in check(row):
                yield Problem(name, number, field, what)


def _clip_problems(row: Row, folder: Path) -> Iterator[tuple[str, str]]:
    for name in ("clip", "subject", "shard", "content"):
        if not isinstance(row.get(name), str):
            yield name, f"got {row.get(name)!r}, expected text"
    if row.get("emotion") is not None and row["emotion"] not in facs.EMOTIONS:
        yield "emotion", f"got {row['emotion']!r}, expected one of {', '.join(facs.EMOTIONS)}"
    yield from _aus(row.get("aus"), "aus")
    if isinstance(row.get("shard"), str) and not (folder / row["shard"]).is_file():
        yield "shard", f"{row['shard']!r} is not in the folder"
    interval = row.get("interval")
    if interval is not None:
        frames = [interval.get(k) for k in ("onset", "apex", "offset")]
        if None in frames or sorted(frames) != frames or frames[0] < 0:
            yield "interval", f"got {frames}, expected 0 <= onset <= apex <= offset"
    for name in ("evidence", "returns", "unexplained"):
        yield from _evidence(row.get(name, []), name)


def _aus(codes: Any, field: str) -> Iterator[tuple[str, str]]:
    if not isinstance(codes, list):
        yield field, f"got {codes!r}, expected a list of AU codes"
        return
    for k, code in enumerate(codes):
        text = code.lstrip("LR") if isinstance(code, str) else ""
        if not text.isdigit() or int(text) not in facs.ACTION_UNITS:
            yield f"{field}[{k}]", f"got {code!r}, expected a FACS AU such as 12 or L12"


def _evidence(rows: Any, name: str) -> Iterator[tuple[str, str]]:
    if not isinstance(rows, list):
        yield name, f"got {rows!r}, expected a list"
        return
    for k, row in enumerate(rows):
        field = f"{name}[{k}]"
        region = row.get("region")
        # Without a known region its side is unknown, and the direction cannot be checked.
        if region not in facs.REGIONS:
            yield f"{field}.region", f"got {region!r}, expected a name of facs.REGIONS"
            continue
        try:
            facs.direction_vector(str(row.get("direction")), facs.REGIONS[region].side)
        except UserError as error:
            yield f"{field}.direction", str(error)
        for number in ("magnitude", "z"):
            value = row.get(number)
            # "not >=" instead of "<", so that NaN fails too.
            if not isinstance(value, int | float) or not value >= 0:
                yield f"{field}.{number}", f"got {value!r}, expected a number >= 0"
        if row.get("phase", ONSET_PHASE) not in (ONSET_PHASE, OFFSET_PHASE):
            yield (
                f"{field}.phase",
                f"got {row['phase']!r}, expected {ONSET_PHASE!r} or {OFFSET_PHASE!r}",
            )
        yield from _aus(row.get("aus"), f"{field}.aus")


def _conversation_problems(
    row: Row, clips: set[str] | None, form: str
) -> Iterator[tuple[str, str]]:
    for name in TRAIN_FIELDS:
        if name not in row and not (name == "conversations" and form != name):
            yield name, "missing"
    if clips is not None and row.get("clip") not in clips:
        yield "clip", f"{row.get('clip')!r} is not in clips.jsonl"
    yield from _turns(row.get(form), form, len(row.get("clips", [0])))
    rows = row.get("evidence", [])
    yield from _evidence(rows, "evidence")
    for k, places in enumerate(row.get("stated", [])):
        for place in places:
            if not 0 <= place < len(rows):
                yield f"stated[{k}]", f"got {place}, expected a place in evidence ({len(rows)})"


def _turns(turns: Any, form: str, clips: int) -> Iterator[tuple[str, str]]:
    who, what = ("from", "value") if form == "conversations" else ("role", "content")
    roles = ("human", "gpt") if form == "conversations" else ("user", "assistant")
    if not isinstance(turns, list) or not turns or len(turns) % 2:
        count = len(turns) if isinstance(turns, list) else turns
        yield form, f"got {count!r} turns, expected pairs of question and answer"
        return
    for k, turn in enumerate(turns):
        field = f"{form}[{k}]"
        if turn.get(who) != roles[k % 2]:
            yield f"{field}.{who}", f"got {turn.get(who)!r}, expected {roles[k % 2]!r}"
        text = turn.get(what)
        if not isinstance(text, str) or not text.strip():
            yield f"{field}.{what}", f"got {text!r}, expected text"
            continue
        # One <clip> marker per clip, all in the first question.
        marks = clips if k == 0 else 0
        if text.count("<clip>") != marks:
            yield f"{field}.{what}", f"<clip> is there {text.count('<clip>')} times, not {marks}"
