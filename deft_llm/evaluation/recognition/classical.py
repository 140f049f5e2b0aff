"""Folds of a classical recognizer: options chosen in the training set, then the test rows."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deft_llm import protocols
from deft_llm.data.inputs import is_coded
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.metrics.classification import confusion_matrix, likeliest, uf1
from deft_llm.recognizers.base import (
    ClassicalRecognizer,
    FitsFoldsAtOnce,
    Recognizer,
    load_recognizer,
)

_INNER_FOLDS = 5  # our choice: training sets nearly as large as the fold's, at five times its cost
InputArrays = dict[str, NDArray[np.float32]]  # of all rows, by name
Options = dict[str, Any]
Pair = tuple[protocols.Indices, protocols.Indices]  # rows to train on and to predict


def predict_folds(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    seed: int,
    splits: Sequence[protocols.Split],
) -> list[NDArray[np.float64]]:
    """Class probabilities of the test rows of some folds.

    Args:
        entry: What to run.
        data: Clips with their classes.
        inputs: The recognizer's inputs of all rows.
        seed: For a recognizer that takes one.
        splits: The folds.

    Raises:
        UserError: If options are to be chosen and one subject alone trains.
    """
    more = {"seed": seed} if entry.seeded else {}
    options = [entry.for_fold(split.fold).options | more for split in splits]
    for split in splits if entry.choices else ():
        _require_inner_folds(entry, data, split)
    # One option after the other, the earlier ones at their best: not a full grid.
    for option, values in entry.choices.items():
        tried = [[{**own, option: value} for own in options] for value in values]
        scores = np.array([_inner_scores(entry, data, inputs, each, splits) for each in tried])
        best = scores.argmax(0)
        options = [tried[k][fold] for fold, k in enumerate(best)]
    return _predicted(entry, data, inputs, options, [(s.train, s.test) for s in splits])


def _require_inner_folds(entry: ModelEntry, data: LabelledClips, split: protocols.Split) -> None:
    trained = set(data.clips.people[split.train].tolist())
    if len(trained) == 1:
        raise UserError(
            f"fold {split.name}: {trained.pop()} alone trains, so that there are no inner folds to "
            f"choose {', '.join(entry.choices)} in; take more subjects, or fix it in options"
        )


def _inner_scores(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: Sequence[Options],
    splits: Sequence[protocols.Split],
) -> list[float]:
    """UF1 of each fold, pooled over subject-wise folds of its training set."""
    people = data.clips.people
    inner = [list(protocols.inner_folds(people, s.train, _INNER_FOLDS)) for s in splits]
    repeated = [own for own, pairs in zip(options, inner, strict=True) for _ in pairs]
    found = iter(_predicted(entry, data, inputs, repeated, [p for pairs in inner for p in pairs]))
    return [_pooled(data, pairs, [next(found) for _ in pairs]) for pairs in inner]


def _pooled(
    data: LabelledClips, pairs: Sequence[Pair], found: Sequence[NDArray[np.float64]]
) -> float:
    # Pooled like the benchmark's own score: a small fold may lack a class, and its F1 would be 0.
    labels: list[str] = []
    predicted: list[str | None] = []
    for (_, held), p in zip(pairs, found, strict=True):
        labels += [data.classes[i] for i in data.labels[held]]
        predicted += likeliest(p, data.classes)
    return uf1(confusion_matrix(labels, predicted, data.classes))


def _predicted(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: Sequence[Options],
    pairs: Sequence[Pair],
) -> list[NDArray[np.float64]]:
    """Class probabilities of the rows to predict, in the order of the pairs.

    Args:
        entry: What to run.
        data: Clips with their classes.
        inputs: Of all rows.
        options: For each pair.
        pairs: Training rows, and those to predict.
    """
    alike: dict[str, list[int]] = defaultdict(list)
    for number, own in enumerate(options):
        alike[json.dumps(own, sort_keys=True, default=str)].append(number)
    found: dict[int, NDArray[np.float64]] = {}
    for numbers in alike.values():
        model = load_recognizer(entry.recognizer, len(data.classes), **options[numbers[0]])
        assert not isinstance(model, Recognizer)
        chosen = [pairs[n] for n in numbers]
        if isinstance(model, FitsFoldsAtOnce):
            rows = model.predict_folds(inputs, data.labels, chosen)
        else:
            rows = [_fit_predict(entry, data, inputs, options[numbers[0]], *p) for p in chosen]
        found |= dict(zip(numbers, rows, strict=True))
    return [found[number] for number in range(len(pairs))]


def _fit_predict(
    entry: ModelEntry,
    data: LabelledClips,
    inputs: InputArrays,
    options: Options,
    train: protocols.Indices,
    test: protocols.Indices,
) -> NDArray[np.float64]:
    # A new one for each fold: nothing of another fold may be left in it.
    model = load_recognizer(entry.recognizer, len(data.classes), **options)
    assert not isinstance(model, Recognizer)
    classical: ClassicalRecognizer = model
    classical.fit({n: x[train] for n, x in inputs.items()}, data.labels[train])
    # The coding of a test clip is what is asked for: only ``fit`` reads coded inputs.
    seen = {n: x[test] for n, x in inputs.items() if not is_coded(n)}
    return classical.predict_proba(seen)
