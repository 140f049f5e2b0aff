"""What the reward stage asks about which clip, and what was measured there."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from deft_llm import facs
from deft_llm.answers import COARSE_LABELS, NOTHING, coarse_label
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import mirror_features, region_table_of
from deft_llm.data.records import ClipRecord
from deft_llm.deft.inference.said import Said, Seen
from deft_llm.deft.inference.tools import tool
from deft_llm.deft.processing_deft import CLIP_TOKEN, DeftProcessor
from deft_llm.deft.tuning.datasets import ExpertTokens
from deft_llm.deft.tuning.stage_settings import RewardStage
from deft_llm.errors import UserError
from deft_llm.queries.query import Query
from deft_llm.unimer.query_questions import QueryQuestions


@dataclass(frozen=True)
class Asked:
    """One question about one clip.

    Attributes:
        clip: Row of the clip.
        mirrored: Whether its mirror image is shown.
        kind: Type of the question.
        prompt: The rendered conversation up to the answer, with the experts' placeholders.
        query: What a question of the chat asks.
    """

    clip: int
    mirrored: bool
    kind: str
    prompt: str
    query: Query | None = None


class RewardDataset(Dataset):
    """Questions about clips and their mirror images, without answers.

    Args:
        clips: Measured clips, without labels (``ClipDataset.without_labels``) unless they are
            rewarded for comparison.
        processor: Renders the questions.
        tokens: The clips' expert tokens.
        stage: What is asked how often, and whose measurement rewards it.
        seed: Draws questions of the chat and, for the control, the other clips.

    Raises:
        UserError: If there is no clip, or only one where another is to be measured.
    """

    def __init__(
        self,
        clips: ClipDataset,
        processor: DeftProcessor,
        tokens: ExpertTokens,
        stage: RewardStage,
        seed: int,
    ) -> None:
        if not len(clips):
            raise UserError("nothing to reward: no clip shows a face whose motion was measured")
        self.clips, self.processor, self.tokens = clips, processor, tokens
        self.rows = [
            row
            for kind, times in stage.questions.items()
            for row in _asked(kind, times, len(clips), processor, seed)
        ]
        self._seen: dict[tuple[int, bool], Seen] = {}  # read again in every epoch
        self.judged_by = np.arange(len(clips))
        if stage.measured_on == "another":
            self.judged_by = _others(len(clips), seed)

    def __len__(self) -> int:
        return len(self.rows)

    def lengths(self) -> list[int]:
        """Equal lengths: how long an answer gets is not known."""
        return [1] * len(self)

    def __getitem__(self, index: int) -> dict[str, Any]:
        row = self.rows[index]
        clip = self.clips.records[row.clip].clip
        tokens = self.tokens(clip, row.mirrored)
        return {"index": index, "prompt": row.prompt, "expert_tokens": tokens}

    def seen(self, index: int) -> Seen:
        """What was measured of the clip of a row, or of the other one that rewards it."""
        row = self.rows[index]
        clip = int(self.judged_by[row.clip])
        if (clip, row.mirrored) not in self._seen:
            features = self.clips[clip].features
            assert features is not None, "the clips were measured"
            shown = mirror_features(features) if row.mirrored else features
            self._seen[clip, row.mirrored] = Seen(region_table_of(shown["regions"][0]))
        return self._seen[clip, row.mirrored]

    def label_reward(self, index: int, said: Said) -> float:
        """Whether an answer names the coded class, and the F1 of its AUs: their mean."""
        row = self.rows[index]
        record = self.clips.records[row.clip]
        aus = {facs.mirror_au(code) if row.mirrored else code for code in record.aus}
        named, coded = ({facs.au_number(code) for code in some} for some in (said.aus, aus))
        right = float(said.label == _coarse(record))
        if said.record is None or not record.aus_known:
            return right
        f1 = 2 * len(named & coded) / (len(named) + len(coded)) if named or coded else 1.0
        return (right + f1) / 2


def _coarse(record: ClipRecord) -> str:
    label = coarse_label(record.emotion or NOTHING)
    assert label in COARSE_LABELS
    return label


def _others(count: int, seed: int) -> np.ndarray:
    """For every clip another one, each once."""
    if count < 2:
        raise UserError("reward.measured_on=another: there is one clip, and no other to measure on")
    # 27 only keeps this draw apart from others of the same seed; our choice.
    order = np.random.default_rng([seed, 27]).permutation(count)
    others = np.empty(count, np.int64)
    # One cycle through all clips, so none is judged by itself.
    others[order] = np.roll(order, 1)
    return others


def _asked(
    kind: str, times: int, clips: int, processor: DeftProcessor, seed: int
) -> Sequence[Asked]:
    drawn = QueryQuestions(random.Random(f"{seed}/reward")) if kind == "query" else None
    rows = []
    for _ in range(times):
        for clip in range(clips):
            for mirrored in (False, True):
                pair = drawn.pair() if drawn else None
                question = pair.question if pair else processor.prompts[kind]
                turns = [{"role": "user", "content": CLIP_TOKEN + question}]
                prompt = processor.chat(turns, [tool()] if pair else ())
                shown = prompt.replace(CLIP_TOKEN, processor.span)
                rows.append(Asked(clip, mirrored, kind, shown, pair.query if pair else None))
    return rows


class PromptCollator:
    """Pads questions on the left, so that all answers begin in one column."""

    def __init__(self, processor: DeftProcessor) -> None:
        self.processor = processor

    def __call__(self, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Rows of a data set -> ``index`` (B,), ids and mask (B, L), and the experts' tokens."""
        tokens = [row["expert_tokens"] for row in rows]
        inputs = self.processor([row["prompt"] for row in rows], padding_side="left")
        return {
            "index": torch.tensor([row["index"] for row in rows]),
            "input_ids": inputs["input_ids"],
            "attention_mask": inputs["attention_mask"],
            "expert_tokens": {n: torch.stack([t[n] for t in tokens]) for n in tokens[0]},
        }
