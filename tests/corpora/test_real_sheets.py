"""The official sheets: counts as published, and every known oddity in the report."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from deft_llm import facs
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.reading import Reading
from deft_llm.data.flow_images import read_flow_images
from deft_llm.data.labelled import labelled, three_class

SHEETS = {
    "casme2": "CASME2-coding-20190701.xlsx",
    "samm": "SAMM_Micro_FACS_Codes_v2.xlsx",
    "casme3": "casme3_table.xlsx",
    "smic_hs": "smic_apex.xlsx",
    "samm_long_videos": "layout_only/SAMM_LongVideos_V3_Release.xlsx",
}


def read(name: str, real: Path, root: Path) -> Reading:
    root.mkdir(exist_ok=True)
    file = real / "annotations" / SHEETS[name]
    (root / file.name).symlink_to(file)
    return load_corpus(name, root).read(frames=False)


@pytest.mark.parametrize(
    ("name", "mended", "differs"),
    [
        ("casme2", 1, {"5-casme2-class surprise"}),  # this sheet has three more than published
        ("samm", 16, set()),
        ("casme3", 6, set()),
        ("smic_hs", 7, set()),
    ],
)
def test_counts(name: str, mended: int, differs: set[str], real: Path, tmp_path: Path) -> None:
    reading = read(name, real, tmp_path)
    checks = list(reading.checks())
    assert checks and {c.what for c in checks if c.found != c.published} == differs
    assert (reading.report.count("mended"), reading.report.count("dropped")) == (mended, 0)
    for annotation in reading.annotations:
        assert all(facs.au_number(code) in facs.ACTION_UNITS for code in annotation.aus)


def test_the_layout_of_samm_long_videos(real: Path, tmp_path: Path) -> None:
    reading = read("samm_long_videos", real, tmp_path)
    assert len(reading.entries) == 10  # dummy rows
    assert {a.aus for a in reading.annotations} == {("4", "7")}


def test_megc2019_is_its_published_list(real: Path, tmp_path: Path) -> None:
    """The list made of two independent publications: ME-VQA's clips and flow images' names."""
    for name, folder in (("casme2", "CASME2"), ("smic_hs", "SMIC"), ("samm", "SAMM")):
        read(name, real, tmp_path / folder)
    by_rule = load_corpus("megc2019", tmp_path).read(frames=False)
    assert len(by_rule.entries) == 447
    with (real / "mevqa" / "casme2_mevqa.jsonl").open(encoding="utf-8") as file:
        answers = [json.loads(line) for line in file]
    labels = {e.annotation.clip: facs.to_three(e.annotation.emotion) for e in by_rule.entries}
    asked = "What is the coarse expression class?"
    labels |= {a["image_id"]: a["answer"] for a in answers if a["question"] == asked}
    clips = {a["image_id"]: (a["subject"], a["filename"]) for a in answers}
    listed = [
        ["casme2", *clip, facs.THREE_CLASSES.index(labels[name])] for name, clip in clips.items()
    ]
    images = read_flow_images(real / "megc2019_flow")
    datasets = [str(d).lower() for d in images.datasets]
    labels_of_images = labelled(images, facs.THREE_CLASSES, three_class).labels
    listed += [
        list(row)
        for row in zip(datasets, images.subjects, images.clips, labels_of_images, strict=True)
    ]
    with (tmp_path / "combined_3class_gt.csv").open("w", newline="") as target:
        csv.writer(target).writerows(listed)
    reading = load_corpus("megc2019", tmp_path).read(frames=False)
    assert all(c.found == c.published for c in reading.checks())
    dropped = [n for n in reading.report if n.action == "dropped"]
    assert len(dropped) == 5 and {n.file for n in dropped} == {"casme2"}
