"""What a stopped run has found by then: rows by face, so that the same run goes on."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import __version__
from deft_llm.evaluation.recognition.entries import read_of
from deft_llm.evaluation.warped.clips import Order, Row
from deft_llm.files import digest, file_digest, read_lines, write_lines
from deft_llm.resources import checkpoint

_FILE = "unfinished.jsonl"


class UnfinishedRows:
    """Rows of the faces that are done, on disk until the run is whole.

    A face is known by a hash of everything that its rows depend on: its pixels and landmarks, the
    conditions, the seed, the files of the model, and the version of this software. Weights in
    files that a run keeps on changing are not meant to be scored.

    Args:
        folder: Output of the benchmark.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / _FILE
        self._known: dict[str, list[Row]] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.is_file():
            self._known = {
                line["face"]: [_row(row) for row in line["rows"]] for line in read_lines(self._path)
            }

    def of(self, order: Order) -> list[Row] | None:
        """The rows of a face; None if it is not done."""
        return self._known.get(_key(order))

    def add(self, order: Order, rows: Sequence[Row]) -> None:
        """Keep the rows of a face."""
        self._known[_key(order)] = list(rows)
        lines = (
            json.dumps({"face": face, "rows": [asdict(row) for row in found]})
            for face, found in self._known.items()
        )
        write_lines(self._path, lines)

    def remove(self) -> None:
        """Forget them: a whole run is measured anew."""
        self._path.unlink(missing_ok=True)


def _row(values: dict[str, Any]) -> Row:
    """A row as it was, after JSON has made lists of its tuples."""
    told: dict[str, Any] = {
        name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
    }
    return Row(**told)


def _key(order: Order) -> str:
    face = order.portrait
    conditions = {name: each.model_dump() for name, each in order.conditions.items()}
    # The names of conditions give the random numbers their order.
    facts: list[Any] = [__version__, order.kind, order.number, order.seed, order.peak_px]
    facts += [list(conditions.items()), face.name, face.fps, face.second]
    arrays = (face.frames, face.transforms, face.landmarks)
    data = [np.ascontiguousarray(array).data for array in arrays]
    return digest(json.dumps(facts), *_weights(order.checkpoint), *data)[:16]


@lru_cache(maxsize=4)
def _weights(name: str) -> tuple[str, ...]:
    return tuple(map(file_digest, read_of(checkpoint(name))))
