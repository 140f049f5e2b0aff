"""Data sets of clips and conversations for DEFT-LLM's training, collation and batch order."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, Sampler

from deft_llm import facs
from deft_llm.data.clip_dataset import ClipDataset, MeasuredClip
from deft_llm.data.conversations import CONVERSATIONS, Conversation, read_conversations
from deft_llm.data.features import mirror_features
from deft_llm.data.perturbation import perturbed
from deft_llm.data.records import ClipRecord
from deft_llm.deft.configuration_deft import NO_EMOTION, DeftConfig
from deft_llm.deft.processing_deft import (
    IGNORE_INDEX,
    DeftFeatureExtractor,
    DeftProcessor,
    padded,
)
from deft_llm.errors import UserError

_ENCODED = 32  # clips encoded at a time, to bound the memory


def require_sizes(clips: ClipDataset, config: DeftConfig) -> None:
    """Check that the clips' feature maps have the sizes of the model.

    Raises:
        UserError: If a clip's maps differ from the configuration; names the field.
    """
    wanted = {
        "structure_size": config.structure_size,
        "texture_frames": config.texture_frames,
        "texture_size": config.texture_size,
        "map_size": config.map_size,
    }
    for clip in clips:
        features = clip.features
        assert features is not None, "a data folder holds measured clips alone"
        sides = (
            features["onset"].shape[0],
            *features["texture"].shape[:2],
            features["flow"].shape[-1],
        )
        found = dict(zip(wanted, sides, strict=True))
        if found != wanted:
            name = next(name for name in wanted if found[name] != wanted[name])
            raise UserError(
                f"clip {clip.record.clip!r} was measured with {name} {found[name]}, the recipe's "
                f"model has {wanted[name]}; set model.{name}={found[name]}"
            )


class ClipTargets:
    """Training targets of a clip: emotion index, AU labels and region classes.

    A label that the emotion head has no class for (repression, in a checkpoint trained without it)
    is ignored by the head rather than counted as "others", which would put a negative emotion among
    the rest; the language model is taught it all the same.
    """

    def __init__(self, config: DeftConfig) -> None:
        self.emotions = {name: i for i, name in enumerate(config.emotions)}
        self.aus = {number: i for i, number in enumerate(config.aus)}
        self.regions = {name: i for i, name in enumerate(facs.REGIONS)}

    def __call__(self, record: ClipRecord, mirrored: bool) -> dict[str, Any]:
        """Targets of a record, or of its mirror image if ``mirrored``."""
        if not record.aus_known:
            return self._of_label(record)
        labels = np.zeros((len(self.aus), 2), np.float32)
        for code in record.aus:
            code = facs.mirror_au(code) if mirrored else code
            row = self.aus.get(facs.au_number(code))
            # A code without a side sets both columns; AUs without a motion query are skipped.
            for side in facs.au_sides(code) if row is not None else ():
                labels[row, 0 if side == "left" else 1] = 1.0
        regions = np.zeros(len(facs.REGIONS), np.int64)
        # Same source as the wording of the answers: regions stay 0 where flow and label disagree.
        for seen in record.facts(mirrored).evidence:
            side = facs.REGIONS[seen.region].side
            regions[self.regions[seen.region]] = 1 + facs.octant(seen.direction, side)
        emotion = self._emotion(record)
        return {"emotion_labels": emotion, "au_labels": labels, "region_labels": regions}

    def _emotion(self, record: ClipRecord) -> int:
        if not record.emotion_known:
            return IGNORE_INDEX
        return self.emotions.get(record.emotion or NO_EMOTION, IGNORE_INDEX)

    def _of_label(self, record: ClipRecord) -> dict[str, Any]:
        """Targets of a clip without AU coding: neither AUs nor regions are known."""
        return {
            "emotion_labels": self._emotion(record),
            "au_labels": np.full((len(self.aus), 2), -1, np.float32),
            "region_labels": np.full(len(facs.REGIONS), IGNORE_INDEX, np.int64),
        }


def _shown(clip: MeasuredClip, mirrored: bool) -> dict[str, Any]:
    """The features of a clip, or of its mirror image."""
    assert clip.features is not None, "a data folder holds measured clips alone"
    return {"features": mirror_features(clip.features) if mirrored else clip.features}


class ExpertDataset(Dataset):
    """Every clip and its mirror image, without text.

    Args:
        clips: Measured clips.
        config: The model's configuration.
        perturb: Whether a clip is changed each time it is drawn, by torch's random state
            (``data/perturbation.py``).
    """

    def __init__(self, clips: ClipDataset, config: DeftConfig, perturb: bool = False) -> None:
        self.clips, self.config = clips, config
        self.perturb = perturb
        self.targets = ClipTargets(config)

    def __len__(self) -> int:
        return 2 * len(self.clips)

    def lengths(self) -> list[int]:
        """Equal lengths, because there is no text."""
        return [1] * len(self)

    def clip_ids(self) -> list[str]:
        """The clip of every row."""
        return [self.clips.records[row // 2].clip for row in range(len(self))]

    def as_measured(self) -> ExpertDataset:
        """The same clips unchanged, to validate on."""
        return ExpertDataset(self.clips, self.config) if self.perturb else self

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip, mirrored = self.clips[index // 2], index % 2 == 1
        shown = _shown(clip, mirrored)
        if self.perturb:
            # torch's state is in the checkpoints, so that a resumed run draws the same changes.
            rng = np.random.default_rng(int(torch.randint(2**62, ())))
            shown["features"] = perturbed(shown["features"], rng)
        return {**shown, **self.targets(clip.record, mirrored)}


class ExpertTokens:
    """Expert tokens of every clip and its mirror image from frozen experts, encoded once.

    The tokens stay in memory: 27 kB per clip or mirror image at the tiny recipe's width, float32.
    """

    def __init__(self, model: Any, extractor: DeftFeatureExtractor, clips: ClipDataset) -> None:
        """Encode all clips in evaluation mode, without dropout.

        Args:
            model: A DEFT-LLM, with or without adapters.
            extractor: Scales features.
            clips: Measured clips.
        """
        images = ExpertDataset(clips, model.config)
        self.row_of = clips.row_of
        parts: list[dict[str, torch.Tensor]] = []
        # Restore the mode afterwards, as the model is about to be trained.
        training = model.training
        model.eval()
        with torch.inference_mode():
            for first in range(0, len(images), _ENCODED):
                indices = range(first, min(first + _ENCODED, len(images)))
                inputs = extractor([images[i]["features"] for i in indices])
                found = model.get_clip_features(
                    **{n: x.to(model.device) for n, x in inputs.items()}
                )
                parts.append({name: tokens.cpu() for name, tokens in found.items()})
        model.train(training)
        self.tokens = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}

    def __call__(self, clip: str, mirrored: bool) -> dict[str, torch.Tensor]:
        """Expert -> tokens (N, D) of a clip, or of its mirror image."""
        # ExpertDataset's order: each clip is followed by its mirror image.
        row = 2 * self.row_of(clip) + mirrored
        return {name: tokens[row] for name, tokens in self.tokens.items()}


class InstructionDataset(Dataset):
    """Conversations from the ``train.jsonl`` of some data folders, with their clips.

    Attributes:
        tokens: Precomputed expert tokens, used in place of the clips' features if set.
    """

    def __init__(
        self,
        folders: Sequence[Path],
        clips: ClipDataset,
        processor: DeftProcessor,
        config: DeftConfig,
    ) -> None:
        """Read the conversations.

        Raises:
            UserError: If a line is wrong; names file, line and field.
        """
        self.clips, self.processor = clips, processor
        self.tokens: ExpertTokens | None = None
        self.targets = ClipTargets(config)
        self.lines: list[Conversation] = []
        for folder in folders:
            known = set(clips.from_folders(folder).clips.tolist())
            self.lines += read_conversations(folder / CONVERSATIONS, known)

    def __len__(self) -> int:
        return len(self.lines)

    def lengths(self) -> list[int]:
        """Characters of every conversation, roughly proportional to its tokens."""
        return [sum(len(m["content"]) for m in line.messages) for line in self.lines]

    def clip_ids(self) -> list[str]:
        """The clip of every conversation."""
        return [line.clip for line in self.lines]

    def __getitem__(self, index: int) -> dict[str, Any]:
        line = self.lines[index]
        clip, mirrored = line.clip, line.mirrored
        ids, labels = self.processor.encode_conversation(line.messages)
        shown: dict[str, Any]
        if self.tokens is None:
            shown = _shown(self.clips.by_name(clip), mirrored)
        else:
            shown = {"expert_tokens": self.tokens(clip, mirrored)}
        return {
            "input_ids": ids,
            "labels": labels,
            **shown,
            **self.targets(self.clips.records[self.clips.row_of(clip)], mirrored),
        }


class Collator:
    """Pads text on the right and stacks the clips' tensors."""

    def __init__(self, extractor: DeftFeatureExtractor, pad_token_id: int) -> None:
        self.extractor, self.pad = extractor, pad_token_id

    def __call__(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """Rows of a data set -> one batch of tensors."""
        batch: dict[str, Any] = {}
        if "expert_tokens" in rows[0]:
            tokens = [row["expert_tokens"] for row in rows]
            batch["expert_tokens"] = {n: torch.stack([t[n] for t in tokens]) for n in tokens[0]}
        else:
            batch.update(self.extractor([row["features"] for row in rows]))
        batch["emotion_labels"] = torch.tensor([row["emotion_labels"] for row in rows])
        for name in ("au_labels", "region_labels"):
            batch[name] = torch.from_numpy(np.stack([row[name] for row in rows]))
        if "input_ids" in rows[0]:
            batch.update(padded([(row["input_ids"], row["labels"]) for row in rows], self.pad))
        return batch


class LengthGroupedBatches(Sampler[int]):
    """Batches of conversations of similar length, in random order.

    The sampler of transformers sorts from long to short within a block. Here the short answers
    belong to clips in which nothing moved, so a small model would forget the other answers at the
    end of each block.
    """

    def __init__(self, lengths: list[int], batch_size: int, seed: int) -> None:
        self.lengths, self.batch_size, self.seed, self.epoch = lengths, batch_size, seed, 0

    def __len__(self) -> int:
        return len(self.lengths)

    def set_epoch(self, epoch: int) -> None:
        """Set the epoch, which determines the order; called by accelerate's loader."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        # The order depends on seed and epoch alone, so a resumed run repeats it.
        rng = np.random.default_rng([self.seed, self.epoch])
        # Jitter of the lengths gives each epoch other batches, still of similar length.
        jitter = rng.uniform(0.9, 1.1, len(self.lengths))
        order = np.argsort(np.array(self.lengths) * jitter, kind="stable")
        # The incomplete batch has to come last, or it would shift the borders of the others.
        whole = len(order) // self.batch_size * self.batch_size
        batches = order[:whole].reshape(-1, self.batch_size)
        rng.shuffle(batches)
        return iter([*batches.ravel().tolist(), *order[whole:].tolist()])
