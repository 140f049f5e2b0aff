"""Uni-MER on disk: clips, conversations and packets.

A data folder holds ``clips.jsonl`` (one clip a line), ``train.jsonl`` (one conversation a line, in
LLaVA's form, each statement with its evidence beside it) and ``packets-*.safetensors`` (the
measured clips, ``data/features.py``). A line of ``train.jsonl``::

    {"id": "simulated-17-0", "clip": "simulated-17", "subject": "own000042", "mirrored": false,
     "conversations": [{"from": "human", "value": "<clip>Which action units are active?"},
                       {"from": "gpt", "value": "AU12 lip corner puller"}],
     "evidence": [{"region": "left mouth corner", "direction": "up and outward",
                   "magnitude": 0.84, "z": 9.1, "aus": ["12"]}]}
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file, save_file

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.clip import Evidence, Interval
from deft_llm.data.features import Packet
from deft_llm.errors import UserError
from deft_llm.files import read_lines


@dataclass(frozen=True)
class ClipRecord:
    """One measured clip.

    Attributes:
        clip: Id, unique in the data folder.
        subject: Unit that splits keep apart.
        emotion: Coded emotion; None for a clip without expression.
        emotion_known: False where the AUs were drawn without an emotion.
        aus: Coded AUs.
        evidence: Statements on which flow and label agree.
        packets: File name of its packets.
        row: Row in that file.
        content: SHA-256 of the decoded clip, for the leak audit.
        spec: Recipe of a simulated clip as JSON, else "".
        dataset: Corpus, or "simulated".
        returns: The same regions after the apex, where they go back.
        unexplained: Active regions that no coded AU explains; for hard negatives, never for words.
        label_only: Coded AUs without visible motion.
        score: Consistency of flow and coding, 0..1 (``constraints.Judgement``).
        grade: "A", "B", "C", or "label-only".
        interval: Onset, apex and offset, frames of the clip.
        fps: Frames per second.
    """

    clip: str
    subject: str
    emotion: str | None
    emotion_known: bool
    aus: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    packets: str
    row: int
    content: str
    spec: str = ""
    dataset: str = "simulated"
    returns: tuple[Evidence, ...] = ()
    unexplained: tuple[Evidence, ...] = ()
    label_only: tuple[str, ...] = ()
    score: float = 0.0
    grade: str = "label-only"
    interval: Interval | None = None
    fps: float | None = None

    def facts(self, mirrored: bool = False) -> Facts:
        """What may be said of it; a clip without any agreed motion gives no reason to speak."""
        unexplained = _seen(self.unexplained, mirrored)
        if not self.evidence:
            return Facts(None, (), (), (), unexplained, self.interval, self.fps)
        return Facts(
            self.emotion,
            facs.sort_aus(map(facs.mirror_au, self.aus)) if mirrored else self.aus,
            _seen(self.evidence, mirrored),
            _seen(self.returns, mirrored),
            unexplained,
            self.interval,
            self.fps,
        )

    def to_json(self) -> str:
        """One line for ``clips.jsonl``."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, line: str) -> ClipRecord:
        """Read a line of ``clips.jsonl``."""
        values = json.loads(line)
        values["aus"] = tuple(values["aus"])
        values["label_only"] = tuple(values.get("label_only", ()))
        for name in ("evidence", "returns", "unexplained"):
            values[name] = tuple(
                Evidence(**{**row, "aus": tuple(row["aus"])}) for row in values.get(name, ())
            )
        if values.get("interval"):
            values["interval"] = Interval(**values["interval"])
        return cls(**values)


_ORDER = {name: i for i, name in enumerate(facs.REGIONS)}


def _seen(rows: tuple[Evidence, ...], mirrored: bool) -> tuple[Evidence, ...]:
    """Rows in the order of the regions, sides exchanged for the mirrored clip."""
    if not mirrored:
        return rows
    return tuple(sorted(map(mirror_evidence, rows), key=lambda row: _ORDER[row.region]))


def mirror_evidence(row: Evidence) -> Evidence:
    """The statement about the left-right flipped clip."""
    side = facs.REGIONS[row.region].side
    return Evidence(
        region=facs.mirror_region(row.region),
        direction=facs.mirror_direction(row.direction, side),
        magnitude=row.magnitude,
        z=row.z,
        aus=facs.sort_aus(map(facs.mirror_au, row.aus)),
        phase=row.phase,
        source=row.source,
    )


def conversation_record(
    identity: str, record: ClipRecord, mirrored: bool, turns: Iterable[tuple[str, str]]
) -> dict[str, Any]:
    """One line for ``train.jsonl``."""
    messages: list[dict[str, str]] = []
    for question, answer in turns:
        clip = "<clip>" if not messages else ""
        messages.append({"from": "human", "value": clip + question})
        messages.append({"from": "gpt", "value": answer})
    return {
        "id": identity,
        "clip": record.clip,
        "subject": record.subject,
        "mirrored": mirrored,
        "conversations": messages,
        "evidence": [asdict(row) for row in record.facts(mirrored).evidence],
    }


def save_packets(path: Path, packets: list[Packet]) -> None:
    """Stack packets into one safetensors file, put in place when it is whole."""
    partial = path.with_suffix(".partial")
    names = packets[0] if packets else ()
    save_file({name: np.stack([p[name] for p in packets]) for name in names}, partial)
    os.replace(partial, path)


class PacketStore:
    """Packets of data folders by clip id, held in memory as the small types they are saved in.

    Attributes:
        records: Clip id -> its record.
    """

    def __init__(self, *folders: Path) -> None:
        """Read ``clips.jsonl`` and its packet files.

        Raises:
            UserError: If a file is missing, or two folders have a clip of the same id.
        """
        self.records: dict[str, ClipRecord] = {}
        self._files: dict[Path, dict[str, np.ndarray]] = {}
        self._places: dict[str, Path] = {}
        for folder in folders:
            for line in read_lines(folder / "clips.jsonl"):
                record = ClipRecord.from_json(json.dumps(line))
                if record.clip in self.records:
                    raise UserError(
                        f"{folder}: clip {record.clip!r} is also in "
                        f"{self._places[record.clip].parent}; name each folder once, and give "
                        "simulated ones seeds of their own"
                    )
                self.records[record.clip] = record
                self._places[record.clip] = self._open(folder / record.packets)

    def _open(self, path: Path) -> Path:
        if path not in self._files:
            if not path.is_file():
                raise UserError(f"{path}: missing; build the data again")
            self._files[path] = load_file(path)
        return path

    def of(self, *folders: Path) -> PacketStore:
        """The clips that came from some of the folders; their packets are shared, not copied."""
        part = PacketStore()
        part._files, part._places = self._files, self._places
        kept = (clip for clip in self.records if self._places[clip].parent in folders)
        part.records = {clip: self.records[clip] for clip in kept}
        return part

    def __getitem__(self, clip: str) -> Packet:
        arrays = self._files[self._places[clip]]
        return {name: array[self.records[clip].row] for name, array in arrays.items()}
