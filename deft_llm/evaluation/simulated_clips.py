"""Test clips of the simulated benchmark: rendered, filmed, measured once, then kept.

The exact motion of every region is kept beside what the pipeline measured.
"""

from __future__ import annotations

import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tqdm import tqdm

from deft_llm.errors import UserError
from deft_llm.motion.measure import MotionSettings, measure
from deft_llm.motion.packet import Packet, pack
from deft_llm.simulator.clip_spec import ClipSpec
from deft_llm.simulator.clips import SimulatedClip, render_many
from deft_llm.unimer.build import SimulatedData, filmed, specs, true_motion
from deft_llm.unimer.records import read_lines, save_packets, write_lines

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class TestClip:
    """One test clip.

    Attributes:
        spec: Its recipe.
        motion: (R, 2) exact head-compensated motion of the regions, canonical px.
        packet: As measured with the coded interval; None where no face was found.
    """

    spec: ClipSpec
    motion: NDArray[np.float32]
    packet: Packet | None


def _observe(simulated: SimulatedClip) -> tuple[Packet | None, NDArray[np.float32]]:
    """Measure with the coded interval; and the exact motion."""
    truth = true_motion(simulated)
    try:
        _, aligned = filmed(simulated)
    except UserError as error:
        logger.warning("%s: %s", simulated.spec.name, error)
        return None, truth
    interval = simulated.spec.curve.interval
    return pack(measure(aligned, interval, MotionSettings(curve=False))), truth


def test_clips(data: SimulatedData, cache: Path) -> list[TestClip]:
    """Simulate and measure the test clips, once; kept in ``cache``.

    Args:
        data: What to simulate.
        cache: Folder; a subfolder by the hash of ``data``.
    """
    key = hashlib.sha256(data.model_dump_json(exclude={"workers"}).encode()).hexdigest()[:12]
    folder = cache / f"simulated-{key}"
    drawn = list(specs(data))
    if not (folder / "clips.jsonl").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        packets: list[Packet] = []
        lines = []
        seen = render_many(drawn, _observe, data.workers)
        for packet, motion in tqdm(seen, total=len(drawn), desc="test clips", unit="clip"):
            row = len(packets) if packet is not None else -1
            lines.append(json.dumps({"motion": motion.tolist(), "row": row}))
            packets += [packet] if packet is not None else []
        save_packets(folder / "packets.safetensors", packets)
        write_lines(folder / "clips.jsonl", lines)
    arrays = load_file(folder / "packets.safetensors")
    clips = []
    for spec, line in zip(drawn, read_lines(folder / "clips.jsonl"), strict=True):
        row = line["row"]
        kept = {name: array[row] for name, array in arrays.items()} if row >= 0 else None
        clips.append(TestClip(spec, np.array(line["motion"], np.float32), kept))
    return clips
