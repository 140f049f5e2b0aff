"""Simulated long videos, written in a corpus's layout and read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.corpora.base import load_corpus
from deft_llm.corpora.long_videos import long_videos
from deft_llm.corpora.report import Report
from deft_llm.errors import UserError
from deft_llm.simulator.scene.video_drawing import Rates, draw_video
from deft_llm.simulator.scene.video_spec import MACRO, MICRO, VideoSpec
from tests.corpora.written_videos import LONG, write_long_videos


def _pixels(spec: VideoSpec) -> Iterator[NDArray[np.uint8]]:
    frame = np.full((2, 2, 3), spec.rest.seed % 255, np.uint8)
    return (frame for _ in range(spec.frames))


@pytest.mark.parametrize("name", LONG)
def test_what_is_written_is_read(name: str, tmp_path: Path) -> None:
    rates = Rates(micro=10, macro=10)
    specs = [draw_video(70 + k, k % 2, 14.0, without=k == 3, rates=rates) for k in range(4)]
    written = write_long_videos(name, tmp_path, specs, _pixels)
    report = Report()
    videos = {video.folder: video for video in long_videos(load_corpus(name, tmp_path), report)}
    assert len(videos) == 4 and len({v.subject for v in videos.values()}) == 2
    assert any(spec.of_kind(MACRO) for spec in specs)
    for each in written:
        video = videos[each.folder]
        assert video.frames == each.spec.frames * each.held
        for kind, found in ((MICRO, video.micro), (MACRO, video.macro)):
            shown = each.spec.of_kind(kind)
            assert [e.interval for e in found] == [each.interval(s) for s in shown]
            if kind == MICRO:
                for expression, original in zip(found, shown, strict=True):
                    expected = facs.to_three(original.emotion) or "others"
                    assert facs.to_scheme(expression.emotion, "4") in (expected, "others")


def test_wrong_orders_are_told(tmp_path: Path) -> None:
    still = draw_video(1, 0, 5.0, without=True)
    with pytest.raises(UserError, match="no corpus of long videos"):
        write_long_videos("casme2", tmp_path, [still], _pixels)
    with pytest.raises(UserError, match="1 videos without a micro-expression"):
        write_long_videos("casme3", tmp_path, [still], _pixels)
    (tmp_path / "x").touch()
    with pytest.raises(UserError, match="not empty"):
        write_long_videos("casme3", tmp_path, [still], _pixels)
