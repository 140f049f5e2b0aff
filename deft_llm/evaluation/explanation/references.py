"""References on test clips: the training draw, and a linear model on the same flow."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from deft_llm import facs, resources
from deft_llm.config import load
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.features import Features
from deft_llm.data.simulated import specs
from deft_llm.deft.processing_deft import DeftFeatureExtractor
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.evaluation.explanation.scores import class_uf1
from deft_llm.simulator.scene.clip_spec import ClipSpec

logger = logging.getLogger(__name__)


class _RecipeFile(DeftRecipe):
    """A recipe with the ``task`` key that train.py reads."""

    task: str


def training_draw(recipes: Iterable[Path]) -> list[ClipSpec]:
    """The simulated clips that the recipes train on, in order."""
    sets = [data for name in recipes for data in load(_RecipeFile, resources.recipe(name)).data]
    return [spec for data in sets for spec in specs(data)]


def logistic_regression_uf1(folder: Path, clips: Sequence[MeasuredClip]) -> float:
    """UF1 of a logistic regression on the same flow, trained on a recipe's clips.

    Its inputs are the flow of the onset phase, ``flow_uvs`` at 14x14 cells, and its log amplitude.

    Args:
        folder: Data folder of the recipe.
        clips: Test clips.

    Returns:
        UF1 of three classes; NaN if the training data is missing.
    """
    if not (folder / "clips.jsonl").is_file():
        logger.warning("no %s: the logistic regression is left out (train first)", folder)
        return float("nan")
    learnt = ClipDataset.open(folder)
    known = [(i, facs.to_three(record.emotion)) for i, record in enumerate(learnt.records)]
    known = [(i, label) for i, label in known if label is not None]
    inputs = np.stack([_flow_vector(learnt[i].features) for i, _ in known])
    # The strength of the regularisation is our choice.
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=2000))
    model.fit(inputs, [label for _, label in known])
    predicted = [
        str(model.predict(_flow_vector(c.features)[None])[0]) if c.features is not None else None
        for c in clips
    ]
    return class_uf1(clips, predicted)


def _flow_vector(measured: Features | None) -> NDArray[np.float32]:
    assert measured is not None
    features = DeftFeatureExtractor()(measured)
    flow = features["flow"][0, 0].numpy()
    # Means over the 4x4 cells of the 56x56 map.
    pooled = flow.reshape(3, 14, 4, 14, 4).mean((2, 4))
    # The fourth value is only a flag that amplitudes are known.
    return np.concatenate([pooled.ravel(), features["flow_scale"][0, 0].numpy()[:3]])
