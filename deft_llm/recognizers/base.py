"""The recognizer interface, shared by baselines, federated models and experts.

A recognizer declares its inputs by name; ``data/inputs.py`` lists them and computes them from
measured clips. A network never opens a file.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from deft_llm.errors import UserError
from deft_llm.registry import resolve

Inputs = dict[str, Tensor]


class Recognizer(nn.Module, ABC):
    """A network from named inputs to class logits.

    Attributes:
        inputs: Names of the inputs that it needs.
        side: Side of its input maps, px; None accepts any.
        feature_dim: Width D of its tokens.
    """

    inputs: ClassVar[tuple[str, ...]]
    side: int | None = None
    feature_dim: int

    @abstractmethod
    def forward_features(self, inputs: Inputs) -> Tensor:
        """Tokens (B, N, D), for a classifier or as an expert of DEFT-LLM."""

    @abstractmethod
    def forward(self, inputs: Inputs) -> Tensor:
        """Class logits (B, classes)."""


@runtime_checkable
class ClassicalRecognizer(Protocol):
    """A recognizer without gradients; it can only serve as a baseline.

    Attributes:
        inputs: Names of the inputs that it needs.
    """

    inputs: tuple[str, ...]

    def fit(self, inputs: dict[str, NDArray[np.float32]], labels: NDArray[np.int64]) -> None:
        """Learn from N clips; labels are class indices."""

    def predict_proba(self, inputs: dict[str, NDArray[np.float32]]) -> NDArray[np.float64]:
        """Class probabilities (N, classes); zeros for a clip that it gives no answer about."""


@runtime_checkable
class FitsFoldsAtOnce(Protocol):
    """A classical recognizer that shares work between the folds of a table."""

    def predict_folds(
        self,
        inputs: dict[str, NDArray[np.float32]],
        labels: NDArray[np.int64],
        folds: Sequence[tuple[NDArray[np.int64], NDArray[np.int64]]],
    ) -> list[NDArray[np.float64]]:
        """Probabilities of the tested rows of each fold, as if each was fitted by itself.

        Args:
            inputs: Of all clips.
            labels: (N,) class indices.
            folds: Training and test rows of each.
        """


@runtime_checkable
class CanBeSaved(Protocol):
    """A classical recognizer with weights worth keeping."""

    def save(self, folder: Path, classes: tuple[str, ...]) -> None:
        """Write ``model.safetensors`` and ``config.json`` after ``fit``."""


@runtime_checkable
class WantsSide(Protocol):
    """A classical recognizer that reads maps of one size.

    Attributes:
        side: Side of its input maps, px.
    """

    side: int


RECOGNIZERS: dict[str, str] = {
    "logistic_flow": "deft_llm.recognizers.linear:LogisticFlow",
    "logistic_dual": "deft_llm.recognizers.linear:LogisticDual",
    "svm_flow": "deft_llm.recognizers.linear:SvmFlow",
    "lbp_top": "deft_llm.recognizers.lbp_top:LbpTop",
    "bi_woof": "deft_llm.recognizers.bi_woof:BiWoof",
    "off_apexnet": "deft_llm.recognizers.off_apexnet:OffApexNet",
    "ststnet": "deft_llm.recognizers.ststnet:STSTNet",
    "prior_flow": "deft_llm.recognizers.prior_flow:PriorFlow",
    "fmanet": "deft_llm.recognizers.fmanet:FMANet",
    "htnet": "deft_llm.recognizers.htnet:HTNet",
    "mol": "deft_llm.recognizers.mol:MOL",
    "mol_joint": "deft_llm.recognizers.mol_joint:MolJoint",
    "mpfnet": "deft_llm.recognizers.mpfnet:MPFNet",
    "mpfnet_staged": "deft_llm.recognizers.mpfnet_staged:MPFNetStaged",
    "psyau": "deft_llm.recognizers.psyau:PsyAU",
    "psyau_joint": "deft_llm.recognizers.psyau_joint:PsyAUJoint",
    "deft": "deft_llm.deft.inference.flow_classifier:DeftFlowClassifier",
    "deft_clips": "deft_llm.deft.inference.clip_classifier:DeftClipClassifier",
    "deft_heads": "deft_llm.deft.inference.clip_classifier:DeftHeads",
    "deft_heads_tuned": "deft_llm.deft.tuning.head_folds:DeftHeadsTuned",
    "deft_aus": "deft_llm.deft.inference.clip_classifier:DeftAus",
    "deft_clips_lora": "deft_llm.deft.tuning.lora_folds:DeftClipsLora",
    "deft_lora": "deft_llm.deft.tuning.lora_folds:DeftLora",
    "vlm": "deft_llm.evaluation.vlm.recognizer:VlmRecognizer",
}
"""Name -> "module:Class"; each class takes ``classes`` and its own keyword options. DEFT-LLM, both
as it is and tuned in each fold, and any other vision-language model are included, so that their
rows are in the same tables."""

LANGUAGE_MODELS = frozenset(
    name
    for name, place in RECOGNIZERS.items()
    if place.startswith(("deft_llm.deft.", "deft_llm.evaluation.vlm."))
)
"""Those that are DEFT-LLM, or a part of it, or another language model."""


_TYPES: dict[str, tuple[Any, str]] = {
    "int": (int, "a whole number"),
    "float": ((int, float), "a number"),
    "str": (str, "a word"),
    "bool": (bool, "true or false"),
}


def load_recognizer(name: str, classes: int, **options: Any) -> Recognizer | ClassicalRecognizer:
    """Make a new recognizer by name.

    Args:
        name: A key of ``RECOGNIZERS``.
        classes: Number of classes.
        **options: Keyword options of that recognizer.

    Raises:
        UserError: If the name is unknown, or an option is unknown, missing or of a wrong value.
    """
    make = resolve(RECOGNIZERS, name, "recognizer")
    try:
        inspect.signature(make).bind(classes=classes, **options)
    except TypeError as error:
        known = [p for p in inspect.signature(make).parameters if p != "classes"]
        raise UserError(
            f"{name}: {error} in its options; expected some of {', '.join(known)}"
        ) from None
    options = _typed(make, name, options)
    given = ", ".join(f"{key}={value!r}" for key, value in options.items())
    try:
        made: Recognizer | ClassicalRecognizer = make(classes=classes, **options)
    # Each layer fails in its own way on sizes that it cannot have.
    except (ArithmeticError, IndexError, RuntimeError, TypeError, ValueError) as error:
        if not options:  # then it is a fault of the recognizer
            raise
        reason = " ".join(str(error).split())[:160]
        raise UserError(f"{name}: cannot be built with the options {given} ({reason})") from error
    if isinstance(made, Recognizer) and not all(p.numel() for p in made.parameters()):
        raise UserError(f"{name}: the options {given} leave a layer without a weight")
    return made


def _typed(make: Any, name: str, options: dict[str, Any]) -> dict[str, Any]:
    """The options, with those checked that are a number, a word or a switch.

    Many layers take a wrong one without a word, and fail when the first clip is there.

    Raises:
        UserError: If one is of another type.
    """
    typed = dict(options)
    for key, parameter in inspect.signature(make).parameters.items():
        # Annotations are words wherever a file postpones them.
        hint = parameter.annotation
        hint = hint if isinstance(hint, str) else getattr(hint, "__name__", "")
        if key not in options or hint not in _TYPES:
            continue
        value, (fits, words) = options[key], _TYPES[hint]
        if hint == "float" and isinstance(value, str):
            with suppress(ValueError):  # PyYAML reads 1e-4 as a string
                typed[key] = value = float(value)
        # In Python, True is a whole number.
        if not isinstance(value, fits) or (isinstance(value, bool) and hint != "bool"):
            raise UserError(f"{name}: options.{key}: expected {words}, got {value!r}")
    return typed


def side_of(model: Recognizer | ClassicalRecognizer) -> int | None:
    """Side of a recognizer's input maps, px; None for that of the features."""
    return model.side if isinstance(model, Recognizer | WantsSide) else None
