"""Questions in the task's forms about the coded clips of a corpus, licensed or simulated.

Nobody has to wait for a question file to see how a model fares: the codings of a corpus answer the
same questions. Long videos get the questions of 2026 about counts and AU sets.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.clip import Annotation
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.long_videos import long_videos
from deft_llm.corpora.other import read_named
from deft_llm.corpora.reading import Entry
from deft_llm.corpora.report import Report
from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.clips import ClipKey, SeenClip
from deft_llm.evaluation.mevqa.questions import AU_NAMES, FINE, Kind, VqaQuestion
from deft_llm.evaluation.mevqa.wording import answer

Row = tuple[Kind, int | None, str, str]
"""Kind, action unit, question and answer."""
_DATASETS = {"smic_hs": "smic", "smic_vis": "smic", "smic_nir": "smic"}


@dataclass
class MadeQuestions:
    """Questions, and the clips that they ask about.

    Attributes:
        questions: With their answers.
        clips: Every clip, where it lies and what is coded of it.
    """

    questions: list[VqaQuestion] = field(default_factory=list)
    clips: dict[ClipKey, SeenClip] = field(default_factory=dict)


def clip_questions(reader: str, folder: Path) -> MadeQuestions:
    """The questions of 2025 about every coded clip of a corpus.

    Args:
        reader: A key of ``CORPORA``.
        folder: Its folder, as it was unpacked.

    Raises:
        UserError: If it cannot be read, or no clip has a class or an action unit.
    """
    reading = read_named(reader, folder, advice="take corpus=")
    made = MadeQuestions()
    common = _common_aus(reading.annotations)
    for entry in reading.entries:
        coding, key = entry.annotation, _key(entry.annotation)
        asked = [_made(key, coding.subject, *row) for row in _asked(coding, common)]
        if asked and entry.folder is not None:
            made.questions += _numbered(key, asked)
            # A folder may hold more than the clip: its interval then counts the images.
            made.clips[key] = SeenClip(entry.folder, coding.interval, coding.fps)
    if not made.questions:
        raise UserError(f"{folder}: no clip has a class or an action unit to ask about")
    return made


def long_questions(reader: str, folder: Path) -> MadeQuestions:
    """Questions about every long video of a corpus: counts of expressions, and their AUs.

    Args:
        reader: A key of ``CORPORA`` whose corpus has long videos.
        folder: Its folder.

    Raises:
        UserError: If it cannot be read, or has no long videos.
    """
    corpus = load_corpus(reader, folder)
    videos = long_videos(corpus, Report())
    aus = _aus_by_folder(corpus.read().entries)
    made = MadeQuestions()
    for video in videos:
        key = ClipKey(_DATASETS.get(reader, reader), f"{video.subject}/{video.video}")
        micro, macro = str(len(video.micro)), str(len(video.macro))
        rows: list[Row] = [
            ("count_micro", None, "How many micro-expressions are in the video?", micro),
            ("count_macro", None, "How many macro-expressions are in the video?", macro),
        ]
        if named := aus.get(video.folder):
            rows.append(
                ("aus", None, "What are the action units?", ", ".join(AU_NAMES[n] for n in named))
            )
        made.questions += _numbered(key, [_made(key, video.subject, *row) for row in rows])
        made.clips[key] = SeenClip(video.folder, fps=video.fps)
    return made


def _key(coding: Annotation) -> ClipKey:
    return ClipKey(_DATASETS.get(coding.dataset, coding.dataset), coding.clip)


def _aus_by_folder(entries: Iterable[Entry]) -> dict[Path, list[int]]:
    """The AUs of the micro-expressions in each folder, as ordered numbers."""
    found: dict[Path, set[int]] = defaultdict(set)
    for entry in entries:
        if entry.folder is not None:
            found[entry.folder] |= {facs.au_number(code) for code in entry.annotation.aus}
    return {folder: sorted(numbers) for folder, numbers in found.items() if numbers}


def _common_aus(codings: Sequence[Annotation]) -> list[int]:
    """AUs in order of how often they are coded, the commonest first."""
    counts = Counter(number for coding in codings for number in _numbers(coding))
    return sorted(counts, key=lambda number: (-counts[number], number))


def _numbers(coding: Annotation) -> list[int]:
    return sorted({facs.au_number(code) for code in coding.aus})


def _asked(coding: Annotation, common: Sequence[int]) -> Iterator[Row]:
    """The questions about a clip; the AU that it does not show is the commonest of the corpus."""
    dataset = _key(coding).dataset
    facts, numbers = Facts(coding.emotion, coding.aus, ()), _numbers(coding)
    if facs.to_three(coding.emotion) is not None:
        yield "coarse", None, "What is the coarse expression class?", facts.coarse
    fine = coding.emotion in FINE.get(dataset, ())
    if fine:
        yield "fine", None, "What is the fine-grained expression class?", str(coding.emotion)
    if not numbers:
        return
    are = ("are", "s") if len(numbers) > 1 else ("is", "")
    named = ", ".join(AU_NAMES[n] for n in numbers)
    yield "aus", None, f"What {are[0]} the action unit{are[1]}?", named
    absent = [n for n in common if n not in numbers]
    for n, reply in [(numbers[0], "yes"), *((n, "no") for n in absent[:1])]:
        yield "au_yes_no", n, f"Is the action unit {AU_NAMES[n]} shown on the face?", reply
    for code in facts.aus:
        if code[0] in "LR":
            n, side = facs.au_number(code), "left" if code[0] == "L" else "right"
            question = f"Is the action unit {AU_NAMES[n]} located on the left or right face?"
            yield "side", n, question, side
    if fine:
        it = "them" if len(numbers) > 1 else "it"
        yield (
            "combined",
            None,
            f"What {are[0]} the action unit{are[1]} present, and based on {it}, what is the "
            "fine-grained expression and the coarse expression class?",
            _combined(facts),
        )


def _combined(facts: Facts) -> str:
    return answer(VqaQuestion("", "", "", "combined", None, "", "", {}), facts)


def _made(
    key: ClipKey, subject: str, kind: Kind, au: int | None, question: str, reply: str
) -> VqaQuestion:
    row: dict[str, Any] = {"subject": subject}
    return VqaQuestion("", key.clip, key.dataset, kind, au, question, reply, row)


def _numbered(key: ClipKey, asked: Iterable[VqaQuestion]) -> list[VqaQuestion]:
    """Questions with the names and rows of a training file."""
    numbered = []
    for i, q in enumerate(asked, 1):
        name = f"{key.dataset}_{key.clip}_{i}"
        row = {"id": name, "dataset": key.dataset, "image_id": key.clip, **q.row}
        row |= {"question": q.question, "answer": q.answer}
        numbered.append(
            VqaQuestion(name, q.clip, q.dataset, q.kind, q.au, q.question, q.answer, row)
        )
    return numbered
