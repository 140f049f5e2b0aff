"""Classify clips by a few labelled ones, without training: any classes, any names.

A trained MPFNet turns each class of a support set into the mean of its maps (five clips a class are
usual), and names the class that a query is most like.

Letters: Q queries, C classes, S side.
"""

from __future__ import annotations

import copy
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.data.inputs import magnified_volume
from deft_llm.errors import UserError
from deft_llm.files import digest
from deft_llm.recognizers.mpfnet import MPFNet

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shot:
    """One clip.

    Attributes:
        name: For messages.
        key_frames: (3, 3, S, S), as ``data/raw_frames.py`` makes them.
        label: Its class, or None for a query.
    """

    name: str
    key_frames: NDArray[np.floating]
    label: str | None = None

    @property
    def content(self) -> str:
        """A hash of the frames."""
        # In the type in which key frames are stored: a stored clip equals one just measured.
        return digest(np.ascontiguousarray(self.key_frames, np.float16).data)


class FewShot:
    """A trained network that knows classes by a support set; the given one is left as it is.

    Args:
        network: Trained; its own classes do not matter.
        support: Labelled clips. A class may have a single clip, which then is its prototype.
        classes: Names of the classes, in the order of the columns.

    Raises:
        UserError: If there is one class only, a class has no clip, a label is none of the classes,
            or a clip is in two classes.
    """

    def __init__(self, network: MPFNet, support: Sequence[Shot], classes: Sequence[str]) -> None:
        _check(support, classes)
        self.known = _by_content(support)
        # A copy: `remember` replaces the prototypes.
        self.network = copy.deepcopy(network).eval()
        labels = torch.tensor([classes.index(str(shot.label)) for shot in support])
        self.network.remember(_volumes(self.network, support), labels)

    def __call__(self, queries: Sequence[Shot]) -> NDArray[np.float64]:
        """Class probabilities (Q, C).

        Raises:
            UserError: If a query is also in the support set.
        """
        for query in queries:
            if (same := self.known.get(query.content)) is not None:
                raise UserError(
                    f"{query.name}: also in the support set, as {same.name}; it would be compared "
                    "with itself; leave it out of one of the two"
                )
        with torch.no_grad():
            logits = self.network({"flow_diff_volume": _volumes(self.network, queries)})
        return logits.double().softmax(1).numpy()


def _check(support: Sequence[Shot], classes: Sequence[str]) -> None:
    if len(classes) < 2:
        raise UserError(
            f"support: {len(classes)} class; expected clips of two classes or more, to tell them "
            "apart"
        )
    counts = Counter(shot.label for shot in support)
    if strange := [shot for shot in support if shot.label not in classes]:
        raise UserError(
            f"support: {strange[0].name} is of class {strange[0].label!r}; expected one of "
            f"{', '.join(classes)}"
        )
    if empty := [name for name in classes if not counts[name]]:
        raise UserError(
            f"support: class {empty[0]!r} has no clip; give at least one (five are usual), or "
            "leave the class out"
        )
    if single := [name for name in classes if counts[name] == 1]:
        logger.warning("support: one clip of %s: it alone stands for its class", ", ".join(single))


def _by_content(support: Sequence[Shot]) -> dict[str, Shot]:
    known: dict[str, Shot] = {}
    for shot in support:
        same = known.setdefault(shot.content, shot)
        if same.label != shot.label:
            raise UserError(
                f"support: {same.name} of class {same.label!r} and {shot.name} of class "
                f"{shot.label!r} are the same clip; leave it in one class"
            )
    return known


def _volumes(network: MPFNet, shots: Sequence[Shot]) -> torch.Tensor:
    made = []
    for shot in shots:
        try:
            # Without magnification (factor 1), as the episodes saw clips.
            made.append(magnified_volume(shot.key_frames, network.side))
        except UserError as error:
            raise UserError(f"{shot.name}: {error}") from error
    return torch.from_numpy(np.stack(made))
