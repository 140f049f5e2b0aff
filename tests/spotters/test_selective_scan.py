"""The selective scan against an independent implementation, its torch form and published numbers.

transformers' MambaMixer is the oracle. float32 allows 3e-8 on an output of about 0.1, which is
four units in its last place; gradients are sums over all steps and agree to 2e-6 of their largest.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import MambaConfig
from transformers.models.mamba.modeling_mamba import MambaMixer

from deft_llm.spotters import selective_scan as scans
from deft_llm.spotters.layers import Mamba
from deft_llm.spotters.scan_kernels import CHUNK
from deft_llm.spotters.selective_scan import scan_in_torch, selective_scan


@pytest.fixture
def threads() -> Iterator[None]:
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def given(samples: int, channels: int, steps: int, states: int, seed: int = 0) -> list[Tensor]:
    """x, dt, a, b, c of a scan."""
    draw = torch.Generator().manual_seed(seed)
    x = torch.randn(samples, channels, steps, generator=draw)
    dt = torch.rand(samples, channels, steps, generator=draw) * 0.2
    a = -torch.rand(channels, states, generator=draw) * states
    b, c = torch.randn(2, samples, steps, states, generator=draw)
    return [x, dt, a, b, c]


def gradients(form: object, values: list[Tensor], dtype: torch.dtype) -> list[Tensor]:
    """Output, then the gradient of a fixed sum of it for each argument."""
    leaves = [v.to(dtype).requires_grad_() for v in values]
    y = form(*leaves)  # type: ignore[operator]
    weights = torch.randn(y.shape, generator=torch.Generator().manual_seed(1)).to(dtype)
    return [y.detach(), *torch.autograd.grad((y * weights).sum(), leaves)]


def mixer_of(width: int, states: int, **options: int) -> MambaMixer:
    settings = {"time_step_rank": -(-width // 16), **options}
    config = MambaConfig(hidden_size=width, state_size=states, num_hidden_layers=1, **settings)
    # In training, where mamba-ssm is installed, the mixer would take a fused path.
    return MambaMixer(config, 0).eval()


@pytest.mark.parametrize("steps", [1, 3, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
@pytest.mark.parametrize(("samples", "channels", "states"), [(1, 5, 64), (3, 2, 4), (2, 7, 17)])
def test_kernel_is_the_recurrence(samples: int, channels: int, steps: int, states: int) -> None:
    values = given(samples, channels, steps, states)
    expected = gradients(scan_in_torch, values, torch.float64)
    compiled = gradients(selective_scan, values, torch.float32)
    for found, exact in zip(compiled, expected, strict=True):
        assert (found - exact).abs().max() <= 2e-6 * exact.abs().max()


def test_gradients_of_the_torch_form_are_exact() -> None:
    values = [v.double().requires_grad_() for v in given(2, 3, 5, 4)]
    assert torch.autograd.gradcheck(scan_in_torch, values)


@pytest.mark.parametrize("samples", [1, 5])
def test_threads_change_nothing(samples: int, threads: None) -> None:
    values = given(samples, 40, 2 * CHUNK + 5, 64)
    assert math.prod(values[0].shape) * 64 > scans._ALONE
    found = {}
    for count in (1, 3):
        torch.set_num_threads(count)
        found[count] = gradients(selective_scan, values, torch.float32)
    assert torch.equal(found[1][0], found[3][0])
    for one, three in zip(found[1], found[3], strict=True):
        torch.testing.assert_close(one, three, rtol=1e-5, atol=1e-5)


def test_output_does_not_depend_on_the_batch_or_on_what_follows() -> None:
    x, dt, a, b, c = given(4, 6, 150, 16)
    whole = selective_scan(x, dt, a, b, c)
    for i in range(4):
        one = slice(i, i + 1)
        assert torch.equal(selective_scan(x[one], dt[one], a, b[one], c[one]), whole[one])
    first = selective_scan(x[..., :70], dt[..., :70], a, b[:, :70], c[:, :70])
    assert torch.equal(first, whole[..., :70])


def test_without_gradients_the_output_is_the_same() -> None:
    values = given(2, 3, 100, 8)
    with torch.no_grad():
        plain = selective_scan(*values)
    assert torch.equal(plain, gradients(selective_scan, values, torch.float32)[0])


def test_memory_fades_and_diverging_values_show() -> None:
    x, dt, a, b, c = given(1, 2, 50, 4)
    x[..., 1:] = 0
    # exp(-1000) is 0: nothing of the first step is left.
    assert selective_scan(x, dt + 1000, a - 1, b, c)[..., 2:].abs().max() < 1e-30
    x[0, 0, 7] = math.nan
    assert selective_scan(x, dt, a, b, c)[0, 0, 7:].isnan().all()


def test_half_precision_is_computed_in_float32() -> None:
    x, dt, a, b, c = given(1, 4, 80, 8)
    halves = [v.bfloat16() for v in (x, dt, b, c)]
    found = selective_scan(halves[0], halves[1], a, halves[2], halves[3])
    rounded = [v.float() for v in halves]
    expected = selective_scan(rounded[0], rounded[1], a, rounded[2], rounded[3])
    assert found.dtype == torch.bfloat16
    assert torch.equal(found, expected.bfloat16())


@pytest.mark.parametrize(("width", "states"), [(8, 4), (64, 64)])
def test_layer_agrees_with_transformers(width: int, states: int) -> None:
    torch.manual_seed(0)
    ours, oracle = Mamba(width, states), mixer_of(width, states)
    oracle.load_state_dict(ours.state_dict(), strict=True)
    x = torch.randn(2, 100, width)
    mine, theirs = x.clone().requires_grad_(), x.clone().requires_grad_()
    y, expected = ours(mine), oracle(theirs)
    torch.testing.assert_close(y, expected, rtol=0, atol=3e-8)
    weights = torch.randn_like(y)
    y.backward(weights)
    expected.backward(weights)
    grads = {name: p.grad for name, p in oracle.named_parameters()}
    pairs = [(mine.grad, theirs.grad), *((p.grad, grads[n]) for n, p in ours.named_parameters())]
    for found, exact in pairs:
        assert found is not None and exact is not None
        assert (found - exact).abs().max() <= 2e-6 * exact.abs().max()


def test_golden_values() -> None:
    layer = Mamba(8, states=4)
    with torch.no_grad():
        for i, (name, p) in enumerate(sorted(layer.named_parameters())):
            n = np.arange(p.numel())
            values = 0.3 * np.sin(0.37 * n + i)
            values = {"A_log": np.log(1 + n % 4), "D": np.ones(p.numel())}.get(name, values)
            p.copy_(torch.from_numpy(values).view(p.shape))
        x = torch.from_numpy(np.sin(0.61 * np.arange(96))).float().view(2, 6, 8)
        y = layer(x)
    assert y[0, 0, :3].tolist() == pytest.approx([0.006509, -0.002268, -0.010749], abs=1e-6)
    assert y.sum().item() == pytest.approx(-1.621163, abs=2e-6)
    assert y.square().sum().item() == pytest.approx(0.067199, abs=1e-6)


def test_step_sizes_keep_their_range() -> None:
    # Zero biases, as published, would start every step at softplus(0) = 0.69.
    steps = torch.nn.functional.softplus(Mamba(64).dt_proj.bias)
    assert 1e-3 * 0.99 <= steps.min() < 0.01 < 0.05 < steps.max() <= 0.1 * 1.01
