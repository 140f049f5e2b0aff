"""Export a finished run to a folder for publication: weights, processor and a model card.

Adapters are either kept in PEFT's format, which needs the base model for loading, or merged into
the language model, whose weights are then loaded again without quantization. All weights are
safetensors.
"""

from __future__ import annotations

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import yaml
from transformers import set_seed

from deft_llm.config import located, validate_settings
from deft_llm.deft.processing_deft import DeftProcessor
from deft_llm.deft.tuning.adapters import merged
from deft_llm.deft.tuning.model import build_model
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.deft.tuning.stages import STAGES
from deft_llm.deft.tuning.usage import usage
from deft_llm.errors import UserError
from deft_llm.files import replacing_folder
from deft_llm.training.run_folder import BEST, FINAL, SCORE

logger = logging.getLogger(__name__)
_PARTS = ("processor_config.json", "tokenizer.json")


def export(
    run: Path, out: Path, merge: bool = False, figures: Path | None = None, best: bool = False
) -> Path:
    """Write the model of a finished run; the run's data are not needed.

    Args:
        run: Folder that ``train.py`` wrote.
        out: New folder.
        merge: Merge adapters into the language model's weights.
        figures: Output of ``eval/run.py --json`` for this model, for the card.
        best: Take the model of the lowest validation loss, not the last one.

    Returns:
        ``out``.

    Raises:
        UserError: If the run is not finished or incomplete, or ``out`` exists.
    """
    recipe, final = _finished(run, BEST if best else FINAL)
    if out.exists():
        raise UserError(f"{out}: exists already; give a new folder")
    adapters = (final / "adapter_config.json").is_file()
    # Read before writing anything, so that a bad file fails early.
    rows = _read_figures(figures)
    with replacing_folder(out) as partial:
        shutil.copytree(final, partial, dirs_exist_ok=True, ignore=shutil.ignore_patterns(SCORE))
        if adapters and merge:
            for name in ("adapter_config.json", "adapter_model.safetensors"):
                (partial / name).unlink()
            _merged(recipe, run, final).save_pretrained(partial)
        elif merge:
            logger.info("%s: trained whole, there is nothing to merge", run)
        text = card(recipe, run, rows, adapters and not merge)
        (partial / "README.md").write_text(text, encoding="utf-8")
    return out


def _finished(run: Path, which: str) -> tuple[DeftRecipe, Path]:
    """Recipe of a run, and its folder of a trained model: ``final`` or ``best``."""
    path, final = run / "recipe.json", run / which
    if not path.is_file():
        raise UserError(
            f"{run}: no recipe.json; expected the folder of a run of train.py, task deft"
        )
    values = json.loads(path.read_text(encoding="utf-8"))
    if others := sorted(set(values) - set(DeftRecipe.model_fields)):
        raise UserError(
            f"{run}: a run of another task than deft (its recipe has {others[0]!r}); a recognizer "
            "is exported with --onnx, networks of other tasks are used as they are"
        )
    # recipe.json leaves out ``output``: a run may be moved.
    recipe = validate_settings(DeftRecipe, {**values, "output": run}, str(path))
    # Its relative paths start where training was started, most likely a folder around the run.
    for around in run.resolve().parents:
        recipe = located(recipe, around)
    if which == BEST and not final.is_dir():
        raise UserError(f"{final}: no such folder; the recipe has no validation, leave out --best")
    weights = ("model.safetensors", "model.safetensors.index.json", "adapter_model.safetensors")
    if not any((final / name).is_file() for name in weights):
        raise UserError(f"{final}: no weights; the run is not finished, call train.py again")
    for name in _PARTS:
        if not (final / name).is_file():
            raise UserError(f"{final}: no {name}; the run is not finished, call train.py again")
    return recipe, final


def _merged(recipe: DeftRecipe, run: Path, final: Path) -> Any:
    """The complete model, with adapters merged into the language model's weights."""
    name = recipe.text_model.name_or_path
    changes = {
        # Merged into quantized weights, the adapters would be rounded to their few levels.
        "quantize": None,
        "name_or_path": str(_found(Path(name), run)) if name else None,
    }
    text = recipe.text_model.model_copy(update=changes)
    origins = {"checkpoint": recipe.checkpoint, "experts_from": recipe.experts_from}
    begun = {key: path and _found(path, run) for key, path in origins.items()}
    wanted = {"text_model": text, "templates": None, **begun}
    # As in training: a model built from a configuration gets the same initial weights again.
    set_seed(recipe.seed)
    tokenizer = DeftProcessor.from_pretrained(final).tokenizer
    base, _ = build_model(recipe.model_copy(update=wanted), tokenizer=tokenizer)
    return merged(base, final)


def _found(path: Path, run: Path) -> Path:
    """What a recipe names relative to where it was trained: from here, or from above the run."""
    places = [Path(), *run.resolve().parents]
    return next((place / path for place in places if (place / path).exists()), path)


