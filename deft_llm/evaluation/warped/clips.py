"""One warped clip: its recipe, its file, and what the program says about it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm import facs
from deft_llm.clip import Clip
from deft_llm.config import Settings
from deft_llm.data.measuring import measure_video
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.warped.exact import against, exact_motion
from deft_llm.media.video import write_video
from deft_llm.motion.measure import Measurement
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import ict_file
from deft_llm.simulator.render.lighting import LIGHTS, LightChange
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.performance import Blink
from deft_llm.simulator.warped.film import Take, film
from deft_llm.simulator.warped.motion import FaceMotion
from deft_llm.simulator.warped.portrait import Portrait

SETS: dict[str, tuple[tuple[str, ...], ...]] = {
    "positive": (("6", "12"), ("12",)),
    "negative": (("4",), ("4", "7"), ("9", "10"), ("15", "17"), ("L12",)),
    "surprise": (("1", "2"), ("1", "2", "5"), ("5",)),
}
"""Class -> combinations of AUs that are mostly coded as that class (``scene.statistics``).

AU 12 on one side alone is one of the signs of contempt: 69 of 108 such codings in CAS(ME)3 and DFME
say so, and 19 happiness.
"""
NUMBERS = sorted({facs.au_number(au) for sets in SETS.values() for aus in sets for au in aus})


class Condition(Settings):
    """What happens in one clip of each face.

    Attributes:
        expression: Whether AUs move; without, nothing may be named.
        course: The expression, the turn and the blink come and go ("returning"), stay at the apex
            ("held"), or the clip ends there ("cut").
        times: Factor on the amplitude.
        yaw: Turn of the head at the apex, degrees; every second face turns to the other side.
        pitch: The same, up or down.
        blink: Whether the eyes close and open.
        light: Largest relative change of the light; its kind changes with the face.
        crf: Quality of x264.
    """

    expression: bool = True
    course: Literal["returning", "held", "cut"] = "returning"
    times: float = Field(default=1.0, gt=0)
    yaw: float = 0.0
    pitch: float = 0.0
    blink: bool = False
    light: float = Field(default=0.0, ge=0, lt=1)
    crf: int = Field(default=18, ge=0, le=51)


@dataclass(frozen=True)
class Order:
    """One face, and the clips to make of it.

    Attributes:
        kind: "real" or "rendered".
        number: Of the face among its kind.
        portrait: The face.
        conditions: Name -> what happens.
        seed: Of the benchmark.
        peak_px: Least and largest displacement of the skin at the apex, canonical pixels.
        checkpoint: Folder of the model.
    """

    kind: str
    number: int
    portrait: Portrait
    conditions: dict[str, Condition]
    seed: int
    peak_px: tuple[float, float]
    checkpoint: str


@dataclass(frozen=True)
class Row:
    """What came out of one clip.

    Attributes:
        kind: Of the face.
        condition: Name of the condition.
        face: The file of the face.
        second: Which moment of it.
        expected: The class; None without an expression.
        codes: AUs that moved, with their sides.
        peak_px: Largest displacement of skin.
        named: Class that the program names, or None.
        named_aus: AU numbers that it names.
        problem: Why the clip could not be read; "" if it was.
        status: What the program remarks.
        errors: Error of each region's motion, px.
        stated: For each region that the program calls active, whether it moves that way.
        moved: For each region that clearly moved, whether the program says so.
    """

    kind: str
    condition: str
    face: str
    second: float
    expected: str | None
    codes: tuple[str, ...]
    peak_px: float
    named: str | None = None
    named_aus: tuple[int, ...] = ()
    problem: str = ""
    status: str = ""
    errors: tuple[float, ...] = ()
    stated: tuple[bool, ...] = ()
    moved: tuple[bool, ...] = ()

    @property
    def aus(self) -> tuple[int, ...]:
        """Numbers of the AUs that moved."""
        return tuple(facs.au_number(code) for code in self.codes)

    @property
    def right(self) -> bool:
        """Whether the class is right; without an expression, that nothing is named."""
        silent = self.expected is not None or not self.named_aus
        return not self.problem and self.named == self.expected and silent


def rows_of(order: Order) -> list[Row]:
    """Make and read all clips of a face."""
    heads = _heads()
    head = heads[order.number % len(heads)]
    motion = FaceMotion(head, order.number, order.portrait.landmarks)
    names = enumerate(order.conditions.items())
    return [_row(order, motion, name, condition, i) for i, (name, condition) in names]


def _row(order: Order, motion: FaceMotion, name: str, condition: Condition, index: int) -> Row:
    rng = np.random.default_rng([order.seed, order.number, index])
    expected, aus = _expression(order.number, index) if condition.expression else (None, ())
    peak = float(np.exp(rng.uniform(*np.log(order.peak_px)))) * condition.times * bool(aus)
    # A thousand seeds for each face, one for each of its conditions.
    spec = draw_spec(order.seed + 1000 * order.number + index, order.number, emotion=None, aus=())
    take = _take(condition, motion, aus, peak, spec, order)
    gain = _light(condition, order, len(take.levels))
    shown = order.portrait
    row = Row(order.kind, name, shown.name, shown.second, expected, tuple(aus), peak)
    frames = film(shown, motion, take, gain)
    fps = shown.fps or spec.fps
    try:
        clip, measured = _measured(frames, fps, condition.crf)
    except UserError as error:
        return replace(row, problem=str(error))
    # By time: what was measured may be a part of the clip, after what was taken for a cut.
    interval = measured.interval
    seen = (round(clip.timestamps[t] * fps) for t in (interval.onset, interval.apex))
    told = explainer(order.checkpoint).explain(measured)
    return replace(
        row,
        named=told.emotion,
        named_aus=tuple(sorted({facs.au_number(code) for code in told.aus})),
        status=told.status,
        **against(measured, exact_motion(take, shown, *seen)),
    )


def _expression(number: int, index: int) -> tuple[str, tuple[str, ...]]:
    """Class and AUs of a face in a condition: all combinations come by turns."""
    label = list(SETS)[(number + index) % len(SETS)]
    sets = SETS[label]
    return label, sets[((number + index) // len(SETS)) % len(sets)]


def _take(
    condition: Condition,
    motion: FaceMotion,
    aus: Sequence[str],
    peak: float,
    spec: ClipSpec,
    order: Order,
) -> Take:
    course = spec.curve.values().astype(np.float64)
    if condition.course != "returning":
        course[spec.curve.apex :] = 1.0
    if condition.course == "cut":
        course = course[: spec.curve.apex + 1]
    side = 1 if order.number % 2 else -1
    angles = np.radians([side * condition.yaw, side * condition.pitch])
    times = np.arange(len(course)) / spec.fps
    # From the onset on, so that it is over before the clip ends.
    blink = Blink(spec.curve.onset / spec.fps, 0.25, (1.0, 1.0)).values(times)
    return Take(
        field=motion.field(aus),
        levels=peak * course,
        turn=course[:, None] * angles,
        closure=blink * condition.blink,
        # Frames in a row bring noise of their own.
        sensor=None if order.portrait.fps else replace(spec.sensor, grey=False),
    )


def _light(condition: Condition, order: Order, count: int) -> NDArray[np.float32] | None:
    if not condition.light:
        return None
    change = LightChange(list(LIGHTS)[order.number % len(LIGHTS)], condition.light)
    return change.gain(count, *order.portrait.frames.shape[1:3]).astype(np.float32)


def _measured(frames: NDArray[np.uint8], fps: float, crf: int) -> tuple[Clip, Measurement]:
    """Write the file that a user would have, and measure it as hers is."""
    with tempfile.TemporaryDirectory(prefix="deft-") as folder:
        path = Path(folder) / "clip.mp4"
        write_video(path, frames, fps, crf)
        return measure_video(path)


@lru_cache(maxsize=1)
def explainer(checkpoint: str) -> Explainer:
    """The model; one for each process."""
    return Explainer.load(checkpoint)


@lru_cache(maxsize=1)
def _heads() -> tuple[Head, ...]:
    """Heads whose AUs the faces borrow by turns: our own, and ICT's when its file is there."""
    file = ict_file()
    return (load_head("own"), *((load_head("ict", file),) if file else ()))
