"""Answers on disk, so that an interrupted run goes on, and answers that somebody else gave."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from deft_llm import __version__
from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.clips import ClipKey, clip_of
from deft_llm.evaluation.mevqa.models import VqaEntry
from deft_llm.evaluation.mevqa.questions import VqaQuestion
from deft_llm.evaluation.recognition.entries import read_of
from deft_llm.files import digest, file_digest, numbered_lines, read_lines, write_lines
from deft_llm.resources import checkpoint


class StoredAnswers:
    """The answers of one model, kept after every clip.

    The file's name holds a hash of the model, the questions and the version of this software, and
    each line one of the clip: when frames or coding of a clip change, its answers are not used
    again.

    Args:
        folder: Where answers are kept.
        name: Name of the model.
        entry: The model.
        questions: The questions.
        clips: Clip -> a hash of its frames and coding.
    """

    def __init__(
        self,
        folder: Path,
        name: str,
        entry: VqaEntry,
        questions: Sequence[VqaQuestion],
        clips: Mapping[ClipKey, str],
    ) -> None:
        # What is asked, too: the forms of questions are edited, and datasets have their own labels.
        asked = [(q.name, q.clip, q.dataset, q.kind, q.au, q.question) for q in questions]
        told = entry.model_dump_json(exclude={"note"})
        facts = [__version__, told, asked, *_weights(entry)]
        self._path = folder / f"{name}-{digest(json.dumps(facts))[:12]}.jsonl"
        self._clips = {q.name: clips.get(clip_of(q), "") for q in questions}
        self._known: dict[str, str] = {}
        folder.mkdir(parents=True, exist_ok=True)
        if self._path.is_file():
            rows = read_lines(self._path)
            self._known = {
                row["name"]: row["answer"]
                for row in rows
                if row["clip"] == self._clips[row["name"]]
            }

    def __contains__(self, question: str) -> bool:
        return question in self._known

    def add(self, answers: Mapping[str, str]) -> None:
        """Keep the answers about one clip."""
        self._known |= answers
        rows = ({"name": n, "clip": self._clips[n], "answer": a} for n, a in self._known.items())
        write_lines(self._path, map(json.dumps, rows))

    @property
    def answers(self) -> dict[str, str]:
        """All of them."""
        return dict(self._known)


def _weights(entry: VqaEntry) -> list[str]:
    """Hashes of the files of models in folders."""
    folders = [Path(entry.vlm.model)] if entry.vlm else []
    if entry.kind == "deft":
        folders = [checkpoint(entry.checkpoint)]
    return [file_digest(file) for folder in folders for file in read_of(folder)]


def answers_of_file(path: Path, questions: Sequence[VqaQuestion]) -> dict[str, str]:
    """The answers in a submission that somebody else made.

    Args:
        path: JSON lines with ``id`` or ``video_id``, and ``answer``.
        questions: The questions that it has to answer.

    Raises:
        UserError: If the file is missing, or answers none of the questions.
    """
    names = {question.name for question in questions}
    found = {}
    for _, row in numbered_lines(path):
        name = str(row.get("video_id") or row.get("id") or "")
        if name in names and isinstance(row.get("answer"), str):
            found[name] = row["answer"]
    if not found:
        raise UserError(
            f"{path}: answers none of the {len(names)} questions; expected rows with id or "
            f"video_id, such as {min(names)!r}, and answer"
        )
    return found
