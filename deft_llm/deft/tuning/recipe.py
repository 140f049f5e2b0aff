"""Schema of the recipes in ``train_configs/deft``."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, ValidationInfo, field_validator

from deft_llm.config import Settings
from deft_llm.data.simulated import SimulatedData
from deft_llm.deft.configuration_deft import DeftConfig
from deft_llm.deft.tuning.stage_settings import LABELS, RewardStage, Stage
from deft_llm.deft.tuning.text_model import TextModel
from deft_llm.errors import UserError, did_you_mean
from deft_llm.machine import zero_stage

Reporter = Literal["tensorboard", "wandb", "trackio"]


Consumer = Literal["experts", "language_model"]


class TrainingSet(SimulatedData):
    """A set to simulate, and the parts of the model that are trained on it.

    Experts are more confident on clips from their own training than on new ones. A language model
    that sees only those clips relies on that confidence, so each can have clips of its own.

    Attributes:
        used_by: "experts" (stage 1), "language_model" (stages 2 and 3), or "all".
    """

    used_by: Literal[Consumer, "all"] = "all"


class ValidationSettings(Settings):
    """Validation on people that are held out from the training data.

    Attributes:
        share: Share of the people.
        every: Steps between validations; there is one at the end of a stage as well.
    """

    share: float = Field(gt=0, lt=1)
    every: int = Field(ge=1)


class DeftRecipe(Settings):
    """A file of ``train_configs/deft``.

    Attributes:
        output: Folder of the run.
        seed: Seed of data order, initial weights and dropout.
        templates: Folder with the wording; None for the package's own.
        data: One or several sets to simulate; empty to train on ``folders`` alone.
        folders: Data folders written by ``instruction_data/build.py``; all stages use them.
        checkpoint: A complete DEFT-LLM to continue training ("embedded" for the package's), with
            its language model and ``DeftConfig``; None builds a new one.
        experts_from: A DEFT-LLM ("embedded" for the package's) whose experts and heads a new model
            begins with; its ``DeftConfig`` counts.
        weight_interpolation: Share of the trained weights in the saved ones; the rest is the
            ``checkpoint``'s (Wortsman et al. 2022, WiSE-FT), which reduces forgetting. 1 saves the
            trained weights.
        text_model: The language model; with a ``checkpoint``, only the adapters on it.
        model: Fields of ``DeftConfig``; empty with a ``checkpoint`` or ``experts_from``.
        experts: Stage 1: experts and heads on clips (AUs, emotion, motion per region).
        projectors: Stage 2: projectors on conversations, everything else frozen.
        instruct: Stage 3: the language model, whole or by adapters, and all modules around it.
        reward: Stage 4: the language model and the projectors, rewarded for saying what was
            measured (``reward.py``). It reads no label.
        labels: "none" leaves out every coding and trains by reward alone. ``folders`` may then
            hold videos, or folders of frames, in place of instruction data; they are measured
            into the folder of the run first.
        save_dtype: Type of the saved weights.
        device: "cuda" makes the run fail at the start if there is no CUDA GPU.
        report_to: Services to send the log to; it is always written as JSON lines too.
        validation: Hold out a share of the people and measure loss and scores on them while the
            stages run; ``best`` is then the last stage's model of the lowest loss. None to learn
            from everybody.
        push_to_hub: Repository ("me/my-model") that the finished model is uploaded to, with its
            card; private unless it exists already.
        held_out: Data folders that must share no subject, clip or content with the training data;
            the run stops on a leak.
    """

    output: Path
    seed: int = 0
    templates: Path | None = None
    data: list[TrainingSet] = Field(default_factory=list)
    # validate_default: the check needs to run when the field is left out. It reads data, which must
    # be declared before it.
    folders: list[Path] = Field(default_factory=list, validate_default=True)
    checkpoint: Path | None = None
    experts_from: Path | None = None
    weight_interpolation: float = Field(default=1.0, gt=0, le=1)
    text_model: TextModel = Field(default=TextModel(), validate_default=True)
    model: dict[str, Any] = Field(default_factory=dict)
    experts: Stage
    projectors: Stage = Stage(steps=0)
    instruct: Stage
    reward: RewardStage = Field(default=RewardStage(), validate_default=True)
    labels: Literal["coded", "none"] = Field(default="coded", validate_default=True)
    save_dtype: Literal["float32", "bfloat16", "float16"] = "float32"
    device: Literal["any", "cuda"] = "any"
    report_to: list[Reporter] = Field(default_factory=list)
    held_out: list[Path] = Field(default_factory=list)
    validation: ValidationSettings | None = None
    push_to_hub: str | None = None

    @field_validator("data", mode="before")
    @classmethod
    def _one_set_alone(cls, sets: Any) -> Any:
        # A recipe may give a single set without a list.
        return [sets] if isinstance(sets, dict) else sets

    @field_validator("experts_from")
    @classmethod
    def _one_origin(cls, folder: Path | None, info: ValidationInfo) -> Path | None:
        if folder and info.data.get("checkpoint"):
            raise ValueError("a checkpoint has its own experts: leave one of the two out")
        return folder

    @field_validator("text_model")
    @classmethod
    def _one_language_model(cls, text: TextModel, info: ValidationInfo) -> TextModel:
        given = bool(text.name_or_path or text.config)
        if info.data.get("checkpoint"):
            if given:
                raise ValueError("a checkpoint has its own: leave out name_or_path and config")
            if text.lora_rank and info.data.get("weight_interpolation", 1.0) < 1:
                raise ValueError(
                    "adapters are not interpolated: say weight_interpolation=1, or lora_rank=0"
                )
        elif info.data.get("weight_interpolation", 1.0) < 1:
            raise ValueError("weight_interpolation needs a checkpoint to interpolate with")
        elif not given:
            raise ValueError("no language model: give name_or_path, config, or a checkpoint")
        return text

    @field_validator("experts")
    @classmethod
    def _without_words(cls, stage: Stage) -> Stage:
        if stage.packing:
            raise ValueError("packing is for conversations, and the experts learn from clips alone")
        return stage

    @field_validator("projectors", "instruct")
    @classmethod
    def _as_measured(cls, stage: Stage) -> Stage:
        if stage.perturb:
            raise ValueError("conversations speak of the clip as measured: perturb is for experts")
        return stage

    @field_validator("labels")
    @classmethod
    def _by_reward_alone(cls, labels: str, info: ValidationInfo) -> str:
        stages = ("experts", "projectors", "instruct")
        read = [n for n in stages if n in info.data and info.data[n].steps]
        rewarded = "reward" not in info.data or info.data["reward"].steps
        if labels == "none" and read:
            raise ValueError(f"{read[0]} learns from labels; say {read[0]}.steps=0")
        if labels == "none" and not rewarded:
            raise ValueError("without labels there is only the reward to learn from: reward.steps")
        if labels == "none" and not info.data.get("checkpoint"):
            raise ValueError(
                "a model that was taught nothing has nothing to say: give a checkpoint"
            )
        if labels == "none" and "reward" in info.data and info.data["reward"].weights[LABELS]:
            raise ValueError("reward.weights.labels reads the labels; say labels=coded")
        return labels

    @field_validator("validation")
    @classmethod
    def _on_answers(
        cls, settings: ValidationSettings | None, info: ValidationInfo
    ) -> ValidationSettings | None:
        if settings and "reward" in info.data and info.data["reward"].steps:
            raise ValueError(
                "the loss on held-out answers says nothing of the reward: leave validation out, "
                "and measure with eval/benchmarks/motion_reward.yaml"
            )
        return settings

    @field_validator("model")
    @classmethod
    def _known_fields(cls, fields: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if fields and (info.data.get("checkpoint") or info.data.get("experts_from")):
            raise ValueError(f"a checkpoint has its own: leave out {', '.join(sorted(fields))}")
        known = sorted(DeftConfig().to_dict())
        for name in fields:
            if name not in known:
                hint = did_you_mean(name, known)
                raise ValueError(f"{name!r} is no field of DeftConfig{hint}")
        return fields

    @field_validator("folders")
    @classmethod
    def _something_to_learn(cls, folders: list[Path], info: ValidationInfo) -> list[Path]:
        # pydantic leaves out fields that failed their own validation; it reports those anyway.
        if folders or "data" not in info.data:
            return folders
        consumers = {data.used_by for data in info.data["data"] if data.clips}
        if not consumers:
            raise ValueError("nothing to learn from: give data.clips, folders, or both")
        if len(consumers) == 1 and "all" not in consumers:
            raise ValueError(
                f"all sets are used by {consumers.pop()} alone; let the other use one as well"
            )
        return folders

    def simulated(self) -> list[tuple[TrainingSet, Path]]:
        """The sets to simulate, each with its folder: data, data-2, data-3 and so on."""
        folders = (self.output / f"data-{i}" for i in range(2, len(self.data) + 1))
        # Not strict: with no sets there is still the name of one folder.
        pairs = zip(self.data, (self.output / "data", *folders), strict=False)
        return [(data, folder) for data, folder in pairs if data.clips]

    def folders_of(self, consumer: Consumer) -> list[Path]:
        """The data folders of one consumer."""
        users = (consumer, "all")
        own = [folder for data, folder in self.simulated() if data.used_by in users]
        return [*own, *self.folders]


def missing(recipe: DeftRecipe) -> list[str]:
    """What this machine lacks to run the recipe, each with its remedy."""
    lacking = []
    if recipe.device == "cuda" and not torch.cuda.is_available():
        lacking.append(
            f"made for a CUDA GPU; torch {torch.__version__} finds none on this machine; "
            "take train_configs/deft/tiny.yaml, or say device=any"
        )
    if zero_stage() == 3 and recipe.text_model.lora_rank:
        lacking.append(
            "ZeRO-3 does not carry adapters: PEFT's copies of experts and projectors are lost in "
            "it; take ZeRO-2, or train all weights with text_model.lora_rank=0"
        )
    if zero_stage() and recipe.reward.steps:
        lacking.append(
            "reward: answers are sampled from whole weights, which DeepSpeed cuts; launch without "
            "it (--accelerate many_gpus), or say reward.steps=0"
        )
    if zero_stage() == 3 and recipe.weight_interpolation < 1:
        lacking.append(
            "weight_interpolation needs whole weights, ZeRO-3 cuts them; say weight_interpolation=1"
        )
    needed: list[tuple[str, str]] = [(name, "report_to") for name in recipe.report_to]
    if recipe.text_model.quantize:
        needed.append(("bitsandbytes", "text_model.quantize"))
    if recipe.text_model.attention == "flash_attention_2":
        needed.append(("flash_attn", "text_model.attention"))
    for package, setting in needed:
        if find_spec(package) is None:
            lacking.append(
                f"{setting} needs the package {package}, which is not installed; "
                f"pip install {package.replace('_', '-')}, or leave the setting out"
            )
    return lacking


def require_machine(recipe: DeftRecipe, where: str) -> None:
    """Check that this machine can run the recipe.

    Raises:
        UserError: If the recipe needs a GPU, a package, or whole weights that are not there.
    """
    for problem in missing(recipe):
        raise UserError(f"{where}: {problem}")
