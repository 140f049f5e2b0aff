"""Scores of the simulated benchmark: answers of a model, and what two references reach.

The references are the ceiling (the Bayes rule given the true AUs) and a logistic regression on
the same flow.
"""

from __future__ import annotations

import logging
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from deft_llm import facs
from deft_llm.deft.explain import Answers, Explainer
from deft_llm.deft.processing_deft import DeftFeatureExtractor
from deft_llm.evaluation.simulated_clips import TestClip
from deft_llm.metrics.classification import binary_f1, confusion_matrix, uf1
from deft_llm.metrics.faithfulness import ClaimCounts, count_claims
from deft_llm.motion.packet import Packet
from deft_llm.simulator.clip_spec import ClipSpec, combinations
from deft_llm.unimer.dialogue import NOTHING, parse_triple, stated_claims
from deft_llm.unimer.records import PacketStore

logger = logging.getLogger(__name__)
AMPLITUDES = (0.3, 0.6, 1.0, 1.8, 3.0001)  # canonical px, edges of the table's rows
BATCH = 32


# --------------------------------------------------------------------------- answers


@dataclass
class Reply:
    """What the model said of one clip; empty where no face was found."""

    likelihoods: dict[str, float]
    text: str
    au_probabilities: NDArray[np.float32] | None
    emotion_probabilities: NDArray[np.float32] | None

    def three(self) -> str | None:
        """The likeliest of the three classes."""
        of_three = {name: self.likelihoods.get(name, -np.inf) for name in facs.THREE_CLASSES}
        return max(of_three, key=of_three.__getitem__) if self.likelihoods else None

    def best(self) -> str:
        """The likeliest of all labels, "none" among them."""
        return max(self.likelihoods, key=self.likelihoods.__getitem__, default=NOTHING)


def ask(
    explainer: Explainer, clips: Sequence[TestClip], blank: tuple[str, ...] = (), write: bool = True
) -> list[Reply]:
    """Ask the model about every clip."""
    replies = [Reply({}, "", None, None) for _ in clips]
    shown = [i for i, clip in enumerate(clips) if clip.packet is not None]
    name = "answers" if write else f"without {' and '.join(blank)}"
    for first in tqdm(range(0, len(shown), BATCH), desc=name, unit="batch"):
        part = shown[first : first + BATCH]
        packets = [p for p in (clips[i].packet for i in part) if p is not None]
        said = explainer.answers(explainer.encode(packets, blank), write=write)
        for k, i in enumerate(part):
            replies[i] = _reply(said, k)
    return replies


def _reply(said: Answers, k: int) -> Reply:
    return Reply(
        dict(zip(said.labels, said.log_likelihoods[k].tolist(), strict=True)),
        said.texts[k],
        said.au_probabilities[k].numpy(),
        said.emotion_probabilities[k].numpy(),
    )


# ---------------------------------------------------------------------------- scores


def class_of(spec: ClipSpec) -> str | None:
    """The class that a clip counts under; None outside the three."""
    return facs.to_three(spec.emotion)


def three_class_uf1(clips: Sequence[TestClip], guesses: Iterable[str | None]) -> float:
    """UF1 over the clips that have one of the three classes."""
    return uf1(confusion(clips, guesses))


def confusion(clips: Sequence[TestClip], guesses: Iterable[str | None]) -> NDArray[np.int64]:
    """Rows true, columns guessed, over the clips that have one of the three classes."""
    rows = [(class_of(c.spec), g) for c, g in zip(clips, guesses, strict=True)]
    kept = [(label, guess) for label, guess in rows if label is not None]
    return confusion_matrix([r[0] for r in kept], [r[1] for r in kept], facs.THREE_CLASSES)


class BayesRule:
    """The ceiling: the likeliest class given the true AUs with sides, fitted on training draws.

    A combination that was drawn in training is looked up; another is read by naive Bayes over
    its AUs with add-one smoothing (our choice).
    """

    def __init__(self, train: Iterable[ClipSpec]) -> None:
        self.seen: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.prior: Counter[str] = Counter()
        self.units: dict[str, Counter[str]] = defaultdict(Counter)
        for spec in train:
            label = class_of(spec)
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
                "UF1": three_class_uf1(some, (r.three() for r in said)),
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
    return three_class_uf1(clips, guesses)


def _flow_vector(packet: Packet) -> NDArray[np.float32]:
    features = DeftFeatureExtractor()(packet)
    flow = features["flow"][0, 0].numpy()
    pooled = flow.reshape(3, 14, 4, 14, 4).mean((2, 4))
    return np.concatenate([pooled.ravel(), features["flow_scale"][0, 0].numpy()[:3]])
