"""Reading a face: from a scan or a sequence to expressions, view weights and attention."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from deft_llm.data.scan_views import Relief, Surface, channels
from deft_llm.errors import UserError
from deft_llm.facet.configuration import Prompts
from deft_llm.facet.files import LoadedFacet
from deft_llm.facet.sequences import SequenceMotion, sequence_motion, sequence_views
from deft_llm.facet.texts import class_vectors
from deft_llm.scans.normalise import normalise
from deft_llm.scans.scan import Scan

NEAREST = 6  # prompts that are told
_NEAR = 16  # px over which evidence is summed


@dataclass(frozen=True)
class NearPrompt:
    """A text that a face is like.

    Attributes:
        expression: The expression that it belongs to.
        text: The text.
        likeness: Cosine of face and text.
    """

    expression: str
    text: str
    likeness: float


@dataclass(frozen=True)
class ScanReading:
    """What a network says of a face.

    Attributes:
        probabilities: Of each expression; they sum to 1 unless several may be shown at once.
        weights: Yaw in degrees -> weight of the view; missing views are left out.
        prompts: The nearest text of each expression, the nearest first.
        reliefs: The views as drawn, those of the apex for a sequence.
        attention: (V, G, G) how much each place speaks for the first expression, the largest 1.
        tokens: (1 + V, D) the fused face and each view, for DEFT-LLM's expert of scans; 0 for a
            view that was left out.
        curve: (T,) mm that a sequence's face has moved since its first frame; None for a scan.
        used: Frames of the sequence that were looked at.
        notes: What was changed, and what to know.
    """

    probabilities: dict[str, float]
    weights: dict[float, float]
    prompts: tuple[NearPrompt, ...]
    reliefs: tuple[Relief, ...]
    attention: NDArray[np.float32]
    tokens: NDArray[np.float32]
    curve: NDArray[np.float64] | None
    used: tuple[int, ...]
    notes: tuple[str, ...]

    @property
    def expression(self) -> str:
        """The most probable expression."""
        return max(self.probabilities, key=lambda name: self.probabilities[name])

    def record(self) -> dict[str, Any]:
        """The reading as JSON values."""
        return {
            "expression": self.expression,
            "probabilities": {k: round(v, 4) for k, v in self.probabilities.items()},
            "views": {f"{yaw:g}": round(w, 4) for yaw, w in self.weights.items()},
            "prompts": [vars(p) | {"likeness": round(p.likeness, 4)} for p in self.prompts],
            "curve_mm": None if self.curve is None else [round(float(v), 4) for v in self.curve],
            "frames": list(self.used),
            "notes": list(self.notes),
        }


class ScanReader:
    """A network with the expressions that it is asked for.

    Args:
        loaded: The network.
        prompts: Expressions and their texts; None for those that it was trained on.

    Raises:
        UserError: If the text tower does not understand a text.
    """

    def __init__(self, loaded: LoadedFacet, prompts: Prompts | None = None) -> None:
        self.network, self._tower = loaded.network, loaded.texts
        self.config = self.network.config
        self.prompts = self.config.prompts if prompts is None else prompts
        self.tower = self._tower.name
        """The text tower, in words."""
        self._texts = class_vectors(self.prompts, self._tower)
        # Under another name they are still the classes that the linear head knows.
        self._trained = list(self.prompts.values()) == list(self.config.prompts.values())

    def asked(self, prompts: Prompts) -> ScanReader:
        """The same network, asked for other expressions."""
        return ScanReader(LoadedFacet(self.network, self._tower), prompts)

    def read(self, scan: Scan, where: str, missing: Sequence[float] = ()) -> ScanReading:
        """Read a 3D scan.

        Args:
            scan: As read from a file.
            where: Its name, for messages.
            missing: Yaws of the views that are to be left out.

        Raises:
            UserError: If it shows no face, no view is left, or the network takes sequences.
        """
        if self.config.temporal != "none":
            raise UserError(f"{where}: one scan, but this network takes sequences; give a folder")
        return self._read_face(normalise(scan, where), where, missing)

    def read_sequence(
        self,
        scans: Sequence[Scan],
        where: str,
        missing: Sequence[float] = (),
        notes: Sequence[str] = (),
    ) -> ScanReading:
        """Read a 4D sequence; a network for 3D scans reads the frame of the largest motion.

        Args:
            scans: Its frames.
            where: Its name, for messages.
            missing: Yaws of the views that are to be left out.
            notes: Remarks on the sequence from reading it.

        Raises:
            UserError: As `read`, or if there are fewer than three frames.
        """
        config = self.config
        if config.temporal == "none":
            return self._read_apex(
                sequence_motion(scans, where, config.side), where, missing, notes
            )
        pooled = config.temporal != "transformer"
        drawn = sequence_views(
            scans, where, config.channels, config.frames, config.yaws, config.side, pooled
        )
        motion = drawn.motion
        reliefs = self._reliefs(motion.apex)
        told = tuple(dict.fromkeys((*notes, *motion.notes)))
        used = tuple(drawn.used)
        return self._said(drawn.views, reliefs, where, missing, motion.curve, used, told)

    def _read_apex(
        self, motion: SequenceMotion, where: str, missing: Sequence[float], notes: Sequence[str]
    ) -> ScanReading:
        peak = motion.peak
        note = f"a network for 3D: the frame of the largest motion, {peak + 1}, is read"
        told = tuple(dict.fromkeys((*notes, *motion.notes, note)))
        face = replace(motion.apex, notes=told)
        return self._read_face(face, where, missing, motion.curve, (peak,))

    def _reliefs(self, face: Scan) -> list[Relief]:
        """The views of a face as drawn."""
        surface = Surface(face)
        return [surface.relief(yaw, self.config.side) for yaw in self.config.yaws]

    def _read_face(
        self,
        face: Scan,
        where: str,
        missing: Sequence[float],
        curve: NDArray[np.float64] | None = None,
        used: tuple[int, ...] = (),
    ) -> ScanReading:
        config, reliefs = self.config, self._reliefs(face)
        pictures = np.stack([channels(relief, config.channels) for relief in reliefs])
        return self._said(pictures, reliefs, where, missing, curve, used, face.notes)

    def _said(
        self,
        pictures: NDArray[np.float32],
        reliefs: Sequence[Relief],
        where: str,
        missing: Sequence[float],
        curve: NDArray[np.float64] | None,
        used: tuple[int, ...],
        notes: tuple[str, ...],
    ) -> ScanReading:
        yaws = self.config.yaws
        if unknown := [yaw for yaw in missing if yaw not in yaws]:
            raise UserError(
                f"{where}: no view at {unknown[0]:g} degrees; there are "
                f"{', '.join(f'{yaw:g}' for yaw in yaws)}"
            )
        present = torch.tensor([[yaw not in missing for yaw in yaws]])
        if not present.any():
            raise UserError(f"{where}: every view is left out; leave at least one")
        # Also where the caller has switched gradients off: the evidence below needs them.
        with torch.enable_grad():
            shown = torch.from_numpy(pictures)[None].requires_grad_()
            output = self.network(shown, [self._texts], present)[0]
            told = self.network.probabilities(output, self._trained)[0]
            first = int(told.argmax())
            (slope,) = torch.autograd.grad(output.text_logits[0, first], shown)
        shares = told.tolist()
        probabilities = dict(zip(self.prompts, shares, strict=True))
        weights = output.weights[0].tolist()
        return ScanReading(
            probabilities=probabilities,
            weights={y: w for y, w in zip(yaws, weights, strict=True) if y not in missing},
            prompts=self._nearest(output.face[0].detach()),
            reliefs=tuple(reliefs),
            attention=_evidence(slope[0] * shown.detach()[0], present[0]),
            # present.T is (V, 1): zeros for the views that were left out.
            tokens=torch.cat([output.face, output.views[0] * present.T]).detach().numpy(),
            curve=curve,
            used=used,
            notes=notes,
        )

    @cached_property
    def _every_text(self) -> tuple[list[tuple[str, str]], Tensor]:
        """Expression and text of every prompt, and their vectors."""
        listed = [(name, text) for name, texts in self.prompts.items() for text in texts]
        return listed, self._tower.encode([text for _, text in listed])

    def _nearest(self, face: Tensor) -> tuple[NearPrompt, ...]:
        """The nearest text of each expression: its others often say the same."""
        listed, vectors = self._every_text
        with torch.no_grad():
            anchors = F.normalize(self.network.of_text(vectors), dim=-1)
        likeness = (anchors @ F.normalize(face, dim=-1)).tolist()
        best: dict[str, NearPrompt] = {}
        # From the nearest on, so that `setdefault` keeps the nearest text of each expression.
        for i in np.argsort(likeness)[::-1]:
            name, text = listed[int(i)]
            best.setdefault(name, NearPrompt(name, text, float(likeness[int(i)])))
        return tuple(best.values())[:NEAREST]


def _evidence(product: Tensor, present: Tensor) -> NDArray[np.float32]:
    """How much each place of each view speaks for an expression, (V, G, G) in 0..1.

    Gradient times input (Shrikumar et al., 2016), summed over what lies near each other: unlike the
    weights of an attention it follows every way through the network.

    Args:
        product: (V, C, S, S), or (T, V, C, S, S) of frames.
        present: (V,) bool.
    """
    places = product.sum(dim=-3)  # over the channels
    if places.dim() == 4:
        places = places.sum(dim=0)
    near = F.avg_pool2d(places[:, None], _NEAR, stride=_NEAR // 2, count_include_pad=False)[:, 0]
    # Only what speaks for it; what speaks against it is negative.
    maps: NDArray[np.float32] = (near.clamp(min=0) * present[:, None, None]).numpy()
    return maps / max(float(maps.max()), 1e-12)  # nothing at all stays 0


def probabilities_line(probabilities: Mapping[str, float], count: int = 3) -> str:
    """The likeliest expressions: "happiness 0.91 · surprise 0.05 · fear 0.02"."""
    first = sorted(probabilities.items(), key=lambda pair: -pair[1])[:count]
    return " · ".join(f"{name} {share:.2f}" for name, share in first)
