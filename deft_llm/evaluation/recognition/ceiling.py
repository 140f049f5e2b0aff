"""The ceiling of a benchmark of simulated clips: the Bayes rule, fitted on each fold's clips."""

from __future__ import annotations

from collections.abc import Sequence

from deft_llm import protocols
from deft_llm.clip import Prediction
from deft_llm.data.labelled import LabelledClips
from deft_llm.errors import UserError
from deft_llm.evaluation.bayes_rule import BayesRule
from deft_llm.evaluation.recognition.entries import ModelEntry
from deft_llm.evaluation.recognition.results import CEILING, Result
from deft_llm.simulator.scene.clip_spec import ClipSpec


def ceiling(data: LabelledClips, splits: Sequence[protocols.Split]) -> Result:
    """Predictions from the true AUs, as a row of the table.

    Raises:
        UserError: If a clip was not simulated.
    """
    if unknown := [record.clip for record in data.clips.records if not record.spec]:
        raise UserError(
            f"ceiling: clip {unknown[0]} was not simulated, so its true AUs are not known; set "
            "ceiling: false"
        )
    specs = [ClipSpec.from_json(record.spec) for record in data.clips.records]
    rows = []
    for split in splits:
        rule = BayesRule(specs[i] for i in split.train)
        for i in split.test:
            predicted = rule(specs[i].aus)
            rows.append(
                Prediction(
                    dataset=data.clips.records[i].dataset,
                    subject=data.clips.records[i].subject,
                    clip=data.clips.records[i].clip,
                    fold=split.fold,
                    seed=0,
                    label=data.classes[data.labels[i]],
                    predicted=predicted,
                    probabilities={name: float(name == predicted) for name in data.classes},
                    seconds=0.0,
                )
            )
    note = "Bayes rule on the true AUs, which no model sees"
    return Result(CEILING, ModelEntry(recognizer=CEILING, note=note), rows)
