"""The clips of a task: questions with pictures, made of measured clips."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from deft_llm import facs
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.recognizer import QUESTION
from deft_llm.evaluation.vlm.views import Image, inputs_of, show
from deft_llm.files import write_bytes

MEDIA = "media"  # folder of the pictures, beside the list of clips


@dataclass(frozen=True)
class TaskClip:
    """One question.

    Attributes:
        name: Unique.
        dataset: Corpus.
        subject: Subject.
        question: With what the pictures show and the labels to choose from.
        answer: The label.
        pictures: Files below the task's folder.
    """

    name: str
    dataset: str
    subject: str
    question: str
    answer: str
    pictures: tuple[str, ...]


@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: Its name in the harness.
        title: For people.
        labels: The classes.
        clips: The questions.
        left_out: Clips without a class.
    """

    name: str
    title: str
    labels: tuple[str, ...]
    clips: tuple[TaskClip, ...]
    left_out: int


def make_task(
    name: str, clips: ClipDataset, scheme: str, views: Sequence[str], folder: Path
) -> Task:
    """Write the pictures of a task.

    Args:
        name: Its name.
        clips: Measured clips, with what the views are made of.
        scheme: Label scheme (``facs.SCHEMES``).
        views: What is shown (``vlm.views.VIEWS``).
        folder: Folder of the task.

    Raises:
        UserError: If the scheme or a view is unknown, or no clip has a class.
    """
    facs.to_scheme(None, scheme)  # an unknown scheme has its own message
    labels = facs.SCHEMES[scheme]
    (folder / MEDIA).mkdir(parents=True, exist_ok=True)
    made = tuple(_clips(clips, scheme, views, folder))
    if not made:
        raise UserError(f"{clips.name}: no clip with a class of {', '.join(labels)}")
    title = f"{clips.name}: {', '.join(labels)}"
    return Task(name, title, labels, made, len(clips) - len(made))


def _clips(
    clips: ClipDataset, scheme: str, views: Sequence[str], folder: Path
) -> Iterator[TaskClip]:
    names, labels = inputs_of(views), facs.SCHEMES[scheme]
    for row, record in enumerate(clips.records):
        label = record.class_of(scheme) if clips.found[row] else None
        if label is None:
            continue
        # One at a time: the pictures of a corpus may not fit into memory.
        inputs = clips.subset([row]).inputs(names)
        shown = show(views, {name: x[0] for name, x in inputs.items()})
        # A clip of a prepared corpus has the corpus in front already.
        own = f"{record.dataset}/{record.clip.removeprefix(f'{record.dataset}/')}"
        file = own.replace("/", "_")
        pictures = []
        for i, picture in enumerate(shown.pictures):
            pictures.append(f"{MEDIA}/{file}_{i}.png")
            write_bytes(folder / pictures[-1], _png(picture))
        question = QUESTION.replace("{shown}", shown.words).replace("{labels}", ", ".join(labels))
        yield TaskClip(own, record.dataset, record.subject, question, label, tuple(pictures))


def _png(picture: Image) -> bytes:
    done, data = cv2.imencode(".png", cv2.cvtColor(picture, cv2.COLOR_RGB2BGR))
    assert done
    return np.asarray(data).tobytes()
