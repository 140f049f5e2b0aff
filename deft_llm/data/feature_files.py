"""Features of clips on disk: shards of many clips, files of one, and those still in memory."""

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
    """The features of some clips in one safetensors file, read from its memory map when asked for.

    Args:
        path: The file.
        again: What makes a missing or damaged file anew, in messages.

    Raises:
        UserError: If it is missing.
    """

    def __init__(self, path: Path, again: str = "build the data again") -> None:
        if not path.is_file():
            raise UserError(f"{path}: missing; {again}")
        self.path, self.again = path, again

    @cached_property
    def _file(self) -> Any:
        try:
            return safe_open(self.path, framework="numpy")
        except SafetensorError as error:
            raise UserError(
                f"{self.path}: damaged ({error}); delete it and {self.again}"
            ) from error

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the features.

        Raises:
            UserError: If the file is damaged.
        """
        return tuple(self._file.keys())

    def row(self, name: str, index: int) -> NDArray[Any]:
        """One clip's array.

        Raises:
            UserError: If the file is damaged.
        """
        return np.asarray(self._file.get_slice(name)[index])


class ClipFile(FeatureFile):
    """The features of one clip alone, as a prepared corpus keeps them."""

    def row(self, name: str, index: int) -> NDArray[Any]:
        """The array; there is no other row."""
        return np.asarray(self._file.get_tensor(name))


class InMemory:
    """Features of clips that are at hand."""

    def __init__(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        self.arrays, self.names = arrays, tuple(arrays)

    def row(self, name: str, index: int) -> NDArray[Any]:
        """One clip's array."""
        return self.arrays[name][index]


def save_features(path: Path, rows: Sequence[Features]) -> None:
    """Stack the features of some clips into one safetensors file, whole or not at all."""
    names = rows[0] if rows else ()
    with replacing(path) as partial:
        save_file({name: np.stack([row[name] for row in rows]) for name in names}, partial)
