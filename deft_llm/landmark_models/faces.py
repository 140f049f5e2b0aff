"""Simulated faces with exact landmarks, rendered ahead of training and kept as shards.

Rendered skin is cleaner than any camera's, and the simulated heads wear nothing: so backgrounds,
hair, glasses and things before the face are painted on, and tones are drawn at random. Poses, AUs
up to macro-expressions, gaze and closed eyes go far beyond those of micro-expression clips. All
distributions are our own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.config import Settings
from deft_llm.data.shards import Arrays, Shards, claim_set, open_shards, settings_of
from deft_llm.media.video import decode_bytes, encode_h264
from deft_llm.simulator.appearance.occluders import add_occluders
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_many
from deft_llm.simulator.scene.performance import Blink, Curve, Gaze

FACES_PER_SHARD = 100  # clips a file; an interruption loses at most this many
FRAME_SIDE = 192  # px of a frame
_INTEROCULAR = (32.0, 40.0)  # px in it
_FPS = 30.0
_COMPRESSED, _QUALITIES = 0.35, (18, 24, 30)
_LAUGH, _LAUGH_PX = ("6", "12", "25", "26"), (8.0, 32.0)  # log-uniform, canonical px


class FaceData(Settings):
    """What to render.

    Attributes:
        clips: Number of faces filmed; clip ``i`` shows head ``heads[i % len(heads)]``.
        frames: Frames of each: one pose and light, an expression from rest to its apex.
        identities: Number of identities of each head.
        first_identity: Seed of the first; sets with disjoint ranges share no face.
        seed: Seed of the first clip.
        heads: Names of head models.
        head_file: The file of the head that needs one.
        peak_px: Range of the largest motion of skin at the apex, log-uniform, canonical px.
        turn: SDs of yaw and pitch, degrees; cut off at two and a half of them.
        laughs: Share of clips that go from rest to a broad smile with open lips, which AUs drawn
            one by one hardly ever give.
        workers: Processes.
    """

    clips: int = Field(ge=1)
    frames: int = Field(default=5, ge=2)
    identities: int = Field(ge=1)
    first_identity: int = 1_000
    seed: int = 3_000_000
    heads: tuple[str, ...] = Field(default=("own",), min_length=1)
    head_file: Path | None = None
    peak_px: tuple[float, float] = (1.0, 30.0)
    turn: tuple[float, float] = (14.0, 9.0)
    laughs: float = Field(default=0.0, ge=0, le=1)
    workers: int = Field(default=2, ge=1)


def face_specs(data: FaceData, number: int, head: Head) -> Iterator[ClipSpec]:
    """The recipes of the clips of one head, in order.

    Args:
        data: What to render.
        number: Of the head in ``data.heads``.
        head: The head itself.
    """
    for i in range(number, data.clips, len(data.heads)):
        rng = np.random.default_rng([data.seed + i, 79])
        laughs = np.random.default_rng([data.seed + i, 81]).random() < data.laughs
        peaks = _LAUGH_PX if laughs else data.peak_px
        aus = _aus(rng, head)
        spec = draw_spec(
            data.seed + i,
            data.first_identity + int(rng.integers(data.identities)),
            head=head.name,
            size=FRAME_SIDE,
            fps=_FPS,
            curve=Curve(data.frames, 0, data.frames - 1, data.frames, 1.0, 1.0),
            peak_px=float(np.exp(rng.uniform(*np.log(peaks)))),
            aus=_LAUGH if laughs else aus,
            blink=_eyelids(rng),
            gaze=_gaze(rng),
        )
        yaw, pitch = (rng.normal(0, sd) for sd in data.turn)
        limits = np.radians(2.5 * np.array(data.turn))
        rest = np.clip(np.radians([yaw, pitch]), -limits, limits)
        yield replace(
            spec,
            motion=replace(
                spec.motion,
                rest=(float(rest[0]), float(rest[1]), spec.motion.rest[2]),
                drift=float(rng.uniform(0, 12)),
                turn=0.9,
            ),
            framing=replace(
                spec.framing,
                interocular=float(rng.uniform(*_INTEROCULAR)),
                place=(float(rng.normal(0.5, 0.02)), float(rng.normal(0.42, 0.02))),
            ),
            light=replace(
                spec.light,
                ambient=float(rng.uniform(0.15, 0.75)),
                gain=float(rng.uniform(0.6, 1.4)),
            ),
        )


def _aus(rng: np.random.Generator, head: Head) -> tuple[str, ...]:
    """None to four AUs at random, of one side or of both."""
    chosen = rng.choice(head.aus, size=int(rng.integers(0, 5)), replace=False)
    return tuple(str(rng.choice(["", "", "", "L", "R"])) + str(number) for number in chosen)


def _eyelids(rng: np.random.Generator) -> Blink | None:
    """In half of the clips lids that are anywhere between open and closed."""
    if rng.random() < 0.5:
        return None
    depth, uneven = rng.uniform(0.3, 1.0), rng.uniform(0.8, 1.0)
    return Blink(float(rng.uniform(-0.3, 0.05)), 0.3, (float(depth), float(depth * uneven)))


def _gaze(rng: np.random.Generator) -> Gaze:
    first, second = np.radians(rng.normal(0, [12, 7], (2, 2)))
    return Gaze((first[0], first[1]), (second[0], second[1]), float(rng.uniform(0, 0.1)), 0.03)


def render_faces(simulated: SimulatedClip) -> Arrays:
    """Frames of one clip, dressed, each in random tones.

    Returns:
        ``image`` uint8 grey (T, SIDE, SIDE) and ``points`` float32 (T, 68, 2), px.
    """
    rng = np.random.default_rng([simulated.spec.seed, 80])
    masks = np.stack([simulated.exact_flow(t, t)[1] for t in range(len(simulated.clip))])
    frames = add_occluders(simulated.clip.frames, masks, simulated.landmarks, rng)
    if rng.random() < _COMPRESSED:
        video = encode_h264(frames, _FPS, int(rng.choice(_QUALITIES)))
        frames = decode_bytes(video, simulated.clip.name).frames
    tones = rng.dirichlet((1.2, 2.0, 0.8), len(frames))
    grey = np.einsum("thwc,tc->thw", frames.astype(np.float32), tones.astype(np.float32))
    points = simulated.landmarks.astype(np.float32)
    return {"image": np.rint(grey).astype(np.uint8), "points": points}


def build_faces(data: FaceData, folder: Path, heads: dict[str, Head] | None = None) -> None:
    """Render all shards that are not there yet; each is written whole or not at all.

    Args:
        data: What to render.
        folder: Where to; one of its own for these settings.
        heads: Head models by name; those not given are loaded.

    Raises:
        UserError: If the folder holds faces of other settings, or a head cannot be had.
    """
    claim_set(folder, "faces", data)
    for number, name in enumerate(data.heads):
        shards = _shards(data, folder, number)
        if shards.whole:
            continue
        head = (heads or {}).get(name) or load_head(name, head_file(name, data.head_file))
        render = partial(render_many, then=render_faces, workers=data.workers, head=head)
        shards.render(list(face_specs(data, number, head)), render, f"faces of {name}")


def _shards(data: FaceData, folder: Path, number: int) -> Shards:
    """Those of one head."""
    clips = len(range(number, data.clips, len(data.heads)))
    return Shards(folder, data.heads[number], clips, FACES_PER_SHARD)


class FaceStore:
    """Rendered faces by number, in memory (37 kB a face).

    Attributes:
        image: uint8 grey (N, SIDE, SIDE).
        points: float32 (N, 68, 2), px.

    Args:
        folder: Filled by :func:`build_faces`.

    Raises:
        UserError: If the folder holds no whole set of faces.
    """

    def __init__(self, folder: Path) -> None:
        data = settings_of(folder, "faces", FaceData)
        shards = (_shards(data, folder, number) for number in range(len(data.heads)))
        opened = open_shards([file for part in shards for file in part.files])
        counts = [f.get_slice("points").get_shape()[0] for f in opened]
        ends = np.cumsum(counts)
        self.image: NDArray[np.uint8] = np.empty((ends[-1], FRAME_SIDE, FRAME_SIDE), np.uint8)
        self.points: NDArray[np.float32] = np.empty((ends[-1], 68, 2), np.float32)
        for file, end, count in zip(opened, ends, counts, strict=True):
            self.image[end - count : end] = file.get_tensor("image")
            self.points[end - count : end] = file.get_tensor("points")

    @classmethod
    def rendered(cls, data: FaceData, folder: Path) -> FaceStore:
        """The faces of a folder, rendered first where they are not there; see `build_faces`."""
        build_faces(data, folder)
        return cls(folder)

    def __len__(self) -> int:
        return len(self.points)
