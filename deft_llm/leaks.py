"""Leaks: does a test set hold what a training set has seen, under whatever name?

``require_disjoint`` is the one check of every split: two sets may share no subject, no clip and no
content. ``find_leaks`` also looks at pictures. A test set can leak in three ways: the same name,
the same content, or nearly the same picture (a frame of the same recording saved again). The first
two are certain; the third is a suspicion to look at.
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

Ids = Mapping[str, Collection[str]]  # "subject", "clip", "content" ... -> those of a set
_HASH_SIDE, _HASH_KEEP = 32, 8
NEAR_BITS = 0.06
"""Share of a perceptual hash's bits that may differ in a near-duplicate: our own choice, at which
a picture re-encoded with JPEG is found and different clips of one person mostly are not."""


class Fold(Protocol):
    """Row indices of a fold; ``protocols.Split`` is one (and imports this module)."""

    @property
    def train(self) -> NDArray[np.int64]:
        """Rows to learn from."""

    @property
    def validation(self) -> NDArray[np.int64]:
        """Rows to choose on."""

    @property
    def test(self) -> NDArray[np.int64]:
        """Rows to score."""


def shared(train: Ids, test: Ids) -> dict[str, list[str]]:
    """What two sets have in common: each kind of id -> sorted values.

    An empty id (the content of a clip that was never read) is shared with nobody.
    """
    return {kind: sorted((set(ids) & set(test[kind])) - {""}) for kind, ids in train.items()}


def require_disjoint(train: Ids, test: Ids, what: str, mend: str) -> None:
    """Refuse two sets that share a subject, a clip or a content.

    Args:
        train: Ids of the one set, by kind.
        test: Ids of the other, of the same kinds.
        what: What the two sets are, for the message: "training draw and test".
        mend: How to mend it, for the message.

    Raises:
        UserError: Names the kind, one of the shared ids and how many there are.
    """
    for kind, both in shared(train, test).items():
        if both:
            more = f" and {len(both) - 1} more" if len(both) > 1 else ""
            raise UserError(f"{what} share {kind} {both[0]}{more}; {mend}")


@dataclass(frozen=True)
class LeakReport:
    """Pairs of rows, (train, test), of which the two should not be apart.

    Attributes:
        names: Rows of equal clip name.
        contents: Rows of equal content.
        near: Rows whose pictures are nearly equal, with the share of bits that differ.
        rows: Number of rows that were looked at.
    """

    rows: int
    names: list[tuple[int, int]] = field(default_factory=list)
    contents: list[tuple[int, int]] = field(default_factory=list)
    near: list[tuple[int, int, float]] = field(default_factory=list)

    @property
    def clean(self) -> bool:
        """Whether no certain leak was found; near-duplicates are for a person to judge."""
        return not self.names and not self.contents

    def to_markdown(self, clips: Sequence[str]) -> str:
        """A short report with the first pairs of each kind."""
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
    """Signs of the low cosine frequencies of each channel, without the mean.

    Args:
        images: (H, W, C) uint8 each, of any size and the same number of channels.

    Returns:
        (N, C * 63) bits.
    """
    rows = []
    for image in images:
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
) -> LeakReport:
    """Compare every test row with the rows that its fold trains or chooses on.

    Args:
        splits: The folds.
        clips: A name for each row.
        images: A picture for each row: (H, W, C) uint8.
        near_bits: See ``NEAR_BITS``.

    Raises:
        UserError: If there is not one name and one picture for each row.
    """
    if len(clips) != len(images):
        raise UserError(f"{len(clips)} names for {len(images)} images; expected one for each")
    apart = np.zeros((len(clips), len(clips)), bool)  # [seen, tested]
    for split in splits:
        apart[np.ix_(np.concatenate([split.train, split.validation]), split.test)] = True
    report = LeakReport(len(clips))
    for values, found in ((clips, report.names), (content_hashes(images), report.contents)):
        groups: dict[str, list[int]] = defaultdict(list)
        for row, value in enumerate(values):
            groups[value].append(row)
        for rows in groups.values():
            found += [(a, b) for a in rows for b in rows if apart[a, b]]
    bits = perceptual_hashes(images).astype(np.float32)
    signs = 2 * bits - 1
    differing = 0.5 - 0.5 * (signs @ signs.T) / bits.shape[1]
    equal = set(report.contents)
    for a, b in np.argwhere(apart & (differing <= near_bits)).tolist():
        if (a, b) not in equal:
            report.near.append((a, b, float(differing[a, b])))
    report.near.sort(key=lambda pair: pair[2])
    return report
