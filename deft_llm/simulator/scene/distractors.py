"""Facial movements that are not annotated: swallowing, speech, a passing macro-expression.

The simulated benchmark has none of them; a `Profile` switches them on (`clip_spec.draw_spec`). The
AUs and their timing are our own choice. Swallowing takes 0.5 to 1 s: the teeth, which are about a
millimetre apart at rest, close, and the floor of the mouth rises with the jaw. The lips are
pressed, the lower one slightly rolled in. Then the chin is raised while the head dips by a degree
(the larynx, which moves most, is outside the face). Speech opens the jaw three to six times a
second while the lips spread and round. Macro-expressions last at least 0.5 s.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
_GESTURES: tuple[tuple[str, ...], ...] = (
    ("6", "12"),
    ("1", "2"),
    ("4",),
    ("15", "17"),
    ("14",),
    ("5", "25", "26"),
    ("9", "10"),
)
_SWALLOW = ((0.05, 0.15), (0.2, 0.6), (0.7, 1.4))  # jaw; lower lip and chin over the press
_NOD = (0.3, 1.5)  # degrees


@dataclass(frozen=True)
class Distractor:
    """One movement of some AUs in addition to the expression.

    Attributes:
        kind: "swallow", "speech" or "macro".
        aus: AU codes.
        activations: peak of each AU, 1 a full macro-expression; negative moves the other way.
        start: seconds; may lie before the clip.
        duration: seconds.
        rate: repetitions per second; 0 for one rise and fall.
        phase: phase of the repetitions, rad.
        nod: forward bend of the head at the peak, rad.
    """

    kind: str
    aus: tuple[str, ...]
    activations: tuple[float, ...]
    start: float
    duration: float
    rate: float = 0.0
    phase: float = 0.0
    nod: float = 0.0

    def values(self, times: NDArray[np.float64]) -> Floats:
        """Share of the full activations at each time, (T,) in 0..1; 0 outside its duration."""
        share = np.clip((times - self.start) / self.duration, 0.0, 1.0)
        if self.rate == 0.0:
            # One smooth rise and fall: 1 in the middle, no jump in velocity at the ends.
            level = (4.0 * share * (1.0 - share)) ** 2
        else:
            # Fade in and out over an eighth of the duration.
            ends = np.clip(8.0 * np.minimum(share, 1.0 - share), 0.0, 1.0)
            level = ends * (0.5 - 0.5 * np.cos(2 * np.pi * self.rate * times + self.phase))
        return level.astype(np.float32)

    def seen(self, seconds: float) -> bool:
        """Whether any of it falls into a clip of this length."""
        return self.start < seconds and self.start + self.duration > 0


@dataclass(frozen=True)
class Profile:
    """Differences of a set of clips from the simulated benchmark; the defaults are the benchmark.

    Attributes:
        swallow: share of clips with a swallow.
        speech: share of clips with speech-like motion of the mouth.
        macro: share of clips with a passing macro-expression.
        peak_px: range of the expression's peak displacement, log-uniform, canonical px.
        one_sided: share of AUs coded without a side that are made one-sided.
        partial: share of clips in which all AUs but one go down to a tenth of the peak.
        asymmetry: SD of the asymmetry.
        tremor: range of the head's tremor in canonical px; None keeps the benchmark's.
        speech_start: range of the start of speech, shares of the clip.
        plain: share of clips without any of ``kinds``.
        kinds: weights of the kinds of ``life.KINDS`` in the other clips.
        drags: whether AUs drag other skin along, differently in each person.
    """

    swallow: float = 0.0
    speech: float = 0.0
    macro: float = 0.0
    peak_px: tuple[float, float] = (0.3, 3.0)
    one_sided: float = 0.0
    partial: float = 0.0
    asymmetry: float = 0.08
    tremor: tuple[float, float] | None = None
    speech_start: tuple[float, float] = (-0.5, 0.5)
    plain: float = 1.0
    kinds: Mapping[str, float] = field(default_factory=dict)
    drags: bool = False


PROFILES = {
    "benchmark": Profile(),
    "varied": Profile(
        swallow=0.06,
        speech=0.1,
        macro=0.1,
        peak_px=(0.2, 12.0),
        one_sided=0.12,
        partial=0.3,
        asymmetry=0.15,
        tremor=(0.02, 0.25),
    ),
    # Held, large and turned clips are the commonest in what people try, micro-expressions are not.
    "life": Profile(
        speech_start=(-0.3, 0.3),  # it lasts 0.4 of the clip at least, so some of it is seen
        plain=0.4,
        drags=True,
        kinds={
            **{"held": 3.0, "macro": 3.0, "turn": 2.5, "light": 2.0},
            **{"cut": 1.5, "repeated": 1.5, "fast": 1.5, "blink at apex": 1.5, "speech": 1.5},
            **{"one-sided": 1.0},
        },
    ),
}


def draw_movements(
    rng: np.random.Generator, seconds: float, profile: Profile, taken: tuple[str, ...]
) -> tuple[Distractor, ...]:
    """The distractors of one clip.

    Args:
        rng: a stream used for nothing else.
        seconds: length of the clip.
        profile: the shares.
        taken: AU codes of the clip's expression; a macro-expression uses none of them, so the
            annotation stays correct.
    """
    swallow, speech, macro = rng.random(3) < (profile.swallow, profile.speech, profile.macro)
    drawn: list[Distractor] = []
    if swallow:
        size = rng.uniform(0.15, 0.4)
        start, lasting = rng.uniform(-0.3, 0.8) * seconds, rng.uniform(0.5, 1.0)
        jaw, lip, chin = (rng.uniform(*share) for share in _SWALLOW)
        # AU 26 is negative: the jaw closes beyond its rest position.
        mouth = (float(size), float(lip * size), float(-jaw))
        drawn.append(Distractor("swallow", ("24", "28", "26"), mouth, start, 0.8 * lasting))
        nod = float(np.radians(rng.uniform(*_NOD)))
        later = (start + 0.25 * lasting, 0.75 * lasting)
        drawn.append(Distractor("swallow", ("17",), (float(chin * size),), *later, nod=nod))
    if speech:
        start = rng.uniform(*profile.speech_start) * seconds
        lasting = rng.uniform(0.4, 1.0) * seconds + 0.2
        # Lips round and spread more slowly than the jaw opens (shares of its rate below).
        rate, size = rng.uniform(3.0, 6.0), rng.uniform(0.1, 0.45)
        turn = rng.uniform(0, 2 * np.pi, 3)
        for aus, share, pace in (
            (("25", "26"), 1.0, 1.0),
            (("18",), 0.5, 0.5),
            (("20",), 0.4, 0.4),
        ):
            peak = tuple(float(size * share * f) for f in rng.uniform(0.6, 1.0, len(aus)))
            phase = float(turn[len(drawn) % 3])
            drawn.append(Distractor("speech", aus, peak, start, lasting, rate * pace, phase))
    if macro:
        numbers = {code.lstrip("LR") for code in taken}
        free = [aus for aus in _GESTURES if not numbers & set(aus)]
        gesture = free[rng.integers(len(free))] if free else ()
        peak = tuple(float(f) for f in rng.uniform(0.25, 0.8, len(gesture)))
        start, lasting = rng.uniform(-0.5, 0.7) * seconds, rng.uniform(0.5, 2.5)
        drawn.append(Distractor("macro", gesture, peak, start, lasting))
    return tuple(drawn)


def one_side(rng: np.random.Generator, aus: tuple[str, ...], profile: Profile) -> tuple[str, ...]:
    """Make some of the AU codes without a side one-sided ("12" -> "L12")."""
    chosen = rng.random(len(aus)) < profile.one_sided
    sides = rng.integers(0, 2, len(aus))
    return tuple(
        "LR"[side] + code if one and code[0] not in "LR" else code
        for code, one, side in zip(aus, chosen, sides, strict=True)
    )
