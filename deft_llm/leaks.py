"""Leaks: find test data that is also in the training set, under any name.

``require_disjoint`` is the check of every split: two sets may share no subject, no clip and no
content. ``find_leaks`` also compares pictures. A test set can leak in three ways: the same name,
the same content, or nearly the same picture (a frame of the same recording saved again). The first
two are certain; the third needs a person to look at it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.files import digest

Ids = Mapping[str, Collection[str]]  # "subject", "clip", "content" ... -> ids of a set
_HASH_SIDE, _HASH_KEEP = 32, 8
NEAR_BITS = 0.06
"""Largest share of differing hash bits in a near-duplicate. Our own choice: it finds a picture
re-encoded with JPEG, and mostly does not report different clips of one person."""


class Fold(Protocol):
    """Row indices of a fold, as in ``protocols.Split`` (which imports this module)."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Training rows."""

    @property
    def validation(self) -> NDArray[np.int64]:
        """Validation rows."""

    @property
    def test(self) -> NDArray[np.int64]:
        """Test rows."""


def shared(train: Ids, test: Ids) -> dict[str, list[str]]:
    """Ids that two sets share: each kind of id -> sorted values.

    Empty ids (the content of a clip that was never read) are ignored.
    """
    return {kind: sorted((set(ids) & set(test[kind])) - {""}) for kind, ids in train.items()}


def require_disjoint(train: Ids, test: Ids, what: str, mend: str) -> None:
    """Reject two sets that share a subject, a clip or content.

    Args:
        train: Ids of the first set, by kind.
        test: Ids of the second set, with the same kinds.
        what: Name of the two sets in the message: "training draw and test".
        mend: How to fix it, for the message.

    Raises:
        UserError: If they share an id; names the kind, one shared id and their number.
    """
    for kind, both in shared(train, test).items():
        if both:
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise UserError(f"{what} share {kind} {both[0]}{more}; {mend}")


@dataclass(frozen=True)
class LeakReport:
    """Pairs of rows (train, test) that should not be on both sides of a split.

    Attributes:
        names: Pairs with equal clip names.
        contents: Pairs with equal content.
        near: Pairs with nearly equal pictures, with the share of hash bits that differ.
        rows: Number of rows that were compared.
    """

    rows: int
    names: list[tuple[int, int]] = field(default_factory=list)
    contents: list[tuple[int, int]] = field(default_factory=list)
    near: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether no certain leak was found; near-duplicates need a person's judgement."""
        return not self.names and not self.contents

    def to_markdown(self, clips: Sequence[str]) -> str:
        """A short report with the first ten pairs of each kind."""
        lines = [
            f"Leak audit over {self.rows} rows: {len(self.names)} equal names, "
            f"{len(self.contents)} equal contents, {len(self.near)} near-duplicate pairs "
            "across train and test."
        ]
        shown = [("name", a, b, "") for a, b in self.names[:10]]
        shown += [("content", a, b, "") for a, b in self.contents[:10]]
        shown += [("near", a, b, f" ({d:.3f} of the bits differ)") for a, b, d in self.near[:10]]
        lines += [f"- {kind}: {clips[a]} and {clips[b]}{note}" for kind, a, b, note in shown]
        return "\n".join(lines)


def content_hashes(images: Sequence[NDArray[np.uint8]]) -> list[str]:
    """SHA-256 of shape and pixels of each row."""
    return [digest(str(x.shape), np.ascontiguousarray(x).data) for x in images]


def perceptual_hashes(images: Sequence[NDArray[np.uint8]]) -> NDArray[np.bool_]:
    """Perceptual hash: signs of the low DCT coefficients of each channel, without the mean.

    Args:
        images: (H, W, C) uint8 each, of any size and the same number of channels.

    Returns:
        (N, C * 63) bits.
    """
    rows = []
    for image in images:
        # Low frequencies of a small copy survive resizing and compression; their signs ignore gain.
        small = cv2.resize(image, (_HASH_SIDE, _HASH_SIDE), interpolation=cv2.INTER_AREA)
        channels = small.reshape(_HASH_SIDE, _HASH_SIDE, -1).astype(np.float32)
        low = [
            cv2.dct(c)[:_HASH_KEEP, :_HASH_KEEP].ravel()[1:] for c in np.moveaxis(channels, 2, 0)
        ]
        rows.append(np.concatenate(low) > 0)
    return np.array(rows)


def find_leaks(
    splits: Sequence[Fold],
    clips: Sequence[str],
    images: Sequence[NDArray[np.uint8]],
    near_bits: float = NEAR_BITS,
    known: Sequence[str] = (),
) -> LeakReport:
    """Compare every test row with the training and validation rows of its fold.

    Args:
        splits: The folds.
        clips: A name for each row.
        images: A picture for each row: (H, W, C) uint8.
        near_bits: See ``NEAR_BITS``.
        known: A content for each row that was found otherwise, or "": of a clip whose coding
            differs from its copy's, the pictures differ as well.

    Raises:
        UserError: If the numbers of names and pictures differ.
    """
    if len(clips) != len(images):
        raise UserError(f"{len(clips)} names for {len(images)} images; expected one for each")
    apart = np.zeros((len(clips), len(clips)), bool)  # [seen, tested]
    for split in splits:
        apart[np.ix_(np.concatenate([split.train, split.validation]), split.test)] = True
    equal = {*_equal(content_hashes(images), apart), *_equal(known, apart)}
    report = LeakReport(len(clips), _equal(clips, apart), sorted(equal))
    bits = perceptual_hashes(images).astype(np.float32)
    # With signs of +1 and -1, a dot product is equal minus differing bits; one float32 matrix
    # product compares all pairs.
    signs = 2 * bits - 1
    differing = 0.5 - 0.5 * (signs @ signs.T) / bits.shape[1]
    # Equal contents are certain leaks and already reported.
    for a, b in np.argwhere(apart & (differing <= near_bits)).tolist():
        if (a, b) not in equal:
            report.near.append((a, b, float(differing[a, b])))
    report.near.sort(key=lambda pair: pair[2])
    return report


def _equal(values: Sequence[str], apart: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Pairs of rows (seen, tested) with an equal value that is not empty."""
    groups: dict[str, list[int]] = defaultdict(list)
    for row, value in enumerate(values):
        if value:
            groups[value].append(row)
    return [(a, b) for rows in groups.values() for a in rows for b in rows if apart[a, b]]
