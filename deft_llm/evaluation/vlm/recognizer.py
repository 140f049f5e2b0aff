"""A vision-language model as a row of recognition tables, not trained on their folds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from deft_llm.answers import read_label
from deft_llm.config import Settings, validate_settings
from deft_llm.errors import UserError
from deft_llm.evaluation.vlm.base import Vlm, VlmChoice
from deft_llm.evaluation.vlm.loading import load_vlm
from deft_llm.evaluation.vlm.views import VIEWS, inputs_of, show

QUESTION = (
    "{shown}\nWhich class of expression does this micro-expression show? Answer with exactly one "
    "of these words: {labels}."
)
_TOKENS = 32  # of an answer: the word, and a sentence around it


class _Options(Settings):
    """Options of the recognizer besides those of the model.

    Attributes:
        show: Views of a clip, in order.
        answer: "likelihood" of each label, "text" that is read, or "auto": likelihood where the
            model tells it.
        question: The question; ``{shown}`` is what the pictures are, ``{labels}`` the labels.
    """

    show: list[str]
    answer: Literal["auto", "likelihood", "text"] = "auto"
    question: str = QUESTION


class VlmRecognizer:
    """Asks a model about each clip (a classical recognizer, ``recognizers/base.py``).

    Args:
        classes: Number of classes.
        labels: Their names.
        show: Views of a clip (``views.VIEWS``).
        answer: "auto", "likelihood" or "text".
        question: Another question.
        **model: Which model is asked (``VlmChoice``).

    Raises:
        UserError: If an option is wrong.
    """

    inputs: tuple[str, ...] = VIEWS["onset_apex"].inputs

    def __init__(
        self,
        classes: int,
        labels: Sequence[str],
        show: Sequence[str] = ("onset_apex",),
        answer: str = "auto",
        question: str = QUESTION,
        **model: Any,
    ) -> None:
        assert classes == len(labels), (classes, labels)
        options = {"show": list(show), "answer": answer, "question": question}
        self.options = validate_settings(_Options, options, "vlm")
        self.labels = tuple(labels)
        self.inputs = inputs_of(self.options.show)
        self.question = self.options.question.replace("{labels}", ", ".join(labels))
        self.choice = validate_settings(VlmChoice, model, "vlm")

    @classmethod
    def inputs_for(cls, options: Mapping[str, Any]) -> tuple[str, ...]:
        """Inputs that an entry with these options needs.

        Raises:
            UserError: If a view is unknown.
        """
        return inputs_of(options.get("show", ("onset_apex",)))

    def fit(self, inputs: dict[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        """Keep nothing: the model is used as it is."""
        del inputs, labels

    def predict_proba(self, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Class probabilities (N, classes); a row of zeros where no answer could be read.

        Raises:
            UserError: If the model cannot be loaded, or does not answer.
        """
        # Loaded here and kept there: of several models in a table, one at a time is in memory.
        vlm, count = load_vlm(self.choice), len(next(iter(inputs.values())))
        clips = ({name: x[i] for name, x in inputs.items()} for i in range(count))
        return np.stack([self._asked(vlm, clip) for clip in clips])

    def _asked(self, vlm: Vlm, inputs: Mapping[str, NDArray[Any]]) -> NDArray[np.float64]:
        shown = show(self.options.show, inputs)
        question = self.question.replace("{shown}", shown.words)
        if self.options.answer != "text":
            found = vlm.log_likelihoods(shown.pictures, question, self.labels)
            if found is not None:
                return np.asarray(softmax(found), np.float64)
            if self.options.answer == "likelihood":
                raise UserError("vlm: an endpoint tells no likelihoods; expected answer: text")
        label = read_label(vlm.write(shown.pictures, question, _TOKENS), self.labels)
        return np.array([float(name == label) for name in self.labels])
