"""The audit finds a leak by subject, by clip and by content, and lets clean splits pass."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.unimer.audit import require_disjoint_records, shared_ids

MakeRecord = Callable[[int], ClipRecord]


@pytest.fixture
def split(make_record: MakeRecord) -> tuple[list[ClipRecord], list[ClipRecord]]:
    train = [replace(make_record(i), subject=f"train-{i % 2}") for i in range(4)]
    test = [replace(make_record(i), subject=f"test-{i % 2}") for i in range(4, 8)]
    return train, test


def test_a_clean_split_passes(split: tuple[list[ClipRecord], list[ClipRecord]]) -> None:
    train, test = split
    require_disjoint_records(train, test)
    assert shared_ids(train, test) == {"subject": [], "clip": [], "content": []}


@pytest.mark.parametrize("name", ["subject", "clip", "content"])
def test_each_kind_of_leak_is_found_and_named(
    split: tuple[list[ClipRecord], list[ClipRecord]], name: str
) -> None:
    train, test = split
    value = getattr(train[1], name)
    leaked = [test[0], replace(test[1], **{name: value})]
    assert shared_ids(train, leaked)[name] == [value]
    with pytest.raises(UserError, match=rf"share {name} {value};"):
        require_disjoint_records(train, leaked)


def test_a_copy_under_another_name_is_found(make_record: MakeRecord) -> None:
    """Renamed files of renamed subjects: the content hash still tells."""
    original = make_record(0)
    copy = replace(original, clip="other", subject="other")
    assert shared_ids(iter([original]), iter([copy]))["content"] == [original.content]
