"""Clips of life: each kind shows what it says, is annotated right, and leaves the rest alone."""

from collections import Counter
from dataclasses import fields, replace

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.render.camera import Framing
from deft_llm.simulator.render.lighting import LIGHTS, LightChange
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.simulator.scene.clips import SimulatedClip, render_clip
from deft_llm.simulator.scene.distractors import PROFILES
from deft_llm.simulator.scene.life import (
    KINDS,
    MAX_LIVE_FRAMES,
    MAX_TURN,
    Dragged,
    draw_dragged,
    draw_kinds,
    only,
)
from deft_llm.simulator.scene.performance import Curve, HeadTurn
from deft_llm.simulator.scene.scene import Scene

LIFE = PROFILES["life"]


def drawn(kind: str, count: int = 60) -> list[ClipSpec]:
    """Clips with an expression, of one kind."""
    profile = only(LIFE, [kind])
    return [draw_spec(seed, profile=profile, neutral_share=0.0) for seed in range(count)]


@pytest.fixture(scope="module")
def life() -> list[ClipSpec]:
    return [draw_spec(seed, profile="life") for seed in range(1500)]


# ------------------------------------------------------------------------------- the mixture


def test_the_mixture_leaves_four_in_ten_clips_as_the_benchmark_has_them(
    life: list[ClipSpec],
) -> None:
    kinds = [draw_kinds(spec.seed, LIFE) for spec in life]
    counts = Counter(len(some) for some in kinds)
    assert counts[0] / len(life) == pytest.approx(0.4, abs=0.04)
    assert max(counts) == 3 and counts[3] / len(life) < 0.06
    assert {kind for some in kinds for kind in some} == set(KINDS) == set(LIFE.kinds)
    for spec, some in zip(life[:300], kinds, strict=False):
        if not some:
            assert replace(spec, dragged=()) == draw_spec(spec.seed)
        if spec.aus:
            assert some - {"one-sided"} <= set(spec.kinds)


def test_each_kind_changes_its_own_fields_alone() -> None:
    changes = {
        **{kind: {"curve", "fps", "blink", "gaze"} for kind in ("held", "repeated", "fast")},
        "cut": {"curve", "blink", "gaze"},
        "macro": {"curve", "fps", "blink", "gaze", "peak_px"},
        "one-sided": {"aus"},
        "blink at apex": {"blink"},
        "speech": {"movements"},
        "turn": {"turn"},
        "light": {"lighting"},
    }
    for kind, names in changes.items():
        for spec in drawn(kind, 12):
            plain = draw_spec(spec.seed, neutral_share=0.0)
            changed = {
                f.name for f in fields(spec) if getattr(spec, f.name) != getattr(plain, f.name)
            }
            assert changed <= names | {"dragged"}, kind


def test_a_recipe_of_life_survives_json_and_is_drawn_again(life: list[ClipSpec]) -> None:
    for spec in life[:150]:
        assert ClipSpec.from_json(spec.to_json()) == spec
        assert draw_spec(spec.seed, profile="life") == spec


def test_clips_stay_short(life: list[ClipSpec]) -> None:
    for spec in life:
        assert 12 <= spec.curve.frames <= MAX_LIVE_FRAMES
        interval = spec.curve.interval
        assert 0 <= interval.onset < interval.apex <= interval.offset < spec.curve.frames
        assert spec.curve.values()[interval.apex] == 1.0
    # Much longer ones would make a training set cost as much more.
    assert np.mean([spec.curve.frames for spec in life]) < 38


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(UserError, match=r"'holded' is not in the profile, which has held, macro"):
        only(LIFE, ["holded"])
    with pytest.raises(UserError, match='choose profile "life"'):
        only(PROFILES["benchmark"], ["held"])


# --------------------------------------------------------------------------------- the kinds


def test_a_held_movement_stays_full_and_is_annotated_to_its_end() -> None:
    never = 0
    for spec in drawn("held"):
        curve, values = spec.curve, spec.curve.values()
        last = min(curve.apex + curve.hold, curve.frames - 1)
        assert (values[curve.apex : last + 1] == 1.0).all() and values[curve.apex - 1] < 1.0
        assert 0.2 < curve.hold / spec.fps < 2.1
        if curve.cut:
            never += 1
            assert spec.curve.interval.offset == curve.frames - 1 == last
        else:
            assert not values[spec.curve.interval.offset :].any()
    assert 5 < never < 25


