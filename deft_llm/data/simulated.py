"""Simulated clips, measured like a user's: rendered, encoded as H.264, face found, aligned.

The exact motion is never an input. It is stored beside the features as ground truth, to check the
statements in the instruction data and the answers of a model.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, Field, ValidationInfo, field_validator

from deft_llm import facs
from deft_llm.clip import OFFSET_PHASE, ONSET_PHASE, Interval
from deft_llm.data.clip_dataset import ClipDataset, ClipPlace, MeasuredClip, Truth
from deft_llm.data.clip_shards import absent, in_shards, write_shards
from deft_llm.data.feature_files import FeatureFile, save_features
from deft_llm.data.features import DEFAULT_SIZES, Features, FeatureSizes, pack
from deft_llm.data.measuring import CODED, align_coded
from deft_llm.data.records import ClipRecord
from deft_llm.errors import NoFaceError, UserError
from deft_llm.files import digest, read_lines, write_lines
from deft_llm.media.canonical import (
    CANONICAL_LANDMARKS,
    CANONICAL_SIZE,
    fit_similarity,
    transform,
    transform_flow,
)
from deft_llm.media.face import AlignedClip
from deft_llm.motion.measure import measure
from deft_llm.motion.regions import region_masks, region_motion
from deft_llm.simulator.head import Head, load_head
from deft_llm.simulator.ict_head.files import head_file, ict_file
from deft_llm.simulator.scene.clip_spec import NEUTRAL_SHARE, ClipSpec
from deft_llm.simulator.scene.clips import SimulatedClip, draw_spec, render_many
from deft_llm.simulator.scene.distractors import PROFILES, Profile
from deft_llm.simulator.scene.life import only
from deft_llm.simulator.scene.sets import ClipSet
from deft_llm.simulator.scene.statistics import combinations

logger = logging.getLogger(__name__)
# x264 quality: nearly lossless to the eye, but with real codec noise.
VIDEO_CRF = 18
_SHARD = "clips"
_MOTION = "motion"


def _known(profile: str) -> str:
    if profile not in PROFILES:
        raise ValueError(f"expected one of {', '.join(sorted(PROFILES))}")
    return profile


class SimulatedData(ClipSet):
    """What to simulate.

    Attributes:
        profile: What the clips show: a name of ``distractors.PROFILES``.
        kinds: Only clips with one or more of these kinds of the profile (``life.KINDS``); empty
            for the profile's own mixture. Clips whose AU is drawn uniformly are never "one-sided".
        balanced_share: Share of clips whose AU is drawn uniformly, so that rare AUs are learned;
            P(emotion | AU combination) stays that of the codings.
        neutral_share: Share of the other clips without any AU; they teach a model when to name no
            emotion.
        variants: Conversations per clip; every second one is about the mirrored clip.
        turns: Questions per conversation.
        head: Name of the head model.
        head_path: Its file or folder, if it needs one ("ict").
        workers: Number of processes.
    """

    seed: int = Field(default=1_000_000, ge=0)
    profile: Annotated[str, AfterValidator(_known)] = "benchmark"
    kinds: list[str] = []
    balanced_share: float = Field(default=0.0, ge=0, le=1)
    neutral_share: float = Field(default=NEUTRAL_SHARE, ge=0, le=1)
    variants: int = 8
    turns: int = 3
    head: str = "own"
    head_path: Path | None = None
    workers: int = 2

    @field_validator("kinds")
    @classmethod
    def _kinds_of_the_profile(cls, kinds: list[str], info: ValidationInfo) -> list[str]:
        # An unknown profile has its own message.
        if profile := PROFILES.get(info.data.get("profile", "")):
            try:
                only(profile, kinds)
            except UserError as error:
                raise ValueError(str(error)) from None
        return kinds

    def drawn_from(self) -> Profile:
        """The profile, restricted to the kinds if there are any."""
        profile = PROFILES[self.profile]
        return only(profile, self.kinds) if self.kinds else profile

    def digest(self) -> str:
        """See the base."""
        # Both are left out while they say nothing: clips that were measured before there were
        # profiles are found again.
        fields = {"profile": "benchmark", "kinds": []}
        unsaid = {name for name, value in fields.items() if getattr(self, name) == value}
        return self._digest_without(unsaid)


def specs(data: SimulatedData) -> Iterator[ClipSpec]:
    """The recipes of a dataset, in order."""
    for i in range(data.clips):
        rng = _stream(data, i)
        identity = data.first_identity + int(rng.integers(data.identities))
        yield _spec(data, i, identity, rng)


def even_specs(data: SimulatedData) -> list[ClipSpec]:
    """Recipes that cycle through the faces: ``clips / identities`` clips of each."""
    return [
        _spec(data, i, data.first_identity + i % data.identities, _stream(data, i))
        for i in range(data.clips)
    ]


def _stream(data: SimulatedData, number: int) -> np.random.Generator:
    # draw_spec uses the streams [seed, 0..11]; 99 here and 98 in measure_simulated are apart from
    # them.
    return np.random.default_rng([data.seed + number, 99])


def _spec(data: SimulatedData, number: int, identity: int, rng: np.random.Generator) -> ClipSpec:
    """The recipe of one clip of a dataset, on a face."""
    shown: dict[str, Any] = _balanced_expression(rng) if rng.random() < data.balanced_share else {}
    shown |= {"neutral_share": data.neutral_share, "head": data.head}
    return draw_spec(data.seed + number, identity, profile=data.drawn_from(), **shown)


def _balanced_expression(rng: np.random.Generator) -> dict[str, Any]:
    """A uniformly drawn AU, a coded combination that contains it (sides as coded), an emotion.

    The emotion is drawn by how often the codings give it to that combination: rare AUs become
    frequent, and the emotion that an AU combination implies does not change.
    """
    table = combinations()
    # Sorted, because the order of a set of strings differs between processes.
    codes = sorted({code for counts in table.values() for code in counts})
    numbers = sorted({facs.au_number(au) for code in codes for au in code.split("+")})
    number = int(rng.choice(numbers))
    holding = [c for c in codes if number in {facs.au_number(au) for au in c.split("+")}]
    code = str(rng.choice(holding))
    emotions = sorted(e for e in table if code in table[e])
    counts = np.array([table[e][code] for e in emotions], float)
    emotion = str(rng.choice(emotions, p=counts / counts.sum()))
    return {"aus": tuple(code.split("+")), "emotion": emotion}


def head_at_hand(name: str) -> bool:
    """Whether a head can be rendered; if not, logs where its file is expected."""
    if name == "own" or ict_file() is not None:
        return True
    logger.warning(
        "clips of the head %r are left out: set DEFT_ICT to its file, or DEFT_DATA to the folder "
        "around ict_facekit/",
        name,
    )
    return False


def head_to_send(data: SimulatedData) -> Head | None:
    """The head for the rendering processes; None for the own one, which they load by its name.

    Raises:
        UserError: If the head's file is neither named nor found (``ict_head.files.head_file``).
    """
    if data.head == "own":
        return None
    return load_head(data.head, head_file(data.head, data.head_path))


def filmed(simulated: SimulatedClip, crf: int = VIDEO_CRF) -> tuple[str, AlignedClip]:
    """Encode a simulated clip and find its face: content hash and aligned clip.

    Raises:
        UserError: If no face is found.
    """
    clip = simulated.encoded(crf)
    return clip.content_hash(), align_coded(clip)


def measure_simulated(
    simulated: SimulatedClip,
    jitter: bool = False,
    sizes: FeatureSizes = DEFAULT_SIZES,
    offset_phase: bool = False,
    crf: int = VIDEO_CRF,
) -> MeasuredClip:
    """Encode and measure a clip; without a face, the result holds the reason.

    Args:
        simulated: The clip.
        jitter: Shift onset and apex by up to one frame and the offset by up to two, because users'
            intervals are no more exact. Otherwise the coded frames are used.
        sizes: Sizes of the features.
        offset_phase: Also store the exact motion of the offset phase.
        crf: x264 quality.
    """
    spec = simulated.spec
    after = true_motion(simulated, OFFSET_PHASE) if offset_phase else None
    truth = Truth(spec, true_motion(simulated), after)
    record = ClipRecord.of(spec.annotation(), spec=spec.to_json())
    try:
        content, aligned = filmed(simulated, crf)
    except UserError as error:
        return MeasuredClip(record, None, str(error), truth, isinstance(error, NoFaceError))
    interval = spec.curve.interval
    if jitter:
        interval = _jittered(interval, len(aligned), np.random.default_rng([spec.seed, 98]))
    measurement = measure(aligned, interval, CODED)
    record = replace(record, content=content, interval=measurement.interval)
    return MeasuredClip(record, pack(measurement, sizes), truth=truth)


def _jittered(interval: Interval, frames: int, rng: np.random.Generator) -> Interval:
    # The clamps keep onset < apex < offset inside the clip.
    onset = int(np.clip(interval.onset + rng.integers(-1, 2), 0, frames - 3))
    apex = int(np.clip(interval.apex + rng.integers(-1, 2), onset + 1, frames - 2))
    offset = int(np.clip(interval.offset + rng.integers(-2, 3), apex + 1, frames - 1))
    return Interval(onset, apex, offset)


def true_motion(simulated: SimulatedClip, phase: str = ONSET_PHASE) -> NDArray[np.float32]:
    """Exact head-compensated motion of every region, onset to apex or apex to offset.

    Returns:
        (R, 2) in canonical pixels; the face is aligned by its exact landmarks.
    """
    interval = simulated.spec.curve.interval
    first, last = (
        (interval.onset, interval.apex)
        if phase == ONSET_PHASE
        else (interval.apex, interval.offset)
    )
    flow, mask = simulated.exact_flow(first, last, compensated=True)
    landmarks = simulated.landmarks[first]
    matrix = fit_similarity(landmarks.astype(np.float64), CANONICAL_LANDMARKS)
    return region_motion(
        transform_flow(flow * mask, matrix, (CANONICAL_SIZE, CANONICAL_SIZE)),
        region_masks(transform(matrix, landmarks).astype(np.float32), CANONICAL_SIZE),
    )


def simulated_clips(
    data: SimulatedData, cache: Path, even: bool = False, sizes: FeatureSizes = DEFAULT_SIZES
) -> ClipDataset:
    """Simulate and measure a dataset with its ground truth, once, and store it in ``cache``.

    Clips are stored in shards as they are measured: after an interruption, the same call goes on
    with the first missing shard. The first clip is measured again on every call. If it differs from
    the stored one, the simulator or the measurement has changed, and all clips are measured again.
    Shards whose recipes are drawn otherwise by now are measured again as well.

    Args:
        data: What to simulate.
        cache: Cache folder; the dataset's subfolder is named by the hash of ``data``.
        even: Cycle through the faces (``even_specs``) instead of drawing them.
        sizes: Sizes of the features.
    """
    kind = "even" if even else "simulated"
    # The hash of `data` does not include the sizes.
    if sizes != DEFAULT_SIZES:
        kind += "-" + digest(json.dumps(sizes.facts()))[:6]
    folder = cache / f"{kind}-{data.digest()}"
    drawn = even_specs(data) if even else list(specs(data))
    head = head_to_send(data)

    def measured(some: Iterable[ClipSpec], workers: int = data.workers) -> Iterator[MeasuredClip]:
        return render_many(some, partial(measure_simulated, sizes=sizes), workers, head)

    folder.mkdir(parents=True, exist_ok=True)
    shards = in_shards(_SHARD, drawn)
    kept = {name: part for name, part in shards.items() if not absent(folder, [name])}
    for name in [name for name, part in kept.items() if not _shows(folder, name, part)]:
        logger.warning("%s: %s holds clips of other recipes: measured again", folder, name)
        (folder / f"{name}.jsonl").unlink(missing_ok=True)
        del kept[name]
    if kept:
        name, part = next(iter(kept.items()))
        if not _equal(_read(folder, [name], part)[0], next(measured(part[:1], workers=1))):
            logger.warning("%s was measured by other code: measured again", folder)
            # Without its listing, a shard is not complete and is measured again.
            for other in kept:
                (folder / f"{other}.jsonl").unlink(missing_ok=True)
    return _read(folder, write_shards(_SHARD, drawn, measured, folder, write=_write), drawn)


def _shows(folder: Path, name: str, drawn: Sequence[ClipSpec]) -> bool:
    """Whether a stored shard holds the clips of these recipes."""
    stored = [line["clip"] for line in read_lines(folder / f"{name}.jsonl")]
    return stored == [spec.name for spec in drawn]


def _write(clips: Iterable[MeasuredClip], folder: Path, name: str) -> None:
    """Write a shard with a line for every clip: its record and its exact motion."""
    rows: list[Features] = []
    lines: list[str] = []
    for clip in clips:
        record = clip.record
        if clip.features is None:
            logger.warning("%s: %s", record.clip, clip.problem)
        else:
            record = replace(record, shard=f"{name}.safetensors", row=len(rows))
            rows.append(clip.features)
        lines.append(json.dumps({**asdict(record), _MOTION: clip.motion.tolist()}))
    save_features(folder / f"{name}.safetensors", rows)
    write_lines(folder / f"{name}.jsonl", lines)


def _read(folder: Path, names: Iterable[str], drawn: Sequence[ClipSpec]) -> ClipDataset:
    records: list[ClipRecord] = []
    places: list[ClipPlace | None] = []
    motions: list[NDArray[np.float32]] = []
    for name in names:
        shard = FeatureFile(folder / f"{name}.safetensors")
        for line in read_lines(folder / f"{name}.jsonl"):
            motions.append(np.array(line.pop(_MOTION), np.float32))
            record = ClipRecord.from_json(json.dumps(line))
            # Only clips with features have a place in the shard.
            places.append(ClipPlace(shard, record.row) if record.shard else None)
            records.append(record)
    truths = (Truth(spec, motion) for spec, motion in zip(drawn, motions, strict=True))
    return ClipDataset(records, places, truths, str(folder))


def _equal(a: MeasuredClip, b: MeasuredClip) -> bool:
    if (a.features is None) != (b.features is None) or not np.array_equal(a.motion, b.motion):
        return False
    if a.features is None or b.features is None:
        return True
    pairs = ((values, b.features[name]) for name, values in a.features.items())
    return all(np.array_equal(x, y, equal_nan=x.dtype.kind == "f") for x, y in pairs)
