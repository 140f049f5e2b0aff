"""Build Uni-MER from simulated clips: render, encode, decode, align, measure, put into words.

Every clip goes the way a user's video goes: through H.264, the face finder and the flow
estimator. The exact motion is never an input; it judges: a statement that it contradicts is not
written, and ``true_motion`` keeps it for scoring answers.
"""

from __future__ import annotations

import json
import logging
import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from deft_llm import facs
from deft_llm.clip import FALL, RISE, Evidence, Interval
from deft_llm.data.features import Packet, pack
from deft_llm.data.parts import ALL, Shard, records, write_parts
from deft_llm.data.records import ClipRecord, conversation_record
from deft_llm.errors import UserError
from deft_llm.files import write_lines
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
from deft_llm.motion.regions import region_masks, region_motion
from deft_llm.simulator.head import load_head
from deft_llm.simulator.scene.clip_spec import NEUTRAL_SHARE, ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, combinations, draw_spec, render_many
from deft_llm.simulator.scene.sets import ClipSet
from deft_llm.unimer.constraints import judge
from deft_llm.unimer.dialogue import Templates, Writer

logger = logging.getLogger(__name__)
VIDEO_CRF = 18
SOURCE = "simulated"
TOLD = 0.5  # least probability of a statement here, where exact motion throws out what is wrong


class SimulatedData(ClipSet):
    """What to simulate.

    Attributes:
        balanced_share: Share of clips that are drawn from an AU chosen evenly, which teach rare
            AUs; the emotions given an AU combination stay those of the codings.
        neutral_share: Share of the other clips that show no AU; from them a model learns when to
            name no emotion.
        variants: Conversations per clip; every other one is mirrored.
        turns: Questions per conversation.
        head: Name of the head model.
        head_path: Its file or folder, where it needs one ("ict").
        workers: Processes.
    """

    seed: int = 1_000_000
    balanced_share: float = 0.0
    neutral_share: float = Field(default=NEUTRAL_SHARE, ge=0, le=1)
    variants: int = 8
    turns: int = 3
    head: str = "own"
    head_path: Path | None = None
    workers: int = 2


@dataclass(frozen=True)
class Observed:
    """One simulated clip as the pipeline saw it; ``packet`` is None where no face was found."""

    spec: ClipSpec
    packet: Packet | None
    record: ClipRecord | None
    problem: str = ""

    @property
    def name(self) -> str:
        """For messages."""
        return self.spec.name


def specs(data: SimulatedData) -> Iterator[ClipSpec]:
    """The recipes of a set, in order."""
    for i in range(data.clips):
        seed = data.seed + i
        rng = np.random.default_rng([seed, 99])
        identity = data.first_identity + int(rng.integers(data.identities))
        drawn = _balanced_expression(rng) if rng.random() < data.balanced_share else {}
        yield draw_spec(seed, identity, neutral_share=data.neutral_share, head=data.head, **drawn)


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
    rise, fall = true_motion(simulated), true_motion(simulated, FALL)
    packet = pack(measurement)
    judgement = judge(packet["regions"], spec.aus, SOURCE, least=TOLD)
    evidence = _held(judgement.evidence, rise)
    record = ClipRecord(
        clip=f"simulated-{spec.seed}",
        subject=spec.subject,
        emotion=spec.emotion,
        emotion_known=spec.emotion is not None or not spec.aus,
        aus=facs.sort_aus(spec.aus),
        evidence=evidence,
        packets="",
        row=0,
        content=content,
        spec=spec.to_json(),
        dataset=SOURCE,
        returns=_held(judgement.returns, fall),
        unexplained=judgement.unexplained,
        label_only=judgement.label_only,
        score=judgement.score,
        grade=judgement.grade if evidence else "label-only",
        interval=measurement.interval,
        fps=spec.fps,
    )
    return Observed(spec, packet, record)


def _held(rows: tuple[Evidence, ...], motion: NDArray[np.float32]) -> tuple[Evidence, ...]:
    """The statements that exact motion does not contradict."""
    return tuple(row for row in rows if claim_holds(row.region, row.direction, motion))


def _jittered(interval: Interval, frames: int, rng: np.random.Generator) -> Interval:
    onset = int(np.clip(interval.onset + rng.integers(-1, 2), 0, frames - 3))
    apex = int(np.clip(interval.apex + rng.integers(-1, 2), onset + 1, frames - 2))
    offset = int(np.clip(interval.offset + rng.integers(-2, 3), apex + 1, frames - 1))
    return Interval(onset, apex, offset)


def true_motion(simulated: SimulatedClip, phase: str = RISE) -> NDArray[np.float32]:
    """Exact head-compensated motion of every region, onset to apex or apex to offset.

    Returns:
        (R, 2) in canonical pixels, the face placed by its exact landmarks.
    """
    interval = simulated.spec.curve.interval
    first, last = (
        (interval.onset, interval.apex) if phase == RISE else (interval.apex, interval.offset)
    )
    flow, mask = simulated.exact_flow(first, last, compensated=True)
    landmarks = simulated.landmarks[first]
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


def measure_simulated(data: SimulatedData, folder: Path, shard: Shard = ALL) -> list[str]:
    """Simulate and measure the parts of a shard; call again to go on after an interruption.

    Returns:
        Names of all parts of the set (``data/parts.py``).
    """
    folder.mkdir(parents=True, exist_ok=True)

    def observed(drawn: Iterable[ClipSpec]) -> Iterator[Observed]:
        head = load_head(data.head, data.head_path) if data.head_path else None
        return render_many(drawn, observe, data.workers, head)

    return write_parts("packets", list(specs(data)), observed, folder, shard)


def build_simulated(data: SimulatedData, folder: Path, templates: Templates) -> None:
    """Write the data folder of DEFT-LLM's own recipe; call again to go on after an interruption.

    Args:
        data: What to simulate.
        folder: Where to; see ``data/records.py`` for its files.
        templates: Wording.
    """
    parts = measure_simulated(data, folder)
    measured = list(records(folder, parts))
    logger.info("%d of %d clips measured", len(measured), data.clips)
    write_lines(folder / "train.jsonl", _conversations(measured, data, Writer(templates)))
    write_lines(folder / "clips.jsonl", (record.to_json() for record in measured))


def _conversations(
    measured: list[ClipRecord], data: SimulatedData, writer: Writer
) -> Iterator[str]:
    """Every variant of every clip, variants of one clip far apart."""
    for variant in range(data.variants):
        for record in measured:
            rng = random.Random(f"{data.seed}/{record.clip}/{variant}")
            mirrored = variant % 2 == 1
            facts = record.facts(mirrored)
            turns = writer.conversation(facts, rng, data.turns, record.emotion_known)
            line = conversation_record(f"{record.clip}-{variant}", record, mirrored, turns)
            yield json.dumps(line)
