"""Test clips of the simulated benchmark: rendered, filmed, measured once, then kept.

The exact motion of every region is kept beside what the pipeline measured.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from tqdm import tqdm

from deft_llm.data.features import Packet, pack
from deft_llm.data.records import save_packets
from deft_llm.errors import UserError
from deft_llm.files import read_lines, write_lines
from deft_llm.motion.measure import MotionSettings, measure
from deft_llm.simulator.head import load_head
from deft_llm.simulator.ict_head.files import ict_file
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_many
from deft_llm.unimer.build import SimulatedData, filmed, specs, true_motion

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


def head_at_hand(name: str) -> bool:
    """Whether a head can be rendered; says once where the file of another is looked for."""
    if name == "own" or ict_file() is not None:
        return True
    logger.warning(
        "clips of the head %r are left out: set DEFT_ICT to its file, or DEFT_DATA to the folder "
        "around ict_facekit/",
        name,
    )
    return False


def even_specs(data: SimulatedData) -> list[ClipSpec]:
    """Recipes in which the faces take turns: ``clips / identities`` of each."""
    return [
        draw_spec(data.seed + i, data.first_identity + i % data.identities, head=data.head)
        for i in range(data.clips)
    ]


def test_clips(data: SimulatedData, cache: Path, even: bool = False) -> list[TestClip]:
    """Simulate and measure the test clips, once; kept in ``cache``.

    The first clip is measured again each time: when it differs from the kept one, the simulator
    or the measurement has changed, and all are made anew.

    Args:
        data: What to simulate.
        cache: Folder; a subfolder by the hash of ``data``.
        even: Faces take turns (``even_specs``) instead of being drawn.
    """
    folder = cache / f"{'even' if even else 'simulated'}-{data.digest()}"
    drawn = even_specs(data) if even else list(specs(data))
    if (folder / "clips.jsonl").is_file():
        kept = _read(folder, drawn)
        if _equal(kept[0], next(_measured(drawn[:1], 1))):
            return kept
        logger.warning("%s was measured by other code: measured again", folder)
        (folder / "clips.jsonl").unlink()
    folder.mkdir(parents=True, exist_ok=True)
    clips = list(tqdm(_measured(drawn, data.workers), total=len(drawn), desc="test clips"))
    packets = [clip.packet for clip in clips if clip.packet is not None]
    save_packets(folder / "packets.safetensors", packets)
    lines = ({"motion": c.motion.tolist(), "found": c.packet is not None} for c in clips)
    write_lines(folder / "clips.jsonl", map(json.dumps, lines))
    return clips


def _measured(drawn: Sequence[ClipSpec], workers: int) -> Iterator[TestClip]:
    name = drawn[0].head
    head = None if name == "own" else load_head(name, ict_file())
    seen = render_many(drawn, _observe, workers, head)
    for spec, (packet, motion) in zip(drawn, seen, strict=True):
        yield TestClip(spec, motion, packet)


def _read(folder: Path, drawn: Sequence[ClipSpec]) -> list[TestClip]:
    arrays = load_file(folder / "packets.safetensors")
    rows = iter(range(len(next(iter(arrays.values())))))
    clips = []
    for spec, line in zip(drawn, read_lines(folder / "clips.jsonl"), strict=True):
        row = next(rows) if line["found"] else None
        packet = None if row is None else {name: array[row] for name, array in arrays.items()}
        clips.append(TestClip(spec, np.array(line["motion"], np.float32), packet))
    return clips


def _equal(a: TestClip, b: TestClip) -> bool:
    if (a.packet is None) != (b.packet is None) or not np.array_equal(a.motion, b.motion):
        return False
    if a.packet is None or b.packet is None:
        return True
    pairs = ((values, b.packet[name]) for name, values in a.packet.items())
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)
