"""Data types used by all parts: clips, intervals, annotations, predictions, evidence.

Frame indices are 0-based and intervals are inclusive; times are seconds from the container's
timestamps; motion is in pixels of the canonical 224-pixel face; left and right are the subject's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from operator import index
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.files import digest


@dataclass(frozen=True)
class Interval:
    """Onset, apex and offset of one expression.

    Attributes:
        onset: First frame of the motion, 0-based.
        apex: Frame of the strongest expression, ``onset <= apex <= offset``.
        offset: Last frame of the motion, inclusive.

    Raises:
        UserError: If the three frames are no whole numbers, out of order or negative.
    """

    onset: int
    apex: int
    offset: int

    def __post_init__(self) -> None:
        for name in ("onset", "apex", "offset"):
            frame = getattr(self, name)
            try:
                # Those of arrays become plain ones, which JSON takes.
                object.__setattr__(self, name, index(frame))
            except TypeError:
                raise UserError(
                    f"interval {name} {frame!r}: expected the number of a frame, a whole one"
                ) from None
        if not 0 <= self.onset <= self.apex <= self.offset:
            raise UserError(
                f"interval onset {self.onset}, apex {self.apex}, offset {self.offset}: expected "
                "0 <= onset <= apex <= offset; check the coding of this clip"
            )

    def __contains__(self, frame: int) -> bool:
        # Both ends count: intervals are inclusive.
        return self.onset <= frame <= self.offset

    def __len__(self) -> int:
        return self.offset - self.onset + 1


@dataclass(frozen=True)
class Expression:
    """One expression in a long video, coded or found.

    Attributes:
        interval: Onset, apex and offset, in frames of the video.
        emotion: One of ``facs.LABELS``; None if it was not coded or not told apart.
        score: How sure the finder is, 0..1; 1 for a coding.
    """

    interval: Interval
    emotion: str | None = None
    score: float = 1.0


# No comparison by content: that of arrays is an array, which is neither true nor false.
@dataclass(frozen=True, repr=False, eq=False)
class Clip:
    """A decoded video.

    Attributes:
        name: A short name for messages and tables.
        frames: uint8 RGB, shape (T, H, W, 3).
        timestamps: Seconds, shape (T,), strictly increasing.
        source: The file or folder that it was read from, if any.
        remarks: What the user should know about how it was read.
        goes_on: Whether the video goes on after its last frame.
    """

    name: str
    frames: NDArray[np.uint8]
    timestamps: NDArray[np.float64]
    source: Path | None = None
    remarks: tuple[str, ...] = ()
    goes_on: bool = False

    def __post_init__(self) -> None:
        if self.frames.ndim != 4 or self.frames.shape[-1] != 3 or self.frames.dtype != np.uint8:
            raise UserError(
                f"clip {self.name}: frames are {self.frames.dtype} {self.frames.shape}; "
                "expected uint8 RGB of shape (T, H, W, 3)"
            )
        # Infinity increases, and NaN is not less.
        timed = np.isfinite(self.timestamps).all() and (np.diff(self.timestamps) > 0).all()
        if len(self.timestamps) != len(self.frames) or not timed:
            raise UserError(
                f"clip {self.name}: {len(self.timestamps)} timestamps for {len(self.frames)} "
                "frames; expected one strictly increasing time for each frame"
            )

    def __len__(self) -> int:
        return len(self.frames)

    def __repr__(self) -> str:
        """Short: in a notebook, the frames would fill pages."""
        height, width = self.frames.shape[1:3]
        return f"<Clip {self.name!r}: {len(self)} frames of {width}x{height}, {self.fps:.4g} fps>"

    @property
    def label(self) -> str:
        """What messages call it: its file or folder, since many clips may have one name."""
        return f"clip {self.name}" if self.source is None else str(self.source)

    @property
    def fps(self) -> float:
        """Frames per second from the median time step; 0 for a single frame."""
        # The median: a dropped frame leaves a long step that would lower the mean rate.
        return float(1.0 / np.median(np.diff(self.timestamps))) if len(self) > 1 else 0.0

    @property
    def duration(self) -> float:
        """Seconds from the start of the first frame to the end of the last one."""
        if len(self) < 2:
            return 0.0
        return float(self.timestamps[-1] - self.timestamps[0]) + 1.0 / self.fps

    def part(self, start: int, stop: int) -> Clip:
        """Frames ``start`` to ``stop`` - 1, with unchanged timestamps; shares the pixels."""
        cut = slice(start, stop)
        goes_on = self.goes_on or stop < len(self)
        return replace(
            self, frames=self.frames[cut], timestamps=self.timestamps[cut], goes_on=goes_on
        )

    def content_hash(self) -> str:
        """SHA-256 over size and pixels; independent of the file name."""
        # The shape is hashed too: the same bytes in another shape are another clip.
        return digest(str(self.frames.shape), np.ascontiguousarray(self.frames).data)


@dataclass(frozen=True)
class Annotation:
    """The coding of one clip.

    Attributes:
        dataset: Corpus name.
        subject: Subject id, unique inside the corpus.
        clip: Clip id, unique inside the corpus.
        interval: Onset, apex and offset, or None if nothing was coded.
        aus: AU codes, with the side if one was coded: ``("1", "L12")``; bare means both sides.
        emotion: One of ``facs.EMOTIONS``, or of ``facs.THREE_CLASSES`` if the corpus has only
            coarse labels; None for a clip without expression.
        fps: Nominal frame rate, if the corpus states one.
    """

    dataset: str
    subject: str
    clip: str
    interval: Interval | None = None
    aus: tuple[str, ...] = ()
    emotion: str | None = None
    fps: float | None = None


UNREAD = ""
"""``Prediction.predicted`` of a clip about which a model gives no answer."""


@dataclass(frozen=True)
class Prediction:
    """One row of results; every table is computed from these rows alone."""

    dataset: str
    subject: str
    clip: str
    fold: int
    seed: int
    label: str
    predicted: str
    probabilities: dict[str, float]
    seconds: float


ONSET_PHASE, OFFSET_PHASE = "onset to apex", "apex to offset"


@dataclass(frozen=True)
class Evidence:
    """One region that moved.

    Attributes:
        region: A key of ``facs.REGIONS``.
        direction: A direction name of ``facs.direction_name``.
        magnitude: Mean motion, pixels of the canonical face.
        z: Motion over the region's own noise floor.
        aus: AU codes that explain it; empty if none does.
        phase: ``ONSET_PHASE`` or ``OFFSET_PHASE``.
        source: Where the codes come from: a corpus or "simulated"; "" for measured motion alone.
    """

    region: str
    direction: str
    magnitude: float
    z: float
    aus: tuple[str, ...] = ()
    phase: str = ONSET_PHASE
    source: str = ""


def status_line(remarks: tuple[str, ...]) -> str:
    """Remarks in one line; "ok" without one. A remark can hold a semicolon: do not split it."""
    return "; ".join(remarks) or "ok"


@dataclass(frozen=True)
class Explanation:
    """DEFT-LLM's result for one clip.

    Attributes:
        emotion: The class with the highest label likelihood; None if that is "none", if nothing
            moved, or if the motion is not judged.
        fine_emotion: The emotion of that class that the model names; None without a class.
        probabilities: Class name -> probability (calibrated label likelihood), summing to 1;
            empty if the model was not asked.
        aus: AU code -> probability from the AU head, for the AUs that the model names. It may
            only name AUs that an active region speaks for.
        evidence: Measured motion of the active regions, largest first.
        rationale: The explanation in words, written from the evidence.
        disagreement: In words, how the named AUs and the class disagree; empty if they agree.
        raw: The structured answer as far as the model wrote it.
        sampled: How many answers were sampled, and the rewards of the one that was taken and of the
            likeliest one; None if none were.
        remarks: What could not be measured or judged, and what else to know; a reason why nothing
            is named comes first.
        seconds: Stage -> time.
    """

    emotion: str | None
    probabilities: dict[str, float]
    aus: dict[str, float]
    evidence: tuple[Evidence, ...]
    fine_emotion: str | None = None
    rationale: str = ""
    disagreement: str = ""
    raw: str = ""
    sampled: dict[str, Any] | None = None
    remarks: tuple[str, ...] = ()
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """The remarks in one line; "ok" without one."""
        return status_line(self.remarks)

    def to_dict(self) -> dict[str, Any]:
        """A JSON-ready dictionary; ``sampled`` is there if anything was sampled."""
        values = asdict(self)
        if self.sampled is None:
            del values["sampled"]
        return {**values, "status": self.status}
