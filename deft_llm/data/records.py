"""A clip's coding and accepted statements: one line of a data folder's ``clips.jsonl``.

A data folder holds ``clips.jsonl`` (one clip per line), ``train.jsonl`` (one conversation per line,
in LLaVA's format; ``unimer/assemble.py``) and ``features-*.safetensors`` (the measured clips,
``data/features.py``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.clip import Annotation, Evidence, Interval


@dataclass(frozen=True)
class ClipRecord:
    """One measured clip.

    Attributes:
        clip: Id, unique in the data folder.
        subject: Subject; splits never put one subject on both sides.
        emotion: Coded emotion, one of ``facs.LABELS``; None for a clip without expression.
        emotion_known: False if AUs are coded without an emotion.
        aus: Coded AUs.
        evidence: Statements on which flow and label agree.
        shard: File name of the shard that holds its features.
        row: Row in that file.
        content: SHA-256 of the decoded clip, for the leak audit.
        spec: Recipe of a simulated clip as JSON, else "".
        dataset: Corpus, or "simulated".
        returns: Statements about the offset phase: the same regions moving back.
        unexplained: Active regions that no coded AU explains; for hard negatives, never stated.
        label_only: Coded AUs without visible motion.
        score: Consistency of flow and coding, 0..1 (``constraints.Agreement``).
        agreement: "A", "B", "C", or "label-only".
        interval: Onset, apex and offset as frames of the clip.
        fps: Frames per second.
    """

    clip: str
    subject: str
    emotion: str | None
    emotion_known: bool
    aus: tuple[str, ...]
    evidence: tuple[Evidence, ...] = ()
    shard: str = ""
    row: int = 0
    content: str = ""
    spec: str = ""
    dataset: str = "simulated"
    returns: tuple[Evidence, ...] = ()
    unexplained: tuple[Evidence, ...] = ()
    label_only: tuple[str, ...] = ()
    score: float = 0.0
    agreement: str = "label-only"
    interval: Interval | None = None
    fps: float | None = None

    @classmethod
    def of(cls, coding: Annotation, **known: Any) -> ClipRecord:
        """A record of a coded clip, without statements yet.

        Args:
            coding: Subject, labels and interval.
            **known: Other fields: ``content``, ``spec``.
        """
        aus = facs.sort_aus(coding.aus)
        return cls(
            clip=coding.clip,
            subject=coding.subject,
            emotion=coding.emotion,
            # No emotion and no AU: a neutral clip, whose emotion is known to be none.
            emotion_known=coding.emotion is not None or not aus,
            aus=aus,
            dataset=coding.dataset,
            interval=coding.interval,
            fps=coding.fps,
            **known,
        )

    def without_labels(self) -> ClipRecord:
        """The same clip, of which nobody says what it shows."""
        return ClipRecord(
            clip=self.clip,
            subject=self.subject,
            emotion=None,
            emotion_known=False,
            aus=(),
            shard=self.shard,
            row=self.row,
            content=self.content,
            dataset=self.dataset,
            interval=self.interval,
            fps=self.fps,
        )

    def class_of(self, scheme: str) -> str | None:
        """The class under a scheme (``facs.SCHEMES``), None if it has none."""
        return facs.to_scheme(self.emotion, scheme, self.dataset) if self.emotion_known else None

    @property
    def aus_known(self) -> bool:
        """False for an emotion without any AU: nobody coded them, or the code is not readable."""
        return bool(self.aus) or self.emotion is None

    def facts(self, mirrored: bool = False) -> Facts:
        """What answers may state; without agreed motion, neither emotion nor AUs.

        Without AU coding there is nothing for the motion to agree with: the label alone may be
        stated, if some region is active.
        """
        unexplained = _seen(self.unexplained, mirrored)
        if not self.aus_known and unexplained:
            return Facts(self.emotion, (), (), (), unexplained, self.interval, self.fps)
        if not self.evidence:
            # The labels may be right, but a model trained on them would learn to invent reasons.
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
        """Read a line that :meth:`to_json` wrote."""
        return cls.from_row(json.loads(line))

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> ClipRecord:
        """Take the fields of a row; others are left alone.

        Args:
            row: A line of ``clips.jsonl`` without problems (``data/clip_lines.py``).
        """
        values = {f.name: row[f.name] for f in fields(cls) if f.name in row}
        for name in ("aus", "label_only"):
            values[name] = tuple(row.get(name, ()))
        for name in ("evidence", "returns", "unexplained"):
            values[name] = tuple(map(_evidence, row.get(name, ())))
        if (frames := row.get("interval")) is not None:
            values["interval"] = Interval(*(frames[k] for k in ("onset", "apex", "offset")))
        known = row["emotion"] is not None or not row["aus"]
        return cls(**{"emotion_known": known, **values})


def _evidence(row: Mapping[str, Any]) -> Evidence:
    values = {f.name: row[f.name] for f in fields(Evidence) if f.name in row}
    return Evidence(**{**values, "aus": tuple(row["aus"])})


_ORDER = {name: i for i, name in enumerate(facs.REGIONS)}


def _seen(rows: tuple[Evidence, ...], mirrored: bool) -> tuple[Evidence, ...]:
    """Rows in the order of ``facs.REGIONS``; for the mirrored clip, with sides swapped."""
    if not mirrored:
        return rows
    # Swapping left and right breaks the order of the regions, so sort again.
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
