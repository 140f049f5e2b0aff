"""A data set: the same bytes however it was measured, readable in every form, and validated."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from deft_llm import facs
from deft_llm.clip import Annotation, Interval
from deft_llm.data import clip_shards
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.clip_lines import FEATURES
from deft_llm.data.clip_shards import LeftOut, Share, absent, claim_recipe, write_shards
from deft_llm.data.features import Features
from deft_llm.data.prepared import open_prepared
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import read_lines, write_lines
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.assemble import Assembly, assemble
from deft_llm.unimer.audit import audit
from deft_llm.unimer.coded import measure_corpus, problem_of
from deft_llm.unimer.validate import validate_folder

MakeRecord = Callable[[int], ClipRecord]
MakeFeatures = Callable[[int], Features]
PER_SHARD = 20
CLIPS = 2 * PER_SHARD + 5
UNREADABLE = LeftOut("x/1", "the file does not decode")
SETTINGS = Assembly(seed=3, variants=2, turns=3)
Observe = Callable[[Iterable[int]], Iterator[MeasuredClip]]


@pytest.fixture(scope="module", autouse=True)
def small_shards() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(clip_shards, "CLIPS_PER_SHARD", PER_SHARD)
        yield


@pytest.fixture(scope="module")
def observe(make_record: MakeRecord) -> Observe:
    """Clips without pictures; every 15th shows no face."""

    def one(seed: int) -> MeasuredClip:
        if seed % 15 == 7:
            return MeasuredClip(make_record(seed), None, "no face was found", no_face=True)
        if seed % 15 == 8:
            return MeasuredClip(make_record(seed), None, "its frames show faces of two sizes")
        record = make_record(seed)
        if seed % 5 == 0:
            record = replace(record, evidence=(), returns=())
        return MeasuredClip(record, {name: np.zeros((2, 3), np.float16) for name in FEATURES})

    return lambda seeds: map(one, seeds)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, observe: Observe, templates: Templates) -> Path:
    folder = tmp_path_factory.mktemp("built")
    parts = write_shards("features", range(CLIPS), observe, folder)
    assemble(folder, parts, SETTINGS, templates, [UNREADABLE])
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()
    }


def test_shards_and_interruptions_leave_no_trace(
    built: Path, tmp_path: Path, observe: Observe, templates: Templates
) -> None:
    def stopped(seeds: Iterable[int]) -> Iterator[MeasuredClip]:
        for seed, clip in zip(seeds, observe(range(CLIPS)), strict=False):
            if seed == PER_SHARD + 3:
                raise KeyboardInterrupt
            yield clip

    with pytest.raises(KeyboardInterrupt):
        write_shards("features", range(CLIPS), stopped, tmp_path)
    for index in (3, 1, 2):
        parts = write_shards("features", range(CLIPS), observe, tmp_path, Share(index, 3))
    assert not absent(tmp_path, parts)
    assemble(tmp_path, parts, SETTINGS, templates, [UNREADABLE])
    assert contents(tmp_path) == contents(built)


def test_a_shard_measures_its_share_alone(tmp_path: Path, observe: Observe) -> None:
    parts = write_shards("features", range(CLIPS), observe, tmp_path, Share.parse("2/3"))
    assert absent(tmp_path, parts) == [parts[0], parts[2]]
    for wrong in ("0/2", "3/2", "1", "a/b", "1/", "1/²"):
        with pytest.raises(UserError, match="shard"):
            Share.parse(wrong)


def test_all_forms_hold_the_same(built: Path) -> None:
    rows = [*read_lines(built / "train.jsonl"), *read_lines(built / "extra.jsonl")]
    messages = list(read_lines(built / "messages.jsonl"))
    table = pq.read_table(built / "parquet").to_pylist()
    assert len(rows) == len(messages) == len(table)
    for row, message, line in zip(rows, messages, table, strict=True):
        assert row["id"] == message["id"] == line["id"]
        assert message["messages"] == line["messages"]
        answers = [turn["value"] for turn in row["conversations"]]
        assert answers == [turn["content"] for turn in message["messages"]]
        assert row["evidence"] == message["evidence"] == line["evidence"]
        assert row["stated"] == line["stated"]


def test_datasets_reads_the_parquet(built: Path, tmp_path: Path) -> None:
    datasets = pytest.importorskip("datasets")
    files = [str(p) for p in (built / "parquet").glob("*.parquet")]
    found = datasets.load_dataset("parquet", data_files=files, split="train", cache_dir=tmp_path)
    assert len(found) == len(list(read_lines(built / "messages.jsonl")))
    assert found[0]["messages"][0]["role"] == "user"


def test_what_was_left_out_is_counted_and_a_hidden_face_refused(built: Path) -> None:
    left = list(read_lines(built / "left_out.jsonl"))
    hidden = [row for row in read_lines(built / "extra.jsonl") if row["kinds"] == ["hidden"]]
    assert len(hidden) == len(range(7, CLIPS, 15))
    assert len(left) == 2 * len(hidden) + 1  # as many for another reason, and one before
    assert all("hidden" in row["conversations"][1]["value"] for row in hidden)
    counts = json.loads((built / "statistics.json").read_text())
    assert counts["left_out"] == len(left)
    assert counts["clips"] == CLIPS - 2 * len(hidden) == len(ClipDataset.open(built))
    assert (built / "statistics.png").stat().st_size > 10_000
    assert "does not decode" in (built / "README.md").read_text()


def test_a_finished_folder_is_valid(built: Path) -> None:
    assert list(validate_folder(built)) == []


@pytest.mark.parametrize(
    ("file", "change", "field"),
    [
        ("clips", {"emotion": "joy"}, "emotion"),
        ("clips", {"aus": ["99"]}, "aus[0]"),
        ("clips", {"interval": {"onset": 9, "apex": 5, "offset": 20}}, "interval"),
        ("clips", {"shard": "none.safetensors"}, "shard"),
        ("train", {"clip": "unknown"}, "clip"),
        ("train", {"conversations": []}, "conversations"),
        ("train", {"conversations": [{"from": "gpt", "value": "a"}] * 2}, "conversations[0].from"),
        ("train", {"stated": [[99]]}, "stated[0]"),
        ("train", {"evidence": [{"region": "nose"}]}, "evidence[0].region"),
        (
            "messages",
            {
                "messages": [
                    {"role": "user", "content": "a"},
                    {"role": "assistant", "content": " "},
                ]
            },
            "messages[1].content",
        ),
    ],
)
def test_a_problem_is_named_by_file_line_and_field(
    built: Path, tmp_path: Path, file: str, change: dict[str, object], field: str
) -> None:
    for name in ("clips", "train", "messages"):
        lines = (built / f"{name}.jsonl").read_text().splitlines()
        if name == file:
            lines[2] = json.dumps({**json.loads(lines[2]), **change})
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines) + "\n")
    for path in built.glob("*.safetensors"):
        (tmp_path / path.name).touch()
    found = [(p.file, p.line, p.field) for p in validate_folder(tmp_path)]
    assert (f"{file}.jsonl", 3, field) in found


def test_the_audit_of_a_folder_with_itself_leaks(built: Path) -> None:
    found = audit(built, built)
    assert all(found.values())


def test_another_recipe_cannot_go_on_in_a_folder(tmp_path: Path) -> None:
    claim_recipe(tmp_path, {"simulated": 100})
    claim_recipe(tmp_path, {"simulated": 100})
    with pytest.raises(UserError, match="another folder"):
        claim_recipe(tmp_path, {"simulated": 200})


# ---------------------------------------------------------------------------- corpora


def prepared(folder: Path, features: Features) -> Path:
    """The cache of a corpus of three clips, of which one file is damaged; its listing."""
    interval = Interval(3, 6, 12)
    codings = (
        Annotation("casme2", "sub01", "a", interval, ("12",), "happiness", 200.0),
        Annotation("casme2", "sub01", "b", interval, ("4",), "disgust", 200.0),
        Annotation("casme2", "sub02", "c", interval, ("4",), "joy", 200.0),
    )
    rows = []
    for coding in codings:
        save_file(features, folder / f"key-{coding.clip}.safetensors")
        row = {"annotation": asdict(coding), "key": f"key-{coding.clip}", "problem": ""}
        rows.append(json.dumps(row))
    (folder / "key-b.safetensors").write_bytes(b"damaged")
    write_lines(folder / "casme2.jsonl", rows)
    return folder / "casme2.jsonl"


def test_a_prepared_corpus_becomes_records(
    tmp_path: Path, make_features: MakeFeatures, templates: Templates
) -> None:
    corpus = open_prepared(prepared(tmp_path, make_features(0)))
    parts = measure_corpus(corpus, "casme2", tmp_path)
    found = assemble(tmp_path, parts, SETTINGS, templates)
    (record,) = ClipDataset.open(tmp_path).records
    assert (record.clip, record.subject, record.dataset) == ("casme2/a", "casme2/sub01", "casme2")
    assert {row.source for row in record.evidence} <= {"casme2"}
    assert [clip for clip, _ in found.left_out] == ["casme2/b", "casme2/c"]
    assert "damaged" in found.left_out[0][1] and "joy" in found.left_out[1][1]


def test_a_corpus_that_was_prepared_again_gets_other_parts(
    tmp_path: Path, make_features: MakeFeatures
) -> None:
    listing = prepared(tmp_path, make_features(0))
    first, before = measure_corpus(open_prepared(listing), "casme2", tmp_path), listing.read_text()
    save_file(make_features(1), tmp_path / "key-d.safetensors")
    # Another label, another measurement, and a clip less.
    for after in (
        before.replace("happiness", "surprise"),
        before.replace('"key-a"', '"key-d"'),
        before[: before.rindex('{"annotation"')],
    ):
        listing.write_text(after)
        assert measure_corpus(open_prepared(listing), "casme2", tmp_path) != first
    # What the cache had, and how a clip failed, is not in the data.
    listing.write_text(before.replace('"problem": ""', '"problem": "", "cached": true'))
    assert measure_corpus(open_prepared(listing), "casme2", tmp_path) == first


def test_two_caches_may_have_listings_of_one_name(
    tmp_path: Path, make_features: MakeFeatures, templates: Templates
) -> None:
    listings = []
    for cache in ("one", "two"):
        (tmp_path / cache).mkdir()
        listings.append(prepared(tmp_path / cache, make_features(0)))
    listings[1].write_text(listings[1].read_text().replace('"clip": "', '"clip": "of_another_'))
    parts = [
        p for each in map(open_prepared, listings) for p in measure_corpus(each, "c", tmp_path)
    ]
    assemble(tmp_path, parts, SETTINGS, templates)
    clips = [record.clip for record in ClipDataset.open(tmp_path).records]
    assert clips == ["casme2/a", "casme2/of_another_a"]


def test_a_corpus_given_twice_is_named(
    tmp_path: Path, make_features: MakeFeatures, templates: Templates
) -> None:
    corpus = open_prepared(prepared(tmp_path, make_features(0)))
    parts = [*measure_corpus(corpus, "casme2", tmp_path), *measure_corpus(corpus, "mi", tmp_path)]
    with pytest.raises(UserError, match="'casme2/a' comes from two"):
        assemble(tmp_path, parts, SETTINGS, templates)


@pytest.mark.parametrize(
    ("change", "named"),
    [({"aus": ("99",)}, "99"), ({"emotion": "joy"}, "joy"), ({"interval": None}, "onset")],
)
def test_a_coding_that_cannot_be_used_is_named(change: dict[str, object], named: str) -> None:
    good = Annotation("casme2", "s", "c", Interval(0, 1, 2), ("L12",), facs.EMOTIONS[0])
    assert problem_of(good) == ""
    assert named in problem_of(replace(good, **change))  # type: ignore[arg-type]


def test_a_listing_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="corpora prepare"):
        open_prepared(tmp_path / "casme2.jsonl")
