"""Uni-MER records of licensed corpora, which ``deft-llm corpora prepare`` has measured."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from deft_llm import facs
from deft_llm.clip import Annotation
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.clip_shards import ALL, Share, write_shards
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import digest
from deft_llm.unimer.judging import judged

#: Features that come from the pixels alone and suffice to recognize the frames.
HASHED = ("onset", "texture")
_HASH = 12  # hexadecimal digits in the name of a part


def content_hash(features: Features) -> str:
    """SHA-256 of measured features: the same frames give the same hash under any name."""
    return digest(*(features[name].tobytes() for name in HASHED))


def problem_of(coding: Annotation | ClipRecord) -> str:
    """The reason why a coding cannot be used, or ""."""
    if coding.emotion is not None and coding.emotion not in facs.LABELS:
        return f"emotion {coding.emotion!r} is none of {', '.join(facs.LABELS)}"
    if coding.emotion is None and not coding.aus:
        return "neither emotion nor AUs are coded"
    for code in coding.aus:
        number = code.lstrip("LR")
        if not number.isdecimal() or int(number) not in facs.ACTION_UNITS:
            return f"AU {code!r} is no FACS AU that this project knows"
    return "no onset, apex and offset are coded" if coding.interval is None else ""


def _judged(clip: MeasuredClip) -> MeasuredClip:
    """Apply the dual constraint to a coded clip, or give the reason why it cannot be used."""
    if problem := problem_of(clip.record):
        return replace(clip, features=None, problem=problem)
    assert clip.features is not None, "a prepared corpus hands out measured clips alone"
    return replace(clip, record=replace(judged(clip), content=content_hash(clip.features)))


def _read(corpus: ClipDataset, row: int) -> MeasuredClip:
    """A clip of the corpus; a damaged file gives a clip without features, with the reason."""
    try:
        return _judged(corpus[row])
    except UserError as error:
        return MeasuredClip(corpus.records[row], None, str(error))


def measure_corpus(corpus: ClipDataset, name: str, folder: Path, shard: Share = ALL) -> list[str]:
    """Write the parts of a prepared corpus; see ``clip_shards.write_shards``.

    Their names hold ``name`` and a hash of the clips' codings and measurements: a corpus that was
    prepared again with others gets parts of its own, as do two corpora of one name.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def measured(rows: Iterable[int]) -> Iterator[MeasuredClip]:
        # No processes: features are measured already, and judging them is fast.
        return (_read(corpus, row) for row in rows)

    # Measurements are known by their files, whose names are hashes of what they depend on.
    of = digest(*(record.to_json() for record in corpus.records))[:_HASH]
    return write_shards(f"features-{name}-{of}", range(len(corpus)), measured, folder, shard)
