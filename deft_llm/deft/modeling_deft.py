"""DEFT-LLM as a transformers model.

One projector per expert maps the expert tokens to the language model's width; they replace
placeholder tokens in the prompt of any causal language model. Discriminative heads read the same
expert tokens. The hybrid loss is the language model's cross-entropy on the answers plus the heads'
losses (arXiv 2511.10948 states "hybrid discriminative + generative"; the weights are our own
choice).
"""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoModelForImageTextToText, PreTrainedModel
from transformers.generation import GenerationMixin
from transformers.utils import ModelOutput

from deft_llm import facs
from deft_llm.deft.configuration_deft import EXPERTS, IGNORE_INDEX, SCAN, DeftConfig
from deft_llm.deft.experts import DeftExperts, dtype_of

CLIP_INPUTS: tuple[str, ...] = ("structure", "texture", "flow", "flow_scale", "regions")
"""Inputs that every clip has; a scan may come with it."""


@dataclass
class DeftOutput(ModelOutput):
    """Output of one forward pass.

    Attributes:
        loss: Hybrid loss; None if no labels were given.
        logits: (B, L, V), or None when no text was given.
        past_key_values: Cache of the language model.
        hidden_states: Of the language model, on request.
        attentions: Of the language model, on request.
        emotion_logits: (clips, emotions).
        au_logits: (clips, K, 2), left and right.
        region_logits: (clips, R, 1 + 8): no motion, or the octant (``facs.octant``).
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    hidden_states: Any = None
    attentions: Any = None
    emotion_logits: Tensor | None = None
    au_logits: Tensor | None = None
    region_logits: Tensor | None = None


class DeftMultiModalProjector(nn.Sequential):
    """LayerNorm and a two-layer perceptron (the form of LLaVA 1.5) from expert to text width."""

    def __init__(self, config: DeftConfig) -> None:
        width = config.text_config.hidden_size
        super().__init__(
            nn.LayerNorm(config.expert_dim),
            nn.Linear(config.expert_dim, width),
            nn.GELU(),
            nn.Linear(width, width),
        )


class DeftHeads(nn.Module):
    """Discriminative heads for emotion, AUs and regions.

    Emotion reads the pooled texture and motion tokens and the AU logits; AUs and regions each read
    their own motion token.
    """

    def __init__(self, config: DeftConfig) -> None:
        super().__init__()
        self.num_aus = len(config.aus)
        self.au = nn.Sequential(nn.LayerNorm(config.expert_dim), nn.Linear(config.expert_dim, 2))
        self.region = nn.Sequential(
            nn.LayerNorm(config.expert_dim), nn.Linear(config.expert_dim, 1 + facs.OCTANTS)
        )
        self.emotion = nn.Sequential(
            nn.LayerNorm(2 * config.expert_dim + 2 * self.num_aus),
            nn.Linear(2 * config.expert_dim + 2 * self.num_aus, config.expert_dim),
            nn.GELU(),
            nn.Linear(config.expert_dim, len(config.emotions)),
        )

    def forward(self, tokens: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Expert tokens -> emotion logits (B, E) and AU logits (B, K, 2)."""
        # The queries of the AUs are the first of the motion tokens, those of the regions follow.
        au_logits = self.au(tokens["motion"][:, : self.num_aus])
        pooled = [tokens["texture"].mean(1), tokens["motion"].mean(1), au_logits.flatten(1)]
        return self.emotion(torch.cat(pooled, dim=-1)), au_logits

    def regions(self, tokens: dict[str, Tensor]) -> Tensor:
        """Expert tokens -> region logits (B, R, 1 + 8): no motion, or the octant."""
        return self.region(tokens["motion"][:, self.num_aus :])

    def verdicts(self, tokens: dict[str, Tensor]) -> Tensor:
        """Head outputs for each motion token, as probabilities (B, K + R, 2 + 1 + 8).

        The first two columns are the sides of an AU, the others the region classes. An AU token
        has zeros in the region columns and a region token has zeros in the AU columns.
        """
        # Sigmoid for AUs, because several can be active at once; a region has exactly one class.
        aus = self.au(tokens["motion"][:, : self.num_aus]).sigmoid()
        regions = self.regions(tokens).softmax(-1)
        return torch.cat([F.pad(aus, (0, regions.shape[-1])), F.pad(regions, (2, 0))], dim=1)


