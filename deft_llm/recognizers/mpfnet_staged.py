"""MPFNet trained by its stages in one call, as a benchmark's row or by a recipe.

``fit`` gets the training clips of one fold, so priors, magnified copies and prototypes are made
anew in every fold. What it saves is a plain ``mpfnet``.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.config import validate_settings
from deft_llm.data.inputs import magnified_volume
from deft_llm.files import digest
from deft_llm.motion.flow_diff import LENGTH, Reference
from deft_llm.recognizers.mpfnet import MPFNet, Variant
from deft_llm.recognizers.mpfnet_stages import Stages, train_stages
from deft_llm.recognizers.saved import save_recognizer

logger = logging.getLogger(__name__)
Floats = NDArray[np.float32]
_KEPT = 2 * 2**30  # bytes of volumes; one has 0.4 MB at 64 px
_BATCH = 16  # clips of a forward pass in prediction


class _Volumes:
    """Volumes of clips by content: folds and seeds ask for the same ones again."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, int, float, int, Reference], NDArray[np.float16]] = {}
        self._bytes = 0

    def __call__(
        self, key_frames: Floats, side: int, factor: float, length: int, reference: Reference
    ) -> Floats:
        key = digest(np.ascontiguousarray(key_frames).data), side, factor, length, reference
        if key not in self._kept:
            # Half precision in memory; also for the first reader, so that all get the same numbers.
            made = magnified_volume(key_frames, *key[1:]).astype(np.float16)
            self._kept[key] = made
            self._bytes += made.nbytes
            while self._bytes > _KEPT:
                # The oldest: those of a seed that is done.
                self._bytes -= self._kept.pop(next(iter(self._kept))).nbytes
            return made.astype(np.float32)
        return self._kept[key].astype(np.float32)


_volumes = _Volumes()


class MPFNetStaged:
    """MPFNet as a recognizer with ``fit`` and ``predict_proba``.

    Args:
        classes: Number of classes.
        variant: As of ``MPFNet``.
        stages: Settings of ``Stages``; ``{triplets: 0, magnified: 0}`` trains without priors.
        length: Frames of the interpolated clips; the volumes have a pair less.
        reference: Frame against which the copies are magnified; "previous" as the public code.
        seed: Of initial weights, order, mirroring and factors.
        **options: Further options of ``MPFNet``.
    """

    inputs: tuple[str, ...] = ("key_frames",)

    def __init__(
        self,
        classes: int,
        variant: Variant = "c",
        stages: dict[str, Any] | None = None,
        length: int = LENGTH,
        reference: Reference = "onset",
        seed: int = 0,
        **options: Any,
    ) -> None:
        self.options = {"variant": variant, **options}
        self.stages = validate_settings(Stages, stages or {}, "mpfnet_staged: stages")
        self.length, self.reference, self.seed, self.classes = length, reference, seed, classes
        self.network = self._fresh()
        self.present = np.arange(classes)

    def _fresh(self) -> MPFNet:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            return MPFNet(self.classes, **self.options)

    def fit(self, inputs: dict[str, Floats], labels: NDArray[np.int64]) -> None:
        """Run all stages on N clips; a class without a clip gets probability 0 afterwards.

        A second call trains a new network: nothing of the clips before is left in it.
        """
        self.network, frames = self._fresh(), inputs["key_frames"]
        self.present, indices = np.unique(labels, return_inverse=True)
        volumes = torch.from_numpy(self._read(frames))
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            train_stages(
                self.network,
                volumes,
                indices.astype(np.int64),
                lambda row, factor: self._read(frames[row : row + 1], factor)[0],
                self.stages,
                self.seed,
            )

    @torch.no_grad()
    def predict_proba(self, inputs: dict[str, Floats]) -> NDArray[np.float64]:
        """Class probabilities (N, classes)."""
        self.network.eval()
        volumes = self._read(inputs["key_frames"])
        found = [
            self.network({"flow_diff_volume": part}).double().softmax(1)
            for part in torch.from_numpy(volumes).split(_BATCH)
        ]
        # The network knows the classes of its training clips alone.
        answer = np.zeros((len(volumes), self.classes))
        answer[:, self.present] = torch.cat(found).numpy()
        return answer

    def _read(self, frames: Floats, factor: float = 1.0) -> Floats:
        """Volumes (N, 5, T, S, S) of key frames (N, 3, 3, S, S)."""
        assert self.network.side is not None
        how = (self.network.side, factor, self.length, self.reference)
        return np.stack([_volumes(f, *how) for f in frames])

    def save(self, folder: Path, classes: tuple[str, ...]) -> None:
        """Write weights and configuration of the network, to be opened as ``mpfnet``.

        That reads clips of the usual length: it is said if this one has learned from others.
        """
        if self.length != LENGTH:
            logger.warning(
                "%s: opened again, the network is shown clips of %d frames, and it was trained "
                "with %d: train it without the option length",
                *(folder, LENGTH, self.length),
            )
        named = [classes[i] for i in self.present]
        description = {"recognizer": "mpfnet", "options": self.options}
        save_recognizer(self.network, folder, named, description)
