"""Measures of a model on test clips, under the names that a benchmark file lists.

Every measure returns figures by name. The language model is scored by label likelihood
(classes) and by its raw text (AUs, claims); the discriminative heads are scored separately.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product

import numpy as np

from deft_llm import facs
from deft_llm.answers import parse_structured_answer
from deft_llm.deft.configuration_deft import EXPERTS
from deft_llm.evaluation.bayes_rule import BayesRule
from deft_llm.evaluation.explanation.disentanglement import (
    alignment,
    exchange,
    expert_tokens,
    identity_probe,
)
from deft_llm.evaluation.explanation.references import logistic_regression_uf1
from deft_llm.evaluation.explanation.scores import (
    au_matrix,
    claims,
    class_uf1,
    confusion,
    head_aus,
    head_class,
    labelled_scores,
    named_without_au,
    rule_claims,
    stated_au_f1,
)
from deft_llm.evaluation.explanation.trial import Trial
from deft_llm.metrics.classification import (
    binary_f1,
    expected_calibration_error,
    f1_per_class,
    uar,
)
from deft_llm.metrics.faithfulness import hallucinated

Values = dict[str, float]


def classes(trial: Trial) -> Values:
    """UF1 by label likelihood with its ceiling; share of clips without AUs that get an emotion."""
    values: Values = {}
    for name in trial.label_sets:
        # Fitted on the training draw only, never on the test clips whose ceiling it gives.
        rule = BayesRule(trial.train, name)
        predicted = [reply.likeliest(name) for reply in trial.replies]
        values[f"{name}_uf1"] = class_uf1(trial.clips, predicted, name)
        best = [rule(clip.spec.aus) for clip in trial.clips]
        values[f"{name}_ceiling"] = class_uf1(trial.clips, best, name)
    values["named_without_au"] = _share(named_without_au(trial.clips, trial.replies))
    return values


def calibration(trial: Trial) -> Values:
    """Expected calibration error of the label likelihoods."""
    values: Values = {}
    for name in trial.label_sets:
        likelihoods, wanted, _ = labelled_scores(trial.clips, trial.replies, name)
        probabilities = trial.explainer.calibration.probabilities(name, likelihoods)
        error = expected_calibration_error(probabilities.numpy(), wanted.numpy())
        values[f"{name}_ece"] = error
    return values


def breakdown(trial: Trial) -> Values:
    """Scores of each class and each AU, and the number of clips without a face."""
    matrix = confusion(trial.clips, (r.likeliest("three") for r in trial.replies))
    f1 = zip(facs.THREE_CLASSES, f1_per_class(matrix), strict=True)
    au_f1 = stated_au_f1(trial.clips, trial.replies, trial.numbers)
    return {
        "uar": uar(matrix),
        **{f"f1_{name}": float(value) for name, value in f1},
        # ``best`` may answer "none", which is outside the classes and so counts as an error.
        "uf1_none_is_an_error": class_uf1(trial.clips, (r.best() for r in trial.replies)),
        **{f"f1_au{n}": float(v) for n, v in zip(trial.numbers, au_f1, strict=True)},
        "clips_without_face": float(sum(clip.features is None for clip in trial.clips)),
    }


def text(trial: Trial) -> Values:
    """Scores of the AUs and claims in the generated text, and the share that parses."""
    counts = claims(trial.clips, trial.replies)
    au_f1 = stated_au_f1(trial.clips, trial.replies, trial.numbers)
    # Only replies with likelihoods: without a face the model was never asked.
    parsed = [parse_structured_answer(r.text) is not None for r in trial.replies if r.likelihoods]
    return {
        "au_macro_f1": float(au_f1.mean()),
        "claim_precision": counts.precision,
        "claim_recall": counts.recall,
        "parsed": _share(parsed),
    }


def grounding(trial: Trial) -> Values:
    """Share of hallucinated AUs, and the claim recall of the instruction data's own rule."""
    pairs = zip(trial.clips, trial.replies, strict=True)
    named = [(code, clip) for clip, reply in pairs for code in reply.aus()]
    not_coded = [
        facs.au_number(code) not in {facs.au_number(own) for own in clip.spec.aus}
        for code, clip in named
    ]
    ungrounded = [hallucinated(code, clip.spec.aus, clip.motion) for code, clip in named]
    return {
        "hallucinated_aus": _share(ungrounded),
        "aus_not_coded": _share(not_coded),
        "claim_recall_of_rule": rule_claims(trial.clips).recall,
    }


