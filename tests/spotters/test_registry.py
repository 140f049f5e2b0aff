"""A spotter on disk: what is loaded finds what the saved one found."""

from __future__ import annotations

import json
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from deft_llm.data.inputs import INPUTS
from deft_llm.data.long_videos import CodedVideo
from deft_llm.errors import UserError
from deft_llm.spotters.hysteresis import Thresholds
from deft_llm.spotters.priors import ClassPrior
from deft_llm.spotters.registry import (
    SPOTTERS,
    LoadedSpotter,
    load_spotter,
    make_spotter,
    save_spotter,
)

SIZES = {"width": 8, "depth": 1, "states": 4}


def _saved(name: str, folder: Path, window: int | None = None) -> LoadedSpotter:
    torch.manual_seed(0)
    network = make_spotter(name, SIZES).eval()
    # Untrained scores are about .5 everywhere; a low threshold makes it find something.
    spotter = LoadedSpotter(name, network, Thresholds(0.05, 0.6), half=9, window=window)
    folder.mkdir()
    save_spotter(spotter, folder)
    return spotter


@pytest.mark.parametrize("name", SPOTTERS)
def test_saved_and_loaded_find_the_same(
    name: str, tmp_path: Path, videos: list[CodedVideo]
) -> None:
    saved = _saved(name, tmp_path / name, window=30)
    loaded = load_spotter(tmp_path / name)
    assert loaded.rois == (5 if name == "me_tst" else 18)
    assert loaded.config == saved.config and loaded.thresholds == saved.thresholds
    curves = videos[0].curves(loaded.rois)
    one, other = saved.read(curves), loaded.read(curves)
    np.testing.assert_array_equal(one.score, other.score)
    np.testing.assert_array_equal(one.logits, other.logits)
    assert loaded.spot(curves) == saved.spot(curves) != []
    lengths = [len(each.interval) for each in loaded.decode(other, "fixed")]
    assert max(lengths) == 2 * saved.half + 1
    with pytest.raises(UserError, match="did you mean 'scalable'"):
        loaded.decode(other, "scaleable")


@pytest.mark.parametrize("window", [None, 30])
def test_a_face_and_its_mirror_image_are_read_alike(
    window: int | None, tmp_path: Path, videos: list[CodedVideo]
) -> None:
    plain = _saved("me_tst_plus", tmp_path / "x", window)
    both = replace(plain, mirrored=True)
    curves = videos[0].curves(18)
    mirrored = INPUTS["roi_curves"].mirror(torch.from_numpy(curves)[None])[0].numpy()
    one, other = plain.read(curves), plain.read(mirrored)
    assert np.abs(one.score - other.score).max() > 1e-4, "an untrained network has sides"
    read, again = both.read(curves), both.read(mirrored)
    np.testing.assert_allclose(read.score, (one.score + other.score) / 2, atol=1e-6)
    np.testing.assert_allclose(read.logits, (one.logits + other.logits) / 2, atol=1e-6)
    np.testing.assert_allclose(read.score, again.score, atol=1e-6)


def test_every_setting_is_saved(tmp_path: Path) -> None:
    network = make_spotter("me_tst", SIZES).eval()
    saved = LoadedSpotter(
        "me_tst",
        network,
        Thresholds(0.2, 0.7),
        half=5,
        prior=ClassPrior("zero", -0.5, 0.25),
        fps=25.0,
        window=40,
        mirrored=True,
    )
    save_spotter(saved, tmp_path)
    loaded = load_spotter(tmp_path)
    for setting in fields(LoadedSpotter):
        if setting.name != "network":
            value = getattr(saved, setting.name)
            assert value != setting.default, "a default would tell nothing"
            assert getattr(loaded, setting.name) == value
    # Each setting of the prior in turn, beside the defaults of the others.
    changes: tuple[dict[str, Any], ...]
    changes = ({"neutral": "keep"}, {"negative_bias": 1.0}, {"minority": 0.0})
    for change in changes:
        save_spotter(replace(saved, prior=ClassPrior(**change)), tmp_path)
        assert load_spotter(tmp_path).prior == ClassPrior(**change)


def test_what_is_wrong_with_a_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such file; expected a folder with"):
        load_spotter(tmp_path)
    folder = tmp_path / "x"
    _saved("me_tst", folder)
    config = json.loads((folder / "config.json").read_text())
    for key, value, message in (
        ("spotter", "me_tts", "did you mean 'me_tst'"),
        ("thresholds", {"enter": 1.5}, "thresholds.enter"),
        ("model", {**config["model"], "width": 16}, "does not fit its config.json"),
        ("model", {**config["model"], "widht": 16}, "widht"),
    ):
        (folder / "config.json").write_text(json.dumps({**config, key: value}))
        with pytest.raises(UserError, match=message):
            load_spotter(folder)
