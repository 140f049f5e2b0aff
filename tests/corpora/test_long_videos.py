"""Long videos of corpora: all that is coded in each, and the videos in which nothing is."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.long_videos import LongVideo, long_videos
from deft_llm.corpora.report import Report
from deft_llm.corpora.synthetic import write_corpus
from deft_llm.errors import UserError
from tests.corpora.conftest import tiny

# Corpus -> a folder with frames of a person in whose video nothing is coded, and its names.
EMPTY = {
    "casme_squared": ("rawpic/s40/40_0101disgust", ("s40", "40_101disgust")),
    "casme3": ("data/spNO.99/b/color", ("spNO.99", "b")),
    "samm_long_videos": ("SAMM_longvideos/037_3", ("037", "037_3")),
}
TYPE = 8  # column of SAMM's sheet


def _read(name: str, root: Path) -> tuple[list[LongVideo], Report]:
    report = Report()
    return long_videos(load_corpus(name, root), report), report


@pytest.mark.parametrize("name", EMPTY)
def test_all_codings_and_the_videos_without_any(name: str, tmp_path: Path) -> None:
    written = write_corpus(name, tmp_path, subjects=2, clips=4, renderer=tiny)
    place, names = EMPTY[name]
    shutil.copytree(written[0].folder, tmp_path / place)
    videos, _ = _read(name, tmp_path)
    assert [(v.subject, v.video) for v in videos if not v.micro] == [names]
    assert len(videos) == len({each.folder for each in written}) + 1
    for video in videos:
        clips = [each.annotation for each in written if each.folder == video.folder]
        assert [(e.interval, e.emotion) for e in video.micro] == [
            (clip.interval, clip.emotion) for clip in clips
        ]
        assert video.frames == len(list(video.folder.iterdir()))
        assert all(e.interval.offset < video.frames for e in video.micro)
        assert all(clip.subject == video.subject for clip in clips)


def test_macro_expressions_come_apart(
    tmp_path: Path, edit: Callable[[Path, int, int, object], None]
) -> None:
    written = write_corpus("samm_long_videos", tmp_path, subjects=2, clips=2, renderer=tiny)
    sheet = tmp_path / "SAMM_LongVideos_V3_Release.xlsx"
    edit(sheet, 6, TYPE, "Macro")  # the first row below title and header
    videos, _ = _read("samm_long_videos", tmp_path)
    first = written[0].annotation
    both = next(v for v in videos if v.subject == first.subject)
    assert [e.interval for e in both.macro] == [first.interval]
    assert [e.interval for e in both.micro] == [written[1].annotation.interval]


def test_clips_cut_out_are_no_long_videos(tmp_path: Path) -> None:
    """CAS(ME)3 is given out in both forms; the clips alone hold no rest to spot against."""
    written = write_corpus("casme3", tmp_path, subjects=2, clips=2, renderer=tiny)
    for clip in written:
        shutil.copytree(clip.folder, tmp_path / "Part_A_ME_clip" / clip.annotation.clip)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(UserError, match="no long video of CAS"):
        _read("casme3", tmp_path)


def test_what_lies_in_no_long_video_is_told_of_either_kind(tmp_path: Path) -> None:
    """Or a macro-expression that is found there would count as a false alarm without a word."""
    written = write_corpus("casme3", tmp_path, subjects=2, clips=2, renderer=tiny)
    cut = written[0]
    shutil.copytree(cut.folder, tmp_path / "Part_A_clip" / cut.annotation.clip)
    shutil.rmtree(cut.folder)
    sheet = next(tmp_path.rglob("*part_A_ME*"))
    shutil.copy(sheet, sheet.with_name("cas(me)3_part_A_MaE_label.xlsx"))
    _, report = _read("casme3", tmp_path)
    told = [note.what for note in report if "of a long video" in note.why]
    assert told == [f"1 {k}-expressions in {cut.annotation.clip}" for k in ("micro", "macro")]


def test_the_preferred_tree_of_two(tmp_path: Path) -> None:
    write_corpus("casme_squared", tmp_path, subjects=2, clips=2, renderer=tiny)
    once, _ = _read("casme_squared", tmp_path)
    shutil.copytree(tmp_path / "rawpic", tmp_path / "cropped")
    twice, _ = _read("casme_squared", tmp_path)
    assert twice == once
