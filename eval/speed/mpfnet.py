"""MPFNet-C on one clip: the volume of its key frames, and the forward pass, small and full width.

The small variant, a quarter of the width at 64 px, is the default; the paper's is 64 wide at
128 px. Networks have random weights: time does not depend on them. One
thread.

python eval/speed/mpfnet.py [--runs 5] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.data.inputs import magnified_volume
from deft_llm.data.raw_frames import RAW_SIDE
from deft_llm.metrics.figures import Figure, milliseconds, report
from deft_llm.recognizers.ca_i3d import FULL_WIDTH
from deft_llm.recognizers.mpfnet import MPFNet


def key_frames() -> NDArray[np.float32]:
    """A texture that moves half a pixel to the right."""
    noise = np.random.default_rng(0).normal(120, 150, (RAW_SIDE, RAW_SIDE, 3))
    skin = np.clip(cv2.GaussianBlur(noise.astype(np.float32), (0, 0), 2), 0, 255)
    moves = [np.array([[1, 0, x], [0, 1, 0]]) for x in (0.0, 0.4, 0.5)]
    moved = [cv2.warpAffine(skin, m, (RAW_SIDE, RAW_SIDE)) for m in moves]
    return np.stack(moved).transpose(0, 3, 1, 2)


def main() -> int:
    """Measure, print, and with --check compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cv2.setNumThreads(1)
    torch.manual_seed(0)
    frames, taken = key_frames(), {}
    for name, width, side in (("small", FULL_WIDTH // 4, 64), ("full", FULL_WIDTH, RAW_SIDE)):
        network = MPFNet(3, "c", width=width, side=side).eval()
        volume = torch.from_numpy(magnified_volume(frames, side))[None]
        with torch.no_grad():
            taken[name] = milliseconds(lambda: network({"flow_diff_volume": volume}), args.runs)  # noqa: B023
    prepared = milliseconds(lambda: magnified_volume(frames, 64), args.runs)
    magnified = milliseconds(lambda: magnified_volume(frames, 64, 5.0), args.runs)
    figures = [
        Figure("mpfnet_volume_ms", prepared),
        Figure("mpfnet_magnified_volume_ms", magnified),
        Figure("mpfnet_small_forward_ms", taken["small"]),
        Figure("mpfnet_full_forward_ms", taken["full"]),
        Figure("mpfnet_small_s_a_clip", (magnified + taken["small"]) / 1000, 0.5, above=False),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
