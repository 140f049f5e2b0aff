"""Few-shot use of a trained MPFNet on classes that it was never trained for.

The classes are groups of AUs. Each draw takes a few clips of every class as support and names the
clips of all other subjects, as ``deft-llm recognize --support`` does with ``--weights``; beside it
by the measured motion, as without, and by the nearest neighbours of each clip's flow.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from sklearn.neighbors import KNeighborsClassifier

from deft_llm import facs, protocols
from deft_llm.config import Settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import REGION_COLUMNS
from deft_llm.data.labelled import LabelledClips, labelled
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.recognizers.few_shot import class_directions, region_motion_vectors
from deft_llm.recognizers.mpfnet import MPFNet, class_means
from deft_llm.recognizers.saved import open_saved

logger = logging.getLogger(__name__)
INPUTS = ("flow_diff_volume", "flow_uvs")
FIGURES = ("few_shot_uf1", "few_shot_motion_uf1", "few_shot_nearest_uf1", "few_shot_gain")
_FLOW_SIDE = 14  # cells: nearest neighbours of single pixels would see the face, not its motion
_AT_ONCE = 32  # clips of a forward pass


class FewShotUse(Settings):
    """Naming clips by a few labelled ones.

    Attributes:
        weights: Run of a trained ``mpfnet``, or its ``final``.
        classes: Class -> numbers of its AUs. A clip with AUs of exactly one class belongs to it.
        shots: Support clips of a class.
        draws: Draws of support clips; figures are means over them.
        neighbours: Of the nearest neighbours.
    """

    weights: Path
    classes: dict[str, list[int]] = Field(min_length=2)
    shots: int = Field(default=5, ge=1)
    draws: int = Field(default=20, ge=1)
    neighbours: int = Field(default=3, ge=1)

    def label_of(self, record: ClipRecord) -> str | None:
        """The class of a clip; None for a clip of none or several."""
        numbers = {facs.au_number(au) for au in record.aus}
        found = [name for name, aus in self.classes.items() if numbers & set(aus)]
        return found[0] if len(found) == 1 else None


def trained(use: FewShotUse) -> MPFNet | None:
    """The network; None, which is told, if it has not been trained yet.

    Raises:
        UserError: If the weights are no MPFNet.
    """
    if not use.weights.is_dir():
        logger.warning("no %s: few-shot use is left out (train it first)", use.weights)
        return None
    network = open_saved(use.weights).network
    if not isinstance(network, MPFNet):
        raise UserError(f"few_shot: {use.weights} is no mpfnet; train one that is")
    return network


def few_shot_values(use: FewShotUse, network: MPFNet, clips: ClipDataset) -> dict[str, float]:
    """UF1 of the network, of measured motion and of the nearest neighbours, and the gain.

    All are means over draws; the gain is the network's over the neighbours.

    Args:
        use: What to do.
        network: From :func:`trained`.
        clips: Clips of subjects that the network was not trained on.

    Raises:
        UserError: If a class has too few clips.
    """
    data = labelled(clips, list(use.classes), use.label_of)
    made = data.clips.inputs(INPUTS[:1], network.side)[INPUTS[0]]
    with torch.no_grad():
        parts = [network.embed(part) for part in torch.from_numpy(made).split(_AT_ONCE)]
    vectors = torch.cat(parts, 1)
    flow = data.clips.inputs(INPUTS[1:], _FLOW_SIDE)[INPUTS[1]].reshape(len(data), -1)
    motion = region_motion_vectors(*_regions(data))
    scores = []
    for support, asked in draws(use, data):
        known = class_means(vectors[:, support], torch.from_numpy(data.labels[support]))
        with torch.no_grad():
            ours = network.scores(vectors[:, asked], known).argmax(1).numpy()
        nearest = KNeighborsClassifier(min(use.neighbours, len(support)))
        nearest.fit(flow[support], data.labels[support])
        theirs = nearest.predict(flow[asked])
        directions = class_directions(motion[support], data.labels[support], len(data.classes))
        moved = (motion[asked] @ directions.T).argmax(1)
        scores.append([_uf1(data, asked, predicted) for predicted in (ours, moved, theirs)])
    ours_mean, moved_mean, theirs_mean = np.mean(scores, 0).tolist()
    values = (ours_mean, moved_mean, theirs_mean, ours_mean - theirs_mean)
    return dict(zip(FIGURES, values, strict=True))


def _regions(data: LabelledClips) -> list[NDArray[np.float32]]:
    """u, v and z (N, R) of every clip's onset phase."""
    features = [data.clips[i].features for i in range(len(data))]
    tables = np.stack([each["regions"][0] for each in features if each is not None])
    columns = [REGION_COLUMNS.index(name) for name in ("u", "v", "z")]
    return [tables[..., column].astype(np.float32) for column in columns]


def draws(
    use: FewShotUse, data: LabelledClips
) -> Iterator[tuple[protocols.Indices, protocols.Indices]]:
    """Support rows, and the rows of all subjects who are not among them.

    Raises:
        UserError: If a class has no more clips than are drawn, or a draw shows every subject.
    """
    counts = np.bincount(data.labels, minlength=len(data.classes))
    if (counts <= use.shots).any():
        small = int(counts.argmin())
        raise UserError(
            f"few_shot: {counts[small]} clips of class {data.classes[small]!r}; expected more than "
            f"the {use.shots} that are drawn (few_shot.shots)"
        )
    rng = np.random.default_rng([7, use.shots])
    people = data.clips.people
    for _ in range(use.draws):
        parts = [
            rng.permutation(np.flatnonzero(data.labels == label))[: use.shots]
            for label in range(len(data.classes))
        ]
        support = np.concatenate(parts)
        asked = np.flatnonzero(~np.isin(people, people[support]))
        if not len(asked):
            raise UserError(
                f"few_shot: {len(support)} support clips show all {len(np.unique(people))} "
                "subjects, so that none is left to ask about; draw fewer (few_shot.shots), or give "
                "clips of more subjects"
            )
        yield support, asked


def _uf1(data: LabelledClips, rows: protocols.Indices, predicted: NDArray[np.int64]) -> float:
    wanted = [data.classes[i] for i in data.labels[rows]]
    return uf1(confusion_matrix(wanted, [data.classes[i] for i in predicted], data.classes))