def test_a_cut_clip_begins_or_ends_within_the_movement() -> None:
    begins = 0
    for spec in drawn("cut"):
        curve, values = spec.curve, spec.curve.values()
        assert (values[0] > 0) != (values[-1] > 0)
        begins += bool(values[0] > 0)
        if values[0] > 0:
            assert curve.interval.onset == 0 and values[0] < 1.0
        else:
            assert curve.interval.offset == curve.frames - 1 < curve.apex + 4
    assert 8 < begins < 30


def test_the_first_pulse_of_a_repeated_movement_is_the_coded_and_strongest_one() -> None:
    for spec in drawn("repeated"):
        curve, values = spec.curve, spec.curve.values()
        assert len(curve.repeats) in (1, 2) and values[curve.apex] == 1.0
        period = curve.offset - curve.onset + curve.gap
        for k, peak in enumerate(curve.repeats, 1):
            assert values[curve.apex + k * period] == pytest.approx(peak) and peak <= 1.0
            assert values[curve.onset + k * period] == 0
        assert not values[-3:].any()


def test_fast_and_large_movements_and_one_sided_aus() -> None:
    assert all(spec.curve.apex - spec.curve.onset == 2 for spec in drawn("fast"))
    macro = drawn("macro")
    peaks = [spec.peak_px for spec in macro]
    assert 3.0 <= min(peaks) < 4.0 and 16.0 < max(peaks) <= 20.0
    lasting = [(s.curve.offset - s.curve.onset) / s.fps for s in macro]
    assert min(lasting) > 0.4 and 2.2 < max(lasting) < 2.7
    for spec in drawn("one-sided"):
        plain = draw_spec(spec.seed, neutral_share=0.0).aus
        assert len({code[0] for a, code in zip(plain, spec.aus, strict=True) if a != code}) < 2


def test_the_eyes_are_not_open_at_the_apex() -> None:
    for spec in drawn("blink at apex"):
        assert spec.blink is not None
        apex = np.array([spec.curve.apex / spec.fps])
        assert spec.blink.values(apex).max() > 0.1


def test_a_turn_reaches_its_angles_smoothly_and_within_the_clip(ellipsoid: Head) -> None:
    angles = []
    for spec in drawn("turn"):
        assert spec.turn is not None
        share = spec.turn.share(np.arange(spec.curve.frames + 1) / spec.fps)
        assert share[0] == 0 and share[-1] == pytest.approx(1) and (np.diff(share) >= 0).all()
        angles.append(np.degrees(np.linalg.norm(spec.turn.angles)))
    assert 3.0 <= min(angles) < 5.0 and 13.0 < max(angles) <= MAX_TURN + 1e-9
    yaw = HeadTurn((np.radians(15.0), 0.0, 0.0), 0.1, 0.2)
    spec = draw_spec(4, 1, emotion=None, size=64, blink=None, turn=yaw)
    still, turned = Scene(replace(spec, turn=None), ellipsoid), Scene(spec, ellipsoid)
    between = turned.rotations[-1] @ still.rotations[-1].T
    angle = np.degrees(np.arccos((np.trace(between) - 1) / 2))
    assert angle == pytest.approx(15.0, abs=0.5)


def test_a_still_face_has_no_kind_of_expression() -> None:
    for kind in ("held", "macro", "turn"):
        spec = draw_spec(1, profile=only(LIFE, [kind]), emotion=None)
        assert ("turn" in spec.kinds) == (kind == "turn") and len(spec.kinds) <= 1
        assert spec.annotation().interval is None


# ----------------------------------------------------------------------------- what is rendered


@pytest.fixture(scope="module")
def turning(ellipsoid: Head) -> SimulatedClip:
    """A smile of 20 px of a head that turns by 15 degrees between onset and apex."""
    curve = Curve(9, 2, 6, 8, 1.0, 1.0)
    turn = HeadTurn((np.radians(13.0), np.radians(-6.0), np.radians(4.0)), 2 / 30, 0.12)
    spec = draw_spec(
        5, 1, aus=("12",), emotion=None, peak_px=20.0, size=192, fps=30.0, blink=None,
        curve=curve, turn=turn, framing=Framing(50.0, 80.0, (0.45, 0.4)),
    )  # fmt: skip
    return render_clip(spec, ellipsoid)


