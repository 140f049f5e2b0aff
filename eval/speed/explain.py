"""Time and memory of the main job on a real clip, after imports: read, align, measure, answer.

The clip is ``video/single_face.mp4`` under DEFT_DATA (72 frames, 640x360).
"""

import argparse
import os
import resource
import statistics
import sys
import tempfile
import time
from pathlib import Path

from deft_llm.data.measuring import measure_video
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.metrics.figures import Figure, report
from deft_llm.resources import checkpoint
from deft_llm.viz.report import ClipInfo, write_report


def once(clip: Path, checkpoint: Path, folder: Path) -> dict[str, float]:
    """Seconds of each part of the work, the model's loading included."""
    marks = [time.perf_counter()]
    video, measurement = measure_video(clip)
    marks.append(time.perf_counter())
    explainer = Explainer.load(checkpoint)
    marks.append(time.perf_counter())
    explanation = explainer.explain(measurement)
    marks.append(time.perf_counter())
    write_report(folder / "report", measurement, explanation, clip_info=ClipInfo.of(video))
    marks.append(time.perf_counter())
    names = ("measure", "load", "answer", "report")
    parts = {n: b - a for n, a, b in zip(names, marks, marks[1:], strict=False)}
    return {**parts, "total": marks[-1] - marks[0]}


def main() -> int:
    """Measure several runs, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--checkpoint", type=Path, default=checkpoint())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    data = os.environ.get("DEFT_DATA")
    if not data:
        print("eval/speed/explain.py: set DEFT_DATA to the folder of test data", file=sys.stderr)
        return 2
    clip = Path(data) / "video" / "single_face.mp4"
    with tempfile.TemporaryDirectory() as folder:
        runs = [once(clip, args.checkpoint, Path(folder)) for _ in range(args.runs)]
    median = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    figures = [Figure(f"explain_{n}_s", s) for n, s in median.items() if n != "total"]
    figures += [
        Figure("explain_first_s", runs[0]["total"], 5.0, above=False),
        Figure("explain_total_s", median["total"], 5.0, above=False),
        Figure("explain_peak_gb", peak, 2.5, above=False),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
