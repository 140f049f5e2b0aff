"""Who answers ME-VQA's questions: the prior, DEFT-LLM, any vision-language model, or a file."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from pydantic import Field

from deft_llm import facs
from deft_llm.answers import Facts
from deft_llm.config import Settings
from deft_llm.data.features import Features
from deft_llm.deft.inference.clip_classifier import DeftClipClassifier
from deft_llm.evaluation.mevqa.clips import SeenClip
from deft_llm.evaluation.mevqa.questions import COARSE, FINE, VqaQuestion
from deft_llm.evaluation.mevqa.wording import answer
from deft_llm.evaluation.recognition.entries import learned_before
from deft_llm.evaluation.vlm.base import VlmChoice
from deft_llm.evaluation.vlm.loading import load_vlm
from deft_llm.evaluation.vlm.views import inputs_of, show_features
from deft_llm.resources import EMBEDDED
from deft_llm.spotters.finder import Spotted

_SURE = 0.5  # of an action unit
_TOKENS = {"combined": 96, "description": 256}
_FEW_TOKENS = 48
_INSTRUCTIONS: dict[str, str] = {
    "coarse": f"Answer with exactly one of these words: {', '.join(COARSE)}.",
    "aus": "Name action units by their FACS names in lower case, separated by commas.",
    "au_yes_no": "Answer yes or no.",
    "side": "Answer left or right; sides are the subject's.",
    "count_micro": "Answer with a number.",
    "count_macro": "Answer with a number.",
    "micro_or_macro": "Answer micro or macro.",
}


class VqaEntry(Settings):
    """One model that answers.

    Attributes:
        kind: "prior" (no look at a clip), "deft", "vlm", or "file" (answers from elsewhere).
        checkpoint: Folder of DEFT-LLM, for "deft".
        vlm: Which model is asked, for "vlm".
        show: What it is shown of a clip (``vlm.views.VIEWS``), for "vlm".
        answers: A file in the form of a submission, for "file".
        note: Note for the table.
    """

    kind: Literal["prior", "deft", "vlm", "file"]
    checkpoint: str = EMBEDDED
    vlm: VlmChoice | None = None
    show: list[str] = Field(default_factory=lambda: ["onset_apex", "flow"])
    answers: Path | None = None
    note: str = ""

    @property
    def looks(self) -> bool:
        """Whether it looks at clips."""
        return self.kind in ("deft", "vlm")

    @property
    def remark(self) -> str:
        """The note, and what the model has learned from before the run, for the table."""
        origin = None
        if self.kind == "deft":
            origin = learned_before("checkpoint", self.checkpoint)
        elif self.kind == "vlm" and self.vlm is not None:
            origin = learned_before("model", self.vlm.model)
        return "; ".join(filter(None, (self.note, origin)))


class Answerer(ABC):
    """Answers questions about one clip."""

    @abstractmethod
    def answers(
        self, clip: SeenClip, questions: Sequence[VqaQuestion], long: bool
    ) -> dict[str, str]:
        """Question name -> answer; a question that it cannot answer is left out.

        Args:
            clip: The clip, which is measured when it is first looked at.
            questions: All about this clip, of one dataset.
            long: Whether it is a long video.

        Raises:
            NoAnswer: If the model does not answer.
            UserError: If the clip cannot be measured or shown.
        """


class DeftAnswerer(Answerer):
    """DEFT-LLM: classes by label likelihood over the task's labels, AUs by its AU head.

    Coarse and fine class never contradict each other. Descriptions are its explanation; questions
    about long videos are answered by what the spotter finds.

    Args:
        checkpoint: Folder of the model.

    Raises:
        UserError: If it cannot be read.
    """

    def __init__(self, checkpoint: str = EMBEDDED) -> None:
        self.coarse = DeftClipClassifier(len(COARSE), COARSE, checkpoint)
        self.fine = {
            dataset: DeftClipClassifier(len(labels), labels, checkpoint)
            for dataset, labels in FINE.items()
        }

    def answers(
        self, clip: SeenClip, questions: Sequence[VqaQuestion], long: bool
    ) -> dict[str, str]:
        """See ``Answerer``."""
        if long:
            return {q.name: _of_long(q, clip.expressions) for q in questions}
        facts = self.facts(clip.plain_features, questions[0].dataset)
        return {q.name: self._answer(q, clip, facts) for q in questions}

    def facts(self, features: Features, dataset: str) -> Facts:
        """What it makes of a clip, within the labels of a dataset."""
        inputs = {name: features[name][None] for name in self.coarse.inputs}
        coarse = COARSE[int(self.coarse.predict_proba(inputs)[0].argmax())]
        emotion = coarse
        if dataset in self.fine:
            model = self.fine[dataset]
            p = model.predict_proba(inputs)[0]
            fits = np.array([facs.to_three(name) == coarse for name in model.labels])
            emotion = model.labels[int(np.where(fits, p, -1.0).argmax())]
        return Facts(emotion, self._aus(features), ())

    @torch.inference_mode()
    def _aus(self, features: Features) -> tuple[str, ...]:
        """The AUs that the head is sure of; the likeliest where it is sure of none."""
        explainer = self.coarse.explainer
        _, aus = explainer.model.heads(explainer.encode([features]))
        sides = aus[0].sigmoid().double().cpu().numpy()  # (K, 2), left and right
        least = min(_SURE, float(sides.max()))
        found = []
        for number, (left, right) in zip(explainer.model.config.aus, sides, strict=True):
            seen = [side for side, p in (("L", left), ("R", right)) if p >= least]
            if seen:
                found.append(f"{'' if len(seen) == 2 else seen[0]}{number}")
        return facs.sort_aus(found)

    def _answer(self, question: VqaQuestion, clip: SeenClip, facts: Facts) -> str:
        if question.kind in ("description", "other"):
            explained = self.coarse.explainer.explain(clip.measurement)
            combined = answer(question, facts)
            return f"{explained.rationale} {combined}".strip()
        return answer(question, facts)


def _of_long(question: VqaQuestion, found: Sequence[Spotted]) -> str:
    """An answer about a long video, from its expressions."""
    micros = [each for each in found if each.kind == "micro"]
    macros = [each for each in found if each.kind == "macro"]
    if question.kind == "count_micro":
        return str(len(micros))
    if question.kind == "count_macro":
        return str(len(macros))
    if question.kind == "micro_or_macro":
        best = max(found, key=lambda each: each.expression.score, default=None)
        return best.kind if best else "micro"
    named = [each.expression.emotion for each in micros if each.expression.emotion]
    aus = facs.sort_aus(code for each in micros for code in each.aus)
    return answer(question, Facts(named[0] if named else None, aus, ()))


class VlmAnswerer(Answerer):
    """A vision-language model that is asked each question, with how to answer it.

    Args:
        choice: Which model.
        show: What it is shown.

    Raises:
        UserError: If it cannot be loaded, or a view is unknown.
    """

    def __init__(self, choice: VlmChoice, show: Sequence[str]) -> None:
        inputs_of(show)
        self.vlm, self.views = load_vlm(choice), list(show)

    def answers(
        self, clip: SeenClip, questions: Sequence[VqaQuestion], long: bool
    ) -> dict[str, str]:
        """See ``Answerer``; of a long video it is shown the strongest movement."""
        shown = show_features(self.views, clip.features, clip.source.name)
        found = {}
        for question in questions:
            asked = f"{shown.words}\n{question.question} {_how(question)}".strip()
            tokens = _TOKENS.get(question.kind, _FEW_TOKENS)
            text = self.vlm.write(shown.pictures, asked, tokens)
            # A submission needs a text for each question.
            found[question.name] = " ".join(text.split()) or "unknown"
        return found


def _how(question: VqaQuestion) -> str:
    """How to answer, so that an answer can be read."""
    if question.kind == "fine" and question.dataset in FINE:
        return f"Answer with exactly one of these words: {', '.join(FINE[question.dataset])}."
    return _INSTRUCTIONS.get(question.kind, "")
