"""Classify clips by a few labelled ones, without training: any classes, any names.

Each class of a support set (five clips a class are usual) becomes the mean of its clips, and a
query gets the class that it is most like: by the measured motion of the regions
(``MotionFewShot``), which needs no network, or by the maps of a trained MPFNet (``FewShot``).

Letters: Q queries, C classes, R regions, S side.
"""

from __future__ import annotations

import copy
import logging
from abc import ABC, abstractmethod
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
_MOST_Z = 10.0  # a region that moves further above its noise says no more
# Weight of the likeness in the probabilities: the likeliest one on simulated clips of other faces.
_SHARPNESS = 8.0
Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Shot:
    """One clip.

    Attributes:
        name: For messages.
        key_frames: (3, 3, S, S), as ``data/raw_frames.py`` makes them.
        label: Its class, or None for a query.
        motion: (2 R,) from :func:`region_motion_vectors`; None where no motion is compared.
    """

    name: str
    key_frames: NDArray[np.floating]
    label: str | None = None
    motion: Floats | None = None

    @property
    def content(self) -> str:
        """A hash of the frames."""
        # In the type in which key frames are stored: a stored clip equals one just measured.
        return digest(np.ascontiguousarray(self.key_frames, np.float16).data)


class SupportSet(ABC):
    """Classes that are known by a few clips of each.

    Args:
        support: Labelled clips. A class may have a single clip, which then is its prototype.
        classes: Names of the classes, in the order of the columns.

    Raises:
        UserError: If there is one class only, a class has no clip, a label is none of the classes,
            or a clip is in two classes.
    """

    def __init__(self, support: Sequence[Shot], classes: Sequence[str]) -> None:
        _check(support, classes)
        self.known = _by_content(support)
        self.labels = np.array([classes.index(str(shot.label)) for shot in support])

    @abstractmethod
    def _probabilities(self, queries: Sequence[Shot]) -> NDArray[np.float64]:
        """Class probabilities (Q, C) of clips that are not in the support set."""

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
        return self._probabilities(queries)


class FewShot(SupportSet):
    """A trained network that knows classes by a support set; the given one is left as it is.

    Args:
        network: Trained; its own classes do not matter.
        support: As for the base, like ``classes``.
        classes: Names of the classes.
    """

    def __init__(self, network: MPFNet, support: Sequence[Shot], classes: Sequence[str]) -> None:
        super().__init__(support, classes)
        # A copy: `remember` replaces the prototypes.
        self.network = copy.deepcopy(network).eval()
        self.network.remember(_volumes(self.network, support), torch.from_numpy(self.labels))

    def _probabilities(self, queries: Sequence[Shot]) -> NDArray[np.float64]:
        with torch.no_grad():
            logits = self.network({"flow_diff_volume": _volumes(self.network, queries)})
        return logits.double().softmax(1).numpy()


class MotionFewShot(SupportSet):
    """Classes known by the mean measured motion of their clips; compared by the cosine.

    Args:
        support: As for the base, with ``motion``, like ``classes``.
        classes: Names of the classes.
    """

    def __init__(self, support: Sequence[Shot], classes: Sequence[str]) -> None:
        super().__init__(support, classes)
        self.prototypes = class_directions(_motion(support), self.labels, len(classes))

    def _probabilities(self, queries: Sequence[Shot]) -> NDArray[np.float64]:
        scores = _SHARPNESS * _motion(queries) @ self.prototypes.T
        shares = np.exp(scores - scores.max(1, keepdims=True))
        return np.asarray(shares / shares.sum(1, keepdims=True), np.float64)


def region_motion_vectors(u: Floats, v: Floats, z: Floats) -> Floats:
    """Motion of all regions as one direction (..., 2 R): shares count, and not the size.

    Each region counts by how far it moved above its own noise floor, so that a brow that hardly
    moves on a calm face weighs as much as a mouth that moves far on a restless one.

    Args:
        u: (..., R) mean motion to the image's right, px.
        v: (..., R) down, px.
        z: (..., R) its length over the region's noise floor.

    Returns:
        Vectors of length 1; zeros where nothing moved.
    """
    size = np.hypot(u, v)
    weight = np.clip(z, 0, _MOST_Z) / np.maximum(size, 1e-6)
    return _unit(np.concatenate([u * weight, v * weight], axis=-1))


def class_directions(vectors: Floats, labels: NDArray[np.int64], classes: int) -> Floats:
    """Mean direction of the vectors (N, D) of each class, (C, D)."""
    return _unit(np.stack([vectors[labels == c].mean(0) for c in range(classes)]))


def _unit(vectors: Floats) -> Floats:
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-9), np.float64)


def _motion(shots: Sequence[Shot]) -> Floats:
    missing = [shot.name for shot in shots if shot.motion is None]
    assert not missing, missing
    return np.stack([shot.motion for shot in shots if shot.motion is not None])


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