def heads(trial: Trial) -> Values:
    """Scores of the discriminative heads, without the language model."""
    config, replies = trial.explainer.model.config, trial.replies
    values: Values = {}
    for name in trial.label_sets:
        predicted = [head_class(config.emotions, reply, name) for reply in replies]
        values[f"heads_{name}_uf1"] = class_uf1(trial.clips, predicted, name)
    truth = au_matrix((clip.spec.aus for clip in trial.clips), trial.numbers)
    f1 = binary_f1(truth, head_aus(config.aus, replies, trial.numbers))
    return {**values, "heads_au_macro_f1": float(f1.mean())}


def ablations(trial: Trial) -> Values:
    """Drop in UF1 when one expert is ablated."""
    return {f"drop_without_{name}": trial.uf1 - trial.ablated_uf1(name) for name in EXPERTS}


def structure_alone(trial: Trial) -> Values:
    """UF1 with the structure expert alone; the resting face carries no class information."""
    return {"structure_alone_uf1": trial.ablated_uf1("texture", "motion")}


def experts(trial: Trial) -> Values:
    """Motion exchange, alignment between experts, and how well each expert reveals identity."""
    tokens = expert_tokens(trial.explainer, trial.clips)
    # A fixed seed, so that checkpoints are compared with the same donors.
    swapped = exchange(trial.explainer, tokens, seed=0)
    faces = identity_probe(trial.explainer, trial.probe)
    return {
        "exchange_follows_both": swapped.follows_both,
        "exchange_follows_motion": swapped.follows_motion,
        "exchange_pairs": float(swapped.pairs),
        **{f"cka_{a}_{b}": value for (a, b), value in alignment(tokens).items()},
        **{f"identity_{name}": faces.accuracy[name] for name in EXPERTS},
        "identity_chance": faces.chance,
        "identity_faces": float(faces.faces),
    }


def reference(trial: Trial) -> Values:
    """UF1 of a logistic regression on the same flow."""
    assert trial.train_data is not None
    return {"lr_on_flow_uf1": logistic_regression_uf1(trial.train_data, trial.clips)}


def _share(values: Sequence[bool]) -> float:
    # NaN, not 0: a share of nothing was not measured, and NaN never meets a bar.
    return float(np.mean(values)) if len(values) else math.nan


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        function: Returns its figures by name.
        figures: Their names; {set} stands for every label set, {au} for every scored AU.
    """

    function: Callable[[Trial], Values]
    figures: tuple[str, ...]


# Named apart, because ``of_text`` marks these figures when text is generated under the grammar.
_OF_TEXT = ("au_macro_f1", "claim_precision", "claim_recall", "parsed")
_NAMED_AUS = ("hallucinated_aus", "aus_not_coded")
MEASURES: dict[str, Measure] = {
    "classes": Measure(classes, ("{set}_uf1", "{set}_ceiling", "named_without_au")),
    "calibration": Measure(calibration, ("{set}_ece",)),
    "breakdown": Measure(
        breakdown,
        (
            *("uar", *(f"f1_{name}" for name in facs.THREE_CLASSES), "uf1_none_is_an_error"),
            *("f1_au{au}", "clips_without_face"),
        ),
    ),
    "text": Measure(text, _OF_TEXT),
    "grounding": Measure(grounding, (*_NAMED_AUS, "claim_recall_of_rule")),
    "heads": Measure(heads, ("heads_{set}_uf1", "heads_au_macro_f1")),
    "ablations": Measure(ablations, tuple(f"drop_without_{name}" for name in EXPERTS)),
    "structure_alone": Measure(structure_alone, ("structure_alone_uf1",)),
    "experts": Measure(
        experts,
        (
            *("exchange_follows_both", "exchange_follows_motion", "exchange_pairs"),
            *(f"cka_{a}_{b}" for a, b in combinations(EXPERTS, 2)),
            *(f"identity_{name}" for name in (*EXPERTS, "chance", "faces")),
        ),
    ),
    "reference": Measure(reference, ("lr_on_flow_uf1",)),
}


def measured(trial: Trial, names: Iterable[str]) -> Values:
    """The figures of the named measures, in order."""
    values: Values = {}
    for name in names:
        values |= MEASURES[name].function(trial)
    return values


def figure_names(numbers: Iterable[int]) -> list[str]:
    """Names of the figures of all measures, without measuring anything.

    Args:
        numbers: FACS numbers of the AUs that are scored.
    """
    forms = [form for measure in MEASURES.values() for form in measure.figures]
    choices = list(product(("three", "seven"), numbers))
    return list(dict.fromkeys(f.format(set=name, au=n) for f in forms for name, n in choices))


def of_text(figure: str) -> bool:
    """Whether a figure scores the generated text."""
    return figure in {*_OF_TEXT, *_NAMED_AUS} or figure.startswith("f1_au")
