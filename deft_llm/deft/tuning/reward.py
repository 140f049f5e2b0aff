"""Stage 4: reward the language model for saying what was measured.

A step of group-relative policy optimisation (GRPO, arXiv 2402.03300) on the project's own trainer:
several sampled answers to each question, the reward of each (``inference/verifier.py``), its
advantage over the others of its group, and a penalty for moving away from the model before
(``policy.py``). TRL's trainer passes a fixed list of inputs to the model, and would drop the
experts' tokens.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.func import functional_call
from transformers import PreTrainedTokenizerBase

from deft_llm.deft.inference.said import STRUCTURED, Said
from deft_llm.deft.inference.verifier import SAMPLED, Verifier
from deft_llm.deft.processing_deft import SPECIAL_TOKENS
from deft_llm.deft.tuning.model import evaluate
from deft_llm.deft.tuning.policy import advantages, answer_mask, policy_loss
from deft_llm.deft.tuning.reward_data import RewardDataset
from deft_llm.deft.tuning.stage_settings import LABELS, RewardStage
from deft_llm.deft.tuning.trainer import DeftTrainer

logger = logging.getLogger(__name__)
_GOOD = "good.safetensors"  # in a checkpoint


class Diverged(Exception):
    """The model has moved too far from the model before."""


@dataclass(frozen=True)
class Task:
    """What the reward stage needs beside the trainer's own settings.

    Attributes:
        stage: Its settings.
        data: The questions, and what was measured.
        tokenizer: Reads the answers.
        ends: Tokens that end an answer.
    """

    stage: RewardStage
    data: RewardDataset
    tokenizer: PreTrainedTokenizerBase
    ends: tuple[int, ...]

    @property
    def verifier(self) -> Verifier:
        """The rewards, without that of the labels."""
        return Verifier(self.stage.weights, self.stage.tokens)

    def parts(self, index: int, ids: list[int]) -> dict[str, float]:
        """The rewards of one answer.

        Args:
            index: Row of the question.
            ids: Tokens of the answer, with the end token if it came to its end.
        """
        row = self.data.rows[index]
        ended = bool(ids) and ids[-1] in self.ends
        text = self.tokenizer.decode(ids, skip_special_tokens=True)
        said = Said(text, len(ids), ended, row.kind, row.query)
        parts = self.verifier.parts(said, self.data.seen(index))
        if self.stage.weights[LABELS]:
            parts[LABELS] = self.data.label_reward(index, said)
        return parts


class RewardTrainer(DeftTrainer):
    """The trainer of the reward stage: its loss samples answers and rewards them.

    Args:
        task: Questions, measurements and rewards.
        **kwargs: As for ``DeftTrainer``.
    """

    def __init__(self, *, task: Task, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.names = tuple(n for n, p in self.model.named_parameters() if p.requires_grad)
        # The stage always begins with this model, also when it is resumed: the checkpoint is read
        # into it later.
        self.before = self._weights()
        self.good = self.before
        self._sums: dict[str, float] = {}
        self._batches = 0
        self._told = False

    def _weights(self) -> dict[str, Tensor]:
        known = dict(self.model.named_parameters())
        return {name: known[name].detach().clone() for name in self.names}

    def train(self, resume_from_checkpoint: str | None = None, **kwargs: Any) -> Any:
        """Train; if the model diverges, end with the last weights that had not."""
        device = self.args.device
        self.before = {name: x.to(device) for name, x in self.before.items()}
        if resume_from_checkpoint is not None:
            # Whether those of the checkpoint itself are good is known after the next step only.
            self.good = load_file(Path(resume_from_checkpoint) / _GOOD, str(device))
        try:
            return super().train(resume_from_checkpoint=resume_from_checkpoint, **kwargs)
        except Diverged as error:
            logger.warning("%s; the stage ends here, with the last weights below it", error)
            with torch.no_grad():
                for name, parameter in self.model.named_parameters():
                    if name in self.good:
                        parameter.copy_(self.good[name])
            return None

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        super()._save(output_dir, state_dict)
        good = {name: x.contiguous() for name, x in self.good.items()}
        save_file(good, Path(output_dir or self.args.output_dir) / _GOOD)

    def compute_loss(
        self, model: nn.Module, inputs: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Tensor:
        """Sample, reward and compare; see the module."""
        stage, width = self.task.stage, inputs["input_ids"].shape[1]
        own: Any = self.accelerator.unwrap_model(model)
        # Without dropout: what is trained has to be the model that was sampled from. It stays so
        # for the backward pass, which may compute activations again.
        evaluate(own)
        with torch.no_grad():
            shown = self._sampled(own, inputs)
            mask = answer_mask(shown["input_ids"][:, width:], self.task.ends)
            rewards, means = self._rewarded(inputs["index"].tolist(), shown, mask)
            before = self._log_likelihoods(own, shown, width, self.before)
        # Weights that autocast has cast without gradients would be used again with them.
        torch.clear_autocast_cache()
        _recompute(own)
        logp = self._log_likelihoods(model, shown, width)
        gained = advantages(rewards)
        loss, divergence = policy_loss(logp, before, gained.flatten(), mask, stage.kl)
        means |= {
            "kl": float(divergence.detach()),
            "reward_spread": float(rewards.std(1).mean()),
            "constant_groups": float((gained == 0).all(1).float().mean()),
            "tokens": float(mask.sum(1).float().mean()),
        }
        self._note(means)
        return loss

    def _sampled(self, model: Any, inputs: dict[str, Any]) -> dict[str, Any]:
        """Questions with sampled answers: ids and mask (B * G, L + A), and the experts' tokens."""
        stage, tokens = self.task.stage, inputs["expert_tokens"]
        ids = model.generate(
            input_ids=inputs["input_ids"],
            attention_mask=inputs["attention_mask"],
            expert_tokens=tokens,
            num_return_sequences=stage.samples,
            max_new_tokens=stage.longest,
            **{**SAMPLED, "temperature": stage.temperature},
            eos_token_id=list(self.task.ends),
            pad_token_id=self.task.tokenizer.pad_token_id,
            # A placeholder in an answer would ask for a token of an expert that is not there.
            suppress_tokens=self.task.tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)),
        )
        times = stage.samples
        # ``generate`` puts all answers to one question next to each other.
        asked = inputs["attention_mask"].repeat_interleave(times, 0)
        answered = answer_mask(ids[:, asked.shape[1] :], self.task.ends).to(asked)
        return {
            "input_ids": ids,
            "attention_mask": torch.cat([asked, answered], 1),
            "expert_tokens": {n: x.repeat_interleave(times, 0) for n, x in tokens.items()},
        }

    def _rewarded(
        self, index: list[int], shown: dict[str, Any], mask: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """The rewards (B, G) of the answers, and the mean of each part."""
        stage, verifier = self.task.stage, self.task.verifier
        answers = shown["input_ids"][:, -mask.shape[1] :].tolist()
        lengths = mask.sum(1).tolist()
        rows = [row for row in index for _ in range(stage.samples)]
        parts = [
            self.task.parts(row, ids[:length])
            for row, ids, length in zip(rows, answers, lengths, strict=True)
        ]
        totals = torch.tensor([verifier.total(part) for part in parts])
        # One-word answers get most rewards whatever they say, and would hide the others here.
        full = [self.task.data.rows[row].kind == STRUCTURED for row in rows]
        shown_parts = [p for p, whole in zip(parts, full, strict=True) if whole] or parts
        means = {f"reward_{n}": _mean(p[n] for p in shown_parts) for n in parts[0]}
        means["reward"] = float(totals.mean())
        return totals.view(-1, stage.samples).to(mask.device), means

    def _log_likelihoods(
        self,
        model: nn.Module,
        shown: dict[str, Any],
        width: int,
        weights: dict[str, Tensor] | None = None,
    ) -> Tensor:
        """Log-likelihoods (N, A) of the answers' tokens; with other weights if they are given."""
        mask = shown["attention_mask"]
        # As ``generate`` counts them: padding on the left is no place.
        positions = (mask.cumsum(1) - 1).clamp(min=0)
        given = {**shown, "position_ids": positions, "use_cache": False}
        output = model(**given) if weights is None else functional_call(model, weights, (), given)
        # The logits one place before a token predict it. Divided by the temperature, they are of
        # the distribution that was sampled from.
        logits = output.logits[:, width - 1 : -1].float() / self.task.stage.temperature
        wanted = shown["input_ids"][:, width:, None]
        # Two reductions in place of a log-softmax, which would be another copy of the logits.
        return logits.gather(-1, wanted).squeeze(-1) - logits.logsumexp(-1)

    def _note(self, means: dict[str, float]) -> None:
        """Average over the processes, keep for the log, and stop if the model diverged."""
        state = PartialState()
        values = torch.tensor(list(means.values()), dtype=torch.float64, device=self.args.device)
        if state.num_processes > 1:
            torch.distributed.all_reduce(values)
            values /= state.num_processes
        means = dict(zip(means, values.tolist(), strict=True))
        for name, value in means.items():
            self._sums[name] = self._sums.get(name, 0.0) + value
        self._batches += 1
        # Written so that a divergence that is no number stops as well.
        if not means["kl"] <= self.task.stage.most_kl:
            raise Diverged(
                f"step {self.state.global_step + 1}: the answers are {means['kl']:.3f} nats per "
                f"token away from the model before, most_kl is {self.task.stage.most_kl:g}"
            )
        self.good = self._weights()

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        """Add the means of the rewards since the last row."""
        if "loss" in logs and self._batches:
            logs |= {name: value / self._batches for name, value in self._sums.items()}
            if logs["constant_groups"] == 1.0 and not self._told:
                logger.warning(
                    "step %d: no group of answers differs in its reward, so they taught nothing; "
                    "raise reward.temperature or reward.samples",
                    self.state.global_step,
                )
                self._told = True
            self._sums, self._batches = {}, 0
        super().log(logs, *args, **kwargs)


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return sum(found) / len(found)


def _recompute(model: nn.Module) -> None:
    """Let layers recompute their activations, if asked to, although nothing is dropped out.

    Layers do so in training mode alone; the modules inside them stay as they are.
    """
    for module in model.modules():
        if getattr(module, "gradient_checkpointing", False):
            module.training = True
