"""Landmark errors against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.media.canonical import CANONICAL_LANDMARKS
from deft_llm.metrics.landmarks import (
    LANDMARK_GROUPS,
    by_part,
    interocular,
    landmark_errors,
    stated_error_ratio,
    sureness,
)


def test_errors_are_in_eye_distances() -> None:
    truth = np.stack([CANONICAL_LANDMARKS, 2 * CANONICAL_LANDMARKS]).astype(float)
    np.testing.assert_allclose(interocular(truth), [80, 160], rtol=0.01)
    found = truth.copy()
    found[:, 30] += (3, 4)
    errors = landmark_errors(found, truth)
    np.testing.assert_allclose(errors[:, 30] * interocular(truth), 5)
    parts = by_part(errors)
    assert parts["nose"] == pytest.approx(errors[:, 30].mean() / 9)
    assert parts["all"] == pytest.approx(errors[:, 30].mean() / 68)
    assert parts["jaw"] == parts["brows"] == parts["eyes"] == parts["mouth"] == 0


def test_parts_are_all_points_once() -> None:
    covered = [i for points in LANDMARK_GROUPS.values() for i in range(68)[points]]
    assert covered == list(range(68))


def test_calibration_of_honest_errors_is_one() -> None:
    rng = np.random.default_rng(0)
    stated = rng.uniform(0.02, 0.1, (400, 68))
    errors = np.hypot(*rng.normal(0, stated / np.sqrt(2), (2, 400, 68)))
    assert stated_error_ratio(errors, stated) == pytest.approx(1, abs=0.02)
    assert stated_error_ratio(3 * errors, stated) == pytest.approx(3, abs=0.06)
    assert 0.3 < sureness(errors, stated) < 0.9
    assert sureness(errors, errors**3) == pytest.approx(1)
    assert np.isnan(sureness(errors, np.ones_like(errors)))


def test_wrong_points_are_named() -> None:
    truth = CANONICAL_LANDMARKS[None].astype(float)
    with pytest.raises(UserError, match=r"\(1, 67, 2\)"):
        landmark_errors(truth[:, :67], truth)
    with pytest.raises(UserError, match="NaN"):
        landmark_errors(truth * np.nan, truth)
