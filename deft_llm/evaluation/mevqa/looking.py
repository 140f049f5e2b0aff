"""Models that look at clips: every clip is measured once, and shown to all of them."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace

from tqdm import tqdm

from deft_llm.errors import UserError
from deft_llm.evaluation.mevqa.clips import ClipKey, SeenClip, clip_of, long_clips
from deft_llm.evaluation.mevqa.models import Answerer, DeftAnswerer, VlmAnswerer, VqaEntry
from deft_llm.evaluation.mevqa.questions import VqaQuestion
from deft_llm.evaluation.mevqa.stored import StoredAnswers
from deft_llm.evaluation.vlm.base import NoAnswer
from deft_llm.pace import duration

logger = logging.getLogger(__name__)


class Looking:
    """Lets some models answer questions about clips.

    A model that cannot be loaded or stops answering is left out; the others go on.

    Args:
        entries: The models.
        questions: All questions.
        clips: The clips at hand.
        kept: Where the answers of each model are kept.

    Attributes:
        failed: Model -> why it is left out.
        unseen: Clip -> why it cannot be measured, or shown.
    """

    def __init__(
        self,
        entries: Mapping[str, VqaEntry],
        questions: Sequence[VqaQuestion],
        clips: Mapping[ClipKey, SeenClip],
        kept: Mapping[str, StoredAnswers],
    ) -> None:
        self.clips, self.kept = clips, kept
        self.long = long_clips(questions)
        self.failed: dict[str, str] = {}
        self.unseen: dict[ClipKey, str] = {}
        self._asked: dict[ClipKey, list[VqaQuestion]] = defaultdict(list)
        for question in questions:
            if clip_of(question) in clips:
                self._asked[clip_of(question)].append(question)
        self._models: dict[str, Answerer] = {}
        for name, entry in entries.items():
            if any(self._left(name, key) for key in self._asked):
                try:
                    self._models[name] = answerer(name, entry)
                except UserError as error:
                    self._leave_out(name, error)
            else:
                logger.info("%s: all answers are there already", name)

    def _left(self, model: str, key: ClipKey) -> list[VqaQuestion]:
        return [q for q in self._asked[key] if q.name not in self.kept[model]]

    def _leave_out(self, name: str, error: UserError) -> None:
        logger.warning("%s is left out: %s", name, error)
        self._models.pop(name, None)
        self.failed[name] = str(error)

    def run(self) -> None:
        """Ask everything that is not answered yet."""
        todo = [key for key in self._asked if any(self._left(m, key) for m in self._models)]
        if not todo or not self._models:
            return
        count = sum(len(self._left(m, key)) for m in self._models for key in todo)
        names = ", ".join(self._models)
        logger.info("%d clips to look at, %d answers of %s", len(todo), count, names)
        begun = time.perf_counter()
        for done, key in enumerate(tqdm(todo, desc="ME-VQA", unit="clip")):
            if done == 1:
                each = time.perf_counter() - begun
                about = duration(each * (len(todo) - 1))
                logger.info(
                    "%.1f s a clip, about %s; Ctrl-C stops, the same command goes on", each, about
                )
            self._look(key)

    def _look(self, key: ClipKey) -> None:
        # A copy: what is measured of a clip is let go with it.
        clip = replace(self.clips[key])
        try:
            _ = clip.expressions if key in self.long else clip.measurement
        except UserError as error:
            self.unseen[key] = str(error)
            return
        for name, model in list(self._models.items()):
            if questions := self._left(name, key):
                try:
                    self.kept[name].add(model.answers(clip, questions, key in self.long))
                except NoAnswer as error:
                    self._leave_out(name, error)
                except UserError as error:  # of this clip, such as no apex after its onset
                    self.unseen[key] = f"{name}: {error}"


def answerer(name: str, entry: VqaEntry) -> Answerer:
    """The model of an entry that looks at clips.

    Raises:
        UserError: If it cannot be loaded, or none is named.
    """
    if entry.kind == "deft":
        return DeftAnswerer(entry.checkpoint)
    if entry.vlm is None:
        raise UserError(f"{name}: no model; give it: entries.{name}.vlm.model=Qwen/…")
    return VlmAnswerer(entry.vlm, entry.show)
