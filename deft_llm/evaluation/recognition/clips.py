"""The clips of a recognition benchmark: published flow images, or measured clips of any source."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from deft_llm import facs, protocols
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.flow_images import read_flow_images
from deft_llm.data.labelled import LabelledClips, labelled, three_class
from deft_llm.data.sources import ClipSource
from deft_llm.errors import UserError
from deft_llm.files import write_text
from deft_llm.leaks import find_leaks

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Material:
    """What a benchmark runs on.

    Attributes:
        data: All clips with a class.
        held: Rows of the source of test clips; none if the protocol makes its own test sets.
        asked: All clips of that source, with and without a class; else all clips.
    """

    data: LabelledClips
    held: protocols.Indices
    asked: ClipDataset


def read_images(folder: Path) -> Material:
    """The clips of a folder of flow images.

    Raises:
        UserError: If the folder is missing, or relative and DEFT_DATA is not set.
    """
    root = os.environ.get("DEFT_DATA")
    if not root and not folder.is_absolute():
        raise UserError(f"data {folder}: set DEFT_DATA to the folder that holds it")
    clips = read_flow_images(Path(root or ".") / folder)
    return _material(clips)


def read_sources(
    clips: ClipSource, test: ClipSource | None, inputs: Iterable[str], cache: Path
) -> Material:
    """Measured clips, and test clips of other subjects if they have a source of their own.

    Args:
        clips: The clips, or those to train on.
        test: Clips to test on.
        inputs: Inputs that the models read.
        cache: Folder of simulated clips.

    Raises:
        UserError: If a file is missing, or the two share a subject.
    """
    inputs = list(inputs)
    if test is None:
        return _material(clips.open(inputs, cache))
    if both := clips.subjects() & test.subjects():
        raise UserError(
            f"clips and test share subject {min(both)} and {len(both) - 1} more; use clips of "
            "other subjects"
        )
    return _material(clips.open(inputs, cache), test.open(inputs, cache))


def _material(clips: ClipDataset, test: ClipDataset | None = None) -> Material:
    train = labelled(clips, facs.THREE_CLASSES, three_class)
    if test is None:
        return Material(train, np.empty(0, np.int64), clips)
    held = labelled(test, facs.THREE_CLASSES, three_class)
    both = LabelledClips(
        ClipDataset.joined(train.clips, held.clips),
        np.concatenate([train.labels, held.labels]),
        train.classes,
    )
    return Material(both, np.arange(len(train), len(both)), test)


def require_no_leak(
    splits: Sequence[protocols.Split], data: LabelledClips, folder: Path, name: str
) -> None:
    """Write the leak audit next to the tables; a certain leak stops the run.

    Args:
        splits: The folds.
        data: Their clips.
        folder: Where the audit is written.
        name: Name of the clips, for the message.

    Raises:
        UserError: If a clip or a picture is in training and test.
    """
    clips = data.clips.clips.tolist()
    # Of a measured clip the onset frame: a copy of the clip has it too.
    picture = "flow_image" if "flow_image" in data.clips.features else "onset"
    known = [record.content for record in data.clips.records]
    leaks = find_leaks(splits, clips, list(data.clips.stack(picture)), known=known)
    report = leaks.to_markdown(clips)
    folder.mkdir(parents=True, exist_ok=True)
    write_text(folder / "leaks.md", report + "\n")
    summary, *pairs = report.splitlines()
    logger.info("%s", summary)
    if not leaks.clean:
        raise UserError(
            f"{name}: {summary} The first is {pairs[0].removeprefix('- ')}; take one clip of each "
            f"pair out of its sheet; {folder / 'leaks.md'} lists them"
        )