def _read_figures(path: Path | None) -> list[dict[str, Any]]:
    if path is None:
        return []
    try:
        rows = json.loads(path.read_text(encoding="utf-8"))
        return [{name: row[name] for name in ("name", "value", "bar", "reached")} for row in rows]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: no figures; expected what eval/run.py --json writes") from error


def card(recipe: DeftRecipe, run: Path, figures: list[dict[str, Any]], adapters: bool) -> str:
    """The model card; it shows only the last part of folder paths, which mean nothing elsewhere.

    Args:
        recipe: Recipe of the run.
        run: Folder of the run; its logs are read.
        figures: Measured figures; each with name, value, bar and reached.
        adapters: Whether the folder holds adapters only.
    """
    base = _shown(recipe.text_model.name_or_path)
    begun = _ending(recipe.checkpoint)
    front: dict[str, Any] = {
        "library_name": "peft" if adapters else "transformers",
        "pipeline_tag": "image-text-to-text",
        "tags": ["micro-expression", "facs", "deft-llm"],
    }
    if base:
        front["base_model"] = base
    used = recipe.model_dump(
        mode="json", exclude={"output", "held_out", "templates", "push_to_hub"}
    )
    used["text_model"]["name_or_path"] = base
    used["checkpoint"], used["experts_from"] = begun, _ending(recipe.experts_from)
    used["folders"] = [folder.name for folder in recipe.folders]
    # Paths of this machine do not belong in a published card.
    for data in used["data"]:
        data.pop("head_path")
    for backbone in used["model"].get("backbones", {}).values():
        backbone["name"] = _shown(backbone.get("name"))
        backbone.pop("weights", None)
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, sort_keys=False).strip(),
            "---",
            f"# {run.name}",
            "",
            "A DEFT-LLM: a clip of a face in, the emotion, the action units and an explanation "
            "bound to measured motion out. Made with `train.py` of deft-llm.",
            "",
            f"- **Language model**: {base or _origin(begun)}"
            + ("; this folder holds adapters for it" if adapters else ""),
            f"- **Data**: {_data(recipe)}",
            "- **Not for decisions about people**: micro-expressions are weak evidence at best.",
            "",
            _merge_first() if adapters else usage('"."  # where this card lies, or its hub name'),
            "## Training",
            "",
            "| stage | steps | loss, first logged | loss, last logged |",
            "|---|---|---|---|",
            *_losses(recipe, run),
            "",
            "## With what result",
            "",
            *_result(figures),
            "",
            "## Recipe",
            "",
            "```yaml",
            yaml.safe_dump({"task": "deft", **used}, sort_keys=False).strip(),
            "```",
            "",
        ]
    )


def _merge_first() -> str:
    return (
        "## Use\n\nPut the adapters into the model first: `deft-llm export RUN -o FOLDER --merge`. "
        "The card in that folder says how to go on.\n"
    )


def _origin(begun: str | None) -> str:
    """Origin of a language model that is not a published one."""
    if begun:
        return f"that of the checkpoint `{begun}`, from which all parts went on learning"
    return "built from a configuration, trained from nothing"


def _ending(folder: Path | None) -> str | None:
    """The last two parts of a folder: what holds a checkpoint is mostly called final or best."""
    return "/".join(folder.parts[-2:]) if folder else None


def _shown(name: str | None) -> str | None:
    """A hub name unchanged, a folder by its last part, also one that is no longer there."""
    if not name:
        return name
    path = Path(name)
    # A hub name is name, or owner/name.
    is_folder = path.is_dir() or path.is_absolute() or len(path.parts) > 2
    return path.name if is_folder else name


def _data(recipe: DeftRecipe) -> str:
    simulated = [
        f"{data.clips} simulated clips of at most {data.identities} faces (head {data.head})"
        for data, _ in recipe.simulated()
    ]
    return ", ".join([*simulated, *(folder.name for folder in recipe.folders)])


def _losses(recipe: DeftRecipe, run: Path) -> list[str]:
    lines = []
    for name in STAGES:
        steps = getattr(recipe, name).steps
        path = run / f"{name}.log.jsonl"
        if steps and path.is_file():
            rows = [json.loads(row) for row in path.read_text(encoding="utf-8").splitlines()]
            found = [row["loss"] for row in rows if "loss" in row] or [float("nan")]
            lines.append(f"| {name} | {steps} | {found[0]:.3f} | {found[-1]:.3f} |")
    return lines


def _result(figures: list[dict[str, Any]]) -> list[str]:
    if not figures:
        return ["Not measured yet: `python eval/run.py` with a file of `eval/benchmarks`."]
    lines = ["| figure | measured | bar | |", "|---|---|---|---|"]
    for row in figures:
        value = "not defined" if row["value"] is None else f"{row['value']:.3f}"
        bar = "" if row["bar"] is None else f"{row['bar']:g}"
        verdict = "" if row["bar"] is None else ("reached" if row["reached"] else "missed")
        lines.append(f"| {row['name']} | {value} | {bar} | {verdict} |")
    return lines
