"""MOL's flow and landmark heads against exact motion, beside what else finds flow and landmarks.

Simulated clips are rendered, compressed and aligned like a user's; from the same scenes come the
exact flow between neighbouring frames of a sub-clip (head motion included, as the head sees it) and
the true landmarks. All estimators get the same 128-pixel frames; the project's landmark finder is
asked once a clip, as always.

Letters: T = 8 frames, S = 128 pixels.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.data.raw_frames import RAW_SIDE, landmarks, sub_clip_indices, sub_clips
from deft_llm.data.simulated import SimulatedData, filmed, head_at_hand, head_to_send, specs
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.tables import markdown
from deft_llm.media.canonical import CANONICAL_SIZE, transform, transform_flow
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.landmarks import landmark_errors
from deft_llm.motion.flow import flow_estimator
from deft_llm.motion.pixels import smaller
from deft_llm.recognizers.mol import MOL
from deft_llm.recognizers.saved import open_saved
from deft_llm.simulator.scene.clips import SimulatedClip, render_many

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]
_CLASSICAL = ("lk", "dis", "tvl1", "farneback")
_METHODS = (*_CLASSICAL, "srflow")
_SETS = ("", "other_")  # before the figures of the head that MOL was trained on, and of the other
_WHOLE = 0.999  # share of a pixel that has to be skin
_FIGURES = (
    *("mol_flow_epe", "zero_flow_epe", *(f"{name}_flow_epe" for name in _METHODS)),
    *("mol_flow_of_classical", "mol_flow_of_zero", "mol_landmarks", "finder_landmarks"),
)


@dataclass(frozen=True)
class ExactSubClip:
    """One sub-clip with its ground truth.

    Attributes:
        frames: uint8 (T, S, S) grey.
        flow: (T - 1, 2, S, S) exact, px.
        skin: (T - 1, S, S) bool: where it is known.
        points: (T, 68, 2) true landmarks, px.
        found: (68, 2) the project's finder, px.
    """

    frames: NDArray[np.uint8]
    flow: Floats
    skin: NDArray[np.bool_]
    points: Floats
    found: Floats


class MolHeadsBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: mol_heads``.

    Flow errors are means over pixels of skin, px at 128 px a face; landmark errors are means in eye
    distances. Figures of the other head begin with "other_".

    Attributes:
        weights: Run of MOL with both heads, or its ``final``.
        test: Simulated clips of faces that it was not trained on.
        other: Clips of the head that it was not trained on; left out if its file is missing.
    """

    weights: Path
    test: SimulatedData
    other: SimulatedData | None = None

    def figure_names(self) -> list[str]:
        """See the base."""
        return [start + name for start in _SETS for name in _FIGURES]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        network = open_saved(self.weights).network
        if not isinstance(network, MOL) or network.flow is None or network.landmarks is None:
            raise UserError(f"{self.weights}: no MOL with the heads flow and landmarks")
        values: dict[str, float] = {}
        rows = []
        for start, data in zip(_SETS, (self.test, self.other), strict=True):
            if data is None or not head_at_hand(data.head):
                continue
            found = scores(network, list(exact_sub_clips(data)))
            values |= {start + name: value for name, value in found.items()}
            rows.append({"head": data.head, **found})
        return self.with_bars(values), markdown(rows)


def exact_sub_clips(data: SimulatedData) -> Iterator[ExactSubClip]:
    """The first sub-clip of every clip that shows a face and is long enough."""
    made = render_many(specs(data), observed, data.workers, head_to_send(data))
    return (clip for clip in made if clip is not None)


def observed(simulated: SimulatedClip) -> ExactSubClip | None:
    """A sub-clip as MOL gets it, with the exact motion; None if it cannot be measured."""
    try:
        _, aligned = filmed(simulated)
        onset = simulated.spec.curve.interval.onset
        frames = sub_clips(aligned, onset)[0]
    except UserError as error:
        logger.warning("%s: %s", simulated.spec.name, error)
        return None
    visible = np.flatnonzero(aligned.present)
    moments = visible[sub_clip_indices(len(visible))[0]]
    matrix = aligned.transforms[onset]
    exact = [_exact(simulated, *pair, matrix) for pair in pairwise(moments.tolist())]
    true = transform(matrix, simulated.landmarks[moments])
    return ExactSubClip(
        frames,
        np.stack([flow for flow, _ in exact]),
        np.stack([skin for _, skin in exact]),
        smaller(true, CANONICAL_SIZE / RAW_SIDE).astype(np.float32),
        landmarks(aligned),
    )


def _exact(
    simulated: SimulatedClip, first: int, second: int, matrix: NDArray[np.floating]
) -> tuple[Floats, NDArray[np.bool_]]:
    """Exact flow (2, S, S) and where it is known (S, S)."""
    flow, mask = simulated.exact_flow(first, second, compensated=False)
    size, side = (CANONICAL_SIZE,) * 2, (RAW_SIDE,) * 2
    moved = transform_flow(flow, matrix, size) * np.float32(RAW_SIDE / CANONICAL_SIZE)
    small = np.stack([cv2.resize(m, side, interpolation=cv2.INTER_AREA) for m in moved])
    share = cv2.resize(
        cv2.warpAffine(mask.astype(np.float32), matrix, size), side, interpolation=cv2.INTER_AREA
    )
    return small.astype(np.float32), share > _WHOLE


def scores(network: MOL, clips: Sequence[ExactSubClip]) -> dict[str, float]:
    """Figures of one set of clips, by name.

    Raises:
        UserError: If there is no clip.
    """
    if not clips:
        raise UserError("mol_heads: no clip could be measured; give more clips")
    joint = [_joint(network, clip) for clip in clips]
    errors = {"mol": [_epe(flow, c) for (flow, _), c in zip(joint, clips, strict=True)]}
    errors["zero"] = [_epe(np.zeros_like(c.flow), c) for c in clips]
    for name in _METHODS:
        estimate = flow_estimator(name)
        errors[name] = [
            _epe(np.stack([estimate(a, b) for a, b in pairwise(c.frames)]), c) for c in clips
        ]
    values = {f"{name}_flow_epe": float(np.mean(found)) for name, found in errors.items()}
    best = min(values[f"{name}_flow_epe"] for name in _CLASSICAL)
    values["mol_flow_of_classical"] = values["mol_flow_epe"] / best
    values["mol_flow_of_zero"] = values["mol_flow_epe"] / values["zero_flow_epe"]
    ours = [landmark_errors(p, c.points).mean() for (_, p), c in zip(joint, clips, strict=True)]
    theirs = [landmark_errors(_repeated(c.found, c.points), c.points).mean() for c in clips]
    values["mol_landmarks"], values["finder_landmarks"] = map(
        float, (np.mean(ours), np.mean(theirs))
    )
    return values


@torch.no_grad()
def _joint(network: MOL, clip: ExactSubClip) -> tuple[Floats, Floats]:
    """Flow (T - 1, 2, S, S) and landmarks (T, 68, 2) of the network."""
    found = network.joint(torch.from_numpy(clip.frames)[None].float() / 255)
    assert found.flow is not None and found.landmarks is not None
    return found.flow[0].numpy(), found.landmarks[0].numpy()


def _epe(flow: Floats, clip: ExactSubClip) -> float:
    """Mean length of the error on skin, px."""
    return float(np.linalg.norm(flow - clip.flow, axis=1)[clip.skin].mean())


def _repeated(points: Floats, like: Floats) -> Floats:
    return np.broadcast_to(points, like.shape)