def test_the_exact_motion_is_right_for_a_large_movement_of_a_turning_head(
    turning: SimulatedClip,
) -> None:
    curve, scene = turning.spec.curve, turning.scene
    for compensated in (True, False):
        flow, mask = turning.exact_flow(curve.onset, curve.apex, compensated)
        pose = curve.onset if compensated else curve.apex
        marks = scene.mesh.landmarks
        start = turning.landmarks[curve.onset]
        end = scene.view.project(scene.posed(curve.apex, pose)[marks])
        x, y = np.rint(start).astype(int).T
        seen = mask[y, x]
        assert seen.sum() > 40
        wrong = np.linalg.norm(flow[:, y, x].T - (end - start), axis=1)[seen]
        # Half a pixel beside a landmark, a field of this size has another value.
        assert np.median(wrong) < 0.15 and wrong.max() < 1.2
    shown, _ = turning.exact_flow(curve.onset, curve.apex)
    peak = np.linalg.norm(shown, axis=0).max() * 80 / turning.spec.framing.interocular
    assert peak == pytest.approx(20.0, rel=0.12)


def test_the_measure_of_motion_does_not_depend_on_the_turn(
    turning: SimulatedClip, ellipsoid: Head
) -> None:
    """The head stays in the pose of the onset, in which it has not turned yet."""
    curve = turning.spec.curve
    ahead = render_clip(replace(turning.spec, turn=None), ellipsoid)
    flow, mask = turning.exact_flow(curve.onset, curve.apex)
    wanted, other = ahead.exact_flow(curve.onset, curve.apex)
    assert (mask == other).mean() > 0.999
    assert np.quantile(np.abs(flow - wanted)[:, mask & other], 0.99) < 0.05


def test_light_changes_the_frames_and_nothing_else(ellipsoid: Head) -> None:
    spec = draw_spec(3, 1, emotion=None, size=64, blink=None, curve=Curve(5, 1, 2, 3, 1.0, 1.0))
    steady = render_clip(spec, ellipsoid)
    change = LightChange("step down", 0.5)
    dark = render_clip(replace(spec, lighting=change), ellipsoid)
    np.testing.assert_array_equal(dark.clip.frames[:3], steady.clip.frames[:3])
    half = steady.clip.frames[3:].astype(float) / 2
    assert np.abs(dark.clip.frames[3:] - half).max() <= 0.5
    np.testing.assert_array_equal(dark.landmarks, steady.landmarks)
    assert {s.lighting.kind for s in drawn("light") if s.lighting} < set(LIGHTS)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_rendered(kind: str, ellipsoid: Head) -> None:
    """Frames as many as drawn, and the face moves by what the heads' limits allow."""
    weights = {"happiness": {"12": 1.0}}
    spec = draw_spec(
        7, 1, profile=only(LIFE, [kind]), neutral_share=0.0, combination_weights=weights, size=64
    )
    movements = tuple(replace(m, aus=("4",), activations=(0.1,)) for m in spec.movements)
    clip = render_clip(replace(spec, movements=movements), ellipsoid)  # it knows few AUs
    assert kind in spec.kinds and len(clip.clip.frames) == spec.curve.frames
    interval = clip.annotation.interval
    assert interval is not None
    flow, mask = clip.exact_flow(interval.onset, interval.apex)
    assert mask.any() and np.abs(flow).max() > 0


def test_a_person_drags_the_same_skin_along_in_every_expression() -> None:
    both = {d.au: d.share for d in draw_dragged(5, ("6", "12")) if d.by == "12"}
    alone = {d.au: d.share for d in draw_dragged(5, ("L12",))}
    assert both and both == {au: share for au, share in alone.items() if au != 6}
    assert all(0 < share <= 0.6 for share in both.values())
    assert draw_dragged(5, ("1", "2")) == ()
    # No two of a hundred people smile alike.
    assert len({draw_dragged(i, ("12",)) for i in range(100)}) > 90


def test_dragged_skin_is_no_au_and_the_benchmark_has_none() -> None:
    smile = draw_spec(3, 5, emotion="happiness", aus=("12",), profile="life")
    assert smile.dragged and smile.aus == ("12",)
    assert smile.annotation().aus == ("12",)
    assert ClipSpec.from_json(smile.to_json()) == smile
    assert draw_spec(3, 5, emotion="happiness", aus=("12",)).dragged == ()


def test_dragged_skin_lifts_the_nostrils_in_a_smile() -> None:
    head = load_head("own")
    smile = draw_spec(3, 5, aus=("12",), amplitudes=(1.0,), asymmetry=(0.0,), peak_px=2.0)
    lifts = []
    for dragged in ((), (Dragged("12", 10, 0.6),)):
        scene = Scene(replace(smile, dragged=dragged), head)
        apex = head.deform(scene.face, scene.activations)
        wing = scene.face.landmarks[35]
        lifts.append(float(apex[wing, 1] - scene.face.vertices[wing, 1]))
    assert set(scene.activations) == {"L12", "R12", "L10", "R10"}
    assert lifts[1] > 2 * lifts[0] > 0