class MotionProjector(nn.Module):
    """Projector of the motion tokens; adds the heads' outputs for each token."""

    def __init__(self, config: DeftConfig) -> None:
        super().__init__()
        self.tokens = DeftMultiModalProjector(config)
        self.verdicts = nn.Linear(2 + 1 + facs.OCTANTS, config.text_config.hidden_size)

    def forward(self, tokens: Tensor, verdicts: Tensor) -> Tensor:
        """Tokens (B, K + R, D) and verdicts (B, K + R, 11) -> (B, K + R, W)."""
        projected: Tensor = self.tokens(tokens) + self.verdicts(verdicts)
        return projected


def orthogonality(tokens: dict[str, Tensor]) -> Tensor:
    """Overlap of the experts' features; 0 if their pooled tokens share no direction.

    Z (B, D) is an expert's mean token, centred over the batch and scaled to length 1. The loss is
    the sum over pairs of experts of ``||Zi^T Zj||_F^2 / B^2``, in 0..3. It is 0 for a batch of one.

    Args:
        tokens: Expert -> (B, N, D).
    """
    # float32: differences to the batch mean and their squares lose too much in bfloat16.
    pooled = [values.float().mean(1) for values in tokens.values()]
    unit = [F.normalize(values - values.mean(0), dim=-1) for values in pooled]
    pairs = [(a.T @ b).square().sum() for a, b in combinations(unit, 2)]
    return torch.stack(pairs).sum() / len(unit[0]) ** 2


