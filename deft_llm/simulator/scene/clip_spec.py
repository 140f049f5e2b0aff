"""The recipe of one simulated clip, and the drawing of recipes.

Emotions, AU combinations and phase durations follow `au_statistics.json`: counts over the
published codings of CAS(ME)3 and DFME (durations also CASME II), aggregates only. The simulated
benchmark pins all other distributions (DESIGN, contracts).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import MISSING, asdict, dataclass, fields, is_dataclass, replace
from typing import Any

import numpy as np

from deft_llm.clip import Annotation
from deft_llm.errors import UserError
from deft_llm.files import digest
from deft_llm.simulator.render.camera import (
    Framing,
    Light,
    Sensor,
    draw_framing,
    draw_light,
    draw_sensor,
)
from deft_llm.simulator.render.lighting import LightChange
from deft_llm.simulator.scene.distractors import (
    PROFILES,
    Distractor,
    Profile,
    draw_movements,
    one_side,
)
from deft_llm.simulator.scene.life import (
    FAST_FRAMES,
    MACRO_PX,
    Dragged,
    blink_at,
    draw_dragged,
    draw_kinds,
    draw_lighting,
    draw_turn,
    live_curve,
    sided,
)
from deft_llm.simulator.scene.performance import (
    Blink,
    Curve,
    Gaze,
    HeadMotion,
    HeadTurn,
    draw_blink,
    draw_duration,
    draw_gaze,
    draw_head_motion,
)
from deft_llm.simulator.scene.statistics import Combinations, coding_statistics, combinations

DATASET = "simulated"
FRAME_SIZE = 288
NEUTRAL_SHARE = 0.1
BLINK_SHARE = 0.4
GAZE_SHARE = 0.4
MAX_FRAMES = 36
FRAME_RATES = (30.0, 40.0, 50.0, 60.0, 75.0, 90.0, 100.0)
_ONSET_SECONDS = (0.07, 0.32)
_OFFSET_SECONDS = (0.07, 0.5)
_IDENTITIES = 100_000


@dataclass(frozen=True)
class ClipSpec:
    """Everything that determines the bytes of a clip.

    Attributes:
        seed: Seed that the recipe was drawn from.
        identity: Seed of the face.
        head: Name of the head model.
        size: Side of the square frames, px.
        fps: Frames per second.
        emotion: One of ``facs.EMOTIONS``; None without any AU.
        aus: AU codes, ``("1", "L12")``; a code without a side means both sides.
        amplitudes: For each AU its share of the clip's peak displacement, 0..1.
        asymmetry: For each AU the excess of the subject's left over the mean of both sides,
            -1..1; no effect on one-sided AUs.
        peak_px: Largest head-compensated displacement of skin from rest to apex, pixels of
            the canonical face; less if the AUs of the head cannot reach it.
        curve: The expression over time; no effect without AUs.
        blink: A blink, or None.
        gaze: Gaze direction over time.
        motion: Pose and drift of the head.
        framing: Size and position of the face in the frame.
        light: The light.
        sensor: The camera's sensor, and the background.
        movements: Distractors, which are not annotated; none in the benchmark.
        turn: A turn of the head, or None.
        lighting: A change of the light, or None.
        dragged: Skin that the AUs move along in this person, beside what they move in all.
    """

    seed: int
    identity: int
    head: str
    size: int
    fps: float
    emotion: str | None
    aus: tuple[str, ...]
    amplitudes: tuple[float, ...]
    asymmetry: tuple[float, ...]
    peak_px: float
    curve: Curve
    blink: Blink | None
    gaze: Gaze
    motion: HeadMotion
    framing: Framing
    light: Light
    sensor: Sensor
    movements: tuple[Distractor, ...]
    # Defaults stay out of the JSON, so that clips without life keep their names.
    turn: HeadTurn | None = None
    lighting: LightChange | None = None
    dragged: tuple[Dragged, ...] = ()

    @property
    def name(self) -> str:
        """For example "simulated-5f0c1d2e-17": equal for equal recipes alone.

        The seed is not enough, because sets with other settings draw other clips from it.
        """
        return f"{DATASET}-{digest(self.to_json())[:8]}-{self.seed}"

    @property
    def recipe(self) -> str:
        """For example "surprise_17": one recipe on two faces is two clips, but nothing new."""
        kind = self.emotion or ("unlabelled" if self.aus else "neutral")
        return f"{kind}_{self.seed}"

    @property
    def kinds(self) -> tuple[str, ...]:
        """The ``life.KINDS`` that the clip shows; by chance also in clips of the benchmark."""
        curve, seconds = self.curve, self.curve.frames / self.fps
        blink, apex = self.blink, self.curve.apex / self.fps
        of_expression = {
            "held": curve.hold > 0,
            "cut": curve.cut,
            "repeated": bool(curve.repeats),
            "one-sided": any(code[0] in "LR" for code in self.aus),
            "fast": curve.apex - curve.onset <= FAST_FRAMES,
            "macro": self.peak_px > MACRO_PX[0],
            "blink at apex": blink is not None
            and blink.start < apex < blink.start + blink.duration,
        }
        of_scene = {
            "speech": any(m.kind == "speech" and m.seen(seconds) for m in self.movements),
            "turn": self.turn is not None,
            "light": self.lighting is not None,
        }
        shown = of_expression | of_scene if self.aus else of_scene
        return tuple(kind for kind, there in shown.items() if there)

    @property
    def subject(self) -> str:
        """Head and identity; no subject is in two splits."""
        return f"{self.head}{self.identity:06d}"

    def annotation(self) -> Annotation:
        """The coding; the interval is None for a clip without AUs."""
        return Annotation(
            dataset=DATASET,
            subject=self.subject,
            clip=self.name,
            interval=self.curve.interval if self.aus else None,
            aus=self.aus,
            emotion=self.emotion,
            fps=self.fps,
        )

    def to_json(self) -> str:
        """One line of JSON that :meth:`from_json` reads back to an equal spec."""
        return json.dumps(_stated(self), default=asdict)

    @classmethod
    def from_json(cls, text: str) -> ClipSpec:
        """Read a spec written by :meth:`to_json`.

        Raises:
            UserError: If fields are missing or unknown.
        """
        values = json.loads(text)
        known = {field.name for field in fields(cls)}
        wanted = {field.name for field in fields(cls) if field.default is MISSING}
        if not wanted <= set(values) <= known:
            raise UserError(
                f"clip spec with fields {sorted(values)}: expected {sorted(wanted)}; "
                "draw the spec again with this version"
            )
        for name, part in _PARTS.items():
            if values.get(name) is not None:
                values[name] = part(**_tuples(values[name]))
        values["movements"] = [Distractor(**_tuples(m)) for m in values["movements"]]
        values["dragged"] = [Dragged(**d) for d in values.get("dragged", ())]
        return cls(**_tuples(values))


_PARTS: dict[str, Any] = {
    "curve": Curve,
    "blink": Blink,
    "gaze": Gaze,
    "motion": HeadMotion,
    "framing": Framing,
    "light": Light,
    "sensor": Sensor,
    "turn": HeadTurn,
    "lighting": LightChange,
}


def _stated(part: Any) -> dict[str, Any]:
    """The fields of a spec or a part of it, without those that have their default."""
    values = ((field, getattr(part, field.name)) for field in fields(part))
    return {
        field.name: _stated(value) if is_dataclass(value) else value
        for field, value in values
        if value != field.default
    }


def _tuples(values: dict[str, Any]) -> dict[str, Any]:
    return {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}


def draw_spec(
    seed: int,
    identity: int | None = None,
    *,
    combination_weights: Combinations | None = None,
    neutral_share: float = NEUTRAL_SHARE,
    profile: str | Profile = "benchmark",
    **overrides: Any,
) -> ClipSpec:
    """Draw one recipe; equal arguments give equal recipes.

    Each group of fields has its own random stream, so overriding one leaves the others as they are.

    Args:
        seed: Seed of everything except the face.
        identity: Seed of the face; drawn from ``seed`` if None.
        combination_weights: Emotion -> combination -> weight; :func:`combinations` if None.
        neutral_share: Share of clips without AUs.
        profile: Amplitudes, asymmetry and distractors, or a name in ``distractors.PROFILES``:
            "benchmark" (pinned, without distractors), "varied" (micro to macro, one-sided and
            partial AUs, swallowing, speech, macro-expressions, tremor) or "life" (``life.KINDS``).
            Emotion and AU numbers of a seed are the same in all profiles.
        **overrides: Fields of :class:`ClipSpec` to set. ``emotion`` restricts the combinations
            to that emotion (None: no AU); ``aus`` without ``emotion`` gives a clip without a label.

    Returns:
        The recipe.

    Raises:
        UserError: If an override is not a field, the emotion has no combinations, or the
            profile is unknown.
    """
    known = {field.name for field in fields(ClipSpec)} - {"seed", "identity"}
    if unknown := sorted(set(overrides) - known):
        raise UserError(f"clip spec override {unknown}: expected fields among {sorted(known)}")
    if isinstance(profile, str):
        if profile not in PROFILES:
            raise UserError(f"profile {profile!r}: expected one of {', '.join(sorted(PROFILES))}")
        profile = PROFILES[profile]
    # Streams 0 to 8 make the benchmark; 9 and 10 belong to the profiles, which therefore
    # leave the emotion, the AU numbers and the curve of a seed as they are. The kinds of life have
    # streams of their own.
    streams = [np.random.default_rng([seed, k]) for k in range(11)]
    kinds = draw_kinds(seed, profile)
    if "speech" in kinds:
        profile = replace(profile, speech=1.0)
    table = combinations() if combination_weights is None else combination_weights
    if "aus" in overrides:
        emotion, aus = overrides.get("emotion"), tuple(overrides["aus"])
    else:
        emotion, aus = _draw_expression(streams[0], table, neutral_share, overrides)
        aus = one_side(streams[9], aus, profile)
        aus = sided(seed, aus) if "one-sided" in kinds else aus
    size = overrides.get("size", FRAME_SIZE)
    fps, curve = live_curve(seed, *_draw_curve(streams[1]), kinds)
    curve = overrides.get("curve", curve)
    seconds = curve.frames / overrides.get("fps", fps)
    amplitudes = streams[2].uniform(0.5, 1.0, len(aus))
    if streams[9].random() < profile.partial:
        # Log-uniform in 0.1..1.
        amplitudes = 0.1 * 10.0 ** streams[9].random(len(aus))
    # One AU reaches the clip's full peak (an empty slice without AUs).
    amplitudes[: bool(aus)] = 1.0
    spread = profile.asymmetry
    peak_px = MACRO_PX if "macro" in kinds else profile.peak_px
    apex = curve.apex / overrides.get("fps", fps) if "blink at apex" in kinds else None
    if identity is None:
        identity = int(streams[3].integers(_IDENTITIES))
    drawn = ClipSpec(
        seed=seed,
        identity=identity,
        head="own",
        size=size,
        fps=fps,
        emotion=emotion,
        aus=aus,
        amplitudes=tuple(float(a) for a in streams[2].permutation(amplitudes)),
        asymmetry=tuple(
            float(a)
            for a in streams[2].normal(0, spread, len(aus)).clip(-2.5 * spread, 2.5 * spread)
        ),
        peak_px=float(np.exp(streams[4].uniform(*np.log(peak_px)))),
        curve=curve,
        blink=_draw_blink(streams[5], seconds) if apex is None else blink_at(seed, apex),
        gaze=draw_gaze(streams[6], seconds, bool(streams[6].random() < GAZE_SHARE)),
        motion=_draw_motion(streams, profile),
        framing=draw_framing(streams[8], size),
        light=draw_light(streams[8]),
        sensor=draw_sensor(streams[8]),
        movements=draw_movements(streams[10], seconds, profile, aus),
        turn=draw_turn(seed, seconds) if "turn" in kinds else None,
        lighting=draw_lighting(seed) if "light" in kinds else None,
        dragged=draw_dragged(identity, aus) if profile.drags else (),
    )
    # The overrides hold emotion and AUs as requested; the spec holds them as resolved above.
    return replace(drawn, **{**overrides, "emotion": emotion, "aus": aus})


def _draw_motion(streams: list[np.random.Generator], profile: Profile) -> HeadMotion:
    motion = draw_head_motion(streams[7])
    if profile.tremor is None:
        return motion
    return replace(motion, tremor=float(streams[9].uniform(*profile.tremor)))


def _draw_blink(rng: np.random.Generator, seconds: float) -> Blink | None:
    blink = draw_blink(rng, seconds)
    # Draw first and decide after, so that the stream advances equally either way.
    return blink if rng.random() < BLINK_SHARE else None


def _draw_expression(
    rng: np.random.Generator,
    table: Combinations,
    neutral_share: float,
    overrides: Mapping[str, Any],
) -> tuple[str | None, tuple[str, ...]]:
    neutral = rng.random() < neutral_share
    if "emotion" in overrides:
        wanted = overrides["emotion"]
        neutral = wanted is None
        if wanted is not None and not table.get(wanted):
            raise UserError(f"emotion {wanted!r}: expected one of {', '.join(sorted(table))}")
        table = {wanted: table[wanted]} if wanted is not None else table
    if neutral:
        return None, ()
    # Sorted, so that the draw does not depend on the order of the table's keys.
    rows = [(e, code, n) for e in sorted(table) for code, n in sorted(table[e].items())]
    counts = np.array([n for _, _, n in rows], float)
    emotion, code, _ = rows[rng.choice(len(rows), p=counts / counts.sum())]
    return emotion, tuple(code.split("+"))


def _draw_curve(rng: np.random.Generator) -> tuple[float, Curve]:
    """Frame rate and curve: 10 to 12 neutral frames, the expression, 3 to 5 neutral frames.

    A long offset phase is cut so that the clip has at most ``MAX_FRAMES``; a clip of fewer than 24
    frames gets more neutral frames at its end.
    """
    durations = coding_statistics()["durations_seconds"]
    names = sorted(durations)
    counts = np.array([durations[n]["n"] for n in names], float)
    corpus = durations[names[rng.choice(len(names), p=counts / counts.sum())]]
    onset_seconds = draw_duration(
        rng, corpus["onset_to_apex_quantiles_05_25_50_75_95"], _ONSET_SECONDS
    )
    offset_seconds = draw_duration(
        rng, corpus["apex_to_offset_quantiles_05_25_50_75_95"], _OFFSET_SECONDS
    )
    # Frame rates at which the onset phase takes 3 to 12 frames.
    fps = float(rng.choice([rate for rate in FRAME_RATES if 3 <= onset_seconds * rate <= 12]))
    lead, tail = int(rng.integers(10, 13)), int(rng.integers(3, 6))
    up = max(3, round(onset_seconds * fps))
    down = int(np.clip(round(offset_seconds * fps), 4, MAX_FRAMES - lead - tail - up - 1))
    tail += max(0, 24 - (lead + up + down + tail + 1))
    return fps, Curve(
        frames=lead + up + down + tail + 1,
        onset=lead,
        apex=lead + up,
        offset=lead + up + down,
        onset_skew=float(rng.uniform(0.75, 1.3)),
        offset_skew=float(rng.uniform(0.75, 1.3)),
    )
