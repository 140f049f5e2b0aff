"""Published state dicts load by their names, and give what the published architecture gives."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from deft_llm.errors import UserError
from deft_llm.spotters.base import SpotterConfig
from deft_llm.spotters.boosting_vrme import BoostingVrme
from deft_llm.spotters.me_tst import MeTst, MeTstConfig
from deft_llm.spotters.me_tst_plus import MeTstPlus
from deft_llm.spotters.published import load_published


def first_code(name: str) -> str:
    """What ME-TST's first code calls a parameter."""
    for new, old in (("spot_pathway.block.", "blocks_spot."), ("fc_spot.", "fc_spot.0.")):
        name = name.replace(new, old).replace(
            new.replace("spot", "recog"), old.replace("spot", "recog")
        )
    return name


def boosting(name: str) -> str:
    """What BoostingVRME's code calls a parameter."""
    name = name.removeprefix("trunk.")
    return name.replace("fc_spot.", "fc_spot.0.").replace("fc_recog.", "fc_recog.0.")


# Network, its names in the published code, parameters; then score[0, :3], the scores' sum,
# logits[0, 0, :3] and their sum of squares from the published architecture around transformers'
# MambaMixer, for weights and input as ``pattern`` and ``test_published_weights_load`` make them.
PUBLISHED: dict[str, tuple[Any, Callable[[str], str], int, Any]] = {
    "first ME-TST": (
        lambda: MeTst(MeTstConfig(width=64, shared_path=True)),
        first_code,
        1_249_926,
        ([0.431016, 0.439799, 0.448441], 17.91484, [0.124701, 0.115152, -0.178589], 4.296372),
    ),
    "ME-TST on two GPUs": (
        lambda: MeTst(MeTstConfig(shared_path=True)),
        "module.{}".format,
        3_753_222,
        ([0.019030, 0.017655, 0.016707], 0.699685, [0.694508, 0.461458, -1.221180], 693.98438),
    ),
    "ME-TST+": (
        MeTstPlus,
        str,
        16_671_750,
        ([0.853536, 0.845981, 0.846980], 34.11213, [-3.786367, 3.354838, -0.980062], 1479.75073),
    ),
    "BoostingVRME": (
        BoostingVrme,
        boosting,
        8_368_902,
        ([0.485240, 0.460345, 0.480736], 20.02059, [-1.659572, 1.602241, -1.093781], 501.59390),
    ),
}


def pattern(name: str, i: int, like: Tensor) -> Tensor:
    """Weights anyone can make again; i is the place of the published name in order."""
    n = np.arange(like.numel())
    if name.endswith("A_log"):
        values = np.log(1 + n % 64)
    elif name.endswith((".D", "running_var")):
        values = np.ones(like.numel())
    else:
        centre = float(like.ndim == 1 and name.endswith("weight"))
        values = centre + 0.1 * np.sin(0.37 * n + i)
    return torch.from_numpy(values).to(like.dtype).view(like.shape)


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_weights_load_and_give_the_published_result(kind: str, tmp_path: Path) -> None:
    make, theirs, parameters, (score, score_sum, logits, squares) = PUBLISHED[kind]
    network = make().eval()
    assert sum(p.numel() for p in network.parameters()) == parameters
    state = {theirs(name): value for name, value in network.state_dict().items()}
    published = {
        name: pattern(name, i, state[name]) if state[name].is_floating_point() else state[name]
        for i, name in enumerate(sorted(state, key=lambda name: name.removeprefix("module.")))
    }
    file = tmp_path / "subject_1.safetensors"
    save_file(published, file)
    load_published(network, file)
    shape = 2, network.config.channels, 20
    x = torch.from_numpy(np.sin(0.61 * np.arange(np.prod(shape)))).float().view(shape)
    with torch.no_grad():
        found = network(x)
    assert found.score[0, :3].tolist() == pytest.approx(score, abs=1e-5)
    assert found.score.sum().item() == pytest.approx(score_sum, rel=1e-5)
    assert found.logits[0, 0, :3].tolist() == pytest.approx(logits, abs=1e-4)
    assert found.logits.square().sum().item() == pytest.approx(squares, rel=1e-5)


def test_published_names_of_me_tst_plus() -> None:
    mamba = ["A_log", "D", "in_proj.weight", "conv1d.weight", "conv1d.bias", "x_proj.weight"]
    mamba += ["dt_proj.weight", "dt_proj.bias", "out_proj.weight"]
    norm = ["weight", "bias"]
    batch_norm = [*norm, "running_mean", "running_var", "num_batches_tracked"]
    block = [f"{layer}.{p}" for layer in ("norm1", "norm2", "attn.norm") for p in norm]
    block += [f"attn.mamba.{p}" for p in mamba]

    def convolution(place: str, first: int = 0) -> set[str]:
        kernel = {f"{place}.{first}.{p}" for p in norm}
        return kernel | {f"{place}.{first + 1}.{p}" for p in batch_norm}

    expected = convolution("Stem") | convolution("Stem", 3)
    expected |= {f"{head}.{p}" for head in ("fc_spot", "fc_recog") for p in norm}
    for path in ("spot_pathway", "recog_pathway"):
        expected |= convolution(f"{path}.Stem_slow")
        for stage in ("block1", "block2", "block3", "block1_fast", "block2_fast", "block3_fast"):
            expected |= {f"{path}.{stage}.{i}.{p}" for i in range(4) for p in block}
        for lateral in ("fuse_1", "fuse_2"):
            expected |= convolution(f"{path}.{lateral}.conv")
    with torch.device("meta"):
        assert set(MeTstPlus().state_dict()) == expected


def test_published_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    file, small = tmp_path / "other.safetensors", MeTst(MeTstConfig(width=8, depth=2))
    with pytest.raises(UserError, match="no such file"):
        load_published(small, file)
    file.write_bytes(b"a pickle, perhaps")
    with pytest.raises(UserError, match="not a safetensors file"):
        load_published(small, file)
    save_file(small.state_dict(), file)
    with pytest.raises(UserError, match="does not fit") as caught:
        load_published(MeTstPlus(SpotterConfig(width=8, depth=2)), file)
    assert "\n" not in str(caught.value)
