"""Build Uni-MER from simulated clips: render, encode, decode, align, measure, put into words.

Every clip goes the way a user's video goes: through H.264, the face finder and the flow
estimator. The exact motion is never an input; it judges: a statement that it contradicts is not
written, and ``true_motion`` keeps it for scoring answers.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain, islice
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from deft_llm import facs
from deft_llm.clip import Interval
from deft_llm.errors import UserError
from deft_llm.media.canonical import fit_similarity, transform
from deft_llm.media.face import (
    CANONICAL_LANDMARKS,
    CANONICAL_SIZE,
    AlignedClip,
    align,
    track_faces,
)
from deft_llm.media.finders import HaarFinder
from deft_llm.metrics.faithfulness import claim_holds
from deft_llm.motion.measure import MotionSettings, measure
from deft_llm.motion.packet import Packet, pack
from deft_llm.motion.regions import region_masks, region_motion
from deft_llm.simulator.clip_spec import ClipSpec
from deft_llm.simulator.clips import SimulatedClip, combinations, draw_spec, render_many
from deft_llm.unimer.constraints import judge
from deft_llm.unimer.dialogue import Templates, Writer
from deft_llm.unimer.records import (
    ClipRecord,
    conversation_record,
    save_packets,
    write_lines,
)

logger = logging.getLogger(__name__)
SHARD = 100  # clips a packet file; an interruption loses at most this many
VIDEO_CRF = 18
SOURCE = "simulated"


class SimulatedData(BaseModel):
    """What to simulate.

    Attributes:
        clips: Number of clips.
        identities: Number of faces.
        first_identity: Seed of the first face; sets with disjoint ranges share no subject.
        seed: Seed of the first clip; clip ``i`` is drawn from ``seed + i``.
        balanced_share: Share of clips that are drawn from an AU chosen evenly, which teach rare
            AUs; the emotions given an AU combination stay those of the codings.
        variants: Conversations per clip; every other one is mirrored.
        turns: Questions per conversation.
        head: Name of the head model.
        workers: Processes.
    """

    model_config = ConfigDict(extra="forbid")
    clips: int
    identities: int
    first_identity: int = 1_000
    seed: int = 1_000_000
    balanced_share: float = 0.0
    variants: int = 8
    turns: int = 3
    head: str = "own"
    workers: int = 2


@dataclass(frozen=True)
class Observed:
    """One simulated clip as the pipeline saw it; ``packet`` is None where no face was found."""

    spec: ClipSpec
    packet: Packet | None
    record: ClipRecord | None
    problem: str = ""


def specs(data: SimulatedData) -> Iterator[ClipSpec]:
    """The recipes of a set, in order."""
    for i in range(data.clips):
        seed = data.seed + i
        rng = np.random.default_rng([seed, 99])
        identity = data.first_identity + int(rng.integers(data.identities))
        drawn = _balanced_expression(rng) if rng.random() < data.balanced_share else {}
        yield draw_spec(seed, identity, head=data.head, **drawn)


def _balanced_expression(rng: np.random.Generator) -> dict[str, Any]:
    """An AU drawn evenly, a coded combination that holds it (sides as coded), and an emotion.

    The emotion is drawn as often as the codings give it to that combination: rare AUs become
    frequent, and what an AU combination says of the emotion stays as it was.
    """
    table = combinations()
    codes = sorted({code for counts in table.values() for code in counts})
    numbers = sorted({facs.au_number(au) for code in codes for au in code.split("+")})
    number = int(rng.choice(numbers))
    holding = [c for c in codes if number in {facs.au_number(au) for au in c.split("+")}]
    code = str(rng.choice(holding))
    emotions = sorted(e for e in table if code in table[e])
    counts = np.array([table[e][code] for e in emotions], float)
    emotion = str(rng.choice(emotions, p=counts / counts.sum()))
    return {"aus": tuple(code.split("+")), "emotion": emotion}


def filmed(simulated: SimulatedClip) -> tuple[str, AlignedClip]:
    """A simulated clip through codec and face finder: content hash and aligned face.

    Raises:
        UserError: If no face is found in it.
    """
    clip = simulated.encoded(VIDEO_CRF)
    track = track_faces(clip, HaarFinder(), step=max(1, len(clip) // 4))
    return clip.content_hash(), align(clip, track)


def observe(simulated: SimulatedClip) -> Observed:
    """Film and measure a clip and note what may be said of it.

    Onset, apex and offset are moved by up to one or two frames: users' intervals are no better.
    """
    spec = simulated.spec
    try:
        content, aligned = filmed(simulated)
    except UserError as error:
        return Observed(spec, None, None, str(error))
    interval = _jittered(spec.curve.interval, len(aligned), np.random.default_rng([spec.seed, 98]))
    measurement = measure(aligned, interval, MotionSettings(curve=False))
    truth = true_motion(simulated)
    packet = pack(measurement)
    judgement = judge(packet["regions"], spec.aus, SOURCE)
    record = ClipRecord(
        clip=f"simulated-{spec.seed}",
        subject=spec.subject,
        emotion=spec.emotion,
        emotion_known=spec.emotion is not None or not spec.aus,
        aus=facs.sort_aus(spec.aus),
        evidence=tuple(e for e in judgement.evidence if claim_holds(e.region, e.direction, truth)),
        packets="",
        row=0,
        content=content,
        spec=spec.to_json(),
    )
    return Observed(spec, packet, record)


def _jittered(interval: Interval, frames: int, rng: np.random.Generator) -> Interval:
    onset = int(np.clip(interval.onset + rng.integers(-1, 2), 0, frames - 3))
    apex = int(np.clip(interval.apex + rng.integers(-1, 2), onset + 1, frames - 2))
    offset = int(np.clip(interval.offset + rng.integers(-2, 3), apex + 1, frames - 1))
    return Interval(onset, apex, offset)


def true_motion(simulated: SimulatedClip) -> NDArray[np.float32]:
    """Exact head-compensated motion of every region, onset to apex.

    Returns:
        (R, 2) in canonical pixels, the face placed by its exact landmarks.
    """
    interval = simulated.spec.curve.interval
    flow, mask = simulated.exact_flow(interval.onset, interval.apex, compensated=True)
    landmarks = simulated.landmarks[interval.onset]
    matrix = fit_similarity(landmarks.astype(np.float64), CANONICAL_LANDMARKS)
    return region_motion(
        _canonical_flow(flow * mask, matrix),
        region_masks(transform(matrix, landmarks).astype(np.float32), CANONICAL_SIZE),
    )


def _canonical_flow(flow: NDArray[np.float32], matrix: NDArray[np.float64]) -> NDArray[np.float32]:
    """Carry a flow (2, H, W) to the canonical square by a similarity (2, 3)."""
    size = (CANONICAL_SIZE, CANONICAL_SIZE)
    u, v = (cv2.warpAffine(channel, matrix, size, flags=cv2.INTER_LINEAR) for channel in flow)
    turn = matrix[:, :2].astype(np.float32)
    return np.stack([turn[0, 0] * u + turn[0, 1] * v, turn[1, 0] * u + turn[1, 1] * v])


def build_simulated(data: SimulatedData, folder: Path, templates: Templates) -> None:
    """Write a data folder; call again after an interruption to go on where it stopped.

    Args:
        data: What to simulate.
        folder: Where to; see ``unimer/records.py`` for its files.
        templates: Wording.
    """
    folder.mkdir(parents=True, exist_ok=True)
    todo = list(specs(data))
    shards = {
        f"packets-{first // SHARD:05d}": todo[first : first + SHARD]
        for first in range(0, len(todo), SHARD)
    }
    missing = {k: v for k, v in shards.items() if not (folder / f"{k}.jsonl").is_file()}
    seen = render_many(chain.from_iterable(missing.values()), observe, data.workers)
    with tqdm(total=len(todo), desc="simulate", unit="clip") as progress:
        progress.update(len(todo) - sum(map(len, missing.values())))
        for name, drawn in missing.items():
            _write_shard(islice(_counted(seen, progress), len(drawn)), folder, name)
    lines = (line for name in shards for line in (folder / f"{name}.jsonl").open())
    records = [ClipRecord.from_json(line) for line in lines]
    logger.info("%d of %d clips measured", len(records), len(todo))
    write_lines(folder / "train.jsonl", _conversations(records, data, Writer(templates)))
    write_lines(folder / "clips.jsonl", (record.to_json() for record in records))


def _counted(seen: Iterator[Observed], progress: tqdm) -> Iterator[Observed]:
    for observed in seen:
        progress.update()
        yield observed


def _write_shard(seen: Iterator[Observed], folder: Path, name: str) -> None:
    packets: list[Packet] = []
    lines = []
    for clip in seen:
        if clip.packet is None or clip.record is None:
            logger.warning("%s left out: %s", clip.spec.name, clip.problem)
            continue
        placed = replace(clip.record, packets=f"{name}.safetensors", row=len(packets))
        lines.append(placed.to_json())
        packets.append(clip.packet)
    save_packets(folder / f"{name}.safetensors", packets)
    write_lines(folder / f"{name}.jsonl", lines)


def _conversations(records: list[ClipRecord], data: SimulatedData, writer: Writer) -> Iterator[str]:
    """Every variant of every clip, variants of one clip far apart."""
    for variant in range(data.variants):
        for record in records:
            rng = random.Random(f"{data.seed}/{record.clip}/{variant}")
            mirrored = variant % 2 == 1
            facts = record.facts(mirrored)
            turns = writer.conversation(facts, rng, data.turns, record.emotion_known)
            line = conversation_record(f"{record.clip}-{variant}", record, mirrored, turns)
            yield json.dumps(line)
