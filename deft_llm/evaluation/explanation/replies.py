"""A model's replies on test clips: computed once, scored by all measures, stored as rows."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, parse_structured_answer
from deft_llm.clip import Prediction
from deft_llm.data.clip_dataset import MeasuredClip
from deft_llm.deft.inference.calibration import LABEL_SETS
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.scoring import Answers
from deft_llm.files import write_lines

BATCH = 32


@dataclass
class Reply:
    """The model's reply on one clip; empty if no face was found.

    Attributes:
        likelihoods: Coarse label -> log-likelihood.
        text: Structured answer as generated.
        au_probabilities: (K, 2) of the AU head.
        emotion_probabilities: (E,) of the emotion head.
        emotions: One of the seven emotions -> log-likelihood.
    """

    likelihoods: dict[str, float]
    text: str
    au_probabilities: NDArray[np.float32] | None
    emotion_probabilities: NDArray[np.float32] | None
    emotions: dict[str, float] = field(default_factory=dict)

    def likeliest(self, label_set: str) -> str | None:
        """The likeliest label of the set "three" or "seven"."""
        values = self.emotions if label_set == "seven" else self.likelihoods
        of_set = {n: v for n, v in values.items() if n in LABEL_SETS[label_set][1]}
        return max(of_set, key=of_set.__getitem__, default=None)

    def best(self) -> str:
        """The likeliest of all coarse labels, including "none"."""
        return max(self.likelihoods, key=self.likelihoods.__getitem__, default=NOTHING)

    def aus(self) -> list[str]:
        """AU codes of the generated answer; empty if it does not parse."""
        record = parse_structured_answer(self.text)
        return list(record["aus"]) if record else []

    def names_an_emotion(self) -> bool:
        """Whether label likelihood or text gives any expression."""
        record = parse_structured_answer(self.text)
        return self.best() != NOTHING or (record is not None and record["class"] != NOTHING)


def ask(
    explainer: Explainer,
    clips: Sequence[MeasuredClip],
    ablate: tuple[str, ...] = (),
    write: bool = True,
    grammar: bool = False,
) -> list[Reply]:
    """Ask the model about every clip.

    Args:
        explainer: The model.
        clips: The clips.
        ablate: Experts to ablate.
        write: Also generate the structured answer.
        grammar: Generate it under the grammar; scores of such texts must be marked.
    """
    replies = [Reply({}, "", None, None) for _ in clips]
    shown = [(i, clip.features) for i, clip in enumerate(clips) if clip.features is not None]
    name = "answers" if write else f"without {' and '.join(ablate)}"
    for first in tqdm(range(0, len(shown), BATCH), desc=name, unit="batch"):
        rows, shard = zip(*shown[first : first + BATCH], strict=True)
        # Encoded once, for the answer and for both sets of labels.
        tokens = explainer.encode(shard, ablate)
        answers = explainer.answers(tokens, write, grammar)
        emotions = explainer.likelihoods(tokens, "seven")
        for k, i in enumerate(rows):
            replies[i] = _reply(answers, emotions, k)
    return replies


def _reply(answers: Answers, emotions: Tensor, k: int) -> Reply:
    return Reply(
        dict(zip(COARSE_LABELS, answers.log_likelihoods[k].tolist(), strict=True)),
        answers.texts[k],
        answers.au_probabilities[k].numpy(),
        answers.emotion_probabilities[k].numpy(),
        dict(zip(LABEL_SETS["seven"][1], emotions[k].tolist(), strict=True)),
    )


def write_rows(
    path: Path, seed: int, clips: Sequence[MeasuredClip], replies: Sequence[Reply], seconds: float
) -> None:
    """Write one ``Prediction`` per line, with the generated text."""
    lines = []
    for clip, reply in zip(clips, replies, strict=True):
        values = np.array(list(reply.likelihoods.values()) or [0.0])
        # A softmax; subtracting the maximum keeps the exponentials from all underflowing to 0.
        odds = np.exp(values - values.max())
        # Not strict: a clip without a face has no likelihoods, and its row no probabilities.
        probabilities = dict(zip(reply.likelihoods, (odds / odds.sum()).tolist(), strict=False))
        row = Prediction(
            dataset="simulated",
            subject=clip.spec.subject,
            clip=clip.spec.name,
            fold=0,
            seed=seed,
            label=facs.to_three(clip.spec.emotion) or (clip.spec.emotion or NOTHING),
            predicted=reply.best(),
            probabilities=probabilities,
            seconds=seconds,
        )
        lines.append(json.dumps({**asdict(row), "text": reply.text}))
    path.parent.mkdir(parents=True, exist_ok=True)
    write_lines(path, lines)
