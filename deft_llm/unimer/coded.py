"""Clips of licensed corpora, measured by ``deft-llm corpora prepare``, as Uni-MER records."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from deft_llm import facs
from deft_llm.clip import Annotation
from deft_llm.data.features import Packet
from deft_llm.data.parts import ALL, Shard, write_parts
from deft_llm.data.prepared import PreparedCorpus
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.files import read_lines
from deft_llm.unimer.constraints import judge


class Prepared(Protocol):
    """A corpus that was measured once."""

    @property
    def annotations(self) -> tuple[Annotation, ...]:
        """Codings, in the order of the corpus."""
        ...

    def __getitem__(self, clip: str) -> Packet:
        """The packet of one clip."""
        ...


@dataclass(frozen=True)
class CodedClip:
    """One clip of a corpus after judging; packet and record are None where it cannot be used."""

    name: str
    packet: Packet | None
    record: ClipRecord | None
    problem: str = ""


def problem_of(annotation: Annotation) -> str:
    """Why a coding cannot be used, or ""."""
    if annotation.emotion is not None and annotation.emotion not in facs.EMOTIONS:
        return f"emotion {annotation.emotion!r} is none of {', '.join(facs.EMOTIONS)}"
    for code in annotation.aus:
        number = code.lstrip("LR")
        if not number.isdigit() or int(number) not in facs.ACTION_UNITS:
            return f"AU {code!r} is no FACS unit that this project knows"
    return "no onset, apex and offset are coded" if annotation.interval is None else ""


def content_hash(packet: Packet) -> str:
    """SHA-256 over what was measured: the same frames give the same hash under any name."""
    digest = hashlib.sha256()
    for name in ("onset", "texture"):
        digest.update(packet[name].tobytes())
    return digest.hexdigest()


def record_of(annotation: Annotation, packet: Packet) -> ClipRecord:
    """A coded clip under the dual constraint; its place is not set yet."""
    aus = facs.sort_aus(annotation.aus)
    judgement = judge(packet["regions"], aus, annotation.dataset)
    return ClipRecord(
        clip=f"{annotation.dataset}/{annotation.clip}",
        subject=f"{annotation.dataset}/{annotation.subject}",
        emotion=annotation.emotion,
        emotion_known=annotation.emotion is not None or not aus,
        aus=aus,
        evidence=judgement.evidence,
        packets="",
        row=0,
        content=content_hash(packet),
        dataset=annotation.dataset,
        returns=judgement.returns,
        unexplained=judgement.unexplained,
        label_only=judgement.label_only,
        score=judgement.score,
        grade=judgement.grade,
        interval=annotation.interval,
        fps=annotation.fps,
    )


def _observe(corpus: Prepared, annotations: Iterable[Annotation]) -> Iterator[CodedClip]:
    for annotation in annotations:
        name = f"{annotation.dataset}/{annotation.clip}"
        problem = problem_of(annotation)
        if problem:
            yield CodedClip(name, None, None, problem)
            continue
        try:
            packet = corpus[annotation.clip]
        except UserError as error:
            yield CodedClip(name, None, None, str(error))
            continue
        yield CodedClip(name, packet, record_of(annotation, packet))


def measure_corpus(corpus: Prepared, name: str, folder: Path, shard: Shard = ALL) -> list[str]:
    """Write the parts of a prepared corpus; see ``parts.write_parts``."""
    folder.mkdir(parents=True, exist_ok=True)
    observe = partial(_observe, corpus)
    return write_parts(f"packets-{name}", corpus.annotations, observe, folder, shard)


def open_prepared(listing: Path) -> Prepared:
    """The corpus behind a listing that ``deft-llm corpora prepare`` wrote.

    Args:
        listing: For example ``cache/casme2.jsonl``.

    Raises:
        UserError: If it is not there.
    """
    if not listing.is_file():
        raise UserError(
            f"{listing}: no such listing; prepare the corpus first (deft-llm corpora prepare) "
            "and give the <corpus>.jsonl of its cache"
        )
    return PreparedCorpus(listing.parent, listing.stem)


def unmeasured(listing: Path) -> Iterator[tuple[str, str]]:
    """(clip, reason) of the clips that preparing could not measure."""
    for line in read_lines(listing):
        if line["problem"]:
            yield f"{listing.stem}/{line['annotation']['clip']}", str(line["problem"])
