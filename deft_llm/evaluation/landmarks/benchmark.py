"""The landmark finder on unseen faces: simulated ones of both heads, and real clips.

On simulated faces every landmark is known, and the face boxes are jittered as a poor face finder
would give them. On real clips the reference is YuNet's five points (eye centres, nose tip, mouth
corners): it shares no data with anything here.
"""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.clip import Clip
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.tables import markdown
from deft_llm.landmark_models.augment import jitter
from deft_llm.landmark_models.crops import placed_by_points
from deft_llm.landmark_models.faces import FaceData, FaceStore
from deft_llm.landmark_models.files import WEIGHTS
from deft_llm.landmark_models.finder import NetworkFinder
from deft_llm.media.canonical import five_points, transform
from deft_llm.media.face import MeanShapeFinder, YuNetFinder, align, track_faces
from deft_llm.media.landmarks import LandmarkFinder
from deft_llm.media.tracking import FaceTrack
from deft_llm.media.video import read_clip
from deft_llm.metrics.figures import Figure
from deft_llm.metrics.landmarks import (
    by_part,
    interocular,
    landmark_errors,
    stated_error_ratio,
    sureness,
)
from deft_llm.resources import embedded
from deft_llm.simulator.ict_head.files import ict_file

logger = logging.getLogger(__name__)
# In YuNet's order; sides are the subject's.
FIVE = ("right eye", "left eye", "nose tip", "right mouth corner", "left mouth corner")
_MAX_SIDE = 640  # px, of the real clips
_BATCH = 32


class RealClips(Settings):
    """Real clips to test on.

    Attributes:
        files: Videos, relative to the folder in ``DEFT_DATA``.
        detector: YuNet's ONNX file, likewise.
        every: Compare every n-th frame.
    """

    files: list[Path]
    detector: Path
    every: int = Field(default=3, ge=1)


class LandmarkBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: landmarks``.

    A part whose head, network or real clips are missing is skipped with a warning. Bars are in
    interocular distances.

    Attributes:
        network: Folder of the committed network; "embedded" is the one in the package.
        one_head: Folder of a network trained on the head "own" alone.
        held_out: Unseen faces of the heads that the committed network was trained on.
        other_head: Faces of the head that ``one_head`` was not trained on.
        real: Real clips.
    """

    network: Path
    one_head: Path
    held_out: FaceData
    other_head: FaceData
    real: RealClips
    output: Path = Path("runs/benchmarks/landmarks")

    def figure_names(self) -> list[str]:
        """See the base."""
        return [
            *("held_out_nme", "held_out_error_over_stated", "held_out_sureness"),
            *("other_head_nme", "other_head_error_over_stated"),
            *("real_worst_point", "real_mean", "real_mean_shape", "real_over_mean_shape"),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        values: dict[str, float] = {}
        rows: dict[str, Scores] = {}
        finder = NetworkFinder(embedded(self.network, WEIGHTS))
        if (store := _faces(self.held_out, self.output / "held-out")) is not None:
            rows["both heads, unseen faces"] = scores = score(finder, store)
            values |= _values("held_out", scores)
            values["held_out_sureness"] = sureness(scores.errors, scores.stated)
        # Unlike the committed network, this one may be missing.
        if not (self.one_head / "model.safetensors").is_file():
            logger.warning("other_head_nme is left out: no trained network in %s", self.one_head)
        elif (store := _faces(self.other_head, self.output / "other-head")) is not None:
            scores = score(NetworkFinder(self.one_head), store)
            rows["one head, the other's faces"] = scores
            values |= _values("other_head", scores)
        real = _real(self.real, finder)
        if real:
            network, mean = (np.stack([pair[k] for pair in real.values()]) for k in (0, 1))
            values |= {
                "real_worst_point": float(network.max()),
                "real_mean": float(network.mean()),
                "real_mean_shape": float(mean.mean()),
                "real_over_mean_shape": float(network.mean() / mean.mean()),
            }
        tables = (_simulated_table(rows) if rows else "", _real_table(real) if real else "")
        return self.with_bars(values), "\n".join(filter(None, tables))


@dataclass(frozen=True)
class Scores:
    """Actual and stated errors (K, 68) of one network on one set, in interocular distances."""

    errors: NDArray[np.float64]
    stated: NDArray[np.float64]


def score(finder: NetworkFinder, store: FaceStore) -> Scores:
    """Run the finder on every face of a store, from a jittered box."""
    # A fixed seed: every run of the benchmark gets the same jittered boxes.
    rng = np.random.default_rng(0)
    found, stated = [], []
    for first in range(0, len(store), _BATCH):
        chosen = range(first, min(first + _BATCH, len(store)))
        images = [store.image[i] for i in chosen]
        boxes = [jitter(placed_by_points(store.points[i]), rng) for i in chosen]
        points, expected = finder.find(images, boxes)
        found.append(points)
        stated.append(expected)
    truth = store.points.astype(np.float64)
    # The finder states its errors in pixels.
    sure = np.concatenate(stated) / interocular(truth)[:, None]
    return Scores(landmark_errors(np.concatenate(found), truth), sure)


def judged_error(
    clip: Clip, track: FaceTrack, finder: LandmarkFinder, judge: YuNetFinder, every: int = 1
) -> NDArray[np.float64]:
    """Distance of the finder's five points from the judge's, over the judge's eye distance.

    The clip is aligned with the finder's landmarks, which then hold for all of its frames; the
    judge finds its points in every frame separately.

    Returns:
        (5,) median over the frames in which the judge finds a face.

    Raises:
        UserError: If it finds none.
    """
    face = align(clip, track, finder)
    five = five_points(face.landmarks)
    rows = []
    for i in np.flatnonzero(track.present)[::every]:
        boxes = judge.find(clip.frames[i])
        if boxes and boxes[0].landmarks5 is not None:
            # The judge sees the original frame; its points are compared on the canonical face.
            points = transform(face.transforms[i], boxes[0].landmarks5)
            apart = np.linalg.norm(points[1] - points[0])
            rows.append(np.linalg.norm(five - points, axis=1) / apart)
    if not rows:
        raise UserError(f"clip {clip.name}: the judge sees no face in it; use another clip")
    # The median, so that a few frames in which the judge is wrong do not count.
    return np.asarray(np.median(rows, axis=0))


def _values(name: str, scores: Scores) -> dict[str, float]:
    return {
        f"{name}_nme": float(scores.errors.mean()),
        f"{name}_error_over_stated": stated_error_ratio(scores.errors, scores.stated),
    }


def _faces(data: FaceData, folder: Path) -> FaceStore | None:
    """The faces of a set; None, with a warning, if the file of a head is missing."""
    if "ict" in data.heads and data.head_file is None and ict_file() is None:
        logger.warning(
            "%s is left out: no file of the ICT head; set DEFT_ICT to it, or DEFT_DATA to the "
            "folder around ict_facekit/",
            folder.name,
        )
        return None
    return FaceStore.rendered(data, folder)


def _real(
    real: RealClips, finder: LandmarkFinder
) -> dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]:
    """Clip -> errors (5,) of the network, and of the mean shape placed in the Haar box."""
    base = Path(os.environ.get("DEFT_DATA", "."))
    wanted = [real.detector, *real.files]
    if missing := [str(name) for name in wanted if not (base / name).is_file()]:
        logger.warning(
            "real clips are left out: %s not found; set DEFT_DATA to their folder", missing[0]
        )
        return {}
    judge = YuNetFinder(base / real.detector)
    found = {}
    for name in real.files:
        clip = read_clip(base / name, max_side=_MAX_SIDE)
        # One track for both finders, so that they start from the same boxes.
        track = track_faces(clip)
        network, mean = (
            judged_error(clip, track, by, judge, real.every) for by in (finder, MeanShapeFinder())
        )
        found[name.name] = (network, mean)
    return found


def _simulated_table(rows: dict[str, Scores]) -> str:
    cells = [
        {
            "network, faces": name,
            **{part: f"{v:.4f}" for part, v in by_part(scores.errors).items()},
            "error over stated": f"{stated_error_ratio(scores.errors, scores.stated):.2f}",
            "rank correlation": f"{sureness(scores.errors, scores.stated):.2f}",
        }
        for name, scores in rows.items()
    ]
    return "Mean error in interocular distances\n\n" + markdown(cells)


def _real_table(real: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]]) -> str:
    cells = [
        {"clip": clip, "finder": name}
        | {point: f"{e:.3f}" for point, e in zip(FIVE, errors, strict=True)}
        for clip, pair in real.items()
        for name, errors in zip(("network", "mean shape"), pair, strict=True)
    ]
    title = "Real clips, median distance from YuNet's points in its eye distances"
    return f"{title}\n\n{markdown(cells)}"
