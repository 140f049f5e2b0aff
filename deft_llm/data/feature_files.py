"""Features of clips: shards of many clips, files of one clip, and features in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from deft_llm.data.features import Features
from deft_llm.errors import UserError
from deft_llm.files import replacing


class FeatureFile:
    """The features of some clips in one safetensors file, memory-mapped and read on access.

    Args:
        path: The file.
        again: How to recreate a missing or damaged file, for messages.

    Raises:
        UserError: If the file is missing.
    """

    def __init__(self, path: Path, again: str = "build the data again") -> None:
        if not path.is_file():
            raise UserError(f"{path}: missing; {again}")
        self.path, self.again = path, again

    @cached_property
    def _file(self) -> Any:
        try:
            # Opened on first use: a dataset may refer to thousands of files.
            return safe_open(self.path, framework="numpy")
        except SafetensorError as error:
            raise UserError(
                f"{self.path}: damaged ({error}); delete it and {self.again}"
            ) from error

    def __getstate__(self) -> dict[str, Any]:
        # Another process opens the file itself.
        return {name: value for name, value in self.__dict__.items() if name != "_file"}

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features.

        Raises:
            UserError: If the file is damaged.
        """
        return tuple(self._file.keys())

    @property
    def clips(self) -> int:
        """Number of clips.

        Raises:
            UserError: If the file is damaged.
        """
        return min((self._file.get_slice(n).get_shape()[0] for n in self.names), default=0)

    def row(self, name: str, index: int) -> NDArray[Any]:
        """One clip's array.

        Raises:
            UserError: If the file is damaged.
        """
        # get_slice reads one row, get_tensor would read the whole shard.
        return np.asarray(self._file.get_slice(name)[index])


class ClipFile(FeatureFile):
    """The features of a single clip, as a prepared corpus stores them."""

    def row(self, name: str, index: int) -> NDArray[Any]:
        """The clip's array; ``index`` is ignored."""
        return np.asarray(self._file.get_tensor(name))


class InMemory:
    """Features of clips in memory."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays, self.names = arrays, tuple(arrays)

    def row(self, name: str, index: int) -> NDArray[Any]:
        """One clip's array."""
        return self.arrays[name][index]


def save_features(path: Path, rows: Sequence[Features]) -> None:
    """Stack the features of some clips into one safetensors file, written completely or not."""
    names = rows[0] if rows else ()
    # safetensors writes raw memory, and stacked views keep the strides of the views.
    stacked = {name: np.ascontiguousarray(np.stack([row[name] for row in rows])) for name in names}
    with replacing(path) as partial:
        save_file(stacked, partial)
