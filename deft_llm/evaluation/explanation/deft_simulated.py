"""DEFT-LLM on simulated clips of both heads: what it says, whether it is so, where it is from.

Models may be trained on one head and tested on the other. The language model carries the bars
(label likelihood, generated text, claims scored on the raw text); the discriminative heads are a
second row. Ceilings, clips and scores are those of the first simulated benchmark.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from deft_llm import facs, resources
from deft_llm.answers import parse_triple
from deft_llm.config import Settings, load
from deft_llm.data.simulated_test import (
    TestClip,
    even_specs,
    head_at_hand,
    test_clips,
)
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.evaluation.explanation.calibrate import labelled
from deft_llm.evaluation.explanation.disentanglement import (
    alignment,
    encoded,
    exchange,
    identity_probe,
)
from deft_llm.evaluation.explanation.simulated import audit, markdown, training_draw, write_rows
from deft_llm.evaluation.explanation.simulated_scores import (
    BayesRule,
    Reply,
    amplitude_table,
    ask,
    au_matrix,
    claims,
    class_uf1,
    head_aus,
    head_class,
    named_without_au,
    rule_claims,
    said_aus,
    scored_aus,
)
from deft_llm.metrics.classification import binary_f1, expected_calibration_error
from deft_llm.metrics.faithfulness import hallucinated
from deft_llm.metrics.figures import Figure
from deft_llm.simulator.scene.clip_spec import ClipSpec
from deft_llm.unimer.build import SimulatedData, specs

logger = logging.getLogger(__name__)


class Bars(Settings):
    """What has to be reached on every test set.

    Attributes:
        three_of_ceiling: UF1 of three classes over that of the Bayes rule.
        seven_of_ceiling: The same for the seven emotions.
        au_macro_f1: AUs of the generated text.
        claim_precision: Claims of the raw text.
        claim_recall: Moved regions that it tells.
        hallucinated_aus: Named AUs without coding and motion, at most.
        named_without_au: Clips without any AU that are given an emotion, at most.
        ece: Expected calibration error of three and of seven classes, at most.
        follows_both: Answers that go with motion and texture of another clip.
        identity_share: Identity in motion and in texture over that in structure, at most.
        probe_faces: Faces in the probe.
    """

    three_of_ceiling: float
    seven_of_ceiling: float
    au_macro_f1: float
    claim_precision: float
    claim_recall: float
    hallucinated_aus: float
    named_without_au: float
    ece: float
    follows_both: float
    identity_share: float
    probe_faces: int


class Model(Settings):
    """One trained model.

    Attributes:
        checkpoint: Its folder, "embedded" for the package's; a model without one is left out, and
            counted.
        recipes: What it was trained by: their training draw fits the ceilings, and shares no face
            with the tests.
        tests: Names of the test sets.
    """

    checkpoint: Path
    recipes: list[Path]
    tests: list[str]


class DeftBenchmark(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: deft_simulated``.

    Attributes:
        benchmark: "deft_simulated".
        models: By name.
        data: Test sets by name; one whose head is not at hand is left out, and counted.
        probe: Clips of the identity probe by the same names; their faces take turns.
        grammar: Generate under the grammar. Figures of the text are then called so; the bars
            are for raw text.
        least_au_share: An AU is scored when it is in at least this share of the statistics.
        bars: Bars.
        cache: Where measured clips and rows are kept.
    """

    benchmark: str
    models: dict[str, Model]
    data: dict[str, SimulatedData]
    probe: dict[str, SimulatedData]
    grammar: bool = False
    least_au_share: float = 0.02
    bars: Bars
    cache: Path = Path("runs/benchmarks")


