"""The selective scan of S6 (Gu and Dao, Mamba, arXiv 2312.00752), exact, in time linear in T.

For each sample, channel and state, with h before the first step zero::

    h[t] = exp(dt[t] a) h[t-1] + dt[t] x[t] b[t]          y[t] = sum over states of h[t] c[t]

On a CPU in float32 it runs in own compiled loops (``scan_kernels.py``), on CUDA in ``mamba-ssm``
where that is installed, otherwise step by step in torch.

Letters: B samples, D channels, T steps, N states of a channel.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from deft_llm.spotters import scan_kernels as kernels

_ALONE = 200_000  # state elements that one thread has done before others have started
_MOST_PARTS = 8  # of the channels of a sample; each needs room for gradients of its own
_Range = tuple[int, int]


def selective_scan(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """Run the scan; gradients reach all five arguments.

    Args:
        x: Input (B, D, T).
        dt: Positive step sizes (B, D, T).
        a: Negative rates (D, N).
        b: Input weights (B, T, N).
        c: Output weights (B, T, N).

    Returns:
        Output (B, D, T), in the type of x. Half precision is computed in float32.
    """
    if x.is_cuda and (fused := _mamba_ssm()) is not None:
        # It wants all but the rates in one type; autocast leaves some in float32.
        dt, b, c = (v.to(x.dtype) for v in (dt, b, c))
        out: Tensor = fused(x, dt, a.float(), b.transpose(1, 2), c.transpose(1, 2))
        return out
    given: tuple[Tensor, ...] = (x, dt, a, b, c)
    if x.dtype in (torch.float16, torch.bfloat16):
        given = tuple(v.float() for v in given)
    if x.device.type != "cpu" or given[0].dtype != torch.float32:
        return scan_in_torch(*given).to(x.dtype)
    # numba compiles its loops anew for every type and memory layout: always the same one.
    given = tuple(v.float().contiguous() for v in given)
    if torch.is_grad_enabled() and any(v.requires_grad for v in given):
        y: Tensor = _Scan.apply(*given)
    else:
        y, _ = _forward(given, save=False)
    return y.to(x.dtype)


def scan_in_torch(x: Tensor, dt: Tensor, a: Tensor, b: Tensor, c: Tensor) -> Tensor:
    """``selective_scan`` as a loop over steps, for any device and type.

    Training holds every step's states: B x D x T x N elements, a few times.
    """
    h = x.new_zeros(*x.shape[:2], a.shape[1])
    outputs = []
    # Unbound first: indexing the time axis inside the loop has a backward quadratic in T.
    steps = (x.unbind(-1), dt.unbind(-1), b.unbind(1), c.unbind(1))
    for x_t, dt_t, b_t, c_t in zip(*steps, strict=True):
        h = torch.exp(dt_t[..., None] * a) * h + (dt_t * x_t)[..., None] * b_t[:, None]
        # Not a matrix product, which autocast would round to half precision.
        outputs.append((h * c_t[:, None]).sum(-1))
    return torch.stack(outputs, -1)


class _Scan(torch.autograd.Function):
    """The compiled loops. The state before each chunk is kept, the backward repeats the others."""

    @staticmethod
    def forward(ctx: Any, *given: Tensor) -> Tensor:
        y, saved = _forward(given, save=True)
        ctx.save_for_backward(*given, saved)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, ...]:
        return _backward(ctx.saved_tensors, grad.contiguous())


def _forward(given: tuple[Tensor, ...], save: bool) -> tuple[Tensor, Tensor]:
    """Output (B, D, T), and the state before each chunk (B, D, chunks, N), none without save."""
    x, states = given[0], given[2].shape[1]
    chunks = -(-x.shape[-1] // kernels.CHUNK) if save else 0
    y, saved = torch.empty_like(x), x.new_empty(*x.shape[:2], chunks, states)
    x_, dt, a, b, c, y_, saved_ = (v.detach().numpy() for v in (*given, y, saved))

    def part(samples: _Range, channels: _Range, _: int) -> None:
        kernels.forward(x_, dt, a, b, c, y_, saved_, samples, channels)

    _run(part, x, states)
    return y, saved


def _backward(saved: tuple[Tensor, ...], grad: Tensor) -> tuple[Tensor, ...]:
    """Gradients of x, dt, a, b and c."""
    x, dt, a, b, c, states = (v.detach().numpy() for v in saved)
    gx, gdt = np.empty_like(x), np.empty_like(x)
    ga = np.zeros((len(x), *a.shape), np.float32)
    # All channels add to the gradients of b and c, so each part of the channels has its own.
    gb, gc = np.zeros((2, _parts(len(x)), *b.shape), np.float32)

    def part(samples: _Range, channels: _Range, k: int) -> None:
        given = (x, dt, a, b, c, states, grad.numpy())
        kernels.backward(*given, gx, gdt, ga, gb[k], gc[k], samples, channels)

    _run(part, saved[0], a.shape[1])
    return tuple(torch.from_numpy(v) for v in (gx, gdt, ga.sum(0), gb.sum(0), gc.sum(0)))


def _parts(samples: int) -> int:
    """Parts into which the channels of a sample are cut, so that every thread has work."""
    return min(_MOST_PARTS, max(1, -(-torch.get_num_threads() // samples)))


def _run(work: Callable[[_Range, _Range, int], None], x: Tensor, states: int) -> None:
    """Call ``work`` for ranges of samples and of channels, with the number of the latter."""
    samples, channels, _ = x.shape
    threads = torch.get_num_threads()
    jobs = [
        (rows, columns, k)
        for rows in _cut(samples, 4 * threads)  # more jobs than threads: no thread waits long
        for k, columns in enumerate(_cut(channels, _parts(samples)))
    ]
    if threads == 1 or x.numel() * states < _ALONE:
        for job in jobs:
            work(*job)
        return
    # Plain Python threads around kernels that release the GIL: numba's own do not survive a fork,
    # and a training data loader may fork.
    with ThreadPoolExecutor(threads) as pool:
        for done in [pool.submit(work, *job) for job in jobs]:
            done.result()  # re-raises a thread's error


def _cut(length: int, parts: int) -> list[_Range]:
    """At most so many ranges of about equal length."""
    edges = np.linspace(0, length, min(parts, length) + 1).astype(int).tolist()
    return list(pairwise(edges))


@cache
def _mamba_ssm() -> Callable[..., Tensor] | None:
    """``selective_scan_fn`` of mamba-ssm, or None where it is not installed."""
    try:
        module = importlib.import_module("mamba_ssm.ops.selective_scan_interface")
    except ImportError:
        return None
    found: Callable[..., Tensor] = module.selective_scan_fn
    return found
