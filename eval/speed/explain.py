"""Time of the main job: from the command, imports counted, and of its parts after imports.

Each figure of the command is the median of several fresh processes, which explain an example clip
as a user's would. The parts are measured on ``video/single_face.mp4`` under DEFT_DATA (72 frames,
640x360), and left out without it.

    python eval/speed/explain.py [--runs 5] [--json FILE] [--check]
"""

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deft_llm.data.measuring import measure_video
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.metrics.figures import Figure, report
from deft_llm.resources import checkpoint
from deft_llm.viz.report import ClipInfo, write_report

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"


def command(*arguments: str | Path) -> tuple[float, float, float]:
    """Run ``deft-llm``: seconds to its first line, to its end, and of processor time."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    # As a user starts it: what limits threads here must not flatter the figure.
    environment.pop("OMP_NUM_THREADS", None)
    before, started = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-m", "deft_llm", *map(str, arguments)],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        first = time.perf_counter() - started
        process.stdout.read()
    if process.returncode:
        raise RuntimeError(f"deft-llm {arguments[0]}: exit status {process.returncode}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return first, time.perf_counter() - started, busy


def cold(runs: int, folder: Path) -> list[Figure]:
    """Figures of the command."""
    command("explain", CLIP, "--out", folder)  # compiles modules and fills the disk's cache
    helped = [command("--help") for _ in range(runs)]
    explained = [command("explain", CLIP, "--out", folder) for _ in range(runs)]
    first, total, busy = (statistics.median(column) for column in zip(*explained, strict=True))
    return [
        Figure("help_seconds", statistics.median(run[1] for run in helped), 0.5, above=False),
        Figure("first_line_seconds", first, 2.0, above=False),
        Figure("explain_cpu_seconds", busy, 6.0, above=False),
        Figure("explain_seconds", total),
    ]


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


def parts(clip: Path, model: Path, runs: int, folder: Path) -> list[Figure]:
    """Figures of the parts, in this process, and its peak memory."""
    measured = [once(clip, model, folder) for _ in range(runs)]
    median = {name: statistics.median(run[name] for run in measured) for name in measured[0]}
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    figures = [Figure(f"explain_{n}_s", s) for n, s in median.items() if n != "total"]
    return [
        *figures,
        Figure("explain_first_s", measured[0]["total"], 5.0, above=False),
        Figure("explain_total_s", median["total"], 5.0, above=False),
        Figure("explain_peak_gb", peak, 2.5, above=False),
    ]


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--checkpoint", type=Path, default=checkpoint())
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    data = os.environ.get("DEFT_DATA")
    with tempfile.TemporaryDirectory() as folder:
        figures = cold(args.runs, Path(folder))
        if data:
            clip = Path(data) / "video" / "single_face.mp4"
            figures += parts(clip, args.checkpoint, args.runs, Path(folder))
        else:
            print("without DEFT_DATA the parts are left out", file=sys.stderr)
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
