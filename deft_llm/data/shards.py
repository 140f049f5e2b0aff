"""Datasets rendered before training, as numbered safetensors files with a fixed number of clips.

A dataset is a folder with a record of its settings (``<what>.json``) and its shards. The clips of a
shard depend on the settings only, never on workers.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file
from tqdm import tqdm

from deft_llm.claims import claim
from deft_llm.config import Settings
from deft_llm.errors import UserError
from deft_llm.files import replacing

logger = logging.getLogger(__name__)
Arrays = dict[str, NDArray[Any]]
Data = TypeVar("Data", bound=Settings)
Item = TypeVar("Item")


def claim_set(folder: Path, what: str, data: Settings) -> None:
    """Record the settings of a folder, so that a run with other settings cannot continue in it.

    Args:
        folder: Folder of the dataset; created if missing.
        what: Content of the dataset and name of the settings file: "pairs", "faces".
        data: The settings; the number of workers and the path of a head's file are not recorded.

    Raises:
        UserError: If the folder holds a dataset with other settings.
    """
    problem, remedy = f"holds {what} of other settings", "give a new folder or delete it"
    claim(folder / f"{what}.json", data, {"workers", "head_file"}, problem, remedy)


def settings_of(folder: Path, what: str, kind: type[Data]) -> Data:
    """The settings that :func:`claim_set` recorded.

    Raises:
        UserError: If there are none.
    """
    note = folder / f"{what}.json"
    if not note.is_file():
        raise UserError(f"{folder}: no {note.name}; expected a folder of rendered {what}")
    return kind(**json.loads(note.read_text(encoding="utf-8")))


@dataclass(frozen=True)
class Shards:
    """Files ``<prefix>-00000.safetensors`` and so on in a folder.

    Attributes:
        folder: Their folder.
        prefix: Prefix of their names.
        clips: Total number of clips.
        size: Clips per file; an interruption loses at most this many.
    """

    folder: Path
    prefix: str
    clips: int
    size: int

    @property
    def files(self) -> list[Path]:
        """All files, whether they exist or not."""
        count = -(-self.clips // self.size)
        return [self.folder / f"{self.prefix}-{k:05d}.safetensors" for k in range(count)]

    @property
    def whole(self) -> bool:
        """Whether all files exist."""
        return all(file.is_file() for file in self.files)

    def drop_stale(
        self, items: Sequence[Item], render: Callable[[Sequence[Item]], Iterable[Arrays]]
    ) -> None:
        """Delete the files if the first clip in them comes out otherwise by now.

        The simulator or the measurement has changed since they were made, and a set of both would
        be of neither.

        Args:
            items: Recipe of every clip, in order.
            render: As for :meth:`render`; it is asked for one clip.
        """
        kept = [k for k, file in enumerate(self.files) if file.is_file()]
        if not kept:
            return
        (stored,) = open_shards([self.files[kept[0]]])
        row, names = next(iter(render(items[kept[0] * self.size :][:1]))), set(stored.keys())
        for name, now in row.items():
            then = stored.get_tensor(name)[: len(now)] if name in names else None
            if then is None or not np.array_equal(then, now, equal_nan=now.dtype.kind == "f"):
                logger.warning("%s was made by other code: made again", self.folder)
                for k in kept:
                    self.files[k].unlink()
                return

    def render(
        self, items: Sequence[Item], render: Callable[[Sequence[Item]], Iterable[Arrays]], what: str
    ) -> None:
        """Render the missing files; each is written completely or not at all.

        Args:
            items: Recipe of every clip, in order.
            render: Recipes -> the arrays of each, in order; a file holds them concatenated along
                the first axis.
            what: Label of the progress bar.
        """
        missing = {
            file: items[k * self.size : (k + 1) * self.size]
            for k, file in enumerate(self.files)
            if not file.is_file()
        }
        # One call of `render` for all missing files, so that its workers start once.
        wanted = list(chain.from_iterable(missing.values()))
        if not wanted:
            return
        seen: Iterator[Arrays] = iter(
            tqdm(render(wanted), total=len(wanted), desc=what, unit="clip")
        )
        for file, part in missing.items():
            rows = list(islice(seen, len(part)))
            # safetensors writes raw memory: an array in another order would be scrambled.
            joined = {
                name: np.ascontiguousarray(np.concatenate([row[name] for row in rows]))
                for name in rows[0]
            }
            with replacing(file) as partial:
                save_file(joined, partial)


def open_shards(files: Sequence[Path]) -> list[Any]:
    """Open shard files; arrays are read on access.

    Raises:
        UserError: If a file is missing or unreadable.
    """
    if missing := [file for file in files if not file.is_file()]:
        folder, name = missing[0].parent, missing[0].name
        raise UserError(f"{folder}: {name} is missing; run the same command again")
    try:
        return [safe_open(file, framework="numpy") for file in files]
    except SafetensorError as error:
        folder = files[0].parent
        raise UserError(f"{folder}: a shard is not readable ({error}); delete it") from error
