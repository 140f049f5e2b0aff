"""What finds expressions in a video: one interface for the project's own search and for networks.

A finder goes through a video once and hands out what it sees part by part, so that a front end can
tell of it at once, stop, and go on later without looking at a part again.

T frames; frames are counted in the video, from 0.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from deft_llm.clip import Evidence, Expression, Interval
from deft_llm.media.options import ReadOptions
from deft_llm.motion.evidence import MACRO_PX, fewest_aus, largest_motion, measured_evidence
from deft_llm.motion.measure import Measurement
from deft_llm.motion.remarks import RETURNED

Moments = tuple[float, float, float]
Kind = Literal["micro", "macro"]
#: What gives a score without a network: z / (z + 4) of the two strongest regions.
MOTION = "motion"
_TOUCHING = 0.1  # s at most between two movements that touch; our choice


@dataclass(frozen=True)
class Spotted:
    """One expression that was found in a video.

    Attributes:
        expression: Onset, apex and offset in frames of the video, emotion if the finder tells it,
            and score, 0..1 on the finder's own scale.
        seconds: The three moments, from the start of the video.
        kind: "macro" if a region moved by more than ``MACRO_PX``, or if less than half of the
            motion had come back at the offset; else "micro".
        probabilities: Emotion -> probability; empty if the finder tells none.
        aus: AUs that account for the motion (``evidence.fewest_aus``).
        evidence: The regions that moved, the largest motion first.
        scorer: What gave the score: the name of a network, or ``MOTION``.
    """

    expression: Expression
    seconds: Moments
    kind: Kind
    probabilities: dict[str, float]
    aus: tuple[str, ...]
    evidence: tuple[Evidence, ...]
    scorer: str = MOTION

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Spotted:
        """Read what ``to_dict`` gave, also after JSON."""
        expression = values["expression"]
        return cls(
            Expression(**{**expression, "interval": Interval(**expression["interval"])}),
            (values["seconds"][0], values["seconds"][1], values["seconds"][2]),
            values["kind"],
            values["probabilities"],
            tuple(values["aus"]),
            tuple(Evidence(**{**row, "aus": tuple(row["aus"])}) for row in values["evidence"]),
            values["scorer"],
        )


@dataclass(frozen=True)
class Found:
    """An expression with the part of the video around it.

    Attributes:
        spotted: What is told of it.
        measurement: Its measurement; its frames count from the start of that part.
    """

    spotted: Spotted
    measurement: Measurement

    @classmethod
    def of(
        cls,
        measurement: Measurement,
        expression: Expression,
        probabilities: dict[str, float] | None = None,
        scorer: str = MOTION,
        seconds: Moments | None = None,
    ) -> Found:
        """Put together what is told of a measured expression.

        Args:
            measurement: Of the expression.
            expression: Its frames in the video, its emotion and score.
            probabilities: Emotion -> probability, if the finder tells any.
            scorer: What gave the score.
            seconds: Of its frames; None for those of the frames that were measured.
        """
        table, inside = measurement.table_apex, measurement.interval
        times = measurement.aligned.timestamps
        held = measurement.returned < RETURNED  # False for NaN: nothing moved
        kind: Kind = "macro" if held or largest_motion(table) > MACRO_PX else "micro"
        evidence = sorted(measured_evidence(table), key=lambda row: -row.magnitude)
        onset, apex, offset = seconds or (
            float(times[t]) for t in (inside.onset, inside.apex, inside.offset)
        )
        spotted = Spotted(
            expression,
            (round(onset, 4), round(apex, 4), round(offset, 4)),
            kind,
            probabilities or {},
            fewest_aus(table),
            tuple(evidence),
            scorer,
        )
        return cls(spotted, measurement)


@dataclass(frozen=True)
class Look:
    """What a finder saw in one part of a video.

    Attributes:
        frames: (T,) numbers of its frames.
        times: (T,) seconds.
        curve: (T,) what the finder goes by; NaN in frames without a face.
        found: Expressions, in order of time; a part that overlaps may hold them again.
        remarks: What the user should know about the face in it.
    """

    frames: NDArray[np.int64]
    times: NDArray[np.float64]
    curve: NDArray[np.float32]
    found: tuple[Found, ...]
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Step:
    """One step of a search.

    Attributes:
        done: Share of the work that is done with it, 0..1.
        look: Looks at the part of this step, before the next step is taken; None for a step that
            only prepares.
    """

    done: float
    look: Callable[[], Look] | None = None


class Finder(Protocol):
    """Finds the expressions of a video."""

    @property
    def key(self) -> str:
        """Changes whenever the results may change."""
        ...

    @property
    def axis(self) -> str:
        """What the curve is, with a unit, for a plot."""
        ...

    @property
    def threshold(self) -> float | None:
        """Value of the curve from which an expression is told of; None without one."""
        ...

    def search(self, source: Path, options: ReadOptions, cache: Path | None) -> Iterator[Step]:
        """Go through a video, from its first frame to its last.

        Args:
            source: A video file, an animation, or a folder of frames.
            options: Which part to read, at which rate, whose face, and who places its landmarks.
            cache: Folder in which measured motion may be kept for a search that goes on later.

        Raises:
            UserError: If the video cannot be read.
        """
        ...


def same(a: Moments, b: Moments) -> bool:
    """Whether two parts hold the same expression: the apex of one lies inside the other."""
    return a[0] <= b[1] <= a[2] or b[0] <= a[1] <= b[2]


def join_macros(found: list[Spotted], gap: float) -> list[Spotted]:
    """Macro-expressions that follow each other are one, with what lies between them.

    A smile rises, holds and fades with stops between, each of which comes and goes by itself. So is
    a micro-expression a part of the macro-expression that it touches if it moves a region of it the
    same way. The largest of its movements gives apex, emotion and regions.

    Args:
        found: Expressions in order of time.
        gap: Most seconds between the offset of one movement and the onset of the next.
    """
    chains: list[list[Spotted]] = []
    for each in found:
        if chains and each.seconds[0] - chains[-1][-1].seconds[2] <= gap:
            chains[-1].append(each)
        else:
            chains.append([each])
    return [each for chain in chains for each in _joined(chain)]


def _joined(chain: list[Spotted]) -> list[Spotted]:
    macros = [k for k, each in enumerate(chain) if each.kind == "macro"]
    if not macros:
        return chain
    # What is micro before the first macro-expression and after the last stays by itself, unless it
    # is a part of them.
    first, stop = macros[0], macros[-1] + 1
    moved = {motion for k in macros for motion in _motions(chain[k])}
    while first and _continues(chain[first - 1], chain[first], moved):
        first -= 1
    while stop < len(chain) and _continues(chain[stop - 1], chain[stop], moved):
        stop += 1
    parts = chain[first:stop]
    if len(parts) < 2:
        return chain
    lead = max(parts, key=_size)
    spans = [each.expression.interval for each in parts]
    # The maximum: the last to begin need not be the last to end.
    span = Interval(spans[0].onset, lead.expression.interval.apex, max(s.offset for s in spans))
    seconds = (parts[0].seconds[0], lead.seconds[1], max(each.seconds[2] for each in parts))
    expression = replace(lead.expression, interval=span)
    whole = replace(lead, expression=expression, seconds=seconds, kind="macro")
    return [*chain[:first], whole, *chain[stop:]]


def _motions(spotted: Spotted) -> set[tuple[str, str]]:
    return {(row.region, row.direction) for row in spotted.evidence}


def _continues(earlier: Spotted, later: Spotted, moved: set[tuple[str, str]]) -> bool:
    """Whether two expressions touch, and one that is no macro-expression moves as those did."""
    apart = later.seconds[0] - earlier.seconds[2] > _TOUCHING
    same_way = all(s.kind == "macro" or _motions(s) & moved for s in (earlier, later))
    return same_way and not apart


def _size(spotted: Spotted) -> float:
    return max((row.magnitude for row in spotted.evidence), default=0.0)
