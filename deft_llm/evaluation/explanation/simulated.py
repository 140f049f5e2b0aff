"""The simulated benchmark: DEFT-LLM on clips of faces that it was never trained on.

Pinned: at least 600 clips of at least 60 identities; emotions and AU sets from the statistics of
real codings; peak displacement log-uniform 0.3-3 canonical px; blinks, gaze, head drift, camera
noise; H.264 at CRF 18; 10 % of the clips without any AU. The language model carries the bars:
classes by label likelihood, AUs and claims from its raw text. Onset and apex are the coded ones,
as in published protocols.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import facs, resources
from deft_llm.answers import NOTHING, parse_triple
from deft_llm.clip import Prediction
from deft_llm.config import Settings, load
from deft_llm.data.simulated_test import TestClip, test_clips
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError
from deft_llm.evaluation.explanation.simulated_scores import (
    BayesRule,
    Reply,
    amplitude_table,
    ask,
    au_matrix,
    claims,
    class_of,
    class_uf1,
    confusion,
    head_aus,
    head_class,
    logistic_regression_uf1,
    named_without_au,
    said_aus,
    scored_aus,
)
from deft_llm.evaluation.recognition.tables import markdown as as_markdown
from deft_llm.files import write_lines
from deft_llm.metrics.classification import binary_f1, f1_per_class, uar, uf1
from deft_llm.metrics.figures import Figure
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.unimer.build import SimulatedData, specs

logger = logging.getLogger(__name__)


class Bars(Settings):
    """What the language model has to reach; see the issue of each benchmark file."""

    uf1_of_ceiling: float
    au_macro_f1: float
    claim_precision: float
    claim_recall: float
    parsed: float
    named_without_au: float
    structure_alone_uf1: float


class SimulatedBenchmark(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: simulated``.

    Attributes:
        benchmark: "simulated".
        checkpoint: Folder of the model; "embedded": the package's.
        recipes: What it was trained by: their training draw fits the ceiling, and no subject of it
            may be in the test.
        train_data: Data folder of the last recipe, for the logistic regression; may be absent.
        data: The test clips.
        least_au_share: An AU is scored when it is in at least this share of the statistics.
        bars: Bars.
        cache: Where measured test clips are kept.
    """

    benchmark: str
    checkpoint: Path
    recipes: list[Path]
    train_data: Path
    data: SimulatedData
    least_au_share: float = 0.02
    bars: Bars
    cache: Path = Path("runs/benchmarks")


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the tables as Markdown.

    Raises:
        UserError: If the test shares a subject with the training draw, or a file is missing.
    """
    bench = load(SimulatedBenchmark, path, overrides)
    train = training_draw(bench.recipes)
    audit(train, list(specs(bench.data)))
    explainer = Explainer.load(bench.checkpoint)
    clips = test_clips(bench.data, bench.cache)
    started = time.perf_counter()
    replies = ask(explainer, clips)
    seconds = (time.perf_counter() - started) / len(clips)
    ceiling = class_uf1(clips, map(BayesRule(train), (c.spec.aus for c in clips)))
    figures = _language_figures(bench, clips, replies, ceiling)
    figures += _ablation_figures(bench, explainer, clips, figures[0].value)
    figures += _head_figures(bench, explainer, clips, replies)
    figures.append(Figure("lr_on_flow_uf1", logistic_regression_uf1(bench.train_data, clips)))
    rows = bench.cache / "simulated-predictions.jsonl"
    write_rows(rows, bench.data.seed, clips, replies, seconds)
    return figures, _tables(clips, replies)


class _RecipeFile(DeftRecipe):
    """A recipe with the ``task`` key that train.py reads."""

    task: str


def training_draw(recipes: Sequence[Path]) -> list[ClipSpec]:
    """The simulated clips that recipes train on, one after the other."""
    sets = [data for name in recipes for data in load(_RecipeFile, resources.recipe(name)).data]
    return [spec for data in sets for spec in specs(data)]


def audit(
    train: Sequence[ClipSpec], test: Sequence[ClipSpec], between: str = "training draw and test"
) -> None:
    """Refuse two sets of clips that share a face or a clip.

    Args:
        train: The one.
        test: The other.
        between: What they are, for the message.

    Raises:
        UserError: With one that they share.
    """
    both = {s.subject for s in train} & {s.subject for s in test}
    both |= {s.name for s in train} & {s.name for s in test}
    if both:
        raise UserError(
            f"{between} share {sorted(both)[0]} and {len(both) - 1} more; "
            "set data.first_identity and data.seed of the benchmark apart from the recipe's"
        )
    faces = len({s.subject for s in test})
    logger.info("%s: %d clips of %d faces are apart", between, len(test), faces)


def _language_figures(
    bench: SimulatedBenchmark, clips: Sequence[TestClip], replies: Sequence[Reply], ceiling: float
) -> list[Figure]:
    bars = bench.bars
    matrix = confusion(clips, (r.three() for r in replies))
    strict = class_uf1(clips, (r.best() for r in replies))
    numbers = scored_aus(bench.least_au_share)
    truth = au_matrix((c.spec.aus for c in clips), numbers)
    f1 = binary_f1(truth, au_matrix(map(said_aus, replies), numbers))
    counts = claims(clips, replies)
    shown = [r for c, r in zip(clips, replies, strict=True) if c.packet is not None]
    return [
        Figure("uf1", uf1(matrix), bars.uf1_of_ceiling * ceiling),
        Figure("ceiling_uf1", ceiling),
        Figure("uar", uar(matrix)),
        *(
            Figure(f"f1_{name}", float(value))
            for name, value in zip(facs.THREE_CLASSES, f1_per_class(matrix), strict=True)
        ),
        Figure("uf1_none_is_an_error", strict),
        Figure("au_macro_f1", float(f1.mean()), bars.au_macro_f1),
        *(Figure(f"f1_au{n}", float(value)) for n, value in zip(numbers, f1, strict=True)),
        Figure("claim_precision", counts.precision, bars.claim_precision),
        Figure("claim_recall", counts.recall, bars.claim_recall),
        Figure(
            "parsed", float(np.mean([parse_triple(r.text) is not None for r in shown])), bars.parsed
        ),
        Figure(
            "named_without_au", named_without_au(clips, replies), bars.named_without_au, above=False
        ),
        Figure("clips_without_face", float(sum(c.packet is None for c in clips))),
    ]


def _ablation_figures(
    bench: SimulatedBenchmark, explainer: Explainer, clips: Sequence[TestClip], whole: float
) -> list[Figure]:
    """UF1 of structure alone, and the drop when each expert alone is blanked."""

    def blanked(*names: str) -> float:
        replies = ask(explainer, clips, names, write=False)
        return class_uf1(clips, (r.three() for r in replies))

    alone = blanked("texture", "motion")
    return [
        Figure("structure_alone_uf1", alone, bench.bars.structure_alone_uf1, above=False),
        *(
            Figure(f"drop_without_{n}", whole - blanked(n))
            for n in ("structure", "texture", "motion")
        ),
    ]


def _head_figures(
    bench: SimulatedBenchmark,
    explainer: Explainer,
    clips: Sequence[TestClip],
    replies: Sequence[Reply],
) -> list[Figure]:
    """The discriminative heads: the second row."""
    config = explainer.model.config
    numbers = [n for n in scored_aus(bench.least_au_share) if n in config.aus]
    truth = au_matrix((c.spec.aus for c in clips), numbers)
    f1 = binary_f1(truth, head_aus(config.aus, replies, numbers))
    guesses = [head_class(config.emotions, reply) for reply in replies]
    return [
        Figure("heads_uf1", class_uf1(clips, guesses)),
        Figure("heads_au_macro_f1", float(f1.mean())),
    ]


def write_rows(
    path: Path, seed: int, clips: Sequence[TestClip], replies: Sequence[Reply], seconds: float
) -> None:
    """One ``Prediction`` a line, with the text."""
    lines = []
    for clip, reply in zip(clips, replies, strict=True):
        values = np.array(list(reply.likelihoods.values()) or [0.0])
        share = np.exp(values - values.max())
        probabilities = dict(zip(reply.likelihoods, (share / share.sum()).tolist(), strict=False))
        row = Prediction(
            "simulated",
            clip.spec.subject,
            clip.spec.name,
            0,
            seed,
            class_of(clip.spec) or (clip.spec.emotion or NOTHING),
            reply.best(),
            probabilities,
            seconds,
        )
        lines.append(json.dumps({**asdict(row), "text": reply.text}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, lines)


def _tables(clips: Sequence[TestClip], replies: Sequence[Reply]) -> str:
    matrix = confusion(clips, (r.three() for r in replies))
    lines = [markdown(amplitude_table(clips, replies)), ""]
    lines += ["| true \\ said | " + " | ".join(facs.THREE_CLASSES) + " |", "|---|---|---|---|"]
    for name, counts in zip(facs.THREE_CLASSES, matrix, strict=True):
        lines.append(f"| {name} | " + " | ".join(map(str, counts[:3])) + " |")
    return "\n".join(lines)


def markdown(rows: Sequence[dict[str, Any]]) -> str:
    """Rows with the same keys as a table, numbers with two decimals."""
    return as_markdown(
        [
            {k: f"{v:.2f}" if isinstance(v, float) else str(v) for k, v in row.items()}
            for row in rows
        ]
    ).rstrip()
