"""Scale the features of a measured clip to the inputs of the three experts."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AutoFeatureExtractor, BatchFeature, FeatureExtractionMixin

from deft_llm.clip import Clip
from deft_llm.data.features import REGION_COLUMNS, Features, FeatureSizes, pack
from deft_llm.deft.configuration_deft import SCAN, DeftConfig
from deft_llm.errors import UserError
from deft_llm.motion.encoding import encode_flow
from deft_llm.motion.measure import Measurement

ClipSource = str | Path | Clip | Measurement | Features
"""A video file or a folder of frames, a decoded or a measured clip, or its features."""


def listed(clips: ClipSource | Sequence[ClipSource]) -> list[ClipSource]:
    """One clip as a list of one, several as a list."""
    if isinstance(clips, Sequence) and not isinstance(clips, str):
        return list(clips)
    return [clips]


class DeftFeatureExtractor(FeatureExtractionMixin):
    """Measures clips, and scales their features to the experts' inputs.

    Features may hold "scan", FACET-VLM's tokens of a scan of the same face
    (``facet.scan_reader.ScanReading.tokens``).

    Attributes:
        texture_scale: Difference in grey levels that is scaled to 1.
        amplitude_floor: Pixels added to amplitudes before the logarithm.
        structure_size: Side of the onset image; this and the next three as in ``DeftConfig``.
        texture_size: Side of a difference image.
        texture_frames: Number of difference images.
        map_size: Side of the flow map.
    """

    model_input_names = ["structure", "texture", "flow", "flow_scale", "regions"]

    def __init__(
        self,
        texture_scale: float = 8.0,
        amplitude_floor: float = 0.02,
        structure_size: int = 64,
        texture_size: int = 48,
        texture_frames: int = 8,
        map_size: int = 56,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.texture_scale = texture_scale
        self.amplitude_floor = amplitude_floor
        self.structure_size = structure_size
        self.texture_size = texture_size
        self.texture_frames = texture_frames
        self.map_size = map_size

    @classmethod
    def for_model(cls, config: DeftConfig) -> DeftFeatureExtractor:
        """A feature extractor with the input sizes of a model."""
        sizes = ("structure_size", "texture_size", "texture_frames", "map_size")
        return cls(**{name: getattr(config, name) for name in sizes})

    def __call__(self, clips: ClipSource | Sequence[ClipSource]) -> BatchFeature:
        """Clips -> float32 tensors, see ``DeftForConditionalGeneration.forward``.

        Raises:
            UserError: If a clip is none, cannot be read, or shows no face.
        """
        features = [self.features(clip) for clip in listed(clips)]
        rows = [self._scale(clip) for clip in features]
        stacked = {name: np.stack([row[name] for row in rows]) for name in self.model_input_names}
        if any(SCAN in clip for clip in features):
            stacked[SCAN] = _scans(features)
        return BatchFeature({k: torch.from_numpy(v) for k, v in stacked.items()})

    def features(self, clip: ClipSource) -> Features:
        """The features of a clip; a video is read and measured first, which takes seconds.

        Raises:
            UserError: If it is no clip, cannot be read, or shows no face.
        """
        if isinstance(clip, dict):
            return clip
        if isinstance(clip, (str, Path, Clip)):
            if "://" in str(clip):
                raise UserError(f"clip {clip}: nothing is downloaded; get the file, give its path")
            # Imported here: features and measurements need no video reader.
            from deft_llm.data.measuring import measure_video

            _, clip = measure_video(clip)
        if not isinstance(clip, Measurement):
            raise UserError(
                f"clip of type {type(clip).__name__}: expected the path of a video or of a folder "
                "of frames, a Clip, a Measurement, or features"
            )
        return pack(
            clip,
            FeatureSizes(
                self.structure_size, self.texture_size, self.texture_frames, self.map_size
            ),
        )

    def _scale(self, features: Features) -> dict[str, NDArray[np.float32]]:
        flow, amplitude = encode_flow(features["flow"])
        texture = features["texture"].astype(np.float32) / self.texture_scale
        return {
            # (H, W, 3) in 0..255 becomes (3, H, W) in -1..1.
            "structure": features["onset"].transpose(2, 0, 1).astype(np.float32) / 127.5 - 1.0,
            # The signed square root keeps large differences (a blink) from drowning faint ones.
            "texture": np.sign(texture) * np.sqrt(np.abs(texture)),
            "flow": flow,
            "flow_scale": self._flow_scale(amplitude),
            "regions": self._regions(features["regions"].astype(np.float32)),
        }

    def _flow_scale(self, amplitude: NDArray[np.float32]) -> NDArray[np.float32]:
        """Logarithm of the amplitudes (P, 3) and an availability flag: (P, 4)."""
        logs = np.log(amplitude + self.amplitude_floor)
        scale = np.concatenate([logs, np.ones((len(logs), 1), np.float32)], axis=1)
        return scale.astype(np.float32)

    def _regions(self, table: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scale the columns to comparable ranges (arcsinh and logarithm for long tails)."""
        # arcsinh where values have a sign or can be zero: linear below the divisor, logarithmic
        # above.
        columns = {name: table[..., i] for i, name in enumerate(REGION_COLUMNS)}
        scaled = {
            "u": np.arcsinh(columns["u"] / 0.1),
            "v": np.arcsinh(columns["v"] / 0.1),
            "magnitude": np.log(columns["magnitude"] + self.amplitude_floor),
            "peak": np.log(columns["peak"] + self.amplitude_floor),
            "coherence": columns["coherence"],
            "noise": np.log(columns["noise"] + 1e-3) / 2,
            "z": np.arcsinh(columns["z"] / 3.0),  # from 3 on a region is active
            "active": columns["active"],
        }
        stacked = np.stack([scaled[name] for name in REGION_COLUMNS], axis=-1)
        return np.nan_to_num(stacked).astype(np.float32)


def _scans(features: Sequence[Features]) -> NDArray[np.float32]:
    """Tokens of the scans (clips, N, W), 0 for a clip without one.

    Raises:
        UserError: If they differ in number or width.
    """
    shapes = {clip[SCAN].shape for clip in features if SCAN in clip}
    if len(shapes) > 1:
        raise UserError(
            f"tokens of scans with shapes {sorted(shapes)}; expected those of one FACET-VLM"
        )
    nothing = np.zeros(shapes.pop(), np.float32)
    return np.stack([np.asarray(clip.get(SCAN, nothing), np.float32) for clip in features])


AutoFeatureExtractor.register(DeftConfig, DeftFeatureExtractor)
