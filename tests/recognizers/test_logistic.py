"""Logistic regression of many folds at once against scikit-learn's, fold by fold."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.svm import SVC

from deft_llm.recognizers.linear import FlatLinear, LogisticFlow, SvmFlow

Rows = NDArray[np.int64]


def clips(count: int, values: int, classes: int) -> tuple[dict[str, NDArray[np.float32]], Rows]:
    rng = np.random.default_rng(count)
    labels = rng.integers(0, classes, count)
    vectors = rng.normal(size=(count, values))
    vectors[np.arange(count), labels] += 2
    return {"flow_uvs": vectors.astype(np.float32).reshape(count, 1, 1, values)}, labels


def folds(count: int) -> list[tuple[Rows, Rows]]:
    rows = np.arange(count)
    return [(rows[rows % 5 != k], rows[rows % 5 == k]) for k in range(5)]


@pytest.mark.parametrize(("values", "classes", "C"), [(300, 3, 0.01), (8, 4, 1.0), (60, 2, 0.1)])
@pytest.mark.parametrize("balanced", [True, False])
def test_every_fold_is_scikit_learns(values: int, classes: int, C: float, balanced: bool) -> None:
    inputs, labels = clips(60, values, classes)
    found = FlatLinear(classes, C, balanced).predict_folds(inputs, labels, folds(60))
    vectors = inputs["flow_uvs"].reshape(60, -1).astype(float)
    for (train, test), p in zip(folds(60), found, strict=True):
        peer = LogisticRegression(
            C=C, class_weight="balanced" if balanced else None, tol=1e-10, max_iter=5000
        ).fit(vectors[train], labels[train])
        np.testing.assert_allclose(p, peer.predict_proba(vectors[test]), atol=2e-4)
        # One fold by itself is the same.
        one = FlatLinear(classes, C, balanced)
        one.fit({"flow_uvs": inputs["flow_uvs"][train]}, labels[train])
        alone = one.predict_proba({"flow_uvs": inputs["flow_uvs"][test]})
        np.testing.assert_allclose(alone, p, atol=1e-6)


def test_a_class_without_training_clips_is_never_named() -> None:
    inputs, labels = clips(40, 50, 3)
    train, test = np.flatnonzero(labels != 2), np.flatnonzero(labels == 2)
    only = np.flatnonzero(labels == 1)
    some, one = LogisticFlow(3).predict_folds(inputs, labels, [(train, test), (only, test)])
    assert (some[:, 2] == 0).all() and some.sum(1) == pytest.approx(1)
    assert (one[:, 1] == 1).all()
    # Two classes are left: as scikit-learn fits them, by one vector.
    vectors = inputs["flow_uvs"].reshape(40, -1).astype(float)
    peer = LogisticRegression(C=1e-3, class_weight="balanced", tol=1e-10, max_iter=5000)
    p = peer.fit(vectors[train], labels[train]).predict_proba(vectors[test])
    np.testing.assert_allclose(some[:, :2], p, atol=1e-5)


def test_support_vector_machines_share_the_products() -> None:
    inputs, labels = clips(40, 80, 3)
    found = SvmFlow(3, C=0.1).predict_folds(inputs, labels, folds(40))
    vectors = inputs["flow_uvs"].reshape(40, -1).astype(float)
    for (train, test), p in zip(folds(40), found, strict=True):
        margins = [
            SVC(C=0.1, kernel="linear", class_weight="balanced")
            .fit(vectors[train], labels[train] == k)
            .decision_function(vectors[test])
            for k in range(3)
        ]
        grown = np.exp(2 * np.stack(margins, 1))
        np.testing.assert_allclose(p, grown / grown.sum(1, keepdims=True), atol=1e-6)


def test_machines_of_a_fold_that_lacks_classes() -> None:
    inputs, labels = clips(40, 80, 3)
    two, one = np.flatnonzero(labels != 2), np.flatnonzero(labels == 1)
    test = np.arange(5)
    some, only = SvmFlow(3).predict_folds(inputs, labels, [(two, test), (one, test)])
    assert (some[:, 2] == 0).all() and some.sum(1) == pytest.approx(1)
    assert (only == [0, 1, 0]).all()
    made = SvmFlow(3)
    made.fit({"flow_uvs": inputs["flow_uvs"][two]}, labels[two])
    asked = {"flow_uvs": inputs["flow_uvs"][test]}
    np.testing.assert_allclose(made.predict_proba(asked), some, atol=1e-6)


@pytest.mark.filterwarnings("error::RuntimeWarning")
@pytest.mark.parametrize("value", [0.0, 1.0])
@pytest.mark.parametrize("balanced", [True, False])
def test_clips_that_are_all_alike_get_the_shares_of_the_classes(
    value: float, balanced: bool
) -> None:
    """The start is the optimum but for rounding, which no step may chase."""
    inputs, every = {"flow_uvs": np.full((30, 1, 1, 8), value, np.float32)}, np.arange(30)
    uneven = np.repeat([0, 1, 2], [15, 9, 6])
    for labels, shares in ((every % 3, [1 / 3] * 3), (uneven, [0.5, 0.3, 0.2])):
        recognizer = FlatLinear(3, 10.0, balanced)
        (found,) = recognizer.predict_folds(inputs, labels, [(every, every[:4])])
        expected = [1 / 3] * 3 if balanced else shares
        np.testing.assert_allclose(found, [expected] * 4, atol=1e-5)
