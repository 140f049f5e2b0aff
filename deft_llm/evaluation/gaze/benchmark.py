"""Refinement of gaze on simulated recordings of unseen eyes, for three trackers.

Compared are no refinement, ours offline and causal, the paper's, and the release's. Errors are in
cells of the 80 x 60 grid, over all labels, those of closed eyes included.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.gaze import trackers
from deft_llm.evaluation.tables import markdown
from deft_llm.gaze.files import WEIGHTS, load_tracker
from deft_llm.gaze.recordings import CELL, EyeData
from deft_llm.gaze.refine import CAUSAL, PAPER, RefineSettings, refine
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.gaze import TOLERANCES, gaze_errors, stable_jitter
from deft_llm.parallel import parallel_map
from deft_llm.resources import embedded
from deft_llm.simulator.events import EyeSpec, simulate_eye

Floats = NDArray[np.float64]
TRACKERS = ("oracle", "centroid", "own")
WAYS: dict[str, RefineSettings | None] = {
    "raw": None,
    "refined": RefineSettings(),
    "causal": CAUSAL,
    "paper": PAPER,
    "released": RefineSettings(released=True),
}


class GazeBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: gaze``.

    Attributes:
        network: Folder of the own tracker; "embedded" is the one in the package.
        recordings: Recordings of eyes that no network was trained on.
        noise: SD of the oracle's error, cells.
    """

    network: Path
    recordings: EyeData
    noise: float = Field(default=1.5, gt=0)
    output: Path = Path("runs/benchmarks/gaze")

    def figure_names(self) -> list[str]:
        """See the base."""
        each = [f"{tracker}_{name}" for tracker in TRACKERS for name in _FIGURES]
        return [*each, "own_p10", "own_open_l2", "own_parameters"]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        folder = embedded(self.network, WEIGHTS)
        count = sum(p.numel() for p in load_tracker(folder).parameters())
        work = _Work(folder, self.noise)
        pooled: dict[str, dict[str, Pool]] = {t: {w: Pool() for w in WAYS} for t in TRACKERS}
        for found in parallel_map(work, self.recordings.specs(), self.recordings.workers):
            for tracker, ways in found.items():
                for way, part in ways.items():
                    pooled[tracker][way].add(part)
        values: dict[str, float] = {}
        for tracker, pools in pooled.items():
            values |= {f"{tracker}_{name}": of(pools) for name, of in _FIGURES.items()}
        raw = pooled["own"]["raw"]
        values |= {
            "own_p10": raw.scores()["p10"],
            "own_open_l2": float(np.concatenate(raw.apart)[~np.concatenate(raw.closed)].mean()),
            "own_parameters": float(count),
        }
        return self.with_bars(values), _table(pooled)


@dataclass
class Part:
    """One way for one recording: errors (T, 2), flags (T,), jitter."""

    error: Floats
    closed: NDArray[np.bool_]
    saccade: NDArray[np.bool_]
    jitter: float


@dataclass
class Pool:
    """The parts of all recordings."""

    parts: list[Part] = field(default_factory=list)

    def add(self, part: Part) -> None:
        """Take one more in."""
        self.parts.append(part)

    @property
    def apart(self) -> list[Floats]:
        """Distances of each recording."""
        return [np.hypot(*part.error.T) for part in self.parts]

    @property
    def closed(self) -> list[NDArray[np.bool_]]:
        """Labels with a closed eye of each recording."""
        return [part.closed for part in self.parts]

    def scores(self, open_eyes: bool = False) -> dict[str, float]:
        """See ``gaze_errors``."""
        error = np.concatenate([part.error for part in self.parts])
        closed = np.concatenate(self.closed) if open_eyes else None
        return gaze_errors(error, np.zeros_like(error), closed)

    @property
    def l2(self) -> float:
        """Mean distance."""
        return self.scores()["l2"]

    @property
    def saccades(self) -> float:
        """Mean distance during saccades of the open eye."""
        inside = np.concatenate([part.saccade for part in self.parts])
        return float(np.concatenate(self.apart)[inside].mean())

    @property
    def jitter(self) -> float:
        """Mean stable jitter of the recordings."""
        return float(np.mean([part.jitter for part in self.parts]))


@dataclass(frozen=True)
class _Work:
    """Simulates one recording and refines every tracker in every way."""

    network: Path
    noise: float

    def __call__(self, spec: EyeSpec) -> dict[str, dict[str, Part]]:
        made = simulate_eye(spec)
        # From px of the sensor to cells.
        truth = made.pupil / CELL
        # Of a covered eye nobody sees a saccade.
        saccade = made.during(made.saccades) & ~made.during(made.blinks)
        own, closed = trackers.own(made, self.network)
        places = {
            "oracle": (trackers.oracle(made, self.noise), None),
            "centroid": (trackers.centroid(made), None),
            "own": (own, closed),
        }
        found: dict[str, dict[str, Part]] = {}
        for tracker, (xy, lids) in places.items():
            found[tracker] = {}
            for way, settings in WAYS.items():
                # The own tracker says itself when the eye is closed.
                after = (
                    xy
                    if settings is None
                    else refine(made.events, xy, made.times, settings, closed=lids).xy
                )
                # Online, nothing is filtered before the eye is first open: what is not refined.
                after = np.where(np.isfinite(after), after, xy)
                jitter = stable_jitter(after, truth)
                found[tracker][way] = Part(after - truth, made.closed, saccade, jitter)
        return found


def _gain(way: str, of: str = "l2") -> Callable[[dict[str, Pool]], float]:
    """Share of a figure that a way takes away."""
    return lambda ways: 1 - getattr(ways[way], of) / getattr(ways["raw"], of)


# Of each tracker.
_FIGURES: dict[str, Callable[[dict[str, Pool]], float]] = {
    "l2": lambda ways: ways["raw"].l2,
    "refined_l2": lambda ways: ways["refined"].l2,
    "gain": _gain("refined"),
    "saccade_over_raw": lambda ways: ways["refined"].saccades / ways["raw"].saccades,
    "jitter_gain": _gain("refined", "jitter"),
    "causal_gain": _gain("causal"),
    "causal_share": lambda ways: _gain("causal")(ways) / _gain("refined")(ways),
    "causal_saccade_over_raw": lambda ways: ways["causal"].saccades / ways["raw"].saccades,
    "paper_gain": _gain("paper"),
    "released_gain": _gain("released"),
    "released_saccade_over_raw": lambda ways: ways["released"].saccades / ways["raw"].saccades,
}


def _table(pooled: dict[str, dict[str, Pool]]) -> str:
    rows = []
    for tracker, ways in pooled.items():
        for way, pool in ways.items():
            every, seeing = pool.scores(), pool.scores(open_eyes=True)
            rows.append(
                {"tracker": tracker, "refinement": way}
                | {name: every[name] for name in ("l2", "l1", *(f"p{k}" for k in TOLERANCES))}
                | {"l2, open eyes": seeing["l2"], "l2, saccades": pool.saccades}
                | {"stable jitter": pool.jitter}
            )
    return "Cells of the 80 x 60 grid\n\n" + markdown(rows)
