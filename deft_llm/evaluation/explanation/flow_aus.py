"""AUs that DEFT-LLM names from real flow images, scored against the codings of SAMM.

The images carry the names of SAMM's clips, so the coding is known for clips in the sheet. Sides are
ignored, since the sheet rarely has them. The baseline is the best score without looking at the
clip: naming each AU for every clip.
"""

from __future__ import annotations

import json
import logging
import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.corpora.base import load_corpus
from deft_llm.data.flow_images import read_flow_images
from deft_llm.deft.inference.flow_classifier import DeftFlowClassifier
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import Benchmark
from deft_llm.evaluation.tables import markdown
from deft_llm.files import write_lines
from deft_llm.metrics.classification import binary_f1
from deft_llm.metrics.figures import Figure
from deft_llm.motion.encoding import medsqrt

logger = logging.getLogger(__name__)
Numbers = Collection[int]  # of AUs


class FlowAusBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: flow_aus``.

    Attributes:
        checkpoint: Folder of the model.
        data: Folder of flow images, relative to the environment variable DEFT_DATA.
        codings: Folder with SAMM's sheet, likewise.
        least: An AU is scored if at least this many clips are coded with it.
    """

    checkpoint: Path
    data: Path
    codings: Path
    least: int = 10

    def figure_names(self) -> list[str]:
        """See the base."""
        return [
            *("au_macro_f1", "au_macro_f1_all_named", "au_precision", "au_recall"),
            *("clips", "scored_aus"),
        ]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        root = Path(os.environ.get("DEFT_DATA", ""))
        images = read_flow_images(root / self.data)
        codings = load_corpus("samm", root / self.codings).read(frames=False).annotations
        in_sheet = {a.clip: frozenset(map(facs.au_number, a.aus)) for a in codings}
        rows = [i for i, clip in enumerate(images.clips) if str(clip) in in_sheet]
        if not rows:
            raise UserError(f"{self.codings}: no image of {self.data} is a clip of SAMM")
        logger.info("%d images are clips of SAMM's sheet", len(rows))
        model = DeftFlowClassifier(len(facs.THREE_CLASSES), str(self.checkpoint))
        named = model.named_aus(medsqrt(images.stack("flow_image")[rows]))
        clips = [str(images.clips[i]) for i in rows]
        coded = [in_sheet[clip] for clip in clips]
        self._write_rows(clips, coded, named)
        values, table = au_scores(coded, named, self.least)
        return self.with_bars(values), table

    def _write_rows(
        self, clips: Sequence[str], coded: Sequence[Numbers], named: Sequence[Numbers]
    ) -> None:
        """Store coded and named AUs, so that scores can be recomputed."""
        self.output.mkdir(parents=True, exist_ok=True)
        rows = (
            {"clip": clip, "coded": sorted(own), "named": sorted(theirs)}
            for clip, own, theirs in zip(clips, coded, named, strict=True)
        )
        write_lines(self.output / "predictions-flow-aus.jsonl", map(json.dumps, rows))


def au_scores(
    coded: Sequence[Numbers], named: Sequence[Numbers], least: int
) -> tuple[dict[str, float], str]:
    """Figures and table of N clips.

    Args:
        coded: AU numbers of every clip.
        named: AU numbers that the model names.
        least: See ``FlowAusBenchmark``.

    Raises:
        UserError: If no AU is coded often enough.
    """
    count = Counter(number for numbers in coded for number in numbers)
    kept = sorted(number for number, clips in count.items() if clips >= least)
    if not kept:
        raise UserError(f"no AU is coded in {least} of {len(coded)} clips; lower least")
    truth, predicted = _marks(coded, kept), _marks(named, kept)
    f1, all_named = binary_f1(truth, predicted), binary_f1(truth, np.ones_like(truth))
    table = [
        {"AU": number, "coded": int(t.sum()), "named": int(p.sum()), "F1": float(value)}
        for number, t, p, value in zip(kept, truth.T, predicted.T, f1, strict=True)
    ]
    # Precision and recall count every AU, also those too rare for an F1 of their own.
    right = sum(len(set(own) & set(theirs)) for own, theirs in zip(coded, named, strict=True))
    stated = sum(map(len, named))
    return {
        "au_macro_f1": float(f1.mean()),
        "au_macro_f1_all_named": float(all_named.mean()),
        "au_precision": right / stated if stated else 0.0,
        "au_recall": right / sum(map(len, coded)),
        "clips": float(len(coded)),
        "scored_aus": float(len(kept)),
    }, markdown(table)


def _marks(answers: Sequence[Numbers], numbers: Sequence[int]) -> NDArray[np.bool_]:
    return np.array([[number in answer for number in numbers] for answer in answers], bool)
