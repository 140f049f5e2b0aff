"""How long a scan takes: its three views, and a forward pass of FACET-VLM's default tower.

The scan has 25,000 vertices on the face, the views are 224 x 224 with three channels.

python eval/speed/facet.py [--runs 9] [--threads 2] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import cv2
import torch

from deft_llm.data.scan_views import Surface, views
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.network import Facet
from deft_llm.facet.texts import class_vectors, default_prompts, load_text_tower
from deft_llm.metrics.figures import Figure, milliseconds, report
from deft_llm.scans.normalise import normalise
from deft_llm.scans.scan import Scan
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.scan_sets import SIX
from deft_llm.simulator.scans import Scanner, Sitter

VERTICES = 25_000
_PITCH = 0.83  # mm, at which a face of the head has so many


def face() -> Scan:
    """A normalised scan of about so many vertices."""
    scan = Sitter.of(OwnHead(), 7).scan({"6": 1.0, "12": 1.0}, Scanner(pitch=_PITCH, noise=0.2))
    return normalise(scan, "scan")


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    cv2.setNumThreads(args.threads)
    scan = face()
    config = FacetConfig(classes=list(SIX), prompts=default_prompts(SIX))
    tower = load_text_tower(config.text)
    network, texts = Facet(config, tower.width).eval(), class_vectors(config.prompts, tower)
    pictures = torch.from_numpy(views(scan))[None]

    def forward() -> None:
        with torch.inference_mode():
            network(pictures, [texts])

    drawn = milliseconds(lambda: views(scan, threads=args.threads), args.runs)
    figures = [
        Figure("vertices_of_the_scan", float(len(scan.vertices))),
        Figure("three_views_ms", drawn, 75.0, above=False),
        Figure("forward_ms", milliseconds(forward, args.runs), 250.0, above=False),
        Figure("normalise_ms", milliseconds(lambda: normalise(scan, "scan"), 3)),
        Figure("one_view_ms", milliseconds(lambda: Surface(scan).relief(0.0), args.runs)),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
