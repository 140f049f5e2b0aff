"""One fold of a classical recognizer: options chosen in the training set, then the test rows."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm import protocols
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.metrics.classification import confusion_matrix, uf1
from deft_llm.recognizers.base import ClassicalRecognizer, Recognizer, load_recognizer

_INNER_FOLDS = 5
InputArrays = dict[str, NDArray[np.float32]]  # of all rows, by name


def predict_fold(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    seed: int,
    split: protocols.Split,
) -> NDArray[np.float64]:
    """Class probabilities of a fold's test rows.

    Args:
        entry: What to run.
        data: Clips with their classes.
        inputs: The recognizer's inputs of all rows.
        seed: For a recognizer that takes one.
        split: The fold.

    Raises:
        UserError: If options are to be chosen and one subject alone trains.
    """
    options = dict(entry.options)
    if entry.seeded:
        options["seed"] = seed
    trained = set(data.clips.people[split.train].tolist())
    if entry.choices and len(trained) == 1:
        raise UserError(
            f"fold {split.name}: {trained.pop()} alone trains, so that there are no inner folds to "
            f"choose {', '.join(entry.choices)} in; take more subjects, or fix it in options"
        )
    # One option after the other, the earlier ones at their best: not a full grid.
    for option, values in entry.choices.items():
        tried = [{**options, option: value} for value in values]
        scores = [_inner_score(entry, data, inputs, each, split) for each in tried]
        options[option] = values[int(np.argmax(scores))]
    return _fit_predict(entry, data, inputs, options, split.train, split.test)


def _inner_score(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: dict[str, Any],
    split: protocols.Split,
) -> float:
    """UF1 pooled over subject-wise folds of the training set."""
    # Pooled like the benchmark's own score: a small fold may lack a class, and its F1 would be 0.
    labels, predicted = [], []
    for train, held in protocols.inner_folds(data.clips.people, split.train, _INNER_FOLDS):
        p = _fit_predict(entry, data, inputs, options, train, held)
        labels += [data.classes[i] for i in data.labels[held]]
        predicted += [data.classes[i] for i in p.argmax(1)]
    return uf1(confusion_matrix(labels, predicted, data.classes))


def _fit_predict(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: dict[str, Any],
    train: protocols.Indices,
    test: protocols.Indices,
) -> NDArray[np.float64]:
    model = load_recognizer(entry.recognizer, len(data.classes), **options)
    assert not isinstance(model, Recognizer)
    classical: ClassicalRecognizer = model
    classical.fit({n: x[train] for n, x in inputs.items()}, data.labels[train])
    return classical.predict_proba({n: x[test] for n, x in inputs.items()})
