"""How strongly a face must act so that its skin moves as far as an expression says."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from deft_llm.simulator.head import SKIN, Head, HeadMesh, facing
from deft_llm.simulator.scene.life import Dragged

Floats = NDArray[np.float32]
CANONICAL_INTEROCULAR = 80.0  # px, as media/face.py places the canonical landmarks
_PROBE = 0.2  # activation at which the displacement of an AU is measured
_MAX_ACTIVATION = 1.5


class Shown(Protocol):
    """An expression: its AUs, and how far they move the skin; see ``ClipSpec``."""

    @property
    def aus(self) -> tuple[str, ...]:
        """AU codes."""

    @property
    def amplitudes(self) -> tuple[float, ...]:
        """Shares of the peak."""

    @property
    def asymmetry(self) -> tuple[float, ...]:
        """Excess of the subject's left."""

    @property
    def peak_px(self) -> float:
        """Largest displacement."""

    @property
    def dragged(self) -> tuple[Dragged, ...]:
        """Skin that moves along."""


class Actor:
    """One face, and how it is seen.

    Args:
        head: The head model.
        face: One of its identities.
        project: Positions (V, 3) in cm to (V, 2) px.
        interocular: Px between the eyes that ``project`` gives.
    """

    def __init__(
        self,
        head: Head,
        face: HeadMesh,
        project: Callable[[Floats], Floats],
        interocular: float = CANONICAL_INTEROCULAR,
    ) -> None:
        self.head, self.face, self.project, self.interocular = head, face, project, interocular
        self.skin = facing(face, SKIN)
        self.rest = project(face.vertices[self.skin])

    def moved(self, activations: Mapping[str, float]) -> Floats:
        """Displacement of the visible skin under these activations, (N, 2) px of ``project``."""
        return self.project(self.head.deform(self.face, activations)[self.skin]) - self.rest

    def peak(self, activations: Mapping[str, float]) -> float:
        """The largest of these displacements, px of the canonical face."""
        distance = np.linalg.norm(self.moved(activations), axis=1).max()
        return float(distance) * CANONICAL_INTEROCULAR / self.interocular

    def activations_of(self, shown: Shown) -> dict[str, float]:
        """Activations at the apex, such that the skin moves by at most ``peak_px`` from rest.

        Each AU is first scaled to its own share of the peak, since heads differ in what an
        activation of 1 means. Then all are scaled together until the sum fits.
        """
        full: dict[str, float] = {}
        acting = list(zip(shown.aus, shown.amplitudes, shown.asymmetry, strict=True))
        for drag in shown.dragged:
            if str(drag.au) not in self.head.aus:
                continue
            _, share, excess = acting[shown.aus.index(drag.by)]
            side = drag.by[0] if drag.by[0] in "LR" else ""
            acting.append((f"{side}{drag.au}", drag.share * share, excess))
        for code, share, excess in acting:
            sides = _sides(code, excess)
            reach = self.peak({au: _PROBE * value for au, value in sides.items()})
            # The floor stops an AU that moves no visible skin from getting a huge activation.
            gain = _PROBE * share * shown.peak_px / max(reach, 1e-3)
            for au, value in sides.items():
                full[au] = full.get(au, 0.0) + gain * value
        # Repeated: the response is only nearly linear, and the cap changes it.
        for _ in range(3 if full else 0):
            gain = shown.peak_px / max(self.peak(full), 1e-3)
            full = {au: min(gain * value, _MAX_ACTIVATION) for au, value in full.items()}
        return full


def _sides(code: str, excess: float) -> dict[str, float]:
    """Split a code into one-sided activations: "12" -> {"L12": 1 + excess, "R12": 1 - excess}."""
    if code[0] in "LR":
        return {code: 1.0}
    return {f"L{code}": 1 + excess, f"R{code}": 1 - excess}
