from __future__ import annotations

import cv2
import numpy as np
import pytest

from deft_llm.errors import UserError
from deft_llm.leaks import find_leaks, require_disjoint
from deft_llm.protocols import loso

SUBJECTS = ["a", "a", "b", "b", "c"]
NAMES = ["a1", "a2", "b1", "b2", "c1"]


def _images() -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 255, (5, 8, 8, 3)).astype(np.uint8)
    return [cv2.resize(x, (64, 64), interpolation=cv2.INTER_CUBIC) for x in coarse]


def test_clean_material_is_clean() -> None:
    report = find_leaks(loso(SUBJECTS), NAMES, _images())
    assert report.clean
    assert report.near == []


def test_equal_names_across_folds_are_found_and_inside_one_are_not() -> None:
    report = find_leaks(loso(SUBJECTS), ["x", "x", "b1", "x", "c1"], _images())
    assert {frozenset(pair) for pair in report.names} == {frozenset({0, 3}), frozenset({1, 3})}
    assert not report.clean


def test_equal_content_under_another_name_is_found() -> None:
    images = _images()
    images[4] = images[2].copy()
    report = find_leaks(loso(SUBJECTS), NAMES, images)
    assert set(report.contents) == {(2, 4), (4, 2)}
    assert report.near == []  # told once
    assert "content: b1 and c1" in report.to_markdown(NAMES)


def test_a_reencoded_picture_is_suspect() -> None:
    images = _images()
    jpeg = cv2.imencode(".jpg", images[0], [cv2.IMWRITE_JPEG_QUALITY, 60])[1]
    images[3] = cv2.resize(cv2.imdecode(jpeg, cv2.IMREAD_COLOR), (50, 50))
    report = find_leaks(loso(SUBJECTS), NAMES, images)
    assert {(a, b) for a, b, _ in report.near} == {(0, 3), (3, 0)}
    assert report.clean  # a suspicion, not a proof


def test_a_name_for_each_image() -> None:
    with pytest.raises(UserError, match="4 names for 5 images"):
        find_leaks(loso(SUBJECTS), NAMES[:4], _images())


def test_sets_that_share_an_id_are_refused() -> None:
    train = {"subject": ["s1", "s2", "s3"], "content": ["", "x"]}
    require_disjoint(train, {"subject": ["s4"], "content": [""]}, "a and b", "mend it")
    with pytest.raises(UserError, match=r"^a and b share subject s2 and 1 more; mend it$"):
        require_disjoint(train, {"subject": ["s3", "s2"], "content": []}, "a and b", "mend it")
    with pytest.raises(UserError, match=r"^a and b share content x; mend it$"):
        require_disjoint(train, {"subject": [], "content": ["x"]}, "a and b", "mend it")
