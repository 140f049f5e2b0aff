"""Frames a second of the splatting rasterizer, and its memory over a long run.

A frame is everything from the activations on: deformed mesh, projected and shaded Gaussians,
and image, flow and mask (depth, normals and surface come with them) at 256x256 from 20,000
Gaussians. The peer is the same sum as a plain loop over Gaussians, each one's patch with numpy.

    python eval/speed/splat.py [--runs 5] [--frames 10000] [--threads 2] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import math
import resource
import statistics
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm.metrics.figures import Figure, report
from deft_llm.simulator.head import load_head
from deft_llm.simulator.render import splat
from deft_llm.simulator.render.camera import Light, View
from deft_llm.simulator.render.splat_kernels import CUTOFF, MAX_ALPHA, carry

GAUSSIANS = 20_000
SIZE = (256, 256)
LIGHT = Light((0.3, 0.4, 0.87), 0.4, 1.0, (1.0, 1.0, 1.0), 0.01, 1.0, 0.0)
FRAMES_A_RUN = 40


class Stage:
    """A face with at least ``GAUSSIANS`` Gaussians that smiles and frowns."""

    def __init__(self) -> None:
        self.head = load_head("own")
        self.mesh = self.head.identity(0)
        spacing = 0.4
        while len(gaussians := self._bind(spacing)) < GAUSSIANS:
            spacing *= 0.99
        self.gaussians = gaussians
        self.albedo = self.mesh.colors[gaussians.triangle]
        self.lit = np.ones(len(gaussians), np.float32)
        self.gloss = np.full(len(gaussians), 0.05, np.float32)
        self.view = View(focal=67 * 80 / 6.4, distance=88.5, centre=(128.0, 100.0))

    def _bind(self, spacing: float) -> splat.Gaussians:
        return splat.bind(self.mesh.vertices, self.mesh.triangles, spacing)

    def splats(self, frame: int) -> splat.Splats:
        """The state of a frame."""
        level = math.sin(0.3 * frame)
        posed = self.head.deform(self.mesh, {"12": 0.3 + 0.3 * level, "4": 0.3 - 0.3 * level})
        posed = posed + np.array([0.1 * level, 0.05 * level, 0], np.float32)
        return splat.place(self.gaussians, posed, self.mesh.triangles, self.view)

    def film(self, frames: int, threads: int) -> splat.Raster:
        """Draw frames one after the other and return the last."""
        before = self.splats(0)
        for frame in range(frames):
            after = self.splats(frame + 1)
            colours = LIGHT.shade(self.albedo, before.normal, frame / 30, self.lit, self.gloss)
            raster = splat.rasterize(
                before, self.gaussians.opacity, colours, SIZE, after, threads=threads
            )
            before = after
        return raster


def plain(
    stage: Stage, frame: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Image, flow and mask of a frame by a loop over Gaussians."""
    before, after = stage.splats(frame), stage.splats(frame + 1)
    colours = LIGHT.shade(stage.albedo, before.normal, frame / 30, stage.lit, stage.gloss)
    turned = carry(before.frame, after.frame).reshape(-1, 2, 2)
    clear = np.ones(SIZE)
    image, flow = np.zeros((*SIZE, 3)), np.zeros((*SIZE, 2))
    order = np.argsort(before.depth, kind="stable")
    for g in order[before.facing[order]]:
        axes = before.frame[g].reshape(2, 2).astype(float)
        covariance = axes @ axes.T + splat.LOW_PASS * np.eye(2)
        inverse = np.linalg.inv(covariance)
        reach = CUTOFF * np.sqrt(np.diag(covariance))
        low = np.maximum(np.ceil(before.mean[g] - reach), 0).astype(int)
        high = np.minimum(np.floor(before.mean[g] + reach), [SIZE[1] - 1, SIZE[0] - 1]).astype(int)
        if (high < low).any():
            continue
        part = np.s_[low[1] : high[1] + 1, low[0] : high[0] + 1]
        y, x = np.mgrid[part]
        away = np.stack([x, y], axis=-1) - before.mean[g]
        form = np.einsum("yxi,ij,yxj->yx", away, inverse, away)
        alpha = np.minimum(MAX_ALPHA, stage.gaussians.opacity[g] * np.exp(-0.5 * form))
        weight = np.where(form <= CUTOFF**2, alpha, 0) * clear[part]
        clear[part] -= weight
        image[part] += weight[..., None] * colours[g]
        flow[part] += weight[..., None] * (after.mean[g] - before.mean[g] + away @ turned[g].T)
    mask = clear < 0.5
    return image, np.where(mask[..., None], flow / np.maximum(1 - clear, 0.5)[..., None], 0), mask


def peak_mb() -> float:
    """Most memory that this process has held so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def rate(stage: Stage, threads: int, runs: int) -> float:
    """Median frames a second."""
    taken = []
    for _ in range(runs):
        start = time.perf_counter()
        stage.film(FRAMES_A_RUN, threads)
        taken.append(FRAMES_A_RUN / (time.perf_counter() - start))
    return statistics.median(taken)


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--frames", type=int, default=10_000, help="of the long run")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stage = Stage()
    drawn = stage.film(1, args.threads)
    start = time.perf_counter()
    image, flow, mask = plain(stage, 0)
    peer = 1 / (time.perf_counter() - start)
    assert drawn.flow is not None
    both = mask & drawn.mask
    stage.film(200, args.threads)
    settled = peak_mb()
    fast, single = rate(stage, args.threads, args.runs), rate(stage, 1, args.runs)
    stage.film(args.frames, args.threads)
    figures = [
        Figure("splat_gaussians", len(stage.gaussians), GAUSSIANS),
        Figure("splat_gaussians_seen", int(stage.splats(0).facing.sum())),
        Figure("splat_frames_per_s", fast, 40.0),
        Figure("splat_one_thread_frames_per_s", single),
        Figure("splat_plain_loop_frames_per_s", peer),
        Figure("splat_over_plain_loop", fast / peer, 1.0),
        Figure("splat_flow_px", float(np.hypot(*drawn.flow).max())),
        Figure("splat_image_difference", float(np.abs(drawn.colour - image).max()), 1e-3, False),
        Figure(
            "splat_flow_difference_px",
            float(np.abs(drawn.flow.transpose(1, 2, 0) - flow)[both].max()),
            0.01,
            False,
        ),
        Figure("splat_mask_agreement", float((mask == drawn.mask).mean()), 0.9999),
        Figure("splat_long_run_frames", args.frames),
        Figure("splat_long_run_growth_mb", peak_mb() - settled, 10.0, above=False),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
