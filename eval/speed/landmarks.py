"""The face mesh beside the project's own landmark network: error, jitter, time.

Faces that nobody learned from: rendered frontal ones of both heads, found from a jittered box.
Jitter is of a still face, 80 px between the eyes, under noise of 2 grey levels: the SD of one
component over the frames, as noise is stated everywhere here. The mesh has to be downloaded first
(deft-llm models get face-mesh).

python eval/speed/landmarks.py [--people 30] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.landmark_models.augment import jitter
from deft_llm.landmark_models.crops import placed_by_points
from deft_llm.landmark_models.face_mesh import FaceMeshFinder
from deft_llm.landmark_models.finder import NetworkFinder
from deft_llm.media.canonical import INTEROCULAR
from deft_llm.metrics.figures import Figure, report
from deft_llm.metrics.landmarks import interocular, landmark_errors, stated_error_ratio
from deft_llm.motion.regions import regions_placed
from deft_llm.simulator.head import load_head
from deft_llm.simulator.ict_head.files import head_file, ict_file
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_many
from deft_llm.simulator.scene.performance import Curve

FIRST = 990_000  # seed and number of the first person
STILLS, FRAMES = 5, 24  # people of each head that are looked at under noise, frames of each
NOISE = 2.0  # SD, grey levels; the cameras that the simulator draws have 0.6 to 2.5
Images = list[NDArray[np.uint8]]
Points = NDArray[np.float64]


def _seen(simulated: SimulatedClip) -> tuple[NDArray[np.uint8], Points]:
    """The last frame, at the apex of the expression, and its landmarks."""
    return simulated.clip.frames[-1], simulated.landmarks[-1].astype(np.float64)


def faces(head: str, people: int) -> tuple[Images, Points]:
    """One picture of each person."""
    specs = [
        draw_spec(FIRST + i, FIRST + i, head=head, curve=Curve(2, 0, 1, 2, 1.0, 1.0))
        for i in range(people)
    ]
    model = load_head(head, head_file(head, None))
    shown = list(render_many(specs, then=_seen, workers=1, head=model))
    return [image for image, _ in shown], np.stack([points for _, points in shown])


@dataclass(frozen=True)
class Still:
    """Frames of a still face, 80 px between the eyes, under camera noise."""

    frames: Images
    placements: list[Points]

    @classmethod
    def of(cls, image: NDArray[np.uint8], points: Points) -> Still:
        """From one picture and its landmarks."""
        zoom = INTEROCULAR / float(interocular(points))
        large = cv2.resize(image, None, fx=zoom, fy=zoom, interpolation=cv2.INTER_CUBIC)
        rng = np.random.default_rng(0)
        frames = [large + rng.normal(0, NOISE, large.shape) for _ in range(FRAMES)]
        place = placed_by_points((points + 0.5) * zoom - 0.5)  # pixel centres are integers
        return cls([np.clip(f, 0, 255).round().astype(np.uint8) for f in frames], [place] * FRAMES)

    def by_mesh(self, mesh: FaceMeshFinder) -> Points:
        """(FRAMES, 68, 2), each crop from the mesh before."""
        poses = np.tile(np.eye(2, 3), (FRAMES, 1, 1))
        return np.stack([f.points for f in mesh.follow(self.frames, self.placements, poses)])

    def by_network(self, network: NetworkFinder) -> Points:
        """(FRAMES, 68, 2)."""
        return network.find(self.frames, self.placements)[0]


def trembling(found: list[Points]) -> float:
    """SD over time of one component of the points (T, 68, 2), px: mean over points and faces."""
    return float(np.mean([np.sqrt(each.var(axis=0).mean(axis=-1)).mean() for each in found]))


def per_frame(run: Callable[[], object]) -> float:
    """Median time of one of `FRAMES` frames over five runs after a first, ms."""
    run()
    taken = []
    for _ in range(5):
        start = time.perf_counter()
        run()
        taken.append(1000 * (time.perf_counter() - start) / FRAMES)
    return statistics.median(taken)


def errors(
    head: str, images: Images, truth: Points, mesh: FaceMeshFinder, network: NetworkFinder
) -> list[Figure]:
    """Errors of both finders on one head, and how many regions the mesh places."""
    rng = np.random.default_rng(0)
    boxes = [jitter(placed_by_points(points), rng) for points in truth]
    points, stated = mesh.find(images, boxes)
    off = landmark_errors(points, truth)
    placed = [int(regions_placed(*face).sum()) for face in zip(points, stated, strict=True)]
    ratio = stated_error_ratio(off, stated / interocular(truth)[:, None])
    usual = landmark_errors(network.find(images, boxes)[0], truth)
    return [
        Figure(f"mesh_{head}_nme", float(off.mean()), 0.05, above=False),
        Figure(f"mesh_{head}_fewest_regions_placed", float(min(placed)), 20),
        Figure(f"mesh_{head}_error_over_stated", ratio),
        Figure(f"network_{head}_nme", float(usual.mean())),
    ]


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--people", type=int, default=30)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    try:
        mesh, network = FaceMeshFinder(), NetworkFinder()
    except UserError as error:
        print(f"eval/speed/landmarks.py: {error}", file=sys.stderr)
        return 2
    figures: list[Figure] = []
    stills: list[Still] = []
    # The ICT head is its user's own file: without it, its figures are left out.
    for head in ("own", *(["ict"] if ict_file() is not None else [])):
        images, truth = faces(head, args.people)
        figures += errors(head, images, truth, mesh, network)
        stills += [Still.of(*each) for each in zip(images[:STILLS], truth[:STILLS], strict=True)]
    figures += [
        Figure("mesh_jitter_px", trembling([s.by_mesh(mesh) for s in stills]), 0.12, above=False),
        Figure("network_jitter_px", trembling([s.by_network(network) for s in stills])),
        Figure("mesh_ms_a_frame", per_frame(lambda: stills[0].by_mesh(mesh))),
        Figure("network_ms_a_frame", per_frame(lambda: stills[0].by_network(network))),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
