"""DEFT-LLM after its rewards against before, judged by the exact motion of unseen faces.

The rewards see what was measured; the judge is the simulator's exact motion, which they never see.
Controls are checkpoints of the same compute: more supervised steps, the measurement of another
clip, rewards of labels, parts left out. Gains have paired intervals over subjects.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from pydantic import Field

from deft_llm import resources
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import region_table_of
from deft_llm.data.simulated import SimulatedData, head_at_hand, simulated_clips, specs
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.inference.said import Seen
from deft_llm.deft.inference.verifier import SAMPLED, best_of
from deft_llm.evaluation.benchmark import Benchmark, run
from deft_llm.evaluation.explanation.references import training_draw
from deft_llm.evaluation.explanation.replies import BATCH, Reply, ask, write_rows
from deft_llm.evaluation.explanation.scores import class_uf1
from deft_llm.evaluation.faces import require_unseen
from deft_llm.evaluation.reward.scores import (
    Counts,
    counts,
    gain,
    habits,
    hallucinated_share,
    precision,
    recall,
)
from deft_llm.evaluation.tables import markdown
from deft_llm.metrics.figures import Figure

logger = logging.getLogger(__name__)
LEFT_OUT = "left_out"
_BEFORE, _REWARDED = "before", "rewarded"
_OF_TESTS = (
    *("claim_precision", "claim_recall", "recall_gain", "recall_gain_low", "precision_gain"),
    *("hallucinated_aus", "uf1_change", "best_of_precision", "best_of_recall"),
    *("greedy_precision", "greedy_recall"),
)
_OF_CONTROLS = ("recall_gain", "recall_gain_low", "recall_gain_high", "precision_gain")
_OVERALL = ("emotion_without_au", "clips_without_au", "warped_worse", LEFT_OUT)
Models = dict[str, list[Path]]


@dataclass(frozen=True)
class Tried:
    """One checkpoint on one test set.

    Attributes:
        counts: Claims and AUs by subject.
        uf1: Of three classes, by likelihood.
        replies: Its replies.
    """

    counts: Counts
    uf1: float
    replies: list[Reply]


class MotionRewardBenchmark(Benchmark):
    """A file of ``eval/benchmarks`` with ``benchmark: motion_reward``.

    Attributes:
        before: The checkpoint that the rewards began with.
        rewarded: Checkpoints after the rewards, one for each seed.
        controls: Name -> checkpoints, one for each seed.
        recipes: Recipes of all of them; their training draw must share no face with the tests.
        data: Test sets by name.
        still: Sets without any AU, of which no emotion may be named, by name.
        samples: Answers of which the verifier takes the best, measured beside the greedy one;
            0 leaves it out.
        warped: Name or file of the benchmark of warped skin, on which the first rewarded checkpoint
            must be no worse than before in any row; None leaves it out.
    """

    before: Path
    rewarded: list[Path] = Field(min_length=1)
    controls: Models = {}
    recipes: list[Path]
    data: dict[str, SimulatedData] = Field(min_length=1)
    still: dict[str, SimulatedData] = {}
    samples: int = Field(default=8, ge=0)
    warped: str | None = None

    def figure_names(self) -> list[str]:
        """See the base."""
        of_tests = [f"{name}_{test}" for test in self.data for name in _OF_TESTS]
        of_controls = [
            f"{control}_{name}_{test}"
            for control in self.controls
            for test in self.data
            for name in _OF_CONTROLS
        ]
        return [*of_tests, *of_controls, *_OVERALL]

    def measure(self) -> tuple[list[Figure], str]:
        """See the base."""
        self._require_unseen()
        models, missing = self._at_hand()
        tests = {n: data for n, data in self.data.items() if head_at_hand(data.head)}
        still = {n: data for n, data in self.still.items() if head_at_hand(data.head)}
        left_out = missing + len(self.data) + len(self.still) - len(tests) - len(still)
        values: dict[str, float] = {}
        tables: list[str] = []
        for test, data in tests.items():
            clips = simulated_clips(data, self.output)
            tried = {
                name: [self._tried(path, test, data, clips) for path in paths]
                for name, paths in models.items()
            }
            values |= self._values(test, tried)
            tables.append(f"{test}\n\n{markdown(list(_table(tried, clips)))}")
            if self.samples:
                values |= self._best_of(test, models, clips)
        values |= self._emotions(models, still)
        if self.warped and models[_REWARDED]:
            values["warped_worse"] = self._warped(models[_REWARDED][0])
        values[LEFT_OUT] = float(left_out)
        return self.with_bars(values), "\n\n".join(tables)

    def _require_unseen(self) -> None:
        train = training_draw(self.recipes)
        for name, data in {**self.data, **self.still}.items():
            mend = f"set first_identity and seed of {name} apart from the recipes'"
            require_unseen(train, specs(data), f"training draw and {name}", mend)

    def _at_hand(self) -> tuple[Models, int]:
        """The checkpoints that exist, and how many do not."""
        wanted = {_BEFORE: [self.before], _REWARDED: self.rewarded, **self.controls}
        found: Models = {}
        for name, paths in wanted.items():
            found[name] = [path for path in paths if resources.checkpoint(path).is_dir()]
            for path in sorted({*paths} - {*found[name]}):
                logger.warning("%s is left out: no checkpoint %s", name, path)
        return found, sum(map(len, wanted.values())) - sum(map(len, found.values()))

    def _tried(self, path: Path, test: str, data: SimulatedData, clips: ClipDataset) -> Tried:
        replies = ask(Explainer.load(path), clips)
        name = "-".join(path.parts[-2:])
        write_rows(self.output / f"rewarded-{name}-{test}.jsonl", data.seed, clips, replies, 0.0)
        uf1 = class_uf1(clips, (reply.likeliest("three") for reply in replies))
        return Tried(counts(clips, [reply.text for reply in replies]), uf1, replies)

    def _values(self, test: str, tried: dict[str, list[Tried]]) -> dict[str, float]:
        before = [each.counts for each in tried[_BEFORE]]
        values: dict[str, float] = {}
        for name, models in tried.items():
            if name == _BEFORE or not (models and before):
                continue
            own = [each.counts for each in models]
            more, surer = gain(own, before, recall), gain(own, before, precision)
            front = "" if name == _REWARDED else f"{name}_"
            values[f"{front}recall_gain_{test}"] = more.value
            values[f"{front}recall_gain_low_{test}"] = more.low
            values[f"{front}precision_gain_{test}"] = surer.value
            if name != _REWARDED:
                values[f"{front}recall_gain_high_{test}"] = more.high
                continue
            values[f"claim_precision_{test}"] = _mean(precision(x) for x in own)
            values[f"claim_recall_{test}"] = _mean(recall(x) for x in own)
            values[f"hallucinated_aus_{test}"] = _mean(hallucinated_share(x) for x in own)
            then = _mean(each.uf1 for each in tried[_BEFORE])
            values[f"uf1_change_{test}"] = _mean(each.uf1 for each in models) - then
        return values

    def _best_of(self, test: str, models: Models, clips: ClipDataset) -> dict[str, float]:
        """The first rewarded checkpoint, else the one before, with and without the verifier."""
        paths = models[_REWARDED] or models[_BEFORE]
        if not paths:
            return {}
        greedy, best = best_answers(Explainer.load(paths[0]), clips, self.samples)
        values = {}
        for name, texts in (("greedy", greedy), ("best_of", best)):
            sums = counts(clips, texts)
            values[f"{name}_precision_{test}"] = precision(sums)
            values[f"{name}_recall_{test}"] = recall(sums)
        return values

    def _emotions(self, models: Models, still: dict[str, SimulatedData]) -> dict[str, float]:
        clips = [simulated_clips(data, self.output) for data in still.values()]
        named = [
            reply.names_an_emotion()
            for path in models[_REWARDED]
            for some in clips
            for reply in ask(Explainer.load(path), some)
        ]
        share = sum(named) / len(named) if named else math.nan
        return {"emotion_without_au": share, "clips_without_au": float(sum(map(len, clips)))}

    def _warped(self, path: Path) -> float:
        """Rows of the benchmark of warped skin in which a checkpoint is worse than before."""
        assert self.warped is not None
        file = resources.benchmark(self.warped)
        old, new = (
            {f.name: f.value for f in run(file, [f"checkpoint={checkpoint}"])[0]}
            for checkpoint in (self.before, path)
        )
        worse = [
            name
            for name in old
            if (name.endswith("_right") and new[name] < old[name])
            or (name.endswith("_false_alarms") and new[name] > old[name])
        ]
        for name in worse:
            logger.warning("warped skin: %s was %.3f, is %.3f", name, old[name], new[name])
        return float(len(worse))


def best_answers(
    explainer: Explainer, clips: ClipDataset, samples: int
) -> tuple[list[str], list[str]]:
    """The greedy answer about every clip, and the best of it and some samples by the verifier."""
    greedy, best = [""] * len(clips), [""] * len(clips)
    shown = [i for i, found in enumerate(clips.found) if found]
    torch.manual_seed(0)
    for first in range(0, len(shown), BATCH):
        rows = shown[first : first + BATCH]
        features = [clip.features for clip in clips.subset(rows)]
        tokens = explainer.encode([x for x in features if x is not None])
        likeliest = explainer.structured_answers(tokens)
        drawn = explainer.structured_answers(tokens, num_return_sequences=samples, **SAMPLED)
        for k, (row, x) in enumerate(zip(rows, features, strict=True)):
            assert x is not None
            # ``generate`` puts all samples of one clip next to each other.
            texts = [likeliest[k], *drawn[k * samples : (k + 1) * samples]]
            chosen, _ = best_of(texts, Seen(region_table_of(x["regions"][0])))
            greedy[row], best[row] = likeliest[k], texts[chosen]
    return greedy, best


def _table(tried: dict[str, list[Tried]], clips: ClipDataset) -> Iterator[dict[str, object]]:
    """A line for each model: scores, gains with their intervals, and habits."""
    before = [each.counts for each in tried[_BEFORE]]
    for name, models in tried.items():
        if not models:
            continue
        own = [each.counts for each in models]
        texts = [[reply.text for reply in each.replies] for each in models]
        shown = [asdict(habits(clips, some)) for some in texts]
        line: dict[str, object] = {
            "model": name,
            "seeds": len(models),
            "precision": _mean(map(precision, own)),
            "recall": _mean(map(recall, own)),
            "hallucinated AUs": _mean(map(hallucinated_share, own)),
            "UF1": _mean(each.uf1 for each in models),
        }
        scores: dict[str, Callable[[Counts], float]] = {"recall": recall, "precision": precision}
        for label, score in scores.items():
            compared = name != _BEFORE and before
            line[f"gain of {label}"] = str(gain(own, before, score)) if compared else ""
        yield line | {key: _mean(each[key] for each in shown) for key in shown[0]}


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(np.mean(found)) if found else math.nan
