"""ME-VQA as a benchmark: read or make the questions, let models answer, score, hand in."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import yaml
from pydantic import Field, model_validator

from deft_llm.config import Settings
from deft_llm.corpora.base import SIMULATED_MARK
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.corpus_table.corpora import from_anywhere
from deft_llm.evaluation.corpus_table.simulated import SimulatedCorpus, simulated_folder
from deft_llm.evaluation.corpus_table.words import script
from deft_llm.evaluation.mevqa.clips import ClipKey, SeenClip, find_clips
from deft_llm.evaluation.mevqa.looking import Looking
from deft_llm.evaluation.mevqa.made import clip_questions, long_questions
from deft_llm.evaluation.mevqa.models import VqaEntry
from deft_llm.evaluation.mevqa.prior import prior_answers
from deft_llm.evaluation.mevqa.questions import (
    DATASETS,
    FINE,
    QuestionForm,
    VqaQuestion,
    read_questions,
)
from deft_llm.evaluation.mevqa.report import SCORES, Answered, write_report
from deft_llm.evaluation.mevqa.stored import StoredAnswers, answers_of_file
from deft_llm.evaluation.replaced import replacing_results
from deft_llm.files import write_lines, write_text
from deft_llm.metrics.figures import Figure

logger = logging.getLogger(__name__)
UNANSWERED = "unknown"  # handed in where there is no clip to look at: an error, of no class
QUESTIONS = "questions.jsonl"  # those that are made of a corpus
_SHOWN = 3


class PublishedVqa(Settings):
    """Scores from elsewhere.

    Attributes:
        model: Its name.
        scores: Score -> value, by the names of ``scores.vqa_scores``.
        data: The questions it answered, and how the model was chosen.
        source: Where it is published.
    """

    model: str
    scores: dict[str, float]
    data: str
    source: str


@dataclass
class _Asked:
    """Questions, their clips, and what could not be used."""

    questions: Sequence[VqaQuestion]
    clips: dict[ClipKey, SeenClip] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


class MevqaBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: mevqa``.

    Figures are ``<entry>_<dataset>_<score>``.

    Attributes:
        questions: File of questions, training or test; None makes them of a corpus.
        clips: Folder of the clips, at any depth, as folders of frames or video files.
        corpus: Reader of ``clips`` (``corpora.base.CORPORA``), if the questions are made of it.
        simulate: How that corpus is simulated where no ``clips`` are given.
        simulate_into: Where simulated corpora are kept, for all benchmarks.
        workers: Processes that simulate.
        long: Make questions about the long videos of the corpus.
        train: Answered questions that the prior learns from; without any, those of the other
            subjects.
        forms: Wordings of questions, the first that fits.
        spotter: What finds the expressions of a long video.
        models: Entries to run.
        entries: Available entries by name.
        published: Scores from elsewhere.
    """

    questions: Path | None = None
    clips: Path | None = None
    corpus: str | None = None
    simulate: SimulatedCorpus | None = None
    simulate_into: Path = Path("runs/corpora")
    workers: int = Field(default=os.cpu_count() or 1, ge=1)
    long: bool = False
    train: list[Path] = Field(default_factory=list)
    forms: list[QuestionForm] = Field(min_length=1)
    spotter: str = "returning"
    models: list[str] = Field(min_length=1)
    entries: dict[str, VqaEntry]
    published: list[PublishedVqa] = Field(default_factory=list)

    @model_validator(mode="after")
    def _known_entries(self) -> Self:
        for name in self.models:
            if name not in self.entries:
                raise ValueError(f"model {name!r}: expected some of {', '.join(self.entries)}")
        return self

    def figure_names(self) -> list[str]:
        """See the base."""
        return [f"{m}_{d}_{s}" for m in self.entries for d in DATASETS for s in SCORES]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        if self.simulate is not None and self.corpus is not None and self.clips is None:
            drawn = (self.simulate, self.simulate_into, self.workers)
            self.clips = simulated_folder(self.corpus, *drawn)
        asked = self._asked()
        for note in asked.notes:
            logger.warning("%s", note)
        self.output.mkdir(parents=True, exist_ok=True)
        answers, more = self._answers(asked)
        results = [
            Answered(name, self.entries[name].remark, given) for name, given in answers.items()
        ]
        published = [
            {"model": p.model, **p.scores, "data": p.data, "source": p.source}
            for p in (() if self.simulated else self.published)
        ]
        notes = [*asked.notes, *more]
        answered = (results, published, notes, self.simulated)
        made = [] if self.questions else [self.output / QUESTIONS]
        with replacing_results(self.output, made, self._read_files()) as folder:
            values, text = write_report(folder, asked.questions, *answered)
            self._keep_settings(folder)
        return self.with_bars(values), text + f"\nwritten to {self.output}\n"

    @property
    def simulated(self) -> bool:
        """Whether the simulator wrote the folder of clips."""
        return self.clips is not None and (self.clips / SIMULATED_MARK).is_file()

    def _read_files(self) -> list[Path]:
        """The files that are given, which may be those of an earlier run."""
        answers = [entry.answers for entry in self.entries.values()]
        return [path for path in (self.questions, *self.train, *answers) if path is not None]

    def _keep_settings(self, folder: Path) -> None:
        """Write the settings as they were, and a script that runs them again."""
        kept = self.model_dump(mode="json", exclude_none=True, exclude={"output", "workers"})
        for name in ("questions", "clips", "simulate_into"):
            if name in kept:
                kept[name] = str(Path(kept[name]).resolve())
        for name in ("entries", "spotter"):
            kept[name] = from_anywhere(kept[name])
        for name, entry in self.entries.items():
            if entry.answers is not None:  # a path, though it may be a word alone
                kept["entries"][name]["answers"] = str(entry.answers.resolve())
        kept["train"] = [str(path.resolve()) for path in self.train]
        settings = yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)
        write_text(folder / "benchmark.yaml", settings)
        write_text(folder / "reproduce.sh", script("clips=/elsewhere"))

    # -------------------------------------------------------------------------- questions

    def _asked(self) -> _Asked:
        looking = [name for name in self.models if self.entries[name].looks]
        if looking and self.clips is None:
            raise UserError(
                f"{looking[0]} looks at clips; give their folder: clips=/data/…, or take "
                "models=[prior]"
            )
        if self.questions is not None:
            return self._of_file(self.questions, bool(looking))
        if self.corpus is None or self.clips is None:
            raise UserError(
                "no questions; give a file (questions=….jsonl clips=/data/…), or have them made "
                "of a corpus (corpus=casme2 clips=/data/CASME2)"
            )
        make = long_questions if self.long else clip_questions
        made = make(self.corpus, self.clips)
        self.output.mkdir(parents=True, exist_ok=True)
        write_lines(self.output / QUESTIONS, (json.dumps(q.row) for q in made.questions))
        for clip in made.clips.values():
            clip.spotter = self.spotter
        return _Asked(made.questions, made.clips)

    def _of_file(self, path: Path, looked_at: bool) -> _Asked:
        file = read_questions(path, self.forms)
        notes = list(file.problems)
        for words, count in file.unknown.items():
            notes.append(f"{path}: {count} of no known form, answered freely: {words!r}")
        if file.unnamed:
            notes.append(
                f"{path}: {file.unnamed} questions of fine classes without a dataset, in no score "
                f"of classes; give the field dataset ({', '.join(FINE)})"
            )
        asked = _Asked(file.questions, {}, notes)
        if looked_at and self.clips is not None:
            found, missing = find_clips(file.questions, self.clips)
            asked.clips = {k: SeenClip(p, spotter=self.spotter) for k, p in found.items()}
            asked.notes += [f"{key.clip}: {why}" for key, why in missing.items()]
        return asked

    # ---------------------------------------------------------------------------- answers

    def _answers(self, asked: _Asked) -> tuple[dict[str, dict[str, str]], list[str]]:
        """Model -> its answers to all questions, and what to say of those that are missing."""
        entries = {name: self.entries[name] for name in self.models}
        looking = {name: entry for name, entry in entries.items() if entry.looks}
        hashes = {key: clip.digest() for key, clip in asked.clips.items()} if looking else {}
        kept = {
            name: StoredAnswers(self.output / "answers", name, entry, asked.questions, hashes)
            for name, entry in looking.items()
        }
        looked = Looking(looking, asked.questions, asked.clips, kept)
        looked.run()
        notes = [f"{key.clip}: {why}" for key, why in looked.unseen.items()]
        failed, found = dict(looked.failed), dict[str, dict[str, str]]()
        for name, entry in entries.items():
            try:
                if name not in failed:
                    known = kept[name].answers if name in kept else self._given(name, entry, asked)
                    found[name] = _whole(name, known, asked.questions, notes)
            except UserError as error:
                logger.warning("%s is left out: %s", name, error)
                failed[name] = str(error)
        if not found:
            raise UserError(next(iter(failed.values())))
        return found, [*notes, *(f"no row of {name} ({why})" for name, why in failed.items())]

    def _given(self, name: str, entry: VqaEntry, asked: _Asked) -> dict[str, str]:
        """The answers of a model that looks at no clip."""
        if entry.kind == "prior":
            train = [q for path in self.train for q in read_questions(path, self.forms).questions]
            return prior_answers(asked.questions, train)
        if entry.answers is None:
            raise UserError(f"{name}: no file; give it: entries.{name}.answers=….jsonl")
        return answers_of_file(entry.answers, asked.questions)


def _whole(
    name: str, known: Mapping[str, str], questions: Sequence[VqaQuestion], notes: list[str]
) -> dict[str, str]:
    """Answers to all questions; a note of those that are missing."""
    missing = [q.name for q in questions if not known.get(q.name, "").strip()]
    if missing:
        shown = ", ".join(missing[:_SHOWN]) + (", …" if len(missing) > _SHOWN else "")
        notes.append(f"{name}: {len(missing)} questions without an answer, all wrong ({shown})")
    return {**known, **dict.fromkeys(missing, UNANSWERED)}
