"""What ``train.py --dry-run`` prints: what a DEFT-LLM run trains, and what that takes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from deft_llm.config import read_recipe
from deft_llm.deft.modeling_deft import DeftForConditionalGeneration
from deft_llm.deft.tuning.cost import (
    WORDS,
    clip_tokens,
    conversation_tokens,
    rows_of,
    size_of,
    skeleton,
    stage_cost,
)
from deft_llm.deft.tuning.model import MODULES
from deft_llm.deft.tuning.recipe import DeftRecipe, missing
from deft_llm.deft.tuning.speed import measured_speed
from deft_llm.deft.tuning.stage_settings import Stage
from deft_llm.deft.tuning.stages import STAGES
from deft_llm.pace import duration

GIB = 2**30
_GPUS = (2, 4, 8)
_A100 = 150e12  # FLOP/s that training sustains: half of its peak in bfloat16


def estimate_cost(values: dict[str, Any], where: str) -> list[str]:
    """The lines that ``train.py --dry-run`` prints; needs no GPU and no weights.

    Args:
        values: The recipe as read from YAML.
        where: Its file, for messages.

    Raises:
        UserError: If the recipe is wrong, or the sizes of its language model are not known.
    """
    recipe = read_recipe(DeftRecipe, values, where)
    model = skeleton(recipe)
    counts = model.config.token_counts()
    sizes = {name: size_of(getattr(model, name)) for name in MODULES}
    lines = [
        f"tokens per clip  {clip_tokens(model)} ("
        + ", ".join(f"{name} {count}" for name, count in counts.items())
        + f", tags {2 * len(counts)}); conversations are reckoned with {WORDS} more",
        "parameters       "
        + ", ".join(f"{name} {_number(size)}" for name, size in sizes.items())
        + f"; {_number(sum(sizes.values()))} in all",
    ]
    for name in STAGES:
        if getattr(recipe, name).steps:
            lines += _stage_lines(recipe, name, model, sum(sizes.values()))
        else:
            lines.append(f"{name:<17}left out")
    lines += [f"not here         {what}" for what in missing(recipe)]
    return lines


def _stage_lines(
    recipe: DeftRecipe, name: str, model: DeftForConditionalGeneration, total: int
) -> Iterator[str]:
    stage: Stage = getattr(recipe, name)
    cost = stage_cost(recipe, name, model)
    count = sum(cost.trained.values())
    modules = ", ".join(f"{module} {_number(n)}" for module, n in cost.trained.items() if n)
    batch, rows = rows_of(stage) * stage.accumulate, "clips"
    if name != "experts":
        tokens = stage.steps * batch * conversation_tokens(model)
        rows = f"conversations, {_number(tokens)} tokens"
    yield (
        f"{name:<17}{stage.steps} steps of {batch} {rows}; trains {_number(count)} "
        f"({count / total:.1%}): {modules}"
    )
    room = cost.weights + cost.states + cost.activations
    yield (
        f"{'':<17}about {room / GIB:.2f} GiB a process: weights {cost.weights / GIB:.2f}, "
        f"gradients and AdamW {cost.states / GIB:.2f}, activations {cost.activations / GIB:.2f}"
    )
    if recipe.text_model.name_or_path and name != "reward":  # DeepSpeed is refused there
        two = [cost.weights + cost.states / n + cost.activations for n in _GPUS]
        three = [(cost.weights + cost.states) / n + cost.activations for n in _GPUS]
        shown = f"ZeRO-2 {', '.join(f'{x / GIB:.2f}' for x in two)} GiB"
        if not recipe.text_model.lora_rank:  # ZeRO-3 does not carry adapters (``missing``)
            shown += f"; ZeRO-3 {', '.join(f'{x / GIB:.2f}' for x in three)} GiB"
        yield f"{'':<17}each of {', '.join(map(str, _GPUS))} GPUs: {shown}"
    gpu = recipe.device == "cuda" or recipe.text_model.name_or_path is not None
    if gpu:
        speed, told = _A100, "assumed of an A100"
    else:
        speed, told = measured_speed(model, name, stage.bf16), "measured here"
    yield (
        f"{'':<17}{cost.operations:.1e} operations: roughly {duration(cost.operations / speed)} "
        f"at the {speed / 1e12:.3g} TFLOP/s {told}"
    )


def _number(count: float) -> str:
    """1234567 -> "1.23 M"."""
    for unit, size in (("B", 1e9), ("M", 1e6), ("k", 1e3)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count:.0f}"
