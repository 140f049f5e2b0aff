"""Flow on a 224x224 pair: the project's own network beside OpenCV's default TV-L1.

python eval/speed/flow.py [--weights FOLDER] [--runs 15] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from deft_llm.errors import UserError
from deft_llm.flow_models.files import WEIGHTS
from deft_llm.metrics.figures import Figure, milliseconds, report
from deft_llm.motion.flow import flow_estimator
from deft_llm.simulator.scene.clips import draw_spec, render_clip

SIZE = 224
CORES = 2


def pair() -> list[NDArray[np.uint8]]:
    """Onset and apex of a simulated face, (224, 224, 3) each."""
    simulated = render_clip(draw_spec(3, 7, aus=("1", "2", "12"), peak_px=1.5, blink=None))
    curve, edge = simulated.spec.curve, (simulated.spec.size - SIZE) // 2
    inner = slice(edge, edge + SIZE)
    frames = simulated.clip.frames[[curve.onset, curve.apex], inner, inner]
    return [np.ascontiguousarray(frame) for frame in frames]


def main() -> int:
    """Measure, print, and with --check compare with the bar."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(CORES)
    cv2.setNumThreads(CORES)
    first, second = pair()
    try:
        network = flow_estimator("srflow", folder=args.weights)
    except UserError as error:
        print(f"eval/speed/flow.py: {error}", file=sys.stderr)
        return 2
    grey = [cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in (first, second)]
    peer = cv2.optflow.DualTVL1OpticalFlow_create()
    figures = [
        Figure("srflow_ms", milliseconds(lambda: network(first, second), args.runs), 150, False),
        Figure("opencv_tvl1_ms", milliseconds(lambda: peer.calc(*grey, None), args.runs)),
    ]
    for name in ("lk", "dis", "tvl1", "farneback"):
        estimator = flow_estimator(name)
        taken = milliseconds(lambda e=estimator: e(first, second), args.runs)  # type: ignore[misc]
        figures.append(Figure(f"{name}_ms", taken))
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
