"""What coders make of action units, as a second opinion on the class of a clip.

The language model learns which labels go with which motion from a few thousand clips. Published
codings say it directly: of the clips coded with AU 1 and AU 2, so many were called surprise. The AU
head's probabilities give a weight to every combination of AUs that was ever coded, its likelihood
times how often it was; each label's share is then the weighted mean of its shares (the Bayes rule,
with a combination as the hidden cause). How much that counts beside the language model is fitted
with the temperatures (``calibration.py``), on faces outside training and tests; without a fit it
counts nothing. The rule is our own.

Letters: B clips, K AUs of the head, G combinations, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, coarse_label
from deft_llm.simulator.scene.statistics import combinations

# Of the clips, those in which no AU moves; as in the training data.
_NEUTRAL = 0.1
# The head scores both sides of a face, which mostly move alike: each counts half.
_OF_A_SIDE = 0.5
_LEAST = 1e-4  # probability of an AU that the head excludes, so that no one AU decides alone


class Codings:
    """Codings of AU combinations, for one AU head.

    Args:
        numbers: FACS numbers of the head's K outputs. Other AUs are overlooked.
    """

    def __init__(self, numbers: Sequence[int]) -> None:
        table = combinations()
        self.emotions = (*table, NOTHING)
        keys = sorted({key for counts in table.values() for key in counts})
        # (G, K, 2): the sides on which a combination moves each AU; in the last one, none moves.
        self.moves = torch.zeros(len(keys) + 1, len(numbers), 2)
        for row, key in zip(self.moves, keys, strict=False):
            for code in key.split("+"):
                if (number := facs.au_number(code)) in numbers:
                    for side in facs.au_sides(code):
                        row[numbers.index(number), int(side == "right")] = 1
        # (G, emotions): clips coded so.
        self.counts = torch.zeros(len(keys) + 1, len(self.emotions))
        for column, counts in enumerate(table.values()):
            for key, count in counts.items():
                self.counts[keys.index(key), column] = count
        self.counts[-1, -1] = _NEUTRAL / (1 - _NEUTRAL) * self.counts.sum()

    def know(self, labels: Sequence[str]) -> bool:
        """Whether every label is an emotion of the codings, or one of ``answers.COARSE_LABELS``."""
        return set(labels) <= {*self.emotions, *COARSE_LABELS}

    def log_shares(self, labels: Sequence[str], probabilities: Tensor) -> Tensor:
        """Logarithm of each label's share among clips with such AUs.

        Args:
            labels: L labels that are known.
            probabilities: (B, K, 2) of the AU head, left and right.

        Returns:
            (B, L); shares of labels that do not cover all codings sum to less than 1.
        """
        p = probabilities.detach().float().cpu().clamp(_LEAST, 1 - _LEAST).flatten(1)
        moves, total = self.moves.flatten(1), self.counts.sum(1)
        seen = p.log() @ moves.T + (1 - p).log() @ (1 - moves).T
        weights = (_OF_A_SIDE * seen + total.log()).softmax(1)
        counts = torch.stack([self._counts_of(label) for label in labels], 1)
        # A combination that was coded once is not certain: one clip more, with the usual shares.
        usual = counts.sum(0) / total.sum()
        return (weights @ ((counts + usual) / (total[:, None] + 1))).log()

    def _counts_of(self, label: str) -> Tensor:
        """(G,) clips of a label."""
        own = [label in (emotion, _coarse(emotion)) for emotion in self.emotions]
        return self.counts[:, torch.tensor(own)].sum(1)


def _coarse(emotion: str) -> str:
    return NOTHING if emotion == NOTHING else coarse_label(emotion)
