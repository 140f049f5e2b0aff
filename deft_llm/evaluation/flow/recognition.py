"""Flow estimators compared by recognition: UF1 of one classifier on each estimator's flow.

The clips are drawn as in the simulated benchmark, and rendered, compressed and aligned once. The
two frames between which flow is computed are kept, averaged over their neighbours as in
``motion.measure``, so that only the estimator differs. The classifier is the logistic regression on
encoded flow, with the same settings for all, fitted on one set of faces and scored on another.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from deft_llm import facs
from deft_llm.config import Settings
from deft_llm.data.features import flow_map
from deft_llm.data.shards import Arrays, Shards, open_shards
from deft_llm.data.simulated import SimulatedData, filmed, specs
from deft_llm.errors import UserError
from deft_llm.evaluation.faces import require_unseen
from deft_llm.evaluation.flow.estimators import Estimate
from deft_llm.media.canonical import CANONICAL_SIZE
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.motion.encoding import encode_flow
from deft_llm.motion.head_motion import remove_head_motion
from deft_llm.motion.meter import MotionSettings, averaged_frame
from deft_llm.recognizers.linear import LogisticFlow
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, render_many

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]
CLASSES = facs.THREE_CLASSES
# Averaged frames have fractions of a grey level: 256 steps each, and 255 * 256 still fits uint16.
_LEVELS = 256
_SHARD = 100  # clips per file; an interruption loses at most this many


class RecognitionSets(Settings):
    """Clips of the recognition column.

    Attributes:
        train: Clips that the classifier is fitted on.
        test: Clips of other faces that it is scored on.
        side: Side of the flow maps, px.
    """

    train: SimulatedData
    test: SimulatedData
    side: int = 28


@dataclass(frozen=True)
class Frames:
    """Onset and apex of every clip that has a class and shows a face.

    Attributes:
        images: (N, 2, H, W) uint16 grey levels times 256.
        landmarks: (N, 68, 2) float64, px.
        labels: Class names, N.
    """

    images: NDArray[np.uint16]
    landmarks: NDArray[np.float64]
    labels: list[str]


def frames_of(data: SimulatedData, cache: Path) -> Frames:
    """Simulate a set once; after an interruption, call again to resume.

    What was made by an earlier simulator or face finder is made again.

    Args:
        data: The clips to simulate; those outside the three classes are left out.
        cache: Folder; the set goes to a subfolder named by the hash of ``data``.
    """
    folder = cache / f"onset-apex-{data.digest()}"
    folder.mkdir(parents=True, exist_ok=True)
    drawn = [spec for spec in specs(data) if _class_of(spec)]
    shards = Shards(folder, "frames", len(drawn), _SHARD)
    shards.drop_stale(drawn, partial(render_many, then=film_pairs, workers=1))
    shards.render(
        drawn, partial(render_many, then=film_pairs, workers=data.workers), "clips for recognition"
    )
    files = open_shards(shards.files)
    images, landmarks, seen = (
        np.concatenate([file.get_tensor(name) for file in files])
        for name in ("images", "landmarks", "seen")
    )
    labels = [str(_class_of(spec)) for spec, there in zip(drawn, seen, strict=True) if there]
    return Frames(images[seen], landmarks[seen], labels)


def _class_of(spec: ClipSpec) -> str | None:
    return facs.to_scheme(spec.emotion, "3")


def film_pairs(simulated: SimulatedClip) -> Arrays:
    """Onset and apex of one clip, one row each; zeros where no face was found."""
    try:
        _, aligned = filmed(simulated)
    except UserError as error:
        logger.warning("%s: %s", simulated.spec.name, error)
        size = (CANONICAL_SIZE, CANONICAL_SIZE)
        # A row even without a face: shards are read back by position.
        return _row(np.zeros((2, *size)), np.zeros((68, 2)), seen=False)
    interval, averaging = simulated.spec.curve.interval, MotionSettings().averaging
    # The gap limits the averaging, so that no frame goes into both averages.
    gap = interval.apex - interval.onset
    pair = [averaged_frame(aligned, t, gap, averaging) for t in (interval.onset, interval.apex)]
    return _row(np.stack(pair), aligned.landmarks, seen=True)


def _row(images: NDArray[Any], landmarks: NDArray[Any], seen: bool) -> Arrays:
    return {
        "images": np.rint(images * _LEVELS).astype(np.uint16)[None],
        "landmarks": np.asarray(landmarks, np.float64)[None],
        "seen": np.array([seen]),
    }


def encoded_flow(estimate: Estimate, frames: Frames, side: int, name: str) -> Floats:
    """The classifier's input (N, 3, side, side): head motion removed, scaled down, encoded."""
    rows, head_model = [], MotionSettings().head_model
    pairs = zip(frames.images, frames.landmarks, strict=True)
    for images, landmarks in tqdm(pairs, total=len(frames.images), desc=name, unit="clip"):
        first, second = images.astype(np.float32) / _LEVELS
        flow = remove_head_motion(estimate(first, second), landmarks, head_model)[0]
        rows.append(flow_map(flow, side))
    return encode_flow(np.array(rows, np.float32))[0]


def recognition_uf1(
    estimates: Mapping[str, Estimate], sets: RecognitionSets, cache: Path
) -> dict[str, float]:
    """UF1 over three classes with each estimator's flow.

    Args:
        estimates: Name -> estimator, called with grey float32 images (H, W) in 0..255.
        sets: Clips.
        cache: Folder for the frames.

    Raises:
        UserError: If the two sets share a face; raised before anything is rendered.
    """
    require_unseen(specs(sets.train), specs(sets.test), "recognition's train and test")
    train, test = (frames_of(data, cache) for data in (sets.train, sets.test))
    scores = {}
    for name, estimate in estimates.items():
        fitted_on, scored_on = (encoded_flow(estimate, f, sets.side, name) for f in (train, test))
        scores[name] = _uf1(fitted_on, scored_on, train, test)
    return scores


def _uf1(fitted_on: Floats, scored_on: Floats, train: Frames, test: Frames) -> float:
    model = LogisticFlow(len(CLASSES))
    model.fit({"flow_uvs": fitted_on}, np.array([CLASSES.index(name) for name in train.labels]))
    likeliest = model.predict_proba({"flow_uvs": scored_on}).argmax(1)
    predicted = [CLASSES[int(k)] for k in likeliest]
    return uf1(confusion_matrix(test.labels, predicted, CLASSES))