@dataclass(frozen=True)
class _Trial:
    """One model on one test set."""

    bench: DeftBenchmark
    explainer: Explainer
    train: Sequence[ClipSpec]
    clips: Sequence[TestClip]
    replies: Sequence[Reply]


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark; figures are called ``<model>_<test set>_<what>``.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the tables as Markdown.

    Raises:
        UserError: If a test shares a face or a clip with a training draw, or a name is unknown.
    """
    bench = load(DeftBenchmark, path, overrides)
    figures: list[Figure] = []
    rows, tables, left_out = [], [], 0
    for name, model in bench.models.items():
        for test in model.tests:
            trial = _trial(bench, name, model, test)
            if trial is None:
                left_out += 1
                continue
            found = [*_language(trial), *_heads(trial), *_experts(trial, bench.probe[test])]
            figures += [Figure(f"{name}_{test}_{f.name}", f.value, f.bar, f.above) for f in found]
            rows.append(_row(f"{name} on {test}", found))
            amplitudes = markdown(amplitude_table(trial.clips, trial.replies))
            tables.append(f"{name} on {test}\n\n{amplitudes}")
    figures.append(Figure("left_out", float(left_out), 0.0, above=False))
    return figures, "\n\n".join([markdown(rows), *tables] if rows else ["nothing was tested"])


def _trial(bench: DeftBenchmark, name: str, model: Model, test: str) -> _Trial | None:
    data = bench.data[test]
    if not resources.checkpoint(model.checkpoint).is_dir():
        logger.warning("model %r is left out: no checkpoint %s", name, model.checkpoint)
        return None
    if not head_at_hand(data.head):
        return None
    train = training_draw(model.recipes)
    audit(train, list(specs(data)))
    audit(train, even_specs(bench.probe[test]), "training draw and probe")
    explainer = Explainer.load(model.checkpoint)
    clips = test_clips(data, bench.cache)
    started = time.perf_counter()
    replies = ask(explainer, clips, grammar=bench.grammar)
    seconds = (time.perf_counter() - started) / len(clips)
    write_rows(bench.cache / f"deft-{name}-{test}.jsonl", data.seed, clips, replies, seconds)
    return _Trial(bench, explainer, train, clips, replies)


def _language(trial: _Trial) -> list[Figure]:
    """Classes by label likelihood, AUs and claims from the generated text."""
    bars, clips, replies = trial.bench.bars, trial.clips, trial.replies
    figures = []
    said = {"three": [r.three() for r in replies], "seven": [r.seven() for r in replies]}
    for labels, share in (("three", bars.three_of_ceiling), ("seven", bars.seven_of_ceiling)):
        rule = BayesRule(trial.train, labels)
        ceiling = class_uf1(clips, (rule(c.spec.aus) for c in clips), labels)
        figures += [
            Figure(f"{labels}_uf1", class_uf1(clips, said[labels], labels), share * ceiling),
            Figure(f"{labels}_ceiling", ceiling),
            Figure(f"{labels}_ece", _calibration_error(trial, labels), bars.ece, above=False),
        ]
    figures.append(
        Figure(
            "named_without_au", named_without_au(clips, replies), bars.named_without_au, above=False
        )
    )
    figures.append(Figure("claim_recall_of_rule", rule_claims(clips).recall))
    under = "grammar_" if trial.bench.grammar else ""
    return figures + [Figure(under + f.name, f.value, f.bar, f.above) for f in _text(trial)]


def _text(trial: _Trial) -> list[Figure]:
    bars, clips, replies = trial.bench.bars, trial.clips, trial.replies
    numbers = scored_aus(trial.bench.least_au_share)
    truth = au_matrix((c.spec.aus for c in clips), numbers)
    f1 = binary_f1(truth, au_matrix(map(said_aus, replies), numbers))
    named = [(code, c) for c, r in zip(clips, replies, strict=True) for code in said_aus(r)]
    ungrounded = [hallucinated(code, c.spec.aus, c.motion) for code, c in named]
    wrong = [
        facs.au_number(code) not in {facs.au_number(own) for own in c.spec.aus} for code, c in named
    ]
    counts = claims(clips, replies)
    parsed = [parse_triple(r.text) is not None for r in replies if r.likelihoods]
    return [
        Figure("au_macro_f1", float(f1.mean()), bars.au_macro_f1),
        Figure("claim_precision", counts.precision, bars.claim_precision),
        Figure("claim_recall", counts.recall, bars.claim_recall),
        Figure("hallucinated_aus", _share(ungrounded), bars.hallucinated_aus, above=False),
        Figure("aus_not_coded", _share(wrong)),
        Figure("parsed", _share(parsed)),
    ]


def _share(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


def _calibration_error(trial: _Trial, labels: str) -> float:
    likelihoods, wanted = labelled(trial.clips, trial.replies, labels)
    probabilities = trial.explainer.calibration.probabilities(labels, likelihoods)
    return expected_calibration_error(probabilities.numpy(), wanted.numpy())


def _heads(trial: _Trial) -> list[Figure]:
    """The discriminative heads: a second row, without bars."""
    config, clips, replies = trial.explainer.model.config, trial.clips, trial.replies
    numbers = scored_aus(trial.bench.least_au_share)
    truth = au_matrix((c.spec.aus for c in clips), numbers)
    f1 = binary_f1(truth, head_aus(config.aus, replies, numbers))
    return [
        *(
            Figure(
                f"heads_{labels}_uf1",
                class_uf1(clips, [head_class(config.emotions, r, labels) for r in replies], labels),
            )
            for labels in ("three", "seven")
        ),
        Figure("heads_au_macro_f1", float(f1.mean())),
    ]


def _experts(trial: _Trial, probe: SimulatedData) -> list[Figure]:
    """Blanked experts, exchanged motion, identity and alignment."""
    bars, explainer, clips = trial.bench.bars, trial.explainer, trial.clips
    whole = class_uf1(clips, (r.three() for r in trial.replies))
    figures = []
    for name in EXPERTS:
        replies = ask(explainer, clips, (name,), write=False)
        left = class_uf1(clips, (r.three() for r in replies))
        figures.append(Figure(f"drop_without_{name}", whole - left))
    tokens = encoded(explainer, clips)
    swapped = exchange(explainer, tokens, seed=0)
    faces = identity_probe(explainer, test_clips(probe, trial.bench.cache, even=True))
    most = bars.identity_share * faces.accuracy["structure"]
    return [
        *figures,
        Figure("exchange_follows_both", swapped.follows_both, bars.follows_both),
        Figure("exchange_follows_motion", swapped.follows_motion),
        Figure("exchange_pairs", float(swapped.pairs)),
        *(Figure(f"cka_{a}_{b}", value) for (a, b), value in alignment(tokens).items()),
        Figure("identity_structure", faces.accuracy["structure"]),
        Figure("identity_texture", faces.accuracy["texture"], most, above=False),
        Figure("identity_motion", faces.accuracy["motion"], most, above=False),
        Figure("identity_chance", faces.chance),
        Figure("identity_faces", float(faces.faces), float(bars.probe_faces)),
    ]


def _row(title: str, figures: Sequence[Figure]) -> dict[str, Any]:
    """The figures that a reader looks for first."""
    values = {figure.name.removeprefix("grammar_"): figure.value for figure in figures}
    heads = {
        "UF1 of three": "three_uf1",
        "ceiling": "three_ceiling",
        "UF1 of seven": "seven_uf1",
        "its ceiling": "seven_ceiling",
        "AU macro-F1": "au_macro_f1",
        "claim precision": "claim_precision",
        "claim recall": "claim_recall",
        "heads UF1": "heads_three_uf1",
        "heads AU F1": "heads_au_macro_f1",
    }
    written = "grammar" if any(f.name.startswith("grammar_") for f in figures) else "raw"
    return {"model": title, "text": written, **{head: values[key] for head, key in heads.items()}}
