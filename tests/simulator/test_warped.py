"""Warped faces: the motion that is claimed is the motion that is filmed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.ndimage import map_coordinates

from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE, transform
from deft_llm.simulator.head import EYE_DEPTH, load_head
from deft_llm.simulator.render.camera import View
from deft_llm.simulator.scene.clip_spec import draw_spec
from deft_llm.simulator.scene.clips import render_clip
from deft_llm.simulator.scene.performance import _rotations
from deft_llm.simulator.warped.film import BaseFrames, Take, film, in_frame
from deft_llm.simulator.warped.lids import close_lids
from deft_llm.simulator.warped.motion import CAMERA, PAD, FaceMotion, rotate
from deft_llm.simulator.warped.portrait import Portrait, portrait

SIDE = 240
# Frame pixels to canonical pixels: turned by a tenth, 1.1 times as large, shifted.
PLACE = np.array([[1.09, -0.11, -20.0], [0.11, 1.09, -15.0]])


@pytest.fixture(scope="module")
def motion() -> FaceMotion:
    return FaceMotion(load_head("own"), 7, CANONICAL_LANDMARKS.astype(np.float64))


@pytest.fixture(scope="module")
def rendered() -> Portrait:
    """A rendered frame, and a second one with other noise."""
    simulated = render_clip(draw_spec(3, 11, emotion=None, aus=(), blink=None))
    points = simulated.landmarks[0].astype(np.float64)
    frames = simulated.clip.frames[:2, :SIDE, :SIDE]
    return Portrait("rendered", frames, np.repeat(PLACE[None], 2, axis=0), transform(PLACE, points))


def take(field: NDArray[np.float32], levels: list[float], **changes: Any) -> Take:
    none = np.zeros((len(levels), 2))
    return replace(Take(field, np.array(levels), none, none), **changes)


def ramps() -> Portrait:
    """A picture whose red and green are the place of each pixel."""
    rows, columns = np.mgrid[:SIDE, :SIDE].astype(np.uint8)
    picture = np.stack([columns, rows, np.zeros_like(rows)], axis=-1)
    return Portrait("ramps", picture[None], PLACE[None], CANONICAL_LANDMARKS.astype(np.float64))


@pytest.mark.parametrize(("peak", "yaw"), [(3.0, 0.0), (9.0, 0.0), (3.0, 0.035), (3.0, 0.087)])
def test_what_is_filmed_moved_by_the_exact_field(
    motion: FaceMotion, peak: float, yaw: float
) -> None:
    field = motion.field(("6", "12"))
    turn = np.array([[yaw, 0.0]])
    seen = BaseFrames(ramps()).moved(0, motion, take(field, [peak], turn=turn))
    # Each pixel tells where it came from; moved forward from there, it has to arrive at itself.
    x, y = seen[..., 0].astype(np.float64), seen[..., 1].astype(np.float64)
    for step, level in ((field, peak), (motion.turned(yaw), 1.0)):
        moved = in_frame(step, PLACE, (SIDE, SIDE)) * level
        u, v = (map_coordinates(channel, [y, x], order=1, mode="nearest") for channel in moved)
        x, y = x + u, y + v
    rows, columns = np.mgrid[:SIDE, :SIDE]
    inside = (slice(16, -16), slice(16, -16))
    assert np.abs(x - columns)[inside].max() < 0.02
    assert np.abs(y - rows)[inside].max() < 0.02


def test_each_take_moves_by_its_own_field(motion: FaceMotion) -> None:
    smile, frown = (motion.field((au,)) for au in ("12", "4"))
    frames = BaseFrames(ramps())
    frames.moved(0, motion, take(smile, [3.0]))
    again = frames.moved(0, motion, take(frown, [3.0]))
    fresh = BaseFrames(ramps()).moved(0, motion, take(frown, [3.0]))
    np.testing.assert_array_equal(again, fresh)


def test_nothing_moves_at_level_zero(motion: FaceMotion, rendered: Portrait) -> None:
    frames = film(rendered, motion, take(motion.field(("12",)), [0.0] * 4))
    # To and fro over the two frames of the portrait.
    assert np.array_equal(frames, rendered.frames[[0, 1, 0, 1]])


def test_the_field_is_as_long_as_it_says(motion: FaceMotion) -> None:
    for aus in (("6", "12"), ("L12",), ("4",), ("1", "2", "5")):
        assert np.sqrt((motion.field(aus) ** 2).sum(0)).max() == pytest.approx(1.0, abs=1e-5)
    assert not motion.field(()).any()


def test_one_side_does_not_move_the_other(motion: FaceMotion) -> None:
    left, right = motion.field(("L12",)), motion.field(("R12",))
    middle = PAD + CANONICAL_SIZE // 2
    assert np.abs(left[:, :, : middle - 16]).max() < 1e-3
    assert np.abs(right[:, :, middle + 16 :]).max() < 1e-3


def test_aus_move_where_and_how_they_should(motion: FaceMotion) -> None:
    points = (CANONICAL_LANDMARKS + PAD).round().astype(int)

    def at(aus: tuple[str, ...], landmark: int) -> tuple[float, float]:
        u, v = motion.field(aus)[:, points[landmark, 1], points[landmark, 0]]
        return float(u), float(v)

    left_corner, right_corner = at(("12",), 54), at(("12",), 48)
    assert left_corner[0] > 0.2 and left_corner[1] < -0.2
    assert right_corner[0] < -0.2 and right_corner[1] < -0.2
    assert at(("1", "2"), 24)[1] < -0.3 < 0.2 < at(("4",), 22)[1]
    assert at(("17",), 57)[1] < -0.2
    assert np.hypot(*at(("12",), 19)) < 0.02


def test_a_turn_is_a_rigid_one() -> None:
    rng = np.random.default_rng(1)
    cm = rng.uniform((-6, -9, 2), (6, 5, 11), (50, 3)).astype(np.float32)
    px = 12.0
    view = View(px * (CAMERA - EYE_DEPTH), CAMERA, (0.0, 0.0))
    before = view.project(cm)
    depth = cm[:, 2].astype(np.float64) * px
    for yaw, pitch in ((0.02, 0.0), (-0.09, 0.0), (0.0, 0.05)):
        after = view.project(cm @ _rotations(np.array([[yaw, pitch, 0.0]]))[0].T)
        moved = rotate(before.astype(np.float64), depth, yaw, pitch, px)
        assert np.abs(before + moved - after).max() < 1e-3


def test_a_turn_moves_the_nose_most_and_no_wall(motion: FaceMotion) -> None:
    moved = motion.turned(np.radians(1.0))
    nose, temple = (CANONICAL_LANDMARKS[i].round().astype(int) + PAD for i in (30, 16))
    assert moved[0, nose[1], nose[0]] > 1.5 * moved[0, temple[1], temple[0]] > 0
    assert np.abs(moved[:, :, :4]).max() < 1e-6
    assert np.abs(motion.turned(0.0)).max() < 1e-4


def test_lids_close_over_the_eyes_alone(rendered: Portrait) -> None:
    image = rendered.frames[0].astype(np.float32)
    shut = close_lids(image, PLACE, rendered.landmarks, (1.0, 0.0))
    assert np.array_equal(close_lids(image, PLACE, rendered.landmarks, (0.0, 0.0)), image)
    rows, columns = np.nonzero(np.abs(shut - image).max(axis=-1))
    changed = transform(PLACE, np.stack([columns, rows], axis=-1).astype(np.float64))
    eye, brow = rendered.landmarks[36:42], rendered.landmarks[17:22]
    # The subject's right eye, from below its brow to its lower margin.
    assert len(changed) > 100
    assert changed[:, 0].min() > eye[:, 0].min() - 6 and changed[:, 0].max() < eye[:, 0].max() + 6
    assert changed[:, 1].min() > brow[:, 1].min() and changed[:, 1].max() < eye[:, 1].max() + 6


def test_noise_and_light_come_last(motion: FaceMotion, rendered: Portrait) -> None:
    sensor = replace(draw_spec(1, 1).sensor, grey=False)
    still = take(motion.field(()), [0.0] * 3)
    noisy = film(rendered, motion, replace(still, sensor=sensor)).astype(int)
    apart = (noisy[0] - rendered.frames[0])[20:-20, 20:-20]
    assert 0.3 < apart.std() < 3 and abs(apart.mean()) < 0.5
    dark = film(rendered, motion, still, np.full((3, 1, 1), 0.5, np.float32))
    assert np.abs(dark[0] - 0.5 * rendered.frames[0]).max() <= 0.5


def test_a_portrait_is_cut_to_its_face_and_keeps_its_scale() -> None:
    simulated = render_clip(draw_spec(3, 11, emotion=None, aus=(), blink=None, size=600))
    face = portrait(simulated.clip.part(0, 1))
    assert len(face.frames) == 1 and face.frames.shape[1] % 2 == face.frames.shape[2] % 2 == 0
    eyes = transform(np.linalg.inv(np.vstack([face.transforms[0], [0, 0, 1]]))[:2], face.landmarks)
    apart = np.linalg.norm(eyes[36:42].mean(0) - eyes[42:48].mean(0))
    assert apart == pytest.approx(110, abs=8)
    twice = face.mirrored().mirrored()
    assert np.array_equal(twice.frames, face.frames)
    assert np.allclose(twice.landmarks, face.landmarks)
    assert np.allclose(twice.transforms, face.transforms)


def test_the_mirrored_face_moves_its_other_side(rendered: Portrait) -> None:
    head, mirror = load_head("own"), rendered.mirrored()
    left = FaceMotion(head, 7, rendered.landmarks).field(("L12",))
    right = FaceMotion(head, 7, mirror.landmarks).field(("R12",))
    flipped = left[:, :, ::-1] * np.array([-1, 1], np.float32)[:, None, None]
    assert np.sqrt(((flipped - right) ** 2).sum(0)).max() < 0.15
