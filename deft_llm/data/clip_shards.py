"""Measured clips in shards, so that a build can be resumed and split over machines.

A shard is ``<name>.safetensors`` (features), ``<name>.jsonl`` (one ``ClipRecord`` per line, written
last) and, if clips failed, ``<name>.left_out.jsonl`` with the reason of each. The clips of a shard
depend on the order of the clips only, never on workers or machines.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from tqdm import tqdm

from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.feature_files import save_features
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import read_lines, write_lines

logger = logging.getLogger(__name__)
CLIPS_PER_SHARD = 100  # an interruption loses at most this many
Item = TypeVar("Item")
WriteShard = Callable[[Iterable[MeasuredClip], Path, str], None]
"""Clips in order, folder, name of the shard; ``<name>.jsonl`` is written last."""


class LeftOut(NamedTuple):
    """A clip that could not be measured, or that is a copy of another one.

    Attributes:
        clip: Its id.
        problem: The reason.
        no_face: Whether the reason is that no face is seen.
    """

    clip: str
    problem: str
    no_face: bool = False


@dataclass(frozen=True)
class Share:
    """A machine's share of a build: ``index`` of ``count``, from 1; 1/1 is the whole build."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str, what: str = "shard") -> Share:
        """Parse a share such as "2/8".

        Args:
            text: The share.
            what: What it is called, for the message.

        Raises:
            UserError: If the text is no share.
        """
        index, _, count = text.partition("/")
        if not (index.isdecimal() and count.isdecimal() and 1 <= int(index) <= int(count)):
            raise UserError(f"{what} {text!r}: expected i/n with 1 <= i <= n, for example 2/8")
        return cls(int(index), int(count))

    def of(self, names: Sequence[str]) -> list[str]:
        """The names in this share."""
        # Every count-th name: shares differ by at most one shard.
        return list(names[self.index - 1 :: self.count])


ALL = Share()


def claim_recipe(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Record the recipe of a folder, so that a build with another recipe cannot continue in it.

    Raises:
        UserError: If the folder was started with another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "build.json", json.dumps(recipe, sort_keys=True)
    if path.is_file() and path.read_text(encoding="utf-8").strip() != text:
        raise UserError(
            f"{folder} was begun from {path.read_text(encoding='utf-8').strip()}, now {text}; "
            "give another folder, or delete it to start again"
        )
    write_lines(path, [text])


def in_shards(prefix: str, items: Sequence[Item]) -> dict[str, Sequence[Item]]:
    """Name of each shard ("features-00000", ...) -> its items."""
    starts = range(0, len(items), CLIPS_PER_SHARD)
    return {f"{prefix}-{k:05d}": items[i : i + CLIPS_PER_SHARD] for k, i in enumerate(starts)}


def write_records(outcomes: Iterable[MeasuredClip], folder: Path, name: str) -> None:
    """Write a shard as described above."""
    rows: list[Features] = []
    lines, left_out = [], []
    for clip in outcomes:
        if clip.features is None:
            logger.warning("%s left out: %s", clip.record.clip, clip.problem)
            failed = LeftOut(clip.record.clip, clip.problem, clip.no_face)
            left_out.append(json.dumps(failed._asdict()))
            continue
        # Clips left out take no row, so the row is not the position in the shard.
        placed = replace(clip.record, shard=f"{name}.safetensors", row=len(rows))
        lines.append(placed.to_json())
        rows.append(clip.features)
    save_features(folder / f"{name}.safetensors", rows)
    if left_out:
        write_lines(folder / f"{name}.left_out.jsonl", left_out)
    # Last, because its existence marks the shard as complete.
    write_lines(folder / f"{name}.jsonl", lines)


def write_shards(
    prefix: str,
    items: Sequence[Item],
    measure: Callable[[Iterable[Item]], Iterator[MeasuredClip]],
    folder: Path,
    share: Share = ALL,
    write: WriteShard = write_records,
) -> list[str]:
    """Measure the missing shards of a machine's share.

    Args:
        prefix: Prefix of the shards' names.
        items: All items to measure, in order.
        measure: Items -> one ``MeasuredClip`` each, in order.
        folder: Output folder.
        share: The shards that this machine measures.
        write: Writes the clips of one shard.

    Returns:
        Names of all shards, including those of other machines.
    """
    shards = in_shards(prefix, items)
    mine = share.of(list(shards))
    missing = {name: shards[name] for name in absent(folder, mine)}
    total, left = (sum(len(shards[name]) for name in some) for some in (mine, missing))
    if missing:
        if left < total:
            logger.info("%s: %d of %d clips are there already", folder, total - left, total)
        # One call for all missing shards, so that workers need not start again for each. Results
        # come in order and are cut into shards below.
        outcomes = measure(chain.from_iterable(missing.values()))
        with tqdm(total=total, initial=total - left, desc=prefix, unit="clip") as progress:
            for name, shard in missing.items():
                write(islice(_counted(outcomes, progress), len(shard)), folder, name)
    return list(shards)


def _counted(outcomes: Iterator[MeasuredClip], progress: tqdm) -> Iterator[MeasuredClip]:
    for outcome in outcomes:
        progress.update()
        yield outcome


def absent(folder: Path, names: Iterable[str]) -> list[str]:
    """Shards that the folder does not have yet, or whose features were deleted."""
    files = (".jsonl", ".safetensors")
    return [n for n in names if not all((folder / f"{n}{file}").is_file() for file in files)]


def records(folder: Path, names: Iterable[str]) -> Iterator[ClipRecord]:
    """Records of the shards, one at a time."""
    for name in names:
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as file:
            yield from map(ClipRecord.from_json, file)


def left_out(folder: Path, names: Iterable[str]) -> Iterator[LeftOut]:
    """The clips that failed."""
    for name in names:
        path = folder / f"{name}.left_out.jsonl"
        if path.is_file():
            yield from (LeftOut(**line) for line in read_lines(path))
