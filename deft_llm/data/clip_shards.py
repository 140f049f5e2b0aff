"""Measured clips in shards: what makes a build resumable, and one build of many machines' work.

A shard is ``<name>.safetensors`` (features), ``<name>.jsonl`` (a ``ClipRecord`` a line, written
last) and, where clips could not be used, ``<name>.left_out.jsonl`` with the reason of each. Which
clips are in a shard depends on the order of the clips alone, never on workers or machines.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any, TypeVar

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


@dataclass(frozen=True)
class Share:
    """A machine's share of a build: ``index`` of ``count``, from 1; 1/1 is all of it."""

    index: int = 1
    count: int = 1

    @classmethod
    def parse(cls, text: str) -> Share:
        """Read "2/8".

        Raises:
            UserError: If it is no share.
        """
        index, _, count = text.partition("/")
        if not (index.isdigit() and count.isdigit() and 1 <= int(index) <= int(count)):
            raise UserError(f"shard {text!r}: expected i/n with 1 <= i <= n, for example 2/8")
        return cls(int(index), int(count))

    def of(self, names: Sequence[str]) -> list[str]:
        """Its names."""
        return list(names[self.index - 1 :: self.count])


ALL = Share()


def claim_recipe(folder: Path, recipe: Mapping[str, Any]) -> None:
    """Note what a folder is built from, so that another build cannot go on in it unseen.

    Raises:
        UserError: If the folder was begun with another recipe.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path, text = folder / "build.json", json.dumps(recipe, sort_keys=True)
    if path.is_file() and path.read_text(encoding="utf-8").strip() != text:
        raise UserError(
            f"{folder} was begun from {path.read_text(encoding='utf-8').strip()}, now {text}; "
            "give another folder, or delete it to start again"
        )
    write_lines(path, [text])


def shard_names(prefix: str, clips: int) -> list[str]:
    """Names of the shards of so many clips: "features-00000", ..."""
    return [f"{prefix}-{k:05d}" for k in range(-(-clips // CLIPS_PER_SHARD))]


def write_shards(
    prefix: str,
    items: Sequence[Item],
    measure: Callable[[Iterable[Item]], Iterator[MeasuredClip]],
    folder: Path,
    share: Share = ALL,
) -> list[str]:
    """Measure the shards of a shard that are not there yet.

    Args:
        prefix: Begins the shards' names.
        items: What to measure, all of it, in order.
        measure: Items -> a ``MeasuredClip`` for each, in order.
        folder: Where to.
        share: Which shards are this machine's.

    Returns:
        Names of all shards, those of other shards among them.
    """
    names = shard_names(prefix, len(items))
    missing = {
        name: items[k * CLIPS_PER_SHARD : (k + 1) * CLIPS_PER_SHARD]
        for k, name in enumerate(names)
        if name in set(share.of(names)) and not (folder / f"{name}.jsonl").is_file()
    }
    total = sum(map(len, missing.values()))
    if missing:
        outcomes = measure(chain.from_iterable(missing.values()))
        with tqdm(total=total, desc=prefix, unit="clip") as progress:
            for name, shard in missing.items():
                _write(islice(_counted(outcomes, progress), len(shard)), folder, name)
    return names


def _counted(outcomes: Iterator[MeasuredClip], progress: tqdm) -> Iterator[MeasuredClip]:
    for outcome in outcomes:
        progress.update()
        yield outcome


def _write(outcomes: Iterable[MeasuredClip], folder: Path, name: str) -> None:
    rows: list[Features] = []
    lines, left_out = [], []
    for clip in outcomes:
        if clip.features is None:
            logger.warning("%s left out: %s", clip.record.clip, clip.problem)
            left_out.append(json.dumps({"clip": clip.record.clip, "problem": clip.problem}))
            continue
        placed = replace(clip.record, shard=f"{name}.safetensors", row=len(rows))
        lines.append(placed.to_json())
        rows.append(clip.features)
    save_features(folder / f"{name}.safetensors", rows)
    if left_out:
        write_lines(folder / f"{name}.left_out.jsonl", left_out)
    write_lines(folder / f"{name}.jsonl", lines)


def absent(folder: Path, names: Iterable[str]) -> list[str]:
    """Parts that are not in the folder."""
    return [name for name in names if not (folder / f"{name}.jsonl").is_file()]


def records(folder: Path, names: Iterable[str]) -> Iterator[ClipRecord]:
    """Records of the shards, one at a time."""
    for name in names:
        with (folder / f"{name}.jsonl").open(encoding="utf-8") as file:
            yield from map(ClipRecord.from_json, file)


def left_out(folder: Path, names: Iterable[str]) -> Iterator[tuple[str, str]]:
    """(clip, reason) of the clips that could not be used."""
    for name in names:
        path = folder / f"{name}.left_out.jsonl"
        if path.is_file():
            yield from ((line["clip"], line["problem"]) for line in read_lines(path))
