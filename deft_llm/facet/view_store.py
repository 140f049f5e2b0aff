"""Views on disk: what every set of scans is stored as, simulated or of a dataset.

Storage is uint8, 128 for 0.

Letters: N scans, T frames, V views, C channels, S side, Y classes.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm.config import Settings
from deft_llm.data.scan_views import CHANNELS, SIDE, YAWS
from deft_llm.data.shards import Arrays, Shards, open_shards
from deft_llm.errors import UserError

AUS = 70  # columns of the table of units: the numbers of FACS that have a name
Floats = NDArray[np.float32]


class ViewSet(Settings):
    """Settings that every set of views has.

    Attributes:
        channels: Of the views.
        yaws: Of the views, degrees.
        side: Of the views, px.
        frames: Frames of a sequence that are looked at.
        pooled: Store dynamic images of sequences, otherwise their frames.
        workers: Number of processes.
    """

    channels: tuple[str, ...] = CHANNELS
    yaws: tuple[float, ...] = YAWS
    side: int = Field(default=SIDE, ge=32)
    frames: int = Field(default=12, ge=3)
    pooled: bool = True
    workers: int = Field(default=2, ge=1)

    def empty(self, moving: bool) -> Floats:
        """Views that show nothing, in the shape of a scan's or, if ``moving``, a sequence's."""
        shape = (len(self.yaws), len(self.channels), self.side, self.side)
        return np.zeros((self.frames, *shape) if moving and not self.pooled else shape, np.float32)

    @property
    @abstractmethod
    def classes(self) -> tuple[str, ...]:
        """Names of the classes."""

    @property
    @abstractmethod
    def multi_label(self) -> bool:
        """Whether a scan may have several classes."""

    @property
    @abstractmethod
    def title(self) -> str:
        """What is shown, for the log."""

    @abstractmethod
    def shards(self, folder: Path) -> list[Shards]:
        """Its files in a folder."""

    @abstractmethod
    def build(self, folder: Path) -> None:
        """Render what is missing in a folder.

        Raises:
            UserError: If the folder holds a set of other settings, or something is missing.
        """


def row(
    views: Floats, label: Sequence[bool], aus: dict[int, float], level: int, subject: str
) -> Arrays:
    """One scan as it is stored.

    Args:
        views: (V, C, S, S) or (T, V, C, S, S) in -1..1.
        label: Whether it shows each class.
        aus: Units and their strengths.
        level: Intensity, 0 without.
        subject: At most 32 letters of ASCII.
    """
    table = np.zeros((1, AUS), np.float32)
    for number, strength in aus.items():
        table[0, number] = strength
    name = np.zeros((1, 32), np.uint8)  # safetensors holds no text
    letters = np.frombuffer(subject.encode("ascii", "replace")[:32], np.uint8)
    name[0, : len(letters)] = letters
    return {
        "views": stored(views)[None],
        "label": np.array([label], np.uint8),
        "aus": table,
        "level": np.array([level], np.uint8),
        "subject": name,
    }


def stored(views: Floats) -> NDArray[np.uint8]:
    """Values in -1..1 as bytes."""
    # 127 steps on both sides of 128, so that 0, the background, comes back exactly.
    whole: NDArray[np.uint8] = np.clip(np.round(views * 127.0 + 128.0), 0, 255).astype(np.uint8)
    return whole


def restored(views: NDArray[np.uint8]) -> Floats:
    """The inverse of `stored`: exactly 0 for 0."""
    values: Floats = (views.astype(np.float32) - 128.0) / 127.0
    return values


class ViewStore:
    """Rendered views by index; pictures are read when they are asked for.

    Attributes:
        data: Settings of the set.
        label: (N, Y) uint8, 1 for each class that is shown; none for units without an emotion.
        aus: (N, AUS) float32 strength of each unit.
        level: (N,) intensity, 0 without.
        subject: (N,) text.
        good: (N,) bool; False for a scan that could not be read, whose views are empty.

    Args:
        data: Settings of the set.
        folder: A folder that `ViewSet.build` has filled.

    Raises:
        UserError: If the folder does not hold the complete set.
    """

    def __init__(self, data: ViewSet, folder: Path) -> None:
        self.data = data
        parts = data.shards(folder)
        opened = open_shards([file for part in parts for file in part.files])
        # From the file and not from the subject: one head's name may begin with another's.
        self._head = np.repeat([part.prefix for part in parts], [part.clips for part in parts])
        self._slices = [f.get_slice("views") for f in opened]  # opened, not read
        counts = [s.get_shape()[0] for s in self._slices]
        self._place = [(k, at) for k, count in enumerate(counts) for at in range(count)]
        self.label, self.aus, self.level, names = (
            np.concatenate([f.get_tensor(name) for f in opened])
            for name in ("label", "aus", "level", "subject")
        )
        self.subject = np.array([bytes(n).rstrip(b"\0").decode() for n in names])
        self.good: NDArray[np.bool_] = self.subject != ""

    @classmethod
    def rendered(cls, data: ViewSet, folder: Path) -> ViewStore:
        """Load the views of a folder after rendering the missing ones."""
        data.build(folder)
        return cls(data, folder)

    def __len__(self) -> int:
        return len(self.label)

    def of_heads(self, heads: Sequence[str]) -> NDArray[np.bool_]:
        """Which scans (N,) are of one of these heads; all for none.

        A dataset counts as one head, by its name.

        Raises:
            UserError: If there is no scan of one of them.
        """
        known = dict.fromkeys(self._head.tolist())
        for head in heads:
            if head not in known:
                raise UserError(
                    f"used_heads: no scan of {head!r} in {self.data.title}; "
                    f"expected {', '.join(known)}"
                )
        return np.isin(self._head, list(heads or known))

    def views(self, indices: Sequence[int] | NDArray[Any]) -> NDArray[np.uint8]:
        """Pictures (B, V, C, S, S), or (B, T, V, C, S, S) of frames."""
        chosen = (self._place[int(i)] for i in indices)
        return np.concatenate([self._slices[k][at : at + 1] for k, at in chosen])
