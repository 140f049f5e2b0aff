"""Expressions as curves of the regions' exact motion, without a picture: thousands in a minute.

A spotter meets a few hundred expressions in the videos that can be rendered for it, but thousands
of ways in which a face moves. Here the head is moved by an expression as in a long video, and the
exact motion of the skin is averaged over each region. Added to a measured video (``Segments``), it
is an expression with that video's noise, blinks and speech. What is measured of it is less, and
differs by region; see ``MEASURED``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator
from scipy.special import ndtr

from deft_llm.config import Settings
from deft_llm.data.shards import Arrays, Shards, claim_set, open_shards
from deft_llm.facs import EMOTIONS
from deft_llm.motion.rois import ROIS, roi_boxes
from deft_llm.parallel import parallel_map
from deft_llm.simulator.head import Head, HeadMesh, load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.scene.acting import CANONICAL_INTEROCULAR, Actor
from deft_llm.simulator.scene.clip_spec import subject_name
from deft_llm.simulator.scene.scene import eye_gap
from deft_llm.simulator.scene.video_drawing import draw_alone

Floats = NDArray[np.float32]

#: Share of the exact motion that is measured: of a region, and of the lower lids, where flow takes
#: the motion of the lid's edge along. As seen at the apexes of 40 rendered videos, beyond 1 px.
MEASURED: dict[str, tuple[float, float]] = {"face": (0.45, 1.0), "lids": (0.45, 3.5)}
_LIDS = np.array([roi.name.endswith("lower lid") for roi in ROIS])
_REACH = 5.0  # px, over which flow smooths: chosen for the likest motion in the same videos
_PER_FACE = 20  # expressions that one face shows
_PER_FILE = 1000


@dataclass(frozen=True)
class DrawnExpression:
    """One expression.

    Attributes:
        motion: Exact motion of the regions at its peak (18, 2), px of the canonical face.
        level: Share of it in every frame (T,), 0 in the first and the last, which are onset and
            offset; 30 frames a second.
        emotion: One of ``facs.EMOTIONS``; None without.
        micro: Whether it is a micro-expression, or a macro-expression.
    """

    motion: Floats
    level: Floats
    emotion: str | None
    micro: bool

    def measured(self, rng: np.random.Generator) -> Floats:
        """The motion as it may be measured, (18, 2)."""
        gain = np.full(len(ROIS), rng.uniform(*MEASURED["face"]))
        gain[_LIDS] = rng.uniform(*MEASURED["lids"])
        return (self.motion * gain[:, None]).astype(np.float32)


class DrawnData(Settings):
    """Which expressions to draw.

    Attributes:
        micro: Number of micro-expressions.
        macro: Number of macro-expressions.
        first_identity: Seed of the first face; every face shows twenty.
        seed: Seed of the first expression.
        head: Name of the head model.
        head_file: Its file, if it needs one ("ict").
        workers: Number of processes.
    """

    micro: int = Field(default=6000, ge=0)
    macro: int = Field(default=2000, ge=0)
    first_identity: int = 20_000
    seed: int = 8_000_000
    head: str = "own"
    head_file: Path | None = None
    workers: int = Field(default=2, ge=1)

    @model_validator(mode="after")
    def _some(self) -> DrawnData:
        if not self.micro + self.macro:
            raise ValueError("micro and macro are 0; expected some expressions")
        return self

    @property
    def identities(self) -> range:
        """Seeds of the faces."""
        faces = -(-(self.micro + self.macro) // _PER_FACE)
        return range(self.first_identity, self.first_identity + faces)

    def subjects(self) -> set[str]:
        """Their names, as of the subjects of simulated videos."""
        return {subject_name(self.head, identity) for identity in self.identities}

    def is_micro(self, number: int) -> bool:
        """Of which kind the expression of a number is: they take turns, so that faces show both."""
        both = self.micro + self.macro
        return (number + 1) * self.micro // both > number * self.micro // both


class RegionMotion:
    """The regions on one face of a head, seen from the front.

    Args:
        head: The head model.
        identity: Seed of the face.
    """

    def __init__(self, head: Head, identity: int) -> None:
        face = head.identity(identity)
        scale = CANONICAL_INTEROCULAR / eye_gap(face) * np.array([1.0, -1.0])

        def project(vertices: Floats) -> Floats:
            return (vertices[:, :2] * scale).astype(np.float32)

        self.actor = Actor(head, face, project)
        # An image's origin, which the boxes need, may lie anywhere: motion does not change.
        self.weights = _weights(self.actor, _areas(face))

    def __call__(self, activations: dict[str, float]) -> Floats:
        """Motion of the regions (18, 2), px of the canonical face."""
        moved: Floats = self.weights @ self.actor.moved(activations)
        return moved


def _areas(face: HeadMesh) -> NDArray[np.float64]:
    """Area of each vertex as seen from the front, (V,)."""
    a, b, c = (face.vertices[face.triangles[:, k], :2].astype(np.float64) for k in range(3))
    ab, ac = b - a, c - a
    third = np.abs(ab[:, 0] * ac[:, 1] - ab[:, 1] * ac[:, 0]) / 6
    areas = np.zeros(len(face.vertices))
    for k in range(3):
        np.add.at(areas, face.triangles[:, k], third)
    return areas


def _weights(actor: Actor, areas: NDArray[np.float64]) -> Floats:
    """Share of each visible vertex in each region, (18, N)."""
    x, y = actor.rest.astype(np.float64).T
    landmarks = actor.project(actor.face.vertices[actor.face.landmarks])
    weights = np.empty((len(ROIS), len(x)))
    for row, (top, bottom, left, right) in zip(weights, roi_boxes(landmarks), strict=True):
        down = ndtr((y - top) / _REACH) - ndtr((y - bottom) / _REACH)
        across = ndtr((x - left) / _REACH) - ndtr((x - right) / _REACH)
        row[:] = areas[actor.skin] * down * across
    return (weights / weights.sum(1, keepdims=True)).astype(np.float32)


def _of_face(identity: int, data: DrawnData, head: Head) -> Arrays:
    """All expressions of one face.

    Returns:
        ``motion`` (N, 18, 2), ``frames``, ``emotion`` and ``micro`` (N,), and ``level``, those of
        all expressions one after the other.
    """
    face = RegionMotion(head, identity)
    first = (identity - data.first_identity) * _PER_FACE
    rows = []
    for number in range(first, min(first + _PER_FACE, data.micro + data.macro)):
        micro = data.is_micro(number)
        shown = draw_alone(data.seed + number, identity, micro)
        level = shown.curve.values()
        emotion = -1 if shown.emotion is None else EMOTIONS.index(shown.emotion)
        motion = face(face.actor.activations_of(shown))
        rows.append((motion[None], level, [len(level)], [emotion], [micro]))
    names = ("motion", "level", "frames", "emotion", "micro")
    return {
        name: np.concatenate([np.asarray(row[k]) for row in rows]) for k, name in enumerate(names)
    }


def drawn_expressions(data: DrawnData, folder: Path) -> list[DrawnExpression]:
    """Draw a set, once.

    Args:
        data: What to draw.
        folder: Folder for these settings only.

    Raises:
        UserError: If the folder holds a set of other settings, or a head cannot be loaded.
    """
    claim_set(folder, "expressions", data)
    faces = data.identities
    shards = Shards(folder, "expressions", len(faces), _PER_FILE // _PER_FACE)
    if not shards.whole:
        head = load_head(data.head, head_file(data.head, data.head_file))
        moved = partial(_of_face, data=data, head=head)
        shards.render(
            list(faces), lambda rest: parallel_map(moved, rest, data.workers), "expressions"
        )
    return [each for file in open_shards(shards.files) for each in _read(file)]


def _read(file: object) -> Iterator[DrawnExpression]:
    arrays = {name: file.get_tensor(name) for name in file.keys()}  # type: ignore[attr-defined]  # noqa: SIM118
    ends = np.cumsum(arrays["frames"])
    for k, end in enumerate(ends):
        emotion = int(arrays["emotion"][k])
        yield DrawnExpression(
            arrays["motion"][k],
            arrays["level"][end - arrays["frames"][k] : end],
            None if emotion < 0 else EMOTIONS[emotion],
            bool(arrays["micro"][k]),
        )
