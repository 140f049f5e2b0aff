"""AUs that DEFT-LLM names from real flow images, held against the codings of SAMM.

The images carry the names of SAMM's clips, so what the coders wrote is known where a clip is in
the sheet. Sides are left out of account: the sheet seldom has them. Beside the model stands the
best that an answer without looking reaches: each AU named for every clip.
"""

from __future__ import annotations

import logging
import os
from collections import Counter
from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.config import Settings, load
from deft_llm.corpora.base import load_corpus
from deft_llm.data.flow_images import read_flow_images
from deft_llm.deft.inference.flow_classifier import DeftOnFlow
from deft_llm.errors import UserError
from deft_llm.evaluation.tables import markdown
from deft_llm.metrics.classification import binary_f1
from deft_llm.metrics.figures import Figure
from deft_llm.motion.encoding import medsqrt

logger = logging.getLogger(__name__)


class FlowUnits(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: flow_units``.

    Attributes:
        benchmark: "flow_units".
        checkpoint: Folder of the model.
        data: Folder of flow images, relative to the environment variable DEFT_DATA.
        codings: Folder that holds SAMM's sheet, likewise.
        least: An AU is scored when at least this many of the clips are coded with it.
    """

    benchmark: str
    checkpoint: Path
    data: Path
    codings: Path
    least: int = 10


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark; the entry of ``evaluation.benchmark``.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the table of AUs as Markdown.

    Raises:
        UserError: If data or checkpoint are missing, or no clip is in the sheet.
    """
    bench = load(FlowUnits, path, overrides)
    root = os.environ.get("DEFT_DATA", "")
    images = read_flow_images(Path(root) / bench.data)
    coded = {
        a.clip: frozenset(map(facs.au_number, a.aus))
        for a in load_corpus("samm", Path(root) / bench.codings).read(frames=False).annotations
    }
    rows = [i for i, clip in enumerate(images.clips) if str(clip) in coded]
    if not rows:
        raise UserError(f"{bench.codings}: none of the images of {bench.data} is a clip of SAMM")
    logger.info("%d images are clips of SAMM's sheet", len(rows))
    model = DeftOnFlow(len(facs.THREE_CLASSES), str(bench.checkpoint))
    named = model.units(medsqrt(images.images[rows]))
    return scores([coded[str(images.clips[i])] for i in rows], named, bench.least)


def scores(
    coded: Sequence[Collection[int]], named: Sequence[Collection[int]], least: int
) -> tuple[list[Figure], str]:
    """Figures and table of N clips.

    Args:
        coded: AU numbers of every clip.
        named: The same as the model says.
        least: See ``FlowUnits``.

    Raises:
        UserError: If no AU is coded often enough.
    """
    count = Counter(number for numbers in coded for number in numbers)
    kept = sorted(number for number, clips in count.items() if clips >= least)
    if not kept:
        raise UserError(f"no AU is coded in {least} of {len(coded)} clips; lower least")
    truth, said = _marks(coded, kept), _marks(named, kept)
    f1, blind = binary_f1(truth, said), binary_f1(truth, np.ones_like(truth))
    table = [
        {"AU": str(n), "coded": str(t.sum()), "named": str(s.sum()), "F1": f"{a:.3f}"}
        for n, t, s, a in zip(kept, truth.T, said.T, f1, strict=True)
    ]
    given = [set(own) & set(answer) for own, answer in zip(coded, named, strict=True)]
    words = sum(map(len, named))
    return [
        Figure("au_macro_f1", float(f1.mean())),
        Figure("au_macro_f1_all_named", float(blind.mean())),
        Figure("au_precision", sum(map(len, given)) / words if words else 0.0),
        Figure("au_recall", sum(map(len, given)) / sum(map(len, coded))),
        Figure("clips", float(len(coded))),
        Figure("scored_aus", float(len(kept))),
    ], markdown(table)


def _marks(answers: Sequence[Collection[int]], numbers: Sequence[int]) -> NDArray[np.bool_]:
    return np.array([[number in answer for number in numbers] for answer in answers], bool)
