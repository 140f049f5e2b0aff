"""Scores of the simulated benchmarks: answers of a model, and what two references reach.

The references are the ceiling (the Bayes rule given the true AUs) and a logistic regression on
the same flow.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor
from tqdm import tqdm

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, parse_triple, stated_claims
from deft_llm.clip import Evidence
from deft_llm.data.features import Packet
from deft_llm.data.records import PacketStore
from deft_llm.data.simulated_test import TestClip
from deft_llm.deft.configuration_deft import NO_EMOTION
from deft_llm.deft.inference.calibration import LABEL_SETS
from deft_llm.deft.inference.explainer import Answers, Explainer
from deft_llm.deft.processing_deft import DeftFeatureExtractor
from deft_llm.metrics.classification import binary_f1, confusion_matrix, uf1
from deft_llm.metrics.faithfulness import ClaimCounts, count_claims
from deft_llm.simulator.scene.clip_spec import ClipSpec, combinations
from deft_llm.unimer.build import TOLD
from deft_llm.unimer.constraints import judge

logger = logging.getLogger(__name__)
AMPLITUDES = (0.3, 0.6, 1.0, 1.8, 3.0001)  # canonical px, edges of the table's rows
BATCH = 32
_SCHEMES = {"three": "3", "seven": "7-dfme"}  # label set -> name in facs.SCHEMES


# --------------------------------------------------------------------------- answers


@dataclass
class Reply:
    """What the model said of one clip; empty where no face was found.

    Attributes:
        likelihoods: Coarse label -> log-likelihood.
        text: Structured answer as generated.
        au_probabilities: (K, 2) of the AU head.
        emotion_probabilities: (E,) of the emotion head.
        emotions: Emotion of the seven -> log-likelihood.
    """

    likelihoods: dict[str, float]
    text: str
    au_probabilities: NDArray[np.float32] | None
    emotion_probabilities: NDArray[np.float32] | None
    emotions: dict[str, float] = field(default_factory=dict)

    def three(self) -> str | None:
        """The likeliest of the three classes."""
        of_three = {name: self.likelihoods.get(name, -np.inf) for name in facs.THREE_CLASSES}
        return max(of_three, key=of_three.__getitem__) if self.likelihoods else None

    def seven(self) -> str | None:
        """The likeliest of the seven emotions."""
        return max(self.emotions, key=self.emotions.__getitem__, default=None)

    def best(self) -> str:
        """The likeliest of all coarse labels, "none" among them."""
        return max(self.likelihoods, key=self.likelihoods.__getitem__, default=NOTHING)

    def names_an_emotion(self) -> bool:
        """Whether label likelihood or text speak of any expression at all."""
        record = parse_triple(self.text)
        return self.best() != NOTHING or (record is not None and record["class"] != NOTHING)


def ask(
    explainer: Explainer,
    clips: Sequence[TestClip],
    blank: tuple[str, ...] = (),
    write: bool = True,
    grammar: bool = False,
) -> list[Reply]:
    """Ask the model about every clip.

    Args:
        explainer: The model.
        clips: The clips.
        blank: Experts to leave out.
        write: Also generate the structured answer.
        grammar: Generate it under the grammar; scores of such texts have to say so.
    """
    replies = [Reply({}, "", None, None) for _ in clips]
    shown = [i for i, clip in enumerate(clips) if clip.packet is not None]
    name = "answers" if write else f"without {' and '.join(blank)}"
    for first in tqdm(range(0, len(shown), BATCH), desc=name, unit="batch"):
        part = shown[first : first + BATCH]
        packets = [p for p in (clips[i].packet for i in part) if p is not None]
        tokens = explainer.encode(packets, blank)
        said = explainer.answers(tokens, write, grammar)
        emotions = explainer.likelihoods(tokens, "seven")
        for k, i in enumerate(part):
            replies[i] = _reply(said, emotions, k)
    return replies


def _reply(said: Answers, emotions: Tensor, k: int) -> Reply:
    return Reply(
        dict(zip(COARSE_LABELS, said.log_likelihoods[k].tolist(), strict=True)),
        said.texts[k],
        said.au_probabilities[k].numpy(),
        said.emotion_probabilities[k].numpy(),
        dict(zip(LABEL_SETS["seven"][1], emotions[k].tolist(), strict=True)),
    )


# ---------------------------------------------------------------------------- scores


def class_of(spec: ClipSpec, labels: str = "three") -> str | None:
    """The class of a clip in the label set "three" or "seven"; None outside it."""
    return facs.to_scheme(spec.emotion, _SCHEMES[labels])


def class_uf1(
    clips: Sequence[TestClip], guesses: Iterable[str | None], labels: str = "three"
) -> float:
    """UF1 over the clips that have a class of the label set."""
    return uf1(confusion(clips, guesses, labels))


def confusion(
    clips: Sequence[TestClip], guesses: Iterable[str | None], labels: str = "three"
) -> NDArray[np.int64]:
    """Rows true, columns guessed, over the clips that have a class of the label set."""
    rows = [(class_of(c.spec, labels), g) for c, g in zip(clips, guesses, strict=True)]
    kept = [(label, guess) for label, guess in rows if label is not None]
    classes = LABEL_SETS[labels][1]
    return confusion_matrix([r[0] for r in kept], [r[1] for r in kept], classes)


class BayesRule:
    """The ceiling: the likeliest class given the true AUs with sides, fitted on training draws.

    A combination that was drawn in training is looked up; another is read by naive Bayes over
    its AUs with add-one smoothing (our choice).
    """

    def __init__(self, train: Iterable[ClipSpec], labels: str = "three") -> None:
        self.seen: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.prior: Counter[str] = Counter()
        self.units: dict[str, Counter[str]] = defaultdict(Counter)
        for spec in train:
            label = class_of(spec, labels)
            if label is None:
                continue
            key = facs.sort_aus(spec.aus)
            self.seen[key][label] += 1
            self.prior[label] += 1
            for code in key:
                self.units[label][code] += 1

    def __call__(self, aus: Iterable[str]) -> str:
        """The class of a clip with these AU codes."""
        key = facs.sort_aus(aus)
        if key in self.seen:
            return self.seen[key].most_common(1)[0][0]
        scores = {
            label: np.log(count)
            + sum(np.log((self.units[label][code] + 1) / (count + 2)) for code in key)
            for label, count in self.prior.items()
        }
        return max(scores, key=scores.__getitem__)


def scored_aus(least_share: float) -> list[int]:
    """FACS numbers in at least that share of the coded combinations."""
    counts: dict[int, float] = defaultdict(float)
    total = 0.0
    for table in combinations().values():
        for code, count in table.items():
            total += count
            for number in {facs.au_number(au) for au in code.split("+")}:
                counts[number] += count
    return sorted(number for number, count in counts.items() if count / total >= least_share)


def au_matrix(sets: Iterable[Iterable[str]], numbers: Sequence[int]) -> NDArray[np.bool_]:
    """AU codes of N clips -> (N, K) bool, sides left aside."""
    rows = [{facs.au_number(code) for code in codes} for codes in sets]
    return np.array([[number in row for number in numbers] for row in rows], bool)


def said_aus(reply: Reply) -> list[str]:
    """AU codes of the generated answer; none where it does not parse."""
    record = parse_triple(reply.text)
    return list(record["aus"]) if record else []


def claims(clips: Sequence[TestClip], replies: Sequence[Reply]) -> ClaimCounts:
    """Claims of the raw texts against exact motion, summed over clips."""
    counts = (
        count_claims(stated_claims(reply.text), clip.motion)
        for clip, reply in zip(clips, replies, strict=True)
    )
    return sum(counts, ClaimCounts())


def rule_claims(clips: Sequence[TestClip]) -> ClaimCounts:
    """What the instruction data's rule would state, given the true AUs and the measured flow.

    It speaks only of motion that a coded AU explains, so its recall is about what a model that
    learns from such statements can reach.
    """
    counts = ClaimCounts()
    for clip in clips:
        stated: tuple[Evidence, ...] = ()
        if clip.packet is not None:
            stated = judge(clip.packet["regions"], clip.spec.aus, least=TOLD).evidence
        said = [(row.region, row.direction) for row in stated]
        counts += count_claims(said, clip.motion)
    return counts


def named_without_au(clips: Sequence[TestClip], replies: Sequence[Reply]) -> float:
    """Share of the clips without any AU that are given an emotion, by likelihood or in words."""
    said = [r.names_an_emotion() for c, r in zip(clips, replies, strict=True) if not c.spec.aus]
    return float(np.mean(said))


def head_class(emotions: Sequence[str], reply: Reply, labels: str = "three") -> str | None:
    """What the emotion head makes likeliest among the classes of a label set.

    Args:
        emotions: The head's classes, "none" among them.
        reply: Its probabilities.
        labels: "three" or "seven".
    """
    if reply.emotion_probabilities is None:
        return None
    total: dict[str, float] = defaultdict(float)
    for name, value in zip(emotions, reply.emotion_probabilities, strict=True):
        label = None if name == NO_EMOTION else facs.to_scheme(name, _SCHEMES[labels])
        if label is not None:
            total[label] += float(value)
    return max(total, key=total.__getitem__)


def head_aus(
    aus: Sequence[int], replies: Sequence[Reply], numbers: Sequence[int]
) -> NDArray[np.bool_]:
    """AUs (N, K) that the AU head makes likelier than not on some side.

    Args:
        aus: The head's AUs.
        replies: N replies.
        numbers: The K AUs that are asked for; the head never says one that it does not have.
    """
    rows = np.zeros((len(replies), len(numbers)), bool)
    for row, reply in zip(rows, replies, strict=True):
        for k, number in enumerate(numbers):
            if reply.au_probabilities is not None and number in aus:
                row[k] = reply.au_probabilities[aus.index(number)].max() > 0.5
    return rows


def amplitude_table(clips: Sequence[TestClip], replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """Scores by peak displacement, clips with AUs only."""
    rows = []
    for low, high in pairwise(AMPLITUDES):
        kept = [
            (c, r)
            for c, r in zip(clips, replies, strict=True)
            if c.spec.aus and low <= c.spec.peak_px < high
        ]
        some, said = [c for c, _ in kept], [r for _, r in kept]
        counts = claims(some, said)
        numbers = scored_aus(0.02)
        f1 = binary_f1(
            au_matrix((c.spec.aus for c in some), numbers),
            au_matrix((said_aus(r) for r in said), numbers),
        )
        rows.append(
            {
                "peak px": f"{low:.1f}-{min(high, 3.0):.1f}",
                "clips": len(kept),
                "UF1": class_uf1(some, (r.three() for r in said)),
                "AU macro-F1": float(f1.mean()),
                "claim precision": counts.precision,
                "claim recall": counts.recall,
            }
        )
    return rows


# ------------------------------------------------------------------------- reference


def logistic_regression_uf1(folder: Path, clips: Sequence[TestClip]) -> float:
    """UF1 of a logistic regression on the same flow, trained on the recipe's clips.

    The flow of the rising phase, ``flow_uvs`` at 14x14 cells and its log amplitude. NaN when the
    training data is not there.
    """
    if not (folder / "clips.jsonl").is_file():
        logger.warning("no %s: the logistic regression is left out (train first)", folder)
        return float("nan")
    store = PacketStore(folder)
    labelled = [(r, facs.to_three(r.emotion)) for r in store.records.values()]
    known = [(r, label) for r, label in labelled if label is not None]
    inputs = np.stack([_flow_vector(store[r.clip]) for r, _ in known])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=2000))
    model.fit(inputs, [label for _, label in known])
    guesses = [
        str(model.predict(_flow_vector(c.packet)[None])[0]) if c.packet is not None else None
        for c in clips
    ]
    return class_uf1(clips, guesses)


def _flow_vector(packet: Packet) -> NDArray[np.float32]:
    features = DeftFeatureExtractor()(packet)
    flow = features["flow"][0, 0].numpy()
    pooled = flow.reshape(3, 14, 4, 14, 4).mean((2, 4))
    return np.concatenate([pooled.ravel(), features["flow_scale"][0, 0].numpy()[:3]])
