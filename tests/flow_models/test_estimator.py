"""The network behind the interface of all estimators: sizes, tiles, files, wrong input."""

from __future__ import annotations

import json
import shutil
import tracemalloc
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.flow_models.estimator import SRFlow, _cuts
from deft_llm.flow_models.files import load_flow_net
from deft_llm.flow_models.skflow import SKFlow
from deft_llm.motion.flow import flow_estimator
from deft_llm.weights import save_network

from .conftest import waves


def test_by_name_and_direct(tiny_folder: Path) -> None:
    a, b = waves(64, 72).clip(0, 255), waves(64, 72, 0.5).clip(0, 255)
    named = flow_estimator("srflow", folder=tiny_folder)
    flow = named(a, b)
    assert named.name == "srflow"
    assert flow.shape == (2, 64, 72) and flow.dtype == np.float32 and np.isfinite(flow).all()
    np.testing.assert_array_equal(flow, SRFlow(tiny_folder)(a, b))


def test_grey_and_bytes(tiny_folder: Path) -> None:
    a, b = (np.rint(waves(40, 52, u)).clip(0, 255).astype(np.uint8) for u in (0.0, 0.5))
    estimator = SRFlow(tiny_folder)
    colour = estimator(a, b)
    np.testing.assert_allclose(estimator(a[..., 0], b[..., 0]), colour, atol=1e-6)
    np.testing.assert_allclose(estimator(a.astype(float), b.astype(float)), colour, atol=1e-6)


def test_cuts_cover_evenly() -> None:
    for length in (64, 65, 100, 161, 1000):
        cuts = list(_cuts(length, 64, 16))
        assert cuts[0].start == 0 and cuts[-1].stop == length
        assert all(c.stop - c.start == min(length, 64) for c in cuts)
        assert all(a.stop - b.start >= 16 for a, b in pairwise(cuts))


def test_tiles_agree_with_the_whole(tiny_folder: Path) -> None:
    """Away from its edges a tile sees what the whole image shows: the steps are local."""
    a, b = waves(112, 136), waves(112, 136, 0.6, -0.4)
    whole = SRFlow(tiny_folder)(a, b)
    tiled = SRFlow(tiny_folder, tile=96, overlap=48)(a, b)
    assert np.abs(whole - tiled).mean() < 0.02
    assert np.abs(np.diff(tiled, axis=2)).max() < 0.15  # no seams


@pytest.mark.parametrize(("tile", "overlap"), [(96, 96), (96, 200), (96, 0), (0, 0)])
def test_tiles_have_to_go_on(tiny_folder: Path, tile: int, overlap: int) -> None:
    with pytest.raises(UserError, match="expected an overlap above 0 px"):
        flow_estimator("srflow", folder=tiny_folder, tile=tile, overlap=overlap)


def test_large_pair_in_little_memory(tiny_folder: Path) -> None:
    """4000 x 3000 px; a network that copies its first input's brightness stands for the real."""
    estimator = SRFlow(tiny_folder)
    most = 0

    def flow(first: torch.Tensor, second: torch.Tensor) -> np.ndarray:
        nonlocal most
        most = max(most, *first.shape[1:])
        return first[:2].numpy().astype(np.float32) / 255

    estimator._flow = flow  # type: ignore[method-assign]
    image = np.zeros((3000, 4000, 3), np.uint8)
    image[:] = np.arange(4000).astype(np.uint8)[:, None]
    tracemalloc.start()
    found = estimator(image, image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most <= 512
    np.testing.assert_allclose(found[0], image[..., 0] / np.float32(255), atol=1e-5)
    assert peak < 400e6


def test_wrong_input_is_named(tiny_folder: Path) -> None:
    estimator = SRFlow(tiny_folder)
    good = np.zeros((32, 32, 3), np.uint8)
    for other, words in (
        (np.zeros((32, 40, 3), np.uint8), "32x32 and 40x32"),
        (np.full((32, 32, 3), np.nan, np.float32), "NaN"),
        (np.zeros((32, 32, 3), np.uint16), "uint16"),
        (np.zeros((32, 32, 2), np.uint8), r"\(32, 32, 2\)"),
    ):
        with pytest.raises(UserError, match=words):
            estimator(good, other)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16])
def test_saved_and_loaded(tiny: SKFlow, tmp_path: Path, dtype: torch.dtype) -> None:
    save_network(tiny, tmp_path, dtype)
    loaded = load_flow_net(tmp_path)
    assert loaded.config == tiny.config and not loaded.training
    images = torch.rand(1, 3, 48, 48) * 255
    tolerance = 0 if dtype == torch.float32 else 0.02
    torch.testing.assert_close(
        loaded(images, images + 3)[-1], tiny(images, images + 3)[-1], atol=tolerance, rtol=0
    )


def test_broken_folders_are_named(tiny_folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"config\.json: no such file"):
        load_flow_net(tmp_path)
    copy = tmp_path / "copy"
    shutil.copytree(tiny_folder, copy)
    values = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps({**values, "width": 0.125}))
    with pytest.raises(UserError, match="does not fit"):
        load_flow_net(copy)
    (copy / "config.json").write_text(json.dumps({**values, "widht": 1}))
    with pytest.raises(UserError, match="did you mean 'width'"):
        load_flow_net(copy)
    (copy / "config.json").write_text(json.dumps(values))
    data = (copy / "model.safetensors").read_bytes()
    (copy / "model.safetensors").write_bytes(data[: len(data) // 2])
    with pytest.raises(UserError, match="not a saved flow network"):
        load_flow_net(copy)
