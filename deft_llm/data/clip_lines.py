"""``clips.jsonl`` of a data folder, read in one way by training, evaluation and validation."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.data import checks
from deft_llm.data.checks import FieldProblems, Row
from deft_llm.data.feature_files import FeatureFile
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import numbered_lines

CLIPS = "clips.jsonl"
#: Features that a measured clip has at least (``data/features.py``).
FEATURES = ("onset", "texture", "flow", "regions")


def clip_lines(folder: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The lines of ``clips.jsonl`` with their numbers.

    Raises:
        UserError: If it is missing or empty, or a line is no JSON object.
    """
    number = 0
    for number, row in numbered_lines(folder / CLIPS):
        yield number, row
    if not number:
        raise UserError(f"{folder / CLIPS}: no clips; expected one a line")


class Shards:
    """The shards of some data folders, each opened once."""

    def __init__(self) -> None:
        self._open: dict[Path, FeatureFile] = {}

    def get(self, path: Path) -> FeatureFile:
        """One shard.

        Raises:
            UserError: If it is missing.
        """
        if path not in self._open:
            self._open[path] = FeatureFile(path)
        return self._open[path]

    def problems(self, path: Path, row: int) -> FieldProblems:
        """Why a clip cannot be read from a row of a shard."""
        try:
            shard = self.get(path)
            lacking = [name for name in FEATURES if name not in shard.names]
            if lacking:
                yield "shard", f"{path.name!r} has no feature {lacking[0]!r}; build the data again"
            elif row >= shard.clips:
                yield "row", f"got {row}, but {path.name!r} holds {shard.clips} clips, from 0"
        except UserError as error:
            yield "shard", str(error)


def clip_problems(row: Row, folder: Path, shards: Shards | None) -> FieldProblems:
    """All problems of one line.

    Args:
        row: The line.
        folder: The data folder.
        shards: Its shards; None does not look at them.
    """
    found = list(checks.fields(row, _REQUIRED, _OPTIONAL))
    yield from found
    # Where the fields are wrong themselves, no file is looked for.
    if shards is not None and not {"shard", "row"}.intersection(field for field, _ in found):
        yield from shards.problems(folder / row["shard"], row["row"])


def folder_records(folder: Path, shards: Shards | None = None) -> Iterator[ClipRecord]:
    """The records of a data folder.

    Args:
        folder: The folder.
        shards: Its shards; None does not look for the clips' features.

    Raises:
        UserError: If ``clips.jsonl`` is missing or empty, or a line is wrong; names line and field.
    """
    seen: set[str] = set()
    for number, row in clip_lines(folder):
        for field, what in (*clip_problems(row, folder, shards), *repeated(row, seen)):
            raise UserError(f"{folder / CLIPS}, line {number}, {field}: {what}")
        yield ClipRecord.from_row(row)


def repeated(row: Row, seen: set[str]) -> FieldProblems:
    """A clip that an earlier line has; adds it to those seen."""
    clip = row.get("clip")
    if isinstance(clip, str):
        if clip in seen:
            yield "clip", f"{checks.shown(clip)} is there twice"
        seen.add(clip)


def _emotion(value: Any, field: str) -> FieldProblems:
    if value is not None and value not in facs.LABELS:
        labels = ", ".join(facs.LABELS)
        yield field, f"got {checks.shown(value)}, expected one of {labels}, or null for none"


def _interval(value: Any, field: str) -> FieldProblems:
    if value is None:
        return
    frames: list[Any] = []
    if isinstance(value, dict):
        frames = [value.get(name) for name in ("onset", "apex", "offset")]
    if not frames or not all(map(checks.is_whole, frames)) or sorted(frames) != frames:
        got = frames or value
        yield field, f"got {checks.shown(got)}, expected whole numbers 0 <= onset <= apex <= offset"


def _rate(value: Any, field: str) -> FieldProblems:
    if value is not None:
        yield from checks.number(value, field)
        if value == 0:
            yield field, "got 0, expected frames per second, or null"


_REQUIRED: dict[str, checks.Check] = {
    **{"clip": checks.text, "subject": checks.text, "emotion": _emotion, "aus": checks.aus},
    **{"shard": checks.text, "row": checks.whole},
}
_OPTIONAL: dict[str, checks.Check] = {
    **{"emotion_known": checks.flag, "content": checks.any_text, "spec": checks.any_text},
    **dict.fromkeys(("evidence", "returns", "unexplained"), checks.evidence),
    **{"label_only": checks.aus, "score": checks.number, "agreement": checks.text},
    **{"dataset": checks.any_text, "interval": _interval, "fps": _rate},
}
