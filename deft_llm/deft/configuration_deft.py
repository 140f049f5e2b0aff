"""Configuration of DEFT-LLM.

DEFT-LLM (arXiv 2511.10948) publishes neither code nor sizes. Every number here is our own choice.
"""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from deft_llm import facs

# Of labels without a loss: what torch's cross entropy ignores, and transformers' Trainer pads with.
IGNORE_INDEX = -100
EXPERTS: tuple[str, ...] = ("structure", "texture", "motion")
SCAN = "scan"  # the optional fourth: a 3D scan of the same face, read by FACET-VLM
DEFAULT_AUS: tuple[int, ...] = (
    *(1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 16, 17, 18, 20, 22, 23, 24, 25, 26, 28, 38, 39, 43),
)
NO_EMOTION = "none"
# Every label of every corpus. Checkpoints list their own: those that were trained before have no
# class for repression and for the coarse labels.
DEFAULT_EMOTIONS: tuple[str, ...] = (*facs.LABELS, NO_EMOTION)


class DeftConfig(PretrainedConfig):
    """Sizes, labels and loss weights of a DEFT-LLM.

    Attributes:
        text_config: Configuration of any causal language model.
        expert_dim: Width D of the experts' tokens.
        structure_size: Side of the onset image in pixels.
        structure_tokens: Tokens of the structure expert, a square number.
        texture_frames: Number of difference images that the texture expert reads.
        texture_size: Side of a difference image.
        texture_tokens: Tokens of the texture expert.
        map_size: Side of the flow map.
        region_features: Columns per region and phase in the region motion table.
        motion_layers: Attention layers of the motion expert.
        scan_width: Width of FACET-VLM's tokens of a scan (``facet.scan_reader``), the optional
            fourth expert; 0 leaves it out.
        scan_tokens: Their number: the fused face and its views.
        aus: FACS numbers, one motion query each.
        emotions: Classes of the emotion head, the last one "none".
        expert_dropout: Probability that training blanks an expert, for each sample and expert.
        amplitude_dropout: Probability that training withholds the amplitude of the flow and,
            drawn separately, the region table: published flow images have neither.
        dropout: Dropout of single values in the experts' tokens.
        emotion_weight: Weight of the emotion head's cross-entropy.
        au_weight: Weight of the AU head's binary cross-entropy.
        region_weight: Weight of the region head's cross-entropy, which aligns the region tokens
            with the statements about their region (motion-text alignment).
        orthogonality_weight: Weight of the experts' disentanglement loss (``orthogonality``).
        backbones: Expert -> settings of the network that replaces its own
            (``deft/backbones.py``).
        motion_names: Token ids of the name of each motion token, AUs then regions, in the
            language model's vocabulary; empty adds no names.
        *_token_id: Ids of the placeholder tokens.
    """

    model_type = "deft"
    sub_configs = {"text_config": AutoConfig}

    def __init__(
        self,
        text_config: PretrainedConfig | dict[str, Any] | None = None,
        expert_dim: int = 128,
        structure_size: int = 64,
        structure_tokens: int = 4,
        texture_frames: int = 8,
        texture_size: int = 48,
        texture_tokens: int = 4,
        map_size: int = 56,
        region_features: int = 8,
        motion_layers: int = 3,
        scan_width: int = 0,
        scan_tokens: int = 4,
        aus: tuple[int, ...] | list[int] = DEFAULT_AUS,
        emotions: tuple[str, ...] | list[str] = DEFAULT_EMOTIONS,
        expert_dropout: float = 0.1,
        amplitude_dropout: float = 0.05,
        dropout: float = 0.1,
        emotion_weight: float = 1.0,
        au_weight: float = 1.0,
        region_weight: float = 0.5,
        orthogonality_weight: float = 0.0,
        backbones: dict[str, dict[str, Any]] | None = None,
        motion_names: list[list[int]] | None = None,
        structure_token_id: int = 0,
        texture_token_id: int = 0,
        motion_token_id: int = 0,
        scan_token_id: int = 0,
        **kwargs: Any,
    ) -> None:
        if isinstance(text_config, dict):
            text_config = AutoConfig.for_model(**text_config)
        text: Any = text_config or AutoConfig.for_model("qwen3")
        self.text_config = text
        self.expert_dim = expert_dim
        self.structure_size = structure_size
        self.structure_tokens = structure_tokens
        self.texture_frames = texture_frames
        self.texture_size = texture_size
        self.texture_tokens = texture_tokens
        self.map_size = map_size
        self.region_features = region_features
        self.motion_layers = motion_layers
        self.scan_width = scan_width
        self.scan_tokens = scan_tokens
        # Lists rather than tuples, as JSON reads them back.
        self.aus = list(aus)
        self.emotions = list(emotions)
        self.expert_dropout = expert_dropout
        self.amplitude_dropout = amplitude_dropout
        self.dropout = dropout
        self.emotion_weight = emotion_weight
        self.au_weight = au_weight
        self.region_weight = region_weight
        self.orthogonality_weight = orthogonality_weight
        self.backbones = dict(backbones or {})
        self.motion_names = list(motion_names or [])
        self.structure_token_id = structure_token_id
        self.texture_token_id = texture_token_id
        self.motion_token_id = motion_token_id
        self.scan_token_id = scan_token_id
        # transformers reads this flag from the outer configuration.
        kwargs.setdefault("tie_word_embeddings", bool(text.tie_word_embeddings))
        super().__init__(**kwargs)

    @property
    def motion_tokens(self) -> int:
        """Tokens of the motion expert: one per AU query, then one per face region."""
        return len(self.aus) + len(facs.REGIONS)

    @property
    def experts(self) -> tuple[str, ...]:
        """Names of its experts."""
        return (*EXPERTS, SCAN) if self.scan_width else EXPERTS

    def token_counts(self) -> dict[str, int]:
        """Tokens that each expert contributes to one clip."""
        counts = {
            "structure": self.structure_tokens,
            "texture": self.texture_tokens,
            "motion": self.motion_tokens,
            SCAN: self.scan_tokens,
        }
        return {name: counts[name] for name in self.experts}

    def placeholder_ids(self) -> dict[str, int]:
        """Placeholder token id of each expert."""
        return {name: getattr(self, f"{name}_token_id") for name in self.experts}


AutoConfig.register("deft", DeftConfig)
