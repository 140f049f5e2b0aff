"""Simulated faces with exact landmarks, rendered before training and stored as shards.

Rendered skin is cleaner than any camera's, and the simulated heads lack most occluders. So
backgrounds, hair, glasses and objects in front of the face are painted on, and the conversion to
grey is random. Poses, AUs up to macro-expressions, gaze and closed eyes go far beyond those of
micro-expression clips. All distributions are our own.
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

FACES_PER_SHARD = 100  # clips per file; an interruption loses at most this many
FRAME_SIDE = 192  # px of a frame
_INTEROCULAR = (32.0, 40.0)  # px in the frame
_FPS = 30.0
_COMPRESSED, _QUALITIES = 0.35, (18, 24, 30)
_LAUGH, _LAUGH_PX = ("6", "12", "25", "26"), (8.0, 32.0)  # log-uniform, canonical px


class FaceData(Settings):
    """Settings of a set of faces.

    Attributes:
        clips: Number of clips; clip ``i`` shows head ``heads[i % len(heads)]``.
        frames: Frames per clip: one pose and light, an expression from rest to its apex.
        identities: Number of identities of each head.
        first_identity: Seed of the first; sets with disjoint ranges share no face.
        seed: Seed of the first clip.
        heads: Names of head models.
        head_file: File of the head model, for heads that need one.
        peak_px: Range of the largest motion of skin at the apex, log-uniform, canonical px.
        turn: SDs of yaw and pitch, degrees; clipped at 2.5 SDs.
        laughs: Share of clips that go from rest to a broad smile with open lips, which randomly
            drawn AUs almost never give.
        workers: Number of processes.
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
        number: Index of the head in ``data.heads``.
        head: The head model.
    """
    for i in range(number, data.clips, len(data.heads)):
        rng = np.random.default_rng([data.seed + i, 79])
        # A stream of its own: changing the share of laughs leaves all other draws as they are.
        laughs = np.random.default_rng([data.seed + i, 81]).random() < data.laughs
        peaks = _LAUGH_PX if laughs else data.peak_px
        # Drawn for a laugh as well, so that the stream advances equally for every clip.
        aus = _aus(rng, head)
        spec = draw_spec(
            data.seed + i,
            data.first_identity + int(rng.integers(data.identities)),
            head=head.name,
            size=FRAME_SIDE,
            fps=_FPS,
            # From rest in the first frame to the apex in the last.
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
                # Nearly all of the drift is rotation, so the pose varies within a clip.
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
    """Zero to four random AUs, one-sided or on both sides."""
    chosen = rng.choice(head.aus, size=int(rng.integers(0, 5)), replace=False)
    return tuple(str(rng.choice(["", "", "", "L", "R"])) + str(number) for number in chosen)


def _eyelids(rng: np.random.Generator) -> Blink | None:
    """In half of the clips, lids anywhere between open and closed."""
    if rng.random() < 0.5:
        return None
    depth, uneven = rng.uniform(0.3, 1.0), rng.uniform(0.8, 1.0)
    return Blink(float(rng.uniform(-0.3, 0.05)), 0.3, (float(depth), float(depth * uneven)))


def _gaze(rng: np.random.Generator) -> Gaze:
    # Degrees across and up or down.
    first, second = np.radians(rng.normal(0, [12, 7], (2, 2)))
    return Gaze((first[0], first[1]), (second[0], second[1]), float(rng.uniform(0, 0.1)), 0.03)


def render_faces(simulated: SimulatedClip) -> Arrays:
    """Frames of one clip with occluders, each converted to grey with random weights.

    Returns:
        ``image`` uint8 grey (T, SIDE, SIDE) and ``points`` float32 (T, 68, 2), px.
    """
    rng = np.random.default_rng([simulated.spec.seed, 80])
    # The flow of a frame to itself is computed for its mask only.
    masks = np.stack([simulated.exact_flow(t, t)[1] for t in range(len(simulated.clip))])
    frames = add_occluders(simulated.clip.frames, masks, simulated.landmarks, rng)
    if rng.random() < _COMPRESSED:
        video = encode_h264(frames, _FPS, int(rng.choice(_QUALITIES)))
        # Through a real codec: its blocks and blur differ from JPEG's, which augmentation adds.
        frames = decode_bytes(video, simulated.clip.name).frames
    # Random weights of R, G, B per frame imitate cameras with other spectral responses.
    tones = rng.dirichlet((1.2, 2.0, 0.8), len(frames))
    grey = np.einsum("thwc,tc->thw", frames.astype(np.float32), tones.astype(np.float32))
    points = simulated.landmarks.astype(np.float32)
    return {"image": np.rint(grey).astype(np.uint8), "points": points}


def build_faces(data: FaceData, folder: Path, heads: dict[str, Head] | None = None) -> None:
    """Render all missing shards; each is written completely or not at all.

    Args:
        data: What to render.
        folder: Target folder, used for these settings only.
        heads: Head models by name; the others are loaded.

    Raises:
        UserError: If the folder holds faces of other settings, or a head cannot be loaded.
    """
    claim_set(folder, "faces", data)
    parts = [_shards(data, folder, number) for number in range(len(data.heads))]
    missing = [(number, shards) for number, shards in enumerate(parts) if not shards.whole]
    # First: a head without its file must not be told after another one's faces.
    loaded = {
        name: (heads or {}).get(name) or load_head(name, head_file(name, data.head_file))
        for name in (data.heads[number] for number, _ in missing)
    }
    for number, shards in missing:
        name = data.heads[number]
        head = loaded[name]
        render = partial(render_many, then=render_faces, workers=data.workers, head=head)
        shards.render(list(face_specs(data, number, head)), render, f"faces of {name}")


def _shards(data: FaceData, folder: Path, number: int) -> Shards:
    """Shards of one head."""
    clips = len(range(number, data.clips, len(data.heads)))
    return Shards(folder, data.heads[number], clips, FACES_PER_SHARD)


class FaceStore:
    """Rendered faces by index, in memory (37 kB per face).

    Attributes:
        image: uint8 grey (N, SIDE, SIDE).
        points: float32 (N, 68, 2), px.

    Args:
        folder: A folder filled by :func:`build_faces`.

    Raises:
        UserError: If the folder does not hold a complete set of faces.
    """

    def __init__(self, folder: Path) -> None:
        data = settings_of(folder, "faces", FaceData)
        shards = (_shards(data, folder, number) for number in range(len(data.heads)))
        opened = open_shards([file for part in shards for file in part.files])
        counts = [f.get_slice("points").get_shape()[0] for f in opened]
        # Counts come from the headers, so that each tensor is read once, into its final place.
        ends = np.cumsum(counts)
        self.image: NDArray[np.uint8] = np.empty((ends[-1], FRAME_SIDE, FRAME_SIDE), np.uint8)
        self.points: NDArray[np.float32] = np.empty((ends[-1], 68, 2), np.float32)
        for file, end, count in zip(opened, ends, counts, strict=True):
            self.image[end - count : end] = file.get_tensor("image")
            self.points[end - count : end] = file.get_tensor("points")

    @classmethod
    def rendered(cls, data: FaceData, folder: Path) -> FaceStore:
        """Load the faces of a folder after rendering the missing ones; see `build_faces`."""
        build_faces(data, folder)
        return cls(folder)

    def __len__(self) -> int:
        return len(self.points)
