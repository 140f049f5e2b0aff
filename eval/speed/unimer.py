"""Time and memory of writing 20,000 clips' worth of records from cached motion, on two cores.

Region tables are random walks around what the AUs of drawn clips would move: judging, balancing
and writing take as long as for real ones, and nothing has to be rendered.
"""

import argparse
import resource
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

from deft_llm import facs
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.data.clip_shards import write_shards
from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.data.records import ClipRecord
from deft_llm.metrics.figures import Figure, report
from deft_llm.simulator.scene.clip_spec import ClipSpec, draw_spec
from deft_llm.unimer.answer_writer import Templates
from deft_llm.unimer.assemble import Assembly, assemble
from deft_llm.unimer.judging import judged

ROOT = Path(__file__).resolve().parents[2]
_FLOOR = 0.05  # px


def cached(spec: ClipSpec) -> Features:
    """Small features with a plausible region table."""
    rng = np.random.default_rng(spec.seed)
    moved = rng.normal(0, _FLOOR, (2, len(facs.REGIONS), 2))
    for code in spec.aus:
        for region, directions in facs.expected_directions(code).items():
            side = facs.REGIONS[region].side
            push = np.array(facs.direction_vector(directions[0], side)) * spec.peak_px / 2
            moved[:, list(facs.REGIONS).index(region)] += np.stack([push, -push])
    size = np.hypot(moved[..., 0], moved[..., 1])
    columns = {"u": moved[..., 0], "v": moved[..., 1], "magnitude": size, "peak": size}
    columns |= {"coherence": np.full_like(size, 0.9), "noise": np.full_like(size, _FLOOR)}
    columns |= {"z": size / _FLOOR, "active": size > 3 * _FLOOR}
    table = np.stack([columns[name] for name in REGION_COLUMNS], axis=-1).astype(np.float16)
    small = np.full((8, 8, 3), spec.seed % 251, np.uint8)
    return {"onset": small, "texture": small[None, ..., 0].astype(np.float16), "regions": table}


def observe(spec: ClipSpec) -> MeasuredClip:
    """What judging a cached clip gives."""
    clip = MeasuredClip(ClipRecord.of(spec.annotation()), cached(spec))
    return replace(clip, record=judged(clip))


def measured(clips: int, folder: Path, variants: int) -> tuple[float, float, float]:
    """Seconds, seconds of processor time, and peak memory of this process so far in GB."""
    drawn = [draw_spec(seed, seed % 500) for seed in range(clips)]
    started, busy = time.perf_counter(), time.process_time()
    folder.mkdir(parents=True)
    parts = write_shards("shard", drawn, lambda specs: map(observe, specs), folder)
    templates = Templates()
    assemble(folder, parts, Assembly(variants=variants), templates)
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    return seconds, busy, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main() -> int:
    """Build a tenth and then the whole, so that growth of memory shows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=20_000)
    parser.add_argument("--variants", type=int, default=8)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        _, _, before = measured(max(args.clips // 10, 1), Path(folder) / "tenth", args.variants)
        seconds, busy, after = measured(args.clips, Path(folder) / "whole", args.variants)
    figures = [
        Figure("unimer_clips", float(args.clips)),
        Figure("unimer_build_s", seconds, 600.0 * args.clips / 20_000, above=False),
        Figure("unimer_build_cpu_s", busy),
        Figure("unimer_peak_gb", after),
        Figure("unimer_memory_growth_gb", after - before, 0.25, above=False),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
