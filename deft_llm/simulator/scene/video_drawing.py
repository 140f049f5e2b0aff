"""Drawing of long videos: what happens in one, and when.

A third holds no micro-expression, and nobody has to be still in it. Durations of
micro-expressions follow the real codings (``au_statistics.json``), a fivefold spread, and their
displacements are those of the benchmark's clips; some begin in the frame in which another ends, or
a few later. Macro-expressions last longer and are larger, and are coded apart. Around both, at any
time, there are blinks, saccades, turns of the head, swallowing and, in a part of some videos,
speech; the light flickers or a shadow passes. All rates are our own choice.

Each kind of thing has a random stream of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.distractors import PROFILES, Distractor, Profile, draw_movements
from deft_llm.simulator.scene.life import draw_dragged
from deft_llm.simulator.scene.performance import (
    Blink,
    Curve,
    Gaze,
    HeadTurn,
    draw_blink,
    draw_duration,
)
from deft_llm.simulator.scene.statistics import coding_statistics
from deft_llm.simulator.scene.video_spec import (
    MICRO,
    HeadPath,
    LightEvent,
    ShownExpression,
    VideoSpec,
)

FPS = 30.0
_STREAMS = ("what", "when", "blinks", "gaze", "head", "swallows", "speech", "light")
_ONSET_SECONDS = (0.1, 0.33)
_OFFSET_SECONDS = (0.1, 1.2)  # beyond, codings are of expressions that hardly go
_QUANTILES = "{}_quantiles_05_25_50_75_95"
_MACRO_SECONDS = (0.8, 4.0)  # log-uniform
_MACRO_PX = (3.0, 16.0)
_GAP = 0.5  # s, at least, between expressions that do not touch, and before the first
_TOUCHING_GAP = 5  # frames, at most
_TURN = (1.0, 7.0)  # degrees
_SWALLOWS = Profile(swallow=1.0)
_SPEECH = Profile(speech=1.0, speech_start=(0.0, 0.0))
#: Of ``LIGHTS``, those that end as they begin; the others are left to robustness.
_LIGHTS = ("flicker", "soft shadow")
_MANY = 1000  # seeds of one video's expressions


@dataclass(frozen=True)
class Rates:
    """How often what happens; a minute unless stated.

    Attributes:
        micro: Micro-expressions, in videos that have any.
        macro: Macro-expressions.
        touching: Share of micro-expressions after which another follows at once.
        blinks: Blinks.
        saccades: Saccades.
        turns: Turns of the head, there and back.
        swallows: Swallows.
        speech: Share of videos in which somebody speaks for some time.
        lights: Changes of the light.
    """

    micro: float = 7.0
    macro: float = 2.0
    touching: float = 0.15
    blinks: float = 14.0
    saccades: float = 20.0
    turns: float = 2.0
    swallows: float = 1.0
    speech: float = 0.3
    lights: float = 1.0


USUAL = Rates()


def draw_video(
    seed: int,
    identity: int,
    seconds: float,
    *,
    without: bool = False,
    rates: Rates = USUAL,
    size: int = 288,
    head: str = "own",
) -> VideoSpec:
    """Draw one recipe; equal arguments give equal recipes.

    Args:
        seed: Seed of everything except the face.
        identity: Seed of the face.
        seconds: Length of the video.
        without: No micro-expression.
        rates: How often what happens.
        size: Side of the square frames, px.
        head: Name of the head model.
    """
    # draw_spec, which draws the face at rest from the same seed, uses [seed, 0..11].
    rngs = {name: np.random.default_rng([seed, 12, 1 + k]) for k, name in enumerate(_STREAMS)}
    turns = _turns(rngs["head"], seconds, rates.turns)
    movements = [
        *_swallows(rngs["swallows"], seconds, rates.swallows),
        *_speech(rngs["speech"], seconds, rates.speech),
    ]
    rest = _at_rest(seed, identity, seconds, size, head)
    return VideoSpec(
        rest=replace(
            rest,
            motion=HeadPath(**asdict(rest.motion), turns=tuple(turns)),
            movements=tuple(movements),
        ),
        expressions=tuple(_expressions(seed, rngs, rest, 0.0 if without else rates.micro, rates)),
        blinks=tuple(_blinks(rngs["blinks"], seconds, rates.blinks)),
        fixations=tuple(_fixations(rngs["gaze"], seconds, rates.saccades)),
        lights=tuple(_lights(rngs["light"], seconds, rates.lights)),
    )


def draw_micro(seed: int, identity: int) -> ShownExpression:
    """A micro-expression as those of a video, by itself: from its onset to its offset.

    Args:
        seed: Seed of everything except the face.
        identity: Seed of the face.
    """
    rng = np.random.default_rng([seed, 13])  # after the streams of ``draw_video``
    up, hold, down = _micro_curve(rng)
    offset = up + hold + down
    skews = rng.uniform(0.75, 1.3, 2)
    curve = Curve(offset + 1, 0, up, offset, float(skews[0]), float(skews[1]), hold)
    return _shown(seed, identity, "micro", curve, rng)


def _at_rest(seed: int, identity: int, seconds: float, size: int, head: str) -> ClipSpec:
    return draw_spec(
        seed,
        identity,
        emotion=None,
        size=size,
        head=head,
        fps=FPS,
        # Without AUs, the curve only says how long it lasts.
        curve=Curve(round(seconds * FPS), 0, 1, 2, 1.0, 1.0),
        blink=None,
        gaze=Gaze((0.0, 0.0), (0.0, 0.0), 0.0, 1.0),
    )


def _times(rng: np.random.Generator, seconds: float, rate: float, least: float) -> Iterator[float]:
    """Random times, so many a minute, at least so many seconds apart."""
    time = 0.0
    while rate > 0:
        time += least + rng.exponential(max(60.0 / rate - least, 0.1))
        if time >= seconds:
            return
        yield float(time)


def _expressions(
    seed: int, rngs: dict[str, np.random.Generator], rest: ClipSpec, micro: float, rates: Rates
) -> Iterator[ShownExpression]:
    """Expressions one after another until the video is full.

    If there are to be micro-expressions, an early one comes first, so that there is one.
    """
    what, when, frames = rngs["what"], rngs["when"], rest.curve.frames
    both = micro + rates.macro
    onset = 0
    if both <= 0:
        return
    for number in range(_MANY):
        first = number == 0 and micro > 0
        touching = number > 0 and micro > 0 and what.random() < rates.touching
        kind: Literal["micro", "macro"] = (
            "micro" if first or touching or what.random() < micro / both else "macro"
        )
        length = _micro_curve if kind == MICRO else _macro_curve
        up, hold, down = length(what)
        pause = _GAP + when.exponential(max(60.0 / both - _GAP, 0.1))
        if first:
            pause = when.uniform(_GAP, max(_GAP, frames / FPS / 3))
        gap = int(when.integers(0, _TOUCHING_GAP + 1)) if touching else round(pause * FPS)
        onset += gap
        offset = onset + up + hold + down
        if offset >= frames - round(_GAP * FPS):
            return
        skews = what.uniform(0.75, 1.3, 2)
        curve = Curve(frames, onset, onset + up, offset, float(skews[0]), float(skews[1]), hold)
        yield _shown(seed * _MANY + number, rest.identity, kind, curve, what)
        # The last frame of one is the first of the next at the nearest.
        onset = offset


def _shown(
    seed: int,
    identity: int,
    kind: Literal["micro", "macro"],
    curve: Curve,
    rng: np.random.Generator,
) -> ShownExpression:
    """Emotion and AUs, drawn as those of a clip."""
    drawn = draw_spec(seed, 0, neutral_share=0.0)
    low, high = PROFILES["benchmark"].peak_px if kind == MICRO else _MACRO_PX
    return ShownExpression(
        kind=kind,
        emotion=drawn.emotion,
        aus=drawn.aus,
        amplitudes=drawn.amplitudes,
        asymmetry=drawn.asymmetry,
        peak_px=float(np.exp(rng.uniform(np.log(low), np.log(high)))),
        curve=curve,
        dragged=draw_dragged(identity, drawn.aus),
    )


def _micro_curve(rng: np.random.Generator) -> tuple[int, int, int]:
    """Frames of onset phase, hold and offset phase, from the codings of one corpus."""
    durations = coding_statistics()["durations_seconds"]
    names = sorted(durations)
    counts = np.array([durations[name]["n"] for name in names], float)
    corpus = durations[names[rng.choice(len(names), p=counts / counts.sum())]]
    up = draw_duration(rng, corpus[_QUANTILES.format("onset_to_apex")], _ONSET_SECONDS)
    down = draw_duration(rng, corpus[_QUANTILES.format("apex_to_offset")], _OFFSET_SECONDS)
    return round(up * FPS), 0, round(down * FPS)


def _macro_curve(rng: np.random.Generator) -> tuple[int, int, int]:
    seconds = np.exp(rng.uniform(*np.log(_MACRO_SECONDS)))
    shares = rng.dirichlet((4.0, 3.0, 5.0))
    up, hold, down = (max(3, round(float(share * seconds) * FPS)) for share in shares)
    return up, hold, down


def _blinks(rng: np.random.Generator, seconds: float, rate: float) -> Iterator[Blink]:
    for time in _times(rng, seconds, rate, 0.4):
        yield replace(draw_blink(rng, 1.0), start=time)


def _fixations(
    rng: np.random.Generator, seconds: float, rate: float
) -> Iterator[tuple[float, float, float]]:
    for time in (0.0, *_times(rng, seconds, rate, 0.3)):
        yaw, pitch = np.radians(rng.normal(0, [4.0, 2.5]).clip(-10, 10))
        yield time, float(yaw), float(pitch)


def _turns(rng: np.random.Generator, seconds: float, rate: float) -> Iterator[HeadTurn]:
    """Turns away and, some time after, back."""
    for time in _times(rng, seconds, rate, 6.0):
        way = rng.normal(0, [1.0, 0.7, 0.4])
        angles = np.radians(rng.uniform(*_TURN)) * way / np.linalg.norm(way)
        there, stay, back = rng.uniform(0.4, 1.5), rng.uniform(0.3, 3.0), rng.uniform(0.4, 1.5)
        for sign, start, lasting in ((1, time, there), (-1, time + there + stay, back)):
            yaw, pitch, roll = (sign * angles).tolist()
            yield HeadTurn((yaw, pitch, roll), float(start), float(lasting))


def _swallows(rng: np.random.Generator, seconds: float, rate: float) -> Iterator[Distractor]:
    for time in _times(rng, seconds, rate, 3.0):
        yield from _moved(draw_movements(rng, 0.1, _SWALLOWS, ()), time)


def _speech(rng: np.random.Generator, seconds: float, share: float) -> Iterator[Distractor]:
    """One section of speech, as words with pauses between them."""
    if rng.random() >= share:
        return
    lasting = rng.uniform(0.2, 0.6) * seconds
    time = start = rng.uniform(0, seconds - lasting)
    while time < start + lasting:
        phrase = rng.uniform(0.8, 4.0)
        yield from _moved(draw_movements(rng, phrase, _SPEECH, ()), time)
        time += phrase + rng.uniform(0.2, 1.2)


def _moved(movements: tuple[Distractor, ...], time: float) -> Iterator[Distractor]:
    for movement in movements:
        yield replace(movement, start=float(movement.start + time))


def _lights(rng: np.random.Generator, seconds: float, rate: float) -> Iterator[LightEvent]:
    for time in _times(rng, seconds, rate, 4.0):
        strength = float(np.exp(rng.uniform(np.log(0.03), np.log(0.3))))
        yield LightEvent(str(rng.choice(_LIGHTS)), strength, time, float(rng.uniform(1.0, 6.0)))
