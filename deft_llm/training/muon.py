"""Muon for the matrices of a network and AdamW for the rest, as one optimizer.

Muon (Jordan 2024) orthogonalizes the momentum of a weight matrix before the step. The weights of
a convolution are treated as a matrix from all its inputs to its outputs. The step is scaled to
the size of AdamW's (arXiv 2502.16982), so that both use the same learning rate.

Compared with AdamW alone at equal steps: loss on structured answers about held-out clips 0.22
nats per token instead of 0.31 (the tiny recipe's conversations, 500 steps), endpoint error on
held-out faces 0.060 px instead of 0.067 (an early form of the first flow in
`flow_models/first_flow.py`, 600 steps).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from deft_llm.machine import takes_bfloat16


class WideMuon(Muon):
    """torch's Muon with its iteration in float32, for CPUs on which bfloat16 is slow.

    On such a CPU, a step of the tiny recipe's language model takes 0.7 s instead of 3.5 s.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run one step; if given, evaluate the closure first and return its value."""
        loss = _evaluated(closure)
        for group in self.param_groups:
            lr, momentum = group["lr"], group["momentum"]
            for weight in group["params"]:
                if weight.grad is None:
                    continue
                state = self.state[weight]
                if "momentum_buffer" not in state:
                    state["momentum_buffer"] = torch.zeros_like(weight.grad)
                kept = state["momentum_buffer"].lerp_(weight.grad, 1 - momentum)
                # Nesterov momentum, as in torch's Muon: the gradient moved towards its running
                # mean.
                update = orthogonal(
                    weight.grad.lerp(kept, momentum),
                    group["ns_coefficients"],
                    group["ns_steps"],
                    group["eps"],
                )
                weight.mul_(1 - lr * group["weight_decay"])  # decoupled, as in AdamW
                # Matches the RMS of AdamW's update ("match_rms_adamw" in torch).
                weight.add_(update, alpha=-0.2 * lr * max(weight.shape) ** 0.5)
        return loss


def _evaluated(closure: Callable[[], Any] | None) -> Any:
    """The value of a step's closure, with gradients; None without one."""
    if closure is None:
        return None
    with torch.enable_grad():
        return closure()


def orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """A matrix with all its singular values brought near 1 (Newton-Schulz, Jordan 2024).

    Args:
        matrix: (M, N), float32.
        coefficients: Coefficients of the quintic polynomial.
        steps: Number of iterations.
        eps: Lower bound of the norm in the division.
    """
    a, b, c = coefficients
    # Transpose tall matrices, so that the Gram matrix has the shorter side.
    tall = matrix.shape[0] > matrix.shape[1]
    x = matrix.T if tall else matrix
    # The Frobenius norm bounds the largest singular value, as the iteration requires at most 1.
    x = x / x.norm().clamp(min=eps)
    for _ in range(steps):
        gram = x @ x.T
        # a x + (b G + c G G) x with G = x x'.
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.T if tall else x


class MuonAdamW(Optimizer):
    """Two optimizers that step together; schedulers see the groups of both."""

    def __init__(
        self, matrices: list[dict[str, Any]], others: list[dict[str, Any]], **adamw: Any
    ) -> None:
        """Create both optimizers.

        Args:
            matrices: Groups of parameters of two dimensions or more (outputs first), with ``lr``
                and ``weight_decay``, for Muon.
            others: Groups of all other parameters, for AdamW.
            **adamw: Options of AdamW (``betas``, ``eps``).

        Raises:
            ValueError: If a group of ``matrices`` holds vectors.
        """
        self.parts: list[Optimizer] = []
        self.reshaped = [p for group in matrices for p in group["params"] if p.ndim > 2]
        if matrices:
            kind = Muon if takes_bfloat16(True) else WideMuon
            with _flat(self.reshaped):
                self.parts.append(kind(matrices, adjust_lr_fn="match_rms_adamw"))
        if others:
            self.parts.append(AdamW(others, **adamw))
        # Copies, because Optimizer's constructor changes the groups it is given; _join replaces
        # them.
        super().__init__([dict(group) for part in self.parts for group in part.param_groups], {})
        self._join()

    def _join(self) -> None:
        """Share the parts' groups, so that a scheduler's changes reach the parts."""
        self.param_groups = [group for part in self.parts for group in part.param_groups]

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run one step of both; if given, evaluate the closure first and return its value."""
        loss = _evaluated(closure)
        with _flat(self.reshaped):
            for part in self.parts:
                part.step()
        return loss

    def state_dict(self) -> dict[str, Any]:
        """The states of both parts."""
        return {"parts": [part.state_dict() for part in self.parts]}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the states of both parts."""
        for part, state in zip(self.parts, state_dict["parts"], strict=True):
            part.load_state_dict(state)
        self._join()


@contextmanager
def _flat(weights: Iterable[nn.Parameter]) -> Iterator[None]:
    """Temporarily reshape the weights of convolutions and their gradients to matrices."""
    shapes = [(weight, weight.shape) for weight in weights]
    for weight, _ in shapes:
        # torch requires the gradient to have its weight's shape; take it off while that changes.
        gradient, weight.grad = weight.grad, None
        weight.data = weight.data.flatten(1)
        weight.grad = None if gradient is None else gradient.flatten(1)
    try:
        yield
    finally:
        for weight, shape in shapes:
            gradient, weight.grad = weight.grad, None
            weight.data = weight.data.view(shape)
            weight.grad = None if gradient is None else gradient.view(shape)


def matrices_of(
    model: nn.Module,
    but: Iterable[nn.Module | None] = (),
    kinds: tuple[type[nn.Module], ...] = (nn.Linear,),
) -> set[int]:
    """Ids of the weights for Muon: those of hidden layers.

    Args:
        model: The network.
        but: Layers to exclude: those that read pixels or output classes, words or motion.
        kinds: Types of layers. Grouped convolutions are excluded, as they do not mix channels.
            The tasks of ``loop.py`` count convolutions in and DEFT-LLM's stages do not; either way
            is what the networks that come with the package were trained by.
    """
    left_out = {id(layer) for layer in but}
    return {
        id(layer.weight)
        for layer in model.modules()
        if isinstance(layer, kinds) and id(layer) not in left_out and _mixes(layer)
    }


def _mixes(layer: nn.Module) -> bool:
    return getattr(layer, "groups", 1) == 1
