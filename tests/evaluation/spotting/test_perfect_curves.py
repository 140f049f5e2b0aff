"""What decoders lose on perfect curves, on the real coding and on drawn ones."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.corpora.base import load_corpus
from deft_llm.evaluation.spotting.perfect_curves import (
    alarms_on_noise,
    coded_videos,
    decoder_f1,
    drawn_videos,
)
from deft_llm.spotters.priors import half_length

# Greedy F1 by an independent implementation, on the coding of CAS(ME)3. Ours is the last.
EXPECTED = {
    **{"fixed_mean_sd0": 0.601, "fixed_mean_sd0.05": 0.450},
    **{"fixed_sd0": 0.715, "fixed_sd0.05": 0.482},
    **{"scalable_sd0": 0.881, "scalable_sd0.05": 0.716},
    **{"hysteresis_sd0": 0.998, "hysteresis_sd0.05": 0.993},
}


def test_the_real_coding(real: Path, tmp_path: Path) -> None:
    sheet = real / "annotations" / "casme3_table.xlsx"
    (tmp_path / sheet.name).symlink_to(sheet)
    videos = coded_videos(load_corpus("casme3", tmp_path).read(frames=False).annotations)
    coded = [each for video in videos for each in video.coded]
    assert len(coded) == 860
    assert half_length(coded) == 11
    assert half_length(coded, average="mean") == 17
    found = decoder_f1(videos)
    for name, value in EXPECTED.items():
        assert found[name] == pytest.approx(value, abs=0.02), name


@pytest.mark.parametrize("seed", [0, 1])
def test_ours_loses_next_to_nothing(seed: int) -> None:
    found = decoder_f1(drawn_videos(80, seed), seed)
    assert found["hysteresis_sd0"] >= 0.98
    assert found["hysteresis_sd0.05"] >= 0.97
    for name in ("fixed", "fixed_mean", "scalable", "challenge"):
        assert found[f"{name}_sd0"] < found["hysteresis_sd0"] - 0.05
        assert found[f"{name}_sd0.05"] < found["hysteresis_sd0.05"] - 0.1


def test_an_hour_without_expressions() -> None:
    found = alarms_on_noise()
    assert found["hysteresis"] == 0
    assert min(found[name] for name in ("fixed", "scalable", "challenge")) > 2
