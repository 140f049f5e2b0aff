"""Data folders: what is written is what is read, whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from deft_llm import facs
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.conversations import messages_of
from deft_llm.data.feature_files import save_features
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord, mirror_evidence
from deft_llm.errors import UserError
from deft_llm.files import read_lines, write_lines
from deft_llm.unimer.answer_writer import Turn
from deft_llm.unimer.rows import conversation_row

MakeRecord = Callable[[int], ClipRecord]
MakeFeatures = Callable[[int], Features]


def test_a_record_survives_json(make_record: MakeRecord) -> None:
    for seed in range(50):
        record = make_record(seed)
        line = record.to_json()
        assert "\n" not in line
        assert ClipRecord.from_json(line) == record


def test_mirror_of_mirror_is_the_same(make_record: MakeRecord) -> None:
    for seed in range(100):
        record = make_record(seed)
        once = record.facts(mirrored=True)
        flipped = replace(record, aus=once.aus, evidence=once.evidence, returns=once.returns)
        assert flipped.facts(mirrored=True) == record.facts()
        assert all(mirror_evidence(mirror_evidence(row)) == row for row in record.evidence)


def test_the_mirrored_clip_keeps_emotion_and_order(make_record: MakeRecord) -> None:
    order = list(facs.REGIONS)
    for seed in range(100):
        record = make_record(seed)
        facts = record.facts(mirrored=True)
        places = [order.index(row.region) for row in facts.evidence]
        assert places == sorted(places)
        assert facts.emotion == (record.emotion if record.evidence else None)


def test_without_agreed_motion_there_is_nothing_to_say(make_record: MakeRecord) -> None:
    """The label is known, but nothing in the clip shows it: no invented emotion."""
    record = replace(make_record(0), evidence=())
    for mirrored in (False, True):
        facts = record.facts(mirrored)
        assert (facts.coarse, facts.aus, facts.evidence) == ("none", (), ())


def test_a_conversation_line(make_record: MakeRecord) -> None:
    turns = [Turn("why", "Why?", "Because."), Turn("aus", "Which?", "AU12")]
    line = conversation_row("x-0", make_record(1), True, turns)
    assert json.loads(json.dumps(line))["clip"] == "clip-1"
    assert [m["value"] for m in line["conversations"]] == [
        *("<clip>Why?", "Because.", "Which?", "AU12"),
    ]
    assert [m["role"] for m in messages_of(line)] == ["user", "assistant"] * 2
    facts_ = make_record(1).facts(mirrored=True)
    evidence = (*facts_.evidence, *facts_.returns)
    assert [row["region"] for row in line["evidence"]] == [row.region for row in evidence]


def test_features_come_back_by_clip(
    tmp_path: Path, make_record: MakeRecord, make_features: MakeFeatures
) -> None:
    names = ("features-0.safetensors", "features-1.safetensors")
    for i, name in enumerate(names):
        save_features(tmp_path / name, [make_features(10 * i), make_features(10 * i + 1)])
    rows = [(0, 1), (1, 0), (0, 0), (1, 1)]
    records = [
        replace(make_record(seed), shard=names[file], row=row)
        for seed, (file, row) in enumerate(rows)
    ]
    write_lines(tmp_path / "clips.jsonl", (record.to_json() for record in records))
    clips = ClipDataset.open(tmp_path)
    assert list(clips.records) == records
    for record, (file, row) in zip(records, rows, strict=True):
        expected = make_features(10 * file + row)
        found = clips.by_name(record.clip).features
        assert found is not None
        assert found.keys() == expected.keys()
        for name, array in expected.items():
            assert found[name].dtype == array.dtype
            np.testing.assert_array_equal(found[name], array)
    assert not list(tmp_path.glob("*.partial"))


def test_a_missing_packet_file_is_named(tmp_path: Path, make_record: MakeRecord) -> None:
    with pytest.raises(UserError, match=r"clips\.jsonl"):
        ClipDataset.open(tmp_path)
    write_lines(tmp_path / "clips.jsonl", [make_record(0).to_json()])
    with pytest.raises(UserError, match=r"features-0\.safetensors"):
        ClipDataset.open(tmp_path)


@pytest.mark.parametrize("bad", ["{", "3", '"text"', "[1]", ""])
def test_a_bad_line_is_named_by_its_number(tmp_path: Path, bad: str) -> None:
    path = tmp_path / "train.jsonl"
    path.write_text(f'{{"a": 1}}\n{bad}\n{{"a": 2}}\n', encoding="utf-8")
    with pytest.raises(UserError, match=r"train\.jsonl, line 2"):
        list(read_lines(path))


def test_lines_keep_any_alphabet(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_lines(path, [json.dumps({"a": "Ünï\u2028 日本"}, ensure_ascii=False), '{"a": "b"}'])
    assert [line["a"] for line in read_lines(path)] == ["Ünï\u2028 日本", "b"]


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "x.jsonl"
    write_lines(path, ['{"a": 1}'])

    def broken() -> object:
        yield '{"a": 2}'
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_lines(path, broken())  # type: ignore[arg-type]
    assert [line["a"] for line in read_lines(path)] == [1]
