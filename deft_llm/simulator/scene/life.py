"""What a face does outside the laboratory: the kinds of the profile "life", and their drawing.

The benchmark's clips hold one brief movement from rest to rest, before a head that hardly turns and
in a steady light. Here it may also stay, be cut off by the clip's ends, come again, be quick or
large; the eyes may blink at its apex, the mouth talk, the head turn, the light change. Every kind
has a random stream of its own, so that a clip differs from the benchmark's clip of its seed only by
the kinds that were drawn for it. Shares and ranges are our own choice.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from deft_llm import facs
from deft_llm.errors import UserError, did_you_mean
from deft_llm.simulator.render.lighting import LightChange
from deft_llm.simulator.scene.distractors import Profile
from deft_llm.simulator.scene.performance import Blink, Curve, HeadTurn, draw_blink

KINDS = (
    "held",
    "cut",
    "repeated",
    "one-sided",
    "fast",
    "macro",
    "blink at apex",
    "speech",
    "turn",
    "light",
)
MAX_LIVE_FRAMES = 72  # a longer clip gets a lower frame rate
FRAME_RATES = (12.5, 15.0, 20.0, 24.0, 25.0, 30.0, 40.0, 50.0, 60.0, 75.0, 90.0, 100.0)
FAST_FRAMES = 2  # of a fast onset phase
MACRO_PX = (3.0, 20.0)  # log-uniform, pixels of the canonical face
MAX_TURN = 15.0  # degrees
# The order decides the random streams: add new ones at the end.
_STREAMS = ("which", "rate", "end", *KINDS)
# Pairs that contradict each other, or make a clip too long.
_APART = (
    {"held", "repeated"},
    {"cut", "repeated"},
    {"macro", "repeated"},
    {"macro", "fast"},
)
_HOW_MANY = (0.62, 0.32, 0.06)  # one, two or three kinds in a clip
_HOLD_SECONDS = (0.3, 2.0)  # log-uniform
_NEVER_RETURNS = 0.25  # share of held movements that last until the end of the clip
_CUT_START = 0.3  # share of cut clips that begin within the onset phase
_LEAST_FRAMES = 16  # of those
_MACRO_SECONDS = (0.5, 2.5)
_FAST_SECONDS = (0.03, 0.1)
_CHANGES = ("ramp up", "ramp down", "step up", "step down", "flicker", "soft shadow", "hard shadow")
"""Of ``LIGHTS``; flashes, dips and lamps are left to the benchmark of robustness as unseen ones."""
_STRENGTH = (0.05, 0.5)
# What a muscle drags along in some people, as a share of its own displacement at the most. FACS
# tells of it for the strong forms: a smile deepens the nasolabial fold, lifts the upper lip, widens
# the nostrils and lowers the brow's outer part, and coders do not call that AU 10, 38 or 4.
_DRAGGED: dict[tuple[int, int], float] = {
    **{(6, 4): 0.15, (6, 7): 0.4, (6, 9): 0.25, (6, 10): 0.25},
    **{(9, 4): 0.4, (9, 6): 0.3, (9, 10): 0.4},
    **{(10, 6): 0.3, (10, 9): 0.3, (10, 38): 0.3},
    **{(12, 4): 0.15, (12, 6): 0.5, (12, 9): 0.3, (12, 10): 0.6, (12, 38): 0.3},
}
_DRAGS = 0.6  # share of people with whom one AU drags one other along
_MIDDLE_AUS = {8, 17, 18, 22, 23, 24, 25, 26, 27, 28}  # of lips, jaw and chin: no side alone


def only(profile: Profile, kinds: Iterable[str]) -> Profile:
    """The profile with clips of these kinds alone, each with one or more of them.

    Raises:
        UserError: If the profile does not have a kind.
    """
    kinds = list(kinds)
    for kind in kinds:
        if kind not in profile.kinds:
            known = ", ".join(profile.kinds) or 'none; choose profile "life"'
            hint = did_you_mean(kind, profile.kinds)
            raise UserError(f"kind {kind!r} is not in the profile, which has {known}{hint}")
    return replace(profile, plain=0.0, kinds={kind: profile.kinds[kind] for kind in kinds})


def stream(seed: int, kind: str) -> np.random.Generator:
    """The random stream of a kind."""
    # draw_spec uses [seed, 0..10]. From 1: numpy does not tell [seed, 11, 0] from [seed, 11].
    return np.random.default_rng([seed, 11, 1 + _STREAMS.index(kind)])


def draw_kinds(seed: int, profile: Profile) -> frozenset[str]:
    """The kinds of one clip: none, one, two, or rarely three."""
    rng = stream(seed, "which")
    if not profile.kinds or rng.random() < profile.plain:
        return frozenset()
    names = list(profile.kinds)
    weights = np.array([profile.kinds[name] for name in names])
    count = min(1 + int(rng.choice(3, p=_HOW_MANY)), len(names))
    drawn: set[str] = set()
    for name in rng.choice(names, count, replace=False, p=weights / weights.sum()):
        if not any(pair <= drawn | {str(name)} for pair in _APART):
            drawn.add(str(name))
    return frozenset(drawn)


def sided(seed: int, aus: tuple[str, ...]) -> tuple[str, ...]:
    """All AUs on one side, those of lips, jaw and chin apart; a coded side stays."""
    side = "LR"[int(stream(seed, "one-sided").integers(2))]
    return tuple(
        code if code[0] in "LR" or facs.au_number(code) in _MIDDLE_AUS else side + code
        for code in aus
    )


@dataclass(frozen=True)
class Dragged:
    """Skin that an AU moves in one person as another AU would; it is not annotated.

    Attributes:
        by: The AU code that is shown.
        au: Number of the AU that the dragged skin moves like, on the same sides.
        share: Its displacement as a share of that of the AU shown, 0..1.
    """

    by: str
    au: int
    share: float


def draw_dragged(identity: int, aus: tuple[str, ...]) -> tuple[Dragged, ...]:
    """What the AUs of an expression drag along in one person; nothing that is itself shown.

    Args:
        identity: Seed of the face: the same person moves alike in all clips.
        aus: AU codes of the expression.
    """
    shown = {facs.au_number(code) for code in aus}
    # Drawn for all pairs, so that a person's shares do not depend on the expression.
    rng = np.random.default_rng([identity, 12])
    shares = {
        pair: float(rng.uniform(0.0, most)) * bool(rng.random() < _DRAGS)
        for pair, most in _DRAGGED.items()
    }
    return tuple(
        Dragged(code, au, share)
        for code in aus
        for (by, au), share in shares.items()
        if by == facs.au_number(code) and au not in shown and share > 0
    )


def live_curve(seed: int, fps: float, curve: Curve, kinds: frozenset[str]) -> tuple[float, Curve]:
    """Frame rate and curve of a clip with these kinds, from those of the benchmark."""
    if kinds & {"held", "repeated", "fast", "macro"}:
        fps, curve = _paced(seed, _course(seed, fps, curve, kinds), curve, kinds)
    return fps, _cut(seed, curve, kinds)


@dataclass(frozen=True)
class _Course:
    """An expression in seconds."""

    up: float
    hold: float
    down: float
    gap: float
    repeats: tuple[float, ...]


def _course(seed: int, fps: float, curve: Curve, kinds: frozenset[str]) -> _Course:
    up, down = (curve.apex - curve.onset) / fps, (curve.offset - curve.apex) / fps
    hold, gap, repeats = 0.0, 0.0, np.empty(0)
    if "macro" in kinds:
        rng = stream(seed, "macro")
        seconds, share = rng.uniform(*_MACRO_SECONDS), rng.uniform(0.25, 0.45)
        up, down = share * seconds, (1 - share) * seconds
    if "fast" in kinds:
        up = stream(seed, "fast").uniform(*_FAST_SECONDS)
    if "held" in kinds:
        hold = np.exp(stream(seed, "held").uniform(*np.log(_HOLD_SECONDS)))
    if "repeated" in kinds:
        rng = stream(seed, "repeated")
        repeats, gap = rng.uniform(0.5, 1.0, rng.integers(1, 3)), rng.uniform(0.0, 0.2)
    return _Course(up, hold, down, gap, tuple(float(peak) for peak in repeats))


def _paced(seed: int, course: _Course, curve: Curve, kinds: frozenset[str]) -> tuple[float, Curve]:
    """The course in frames, at a rate at which it fits in ``MAX_LIVE_FRAMES``."""
    at = {rate: _in_frames(course, rate, curve, kinds) for rate in FRAME_RATES}
    fitting = [rate for rate, drawn in at.items() if drawn.frames <= MAX_LIVE_FRAMES]
    most = FAST_FRAMES if "fast" in kinds else 30 if "macro" in kinds else 12
    usual = [rate for rate in fitting if 2 <= round(course.up * rate) <= most]
    # A quick movement that is held or repeated for long may fit at too low rates alone.
    rate = float(stream(seed, "rate").choice(usual)) if usual else fitting[-1]
    return rate, at[rate]


def _in_frames(course: _Course, rate: float, curve: Curve, kinds: frozenset[str]) -> Curve:
    """The course at a frame rate, with the neutral frames around it and the skews of a curve."""
    rise = FAST_FRAMES if "fast" in kinds else max(3, round(course.up * rate))
    stay = max(2, round(course.hold * rate)) if course.hold else 0
    gap = round(course.gap * rate)
    pulse = rise + stay + max(3, round(course.down * rate))
    lead, tail = curve.onset, min(curve.frames - 1 - curve.offset, 5)
    return replace(
        curve,
        frames=lead + pulse + len(course.repeats) * (pulse + gap) + tail + 1,
        apex=lead + rise,
        offset=lead + pulse,
        hold=stay,
        repeats=course.repeats,
        gap=gap,
    )


def _cut(seed: int, curve: Curve, kinds: frozenset[str]) -> Curve:
    """The curve cut off: within its hold, shortly after the apex, or within the onset phase."""
    rng = stream(seed, "end")
    full = curve.apex + curve.hold
    if "held" in kinds and (rng.random() < _NEVER_RETURNS or "cut" in kinds):
        return replace(curve, frames=int(rng.integers(curve.apex + 2, full + 2)))
    if "cut" not in kinds:
        return curve
    if rng.random() < _CUT_START:
        missing = curve.onset + int(rng.integers(1, curve.apex - curve.onset))
        moved = {name: getattr(curve, name) - missing for name in ("onset", "apex", "offset")}
        return replace(curve, frames=max(curve.frames - missing, _LEAST_FRAMES), **moved)
    after = int(rng.integers(0, min(4, curve.offset - full)))
    return replace(curve, frames=full + after + 1)


def blink_at(seed: int, seconds: float) -> Blink:
    """A blink during which the eyes are not open at this time."""
    rng = stream(seed, "blink at apex")
    blink = draw_blink(rng, seconds)
    return replace(blink, start=seconds - float(rng.uniform(0.15, 0.75)) * blink.duration)


def draw_turn(seed: int, seconds: float) -> HeadTurn:
    """A turn by 3 to 15 degrees in all, mostly sideways, over 0.4 of the clip or more."""
    rng = stream(seed, "turn")
    way = rng.normal(0, [1.0, 0.6, 0.4])
    angles = np.radians(rng.uniform(3.0, MAX_TURN)) * way / np.linalg.norm(way)
    lasting = rng.uniform(0.4, 1.0)
    return HeadTurn(
        angles=(float(angles[0]), float(angles[1]), float(angles[2])),
        start=float(rng.uniform(0.0, 1.0 - lasting) * seconds),
        duration=float(lasting * seconds),
    )


def draw_lighting(seed: int) -> LightChange:
    """A ramp, step, flicker or shadow by 5 to 50 %."""
    rng = stream(seed, "light")
    return LightChange(
        kind=str(rng.choice(_CHANGES)),
        strength=float(np.exp(rng.uniform(*np.log(_STRENGTH)))),
        shift=float(rng.uniform(-0.3, 0.3)),
    )