class DeftForConditionalGeneration(PreTrainedModel, GenerationMixin):
    """The complete model; see the module docstring."""

    config_class = DeftConfig
    base_model_prefix = "language_model"
    supports_gradient_checkpointing = True
    _supports_sdpa = True
    _supports_flash_attn = True
    _no_split_modules: list[str] = []
    main_input_name = "input_ids"
    # PEFT searches for the language model's tied weights only if the outer model has this mapping.
    _tied_weights_keys: dict[str, str] = {}
    # Trainer then passes num_items_in_batch, without which accumulation is scaled wrongly.
    accepts_loss_kwargs = True

    def __init__(self, config: DeftConfig, empty_text_model: bool = False) -> None:
        """Build the model.

        Args:
            config: Sizes of the model.
            empty_text_model: Build the language model on the meta device, without memory, because
                the caller replaces it.
        """
        super().__init__(config)
        self.experts = DeftExperts(config)
        self.projectors = nn.ModuleDict(
            {
                "structure": DeftMultiModalProjector(config),
                "texture": DeftMultiModalProjector(config),
                "motion": MotionProjector(config),
                **({SCAN: DeftMultiModalProjector(config)} if config.scan_width else {}),
            }
        )
        self.heads = DeftHeads(config)
        with torch.device("meta") if empty_text_model else nullcontext():
            self.language_model = AutoModelForCausalLM.from_config(config.text_config)
        self.post_init()

    @classmethod
    def from_text_model(
        cls, name_or_path: str, config: DeftConfig, **kwargs: Any
    ) -> DeftForConditionalGeneration:
        """Put freshly initialised experts in front of a pre-trained language model.

        Args:
            name_or_path: Hub name or folder of any causal language model.
            config: Model configuration; ``text_config`` is replaced by the loaded model's.
            **kwargs: For ``AutoModelForCausalLM.from_pretrained`` (dtype, quantisation).
        """
        language_model = AutoModelForCausalLM.from_pretrained(name_or_path, **kwargs)
        config.text_config = language_model.config
        config.tie_word_embeddings = bool(config.text_config.tie_word_embeddings)
        # The meta device avoids holding a second, random language model in memory until it is
        # replaced.
        model = cls(config, empty_text_model=True)
        model.language_model = language_model
        return model

    def get_input_embeddings(self) -> nn.Module:
        """The language model's token embeddings."""
        return self.language_model.get_input_embeddings()

    def set_input_embeddings(self, value: nn.Module) -> None:
        """Replace the language model's token embeddings."""
        self.language_model.set_input_embeddings(value)

    def get_output_embeddings(self) -> nn.Module:
        """The language model's output layer."""
        return self.language_model.get_output_embeddings()

    def resize_token_embeddings(self, *args: Any, **kwargs: Any) -> nn.Module:
        """Resize the language model's vocabulary and update ``text_config`` to match."""
        embeddings = self.language_model.resize_token_embeddings(*args, **kwargs)
        self.config.text_config.vocab_size = embeddings.num_embeddings
        return embeddings

    def get_clip_features(self, ablate: tuple[str, ...] = (), **clip: Tensor) -> dict[str, Tensor]:
        """Expert tokens of the clips: name -> (clips, N, D); ``CLIP_INPUTS``, and a scan's."""
        return self.experts(**clip, ablate=ablate)

    def _encoded(
        self,
        clip: dict[str, Tensor],
        expert_tokens: dict[str, Tensor] | None,
        ablate: tuple[str, ...],
    ) -> dict[str, Tensor] | None:
        """Expert tokens, encoded from the clip inputs or as given; None without either."""
        experts = self.config.experts
        if unknown := sorted(set(ablate) - set(experts)):
            raise ValueError(f"ablate: {unknown[0]!r} is no expert; expected {', '.join(experts)}")
        if SCAN in clip and SCAN not in experts:
            raise ValueError("scan: this model has no expert for scans (scan_width is 0)")
        if expert_tokens is not None and clip:
            raise ValueError(f"expert_tokens and {', '.join(clip)}: give one or the other")
        if expert_tokens is not None:
            dtype = dtype_of(self.heads)
            given = {name: tokens.to(dtype) for name, tokens in expert_tokens.items()}
            given = self.experts.ablated(given, ablate)
            return self.experts.dropped(given) if self.training else given
        if clip and (missing := [name for name in CLIP_INPUTS if name not in clip]):
            raise ValueError(
                f"clip inputs without {', '.join(missing)}; give all that the processor returns"
            )
        return self.get_clip_features(ablate, **clip) if clip else None

    def get_placeholder_mask(
        self, input_ids: Tensor, inputs_embeds: Tensor, expert: str, features: Tensor
    ) -> Tensor:
        """Mask (B, L, W) of the embeddings that an expert's tokens replace.

        Args:
            input_ids: (B, L).
            inputs_embeds: (B, L, W).
            expert: Name of the expert.
            features: (clips, N, W), the expert's projected tokens.

        Raises:
            ValueError: If the numbers of placeholders and tokens differ; names both.
        """
        mask = input_ids == self.config.placeholder_ids()[expert]
        if int(mask.sum()) != features.shape[0] * features.shape[1]:
            counts = mask.sum(1).tolist()
            raise ValueError(
                f"{expert} expert: placeholders per sample {counts} (sum {int(mask.sum())}), "
                f"but {features.shape[0]} clips with {features.shape[1]} tokens each; was a "
                "clip span truncated?"
            )
        return mask.unsqueeze(-1).expand_as(inputs_embeds)

    def _merge(self, input_ids: Tensor, embeds: Tensor, tokens: dict[str, Tensor]) -> Tensor:
        """Replace each expert's placeholders by its projected tokens."""
        for name in self.config.placeholder_ids():
            features = self._projected(name, tokens).to(embeds.dtype)
            mask = self.get_placeholder_mask(input_ids, embeds, name, features)
            # masked_scatter fills in row-major order, so clips must come in their order of
            # appearance.
            embeds = embeds.masked_scatter(mask, features)
        return embeds

    def _projected(self, name: str, tokens: dict[str, Tensor]) -> Tensor:
        """Tokens of an expert, projected to the language model's width.

        The language model's own embedding of the AU or region name is added to each motion token,
        so that words in an answer can attend to the matching token (our own choice).
        """
        if name != "motion":
            projected: Tensor = self.projectors[name](tokens[name])
            return projected
        # Detached: the language model's loss must not change what the heads learn from their
        # labels.
        verdicts = self.heads.verdicts(tokens).detach()
        features: Tensor = self.projectors[name](tokens[name], verdicts)
        names = self.config.motion_names
        if not names:
            return features
        flat = torch.tensor([i for ids in names for i in ids], device=features.device)
        words = self.get_input_embeddings()(flat).split([len(ids) for ids in names])
        # A name can have several text tokens; their mean is one vector for one motion token.
        return features + torch.stack([word.mean(0) for word in words])

    def forward(
        self,
        input_ids: Tensor | None = None,
        attention_mask: Tensor | None = None,
        position_ids: Tensor | None = None,
        past_key_values: Any = None,
        inputs_embeds: Tensor | None = None,
        labels: Tensor | None = None,
        structure: Tensor | None = None,
        texture: Tensor | None = None,
        flow: Tensor | None = None,
        flow_scale: Tensor | None = None,
        regions: Tensor | None = None,
        scan: Tensor | None = None,
        expert_tokens: dict[str, Tensor] | None = None,
        emotion_labels: Tensor | None = None,
        au_labels: Tensor | None = None,
        region_labels: Tensor | None = None,
        ablate: tuple[str, ...] = (),
        num_items_in_batch: Tensor | int | None = None,
        **kwargs: Any,
    ) -> DeftOutput:
        """Run experts, language model and heads.

        Args:
            input_ids: (B, L) with placeholders for the expert tokens; None runs the heads only.
            attention_mask: (B, L).
            position_ids: (B, L).
            past_key_values: Cache; clip inputs are passed with the first step only.
            inputs_embeds: (B, L, W) instead of ``input_ids``.
            labels: (B, L), -100 outside the answers.
            structure: (clips, 3, S, S); this and the next four hold clips in order of appearance.
            texture: (clips, T, S, S).
            flow: (clips, 2, 3, S, S).
            flow_scale: (clips, 2, 4).
            regions: (clips, 2, R, F).
            scan: (clips, N, W) tokens of scans, all 0 for a clip without one.
            expert_tokens: Output of ``get_clip_features`` instead of the clip inputs; expert
                dropout applies to it in training as well.
            emotion_labels: (clips,) class index, -100 where unknown.
            au_labels: (clips, K, 2) 0/1, or -1 where unknown.
            region_labels: (clips, R) 0 for no motion, 1 + octant, or -100 where unknown.
            ablate: Experts to ablate, in given ``expert_tokens`` as well.
            num_items_in_batch: Answer tokens over all accumulated micro-batches.
            **kwargs: For the language model (``use_cache``, ``output_attentions`` …).

        Raises:
            ValueError: If the numbers of placeholders and expert tokens differ, some clip inputs
                are missing, or an expert is unknown.
        """
        given = (structure, texture, flow, flow_scale, regions, scan)
        clip = {n: t for n, t in zip((*CLIP_INPUTS, SCAN), given, strict=True) if t is not None}
        tokens = self._encoded(clip, expert_tokens, ablate)
        logits: dict[str, Tensor] = {}
        terms: list[Tensor] = []
        if tokens is not None:
            logits = self._head_logits(tokens)
            terms = self._head_losses(logits, emotion_labels, au_labels, region_labels)
            if terms and self.config.orthogonality_weight:
                terms.append(self.config.orthogonality_weight * orthogonality(tokens))
            if num_items_in_batch is not None and labels is not None:
                # Given num_items_in_batch, Trainer does not divide the loss by the accumulation
                # steps; weight the head losses by this micro-batch's share of answer tokens.
                share = (labels != IGNORE_INDEX).sum() / num_items_in_batch
                terms = [term * share for term in terms]
        if inputs_embeds is None and input_ids is not None:
            inputs_embeds = self.get_input_embeddings()(input_ids)
            if tokens is not None:
                inputs_embeds = self._merge(input_ids, inputs_embeds, tokens)
        text: Any = {}
        if inputs_embeds is not None:
            text = self.language_model(
                inputs_embeds=inputs_embeds,
                attention_mask=attention_mask,
                position_ids=position_ids,
                past_key_values=past_key_values,
                **kwargs,
            )
            if labels is not None:
                terms.append(
                    self.loss_function(
                        logits=text.logits,
                        labels=labels,
                        vocab_size=self.config.text_config.vocab_size,
                        num_items_in_batch=num_items_in_batch,
                    )
                )
        return DeftOutput(
            # float32: under autocast or a bfloat16 model the terms can differ in dtype, and stack
            # needs one.
            loss=torch.stack([t.float() for t in terms]).sum() if terms else None,
            logits=text.get("logits"),
            past_key_values=text.get("past_key_values"),
            hidden_states=text.get("hidden_states"),
            attentions=text.get("attentions"),
            **logits,
        )

    def _head_logits(self, tokens: dict[str, Tensor]) -> dict[str, Tensor]:
        """Outputs of the heads by their names in ``DeftOutput``."""
        emotion, aus = self.heads(tokens)
        return {
            "emotion_logits": emotion,
            "au_logits": aus,
            "region_logits": self.heads.regions(tokens),
        }

    def _head_losses(
        self,
        logits: dict[str, Tensor],
        emotion_labels: Tensor | None,
        au_labels: Tensor | None,
        region_labels: Tensor | None,
    ) -> list[Tensor]:
        """Weighted losses of the heads that have labels."""
        terms = []
        # cross_entropy gives NaN if every label is ignored.
        if emotion_labels is not None and bool((emotion_labels >= 0).any()):
            cross_entropy = F.cross_entropy(logits["emotion_logits"].float(), emotion_labels)
            terms.append(self.config.emotion_weight * cross_entropy)
        if au_labels is not None:
            # The clamp below only makes -1 a valid target; the mask removes those entries from the
            # loss.
            known = au_labels >= 0
            bce = F.binary_cross_entropy_with_logits(
                logits["au_logits"].float(), au_labels.clamp(min=0).float(), reduction="none"
            )
            # Sum over AUs: a clip shows one or two of them, and a mean would dilute their loss.
            per_clip = (bce * known).sum((1, 2))
            terms.append(self.config.au_weight * per_clip.mean())
        if region_labels is not None:
            terms.append(self._region_loss(logits["region_logits"], region_labels))
        return terms

    def _region_loss(self, logits: Tensor, labels: Tensor) -> Tensor:
        """Region loss: sum over regions, as for the AUs, and mean over clips."""
        loss = F.cross_entropy(
            logits.float().flatten(0, 1),
            labels.flatten(),
            ignore_index=IGNORE_INDEX,
            reduction="sum",
        )
        return self.config.region_weight * loss / len(logits)

    def prepare_inputs_for_generation(
        self, input_ids: Tensor, is_first_iteration: bool = False, **kwargs: Any
    ) -> dict[str, Any]:
        """Pass the clip inputs with the first step only; later steps have them in the cache."""
        inputs = super().prepare_inputs_for_generation(
            input_ids, is_first_iteration=is_first_iteration, **kwargs
        )
        # Without a cache, every step reads the whole prompt again, clips included.
        if not is_first_iteration and kwargs.get("use_cache", True):
            for name in (*CLIP_INPUTS, SCAN, "expert_tokens"):
                inputs.pop(name, None)
        return inputs

    def _expand_inputs_for_generation(
        self, expand_size: int = 1, input_ids: Tensor | None = None, **kwargs: Any
    ) -> tuple[Tensor | None, dict[str, Any]]:
        """Repeat each row for beams and several answers, with all of its clips in their order."""
        names = (*CLIP_INPUTS, SCAN)
        clips = {name: kwargs.pop(name) for name in names if kwargs.get(name) is not None}
        tokens = kwargs.pop("expert_tokens", None)
        if input_ids is not None and expand_size > 1:
            # transformers repeats clip by clip, which would give a row with two clips one twice.
            rows = self._clip_rows(input_ids, expand_size)
            clips = {name: values[rows] for name, values in clips.items()}
            tokens = tokens and {name: values[rows] for name, values in tokens.items()}
        input_ids, kwargs = super()._expand_inputs_for_generation(
            expand_size=expand_size, input_ids=input_ids, **kwargs
        )
        return input_ids, {**kwargs, **clips, **({"expert_tokens": tokens} if tokens else {})}

    def _clip_rows(self, input_ids: Tensor, times: int) -> Tensor:
        """Indices of the clips when each row (B, L) stands ``times`` times, one after the other."""
        # Every clip's span holds tokens of every expert, so one expert tells the number of clips.
        name = EXPERTS[0]
        marks = (input_ids == self.config.placeholder_ids()[name]).sum(1)
        counts = (marks // self.config.token_counts()[name]).tolist()
        clips = torch.arange(sum(counts), device=input_ids.device).split(counts)
        return torch.cat([of_row for of_row in clips for _ in range(times)])


AutoModelForImageTextToText.register(DeftConfig, DeftForConditionalGeneration)
