"""What can be measured of a model on test clips, by the names that a benchmark file lists.

Every measure gives figures by name. The language model is scored by label likelihood (classes) and
by its raw text (AUs, claims); the discriminative heads are a second row beside it.
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
from deft_llm.evaluation.explanation.disentanglement import (
    alignment,
    exchange,
    expert_tokens,
    identity_probe,
)
from deft_llm.evaluation.explanation.references import BayesRule, logistic_regression_uf1
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
    """UF1 by label likelihood beside its ceiling; clips without any AU that get an emotion."""
    values: Values = {}
    for name in trial.label_sets:
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
        likelihoods, wanted = labelled_scores(trial.clips, trial.replies, name)
        probabilities = trial.explainer.calibration.probabilities(name, likelihoods)
        error = expected_calibration_error(probabilities.numpy(), wanted.numpy())
        values[f"{name}_ece"] = error
    return values


def breakdown(trial: Trial) -> Values:
    """Scores of each class and each AU, and clips in which no face was found."""
    matrix = confusion(trial.clips, (r.likeliest("three") for r in trial.replies))
    f1 = zip(facs.THREE_CLASSES, f1_per_class(matrix), strict=True)
    au_f1 = stated_au_f1(trial.clips, trial.replies, trial.numbers)
    return {
        "uar": uar(matrix),
        **{f"f1_{name}": float(value) for name, value in f1},
        "uf1_none_is_an_error": class_uf1(trial.clips, (r.best() for r in trial.replies)),
        **{f"f1_au{n}": float(v) for n, v in zip(trial.numbers, au_f1, strict=True)},
        "clips_without_face": float(sum(clip.features is None for clip in trial.clips)),
    }


def text(trial: Trial) -> Values:
    """AUs and claims of the generated text, and whether it can be parsed."""
    counts = claims(trial.clips, trial.replies)
    au_f1 = stated_au_f1(trial.clips, trial.replies, trial.numbers)
    parsed = [parse_structured_answer(r.text) is not None for r in trial.replies if r.likelihoods]
    return {
        "au_macro_f1": float(au_f1.mean()),
        "claim_precision": counts.precision,
        "claim_recall": counts.recall,
        "parsed": _share(parsed),
    }


def grounding(trial: Trial) -> Values:
    """Named AUs that are not there, and the recall that the instruction data's rule reaches."""
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
    """The discriminative heads: the second row, without the language model."""
    config, replies = trial.explainer.model.config, trial.replies
    values: Values = {}
    for name in trial.label_sets:
        predicted = [head_class(config.emotions, reply, name) for reply in replies]
        values[f"heads_{name}_uf1"] = class_uf1(trial.clips, predicted, name)
    truth = au_matrix((clip.spec.aus for clip in trial.clips), trial.numbers)
    f1 = binary_f1(truth, head_aus(config.aus, replies, trial.numbers))
    return {**values, "heads_au_macro_f1": float(f1.mean())}


def ablations(trial: Trial) -> Values:
    """What UF1 loses when one expert is left out."""
    return {f"drop_without_{name}": trial.uf1 - trial.ablated_uf1(name) for name in EXPERTS}


def structure_alone(trial: Trial) -> Values:
    """UF1 from the look of the face alone, which says nothing of the class."""
    return {"structure_alone_uf1": trial.ablated_uf1("texture", "motion")}


def experts(trial: Trial) -> Values:
    """Exchanged motion, alignment of the experts, and the identity that each of them holds."""
    tokens = expert_tokens(trial.explainer, trial.clips)
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
    """A logistic regression on the same flow."""
    assert trial.train_data is not None
    return {"lr_on_flow_uf1": logistic_regression_uf1(trial.train_data, trial.clips)}


def _share(values: Sequence[bool]) -> float:
    return float(np.mean(values)) if len(values) else math.nan


@dataclass(frozen=True)
class Measure:
    """One measure.

    Attributes:
        function: Gives its figures by name.
        figures: Those names; {set} stands for every label set, {au} for every scored AU.
    """

    function: Callable[[Trial], Values]
    figures: tuple[str, ...]


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
    """The figures of some measures, in their order."""
    values: Values = {}
    for name in names:
        values |= MEASURES[name].function(trial)
    return values


def figure_names(numbers: Iterable[int]) -> list[str]:
    """What the figures of all measures are called, without measuring anything.

    Args:
        numbers: FACS numbers of the AUs that are scored.
    """
    forms = [form for measure in MEASURES.values() for form in measure.figures]
    choices = list(product(("three", "seven"), numbers))
    return list(dict.fromkeys(f.format(set=name, au=n) for f in forms for name, n in choices))


def of_text(figure: str) -> bool:
    """Whether a figure scores the generated text."""
    return figure in {*_OF_TEXT, *_NAMED_AUS} or figure.startswith("f1_au")
