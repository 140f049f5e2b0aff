"""Several sets in a recipe: a folder each, and which experts and language model learn from."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from deft_llm.config import read_yaml, validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.deft.tuning import train as deft
from deft_llm.deft.tuning.recipe import DeftRecipe
from deft_llm.errors import UserError
from deft_llm.files import read_lines

ROOT = Path(__file__).resolve().parents[3]
DRAWN = {"clips": 5, "identities": 4, "seed": 5_000_000, "variants": 2, "turns": 2, "workers": 1}
SETS = [DRAWN, {**DRAWN, "seed": 6_000_000}, {**DRAWN, "clips": 0}]


def recipe(output: Path, **changes: Any) -> dict[str, Any]:
    """The smoke recipe in a folder of its own."""
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values.pop("task")
    templates = ROOT / "deft_llm" / "unimer" / "templates"
    return {**values, "output": str(output), "templates": str(templates), **changes}


def test_every_set_is_built_in_a_folder_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first is called as that of a recipe with one set; what is built is left alone."""
    built: list[tuple[int, Path]] = []
    monkeypatch.setattr(
        deft, "build_simulated", lambda data, folder, templates: built.append((data.seed, folder))
    )
    several = validate_settings(DeftRecipe, recipe(tmp_path, data=SETS), "test")
    wanted = [(5_000_000, tmp_path / "data"), (6_000_000, tmp_path / "data-2")]
    assert deft.data_folders(several) == [folder for _, folder in wanted]
    assert built == wanted
    (tmp_path / "data" / "clips.jsonl").touch()
    deft.data_folders(several)
    assert built[2:] == wanted[1:]
    # Nothing was trained yet, so the recipe may be corrected; but not what lies there mixed in.
    for changes in ({"data": [SETS[0], {**SETS[1], "seed": 7}]}, {"templates": str(tmp_path)}):
        values = recipe(tmp_path, **{"data": SETS, **changes})
        with pytest.raises(UserError, match=r"was begun from .* give another folder, or delete it"):
            deft.data_folders(validate_settings(DeftRecipe, values, "test"))
    moved = [{**each, "workers": 7} for each in SETS]
    deft.data_folders(validate_settings(DeftRecipe, recipe(tmp_path, data=moved), "test"))
    alone = validate_settings(DeftRecipe, recipe(tmp_path, data=DRAWN), "test")
    assert alone.simulated() == several.simulated()[:1]


@pytest.mark.usefixtures("no_ict")
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"folders": ["nowhere"]}, "nowhere/clips.jsonl: no such file"),
        ({"held_out": ["nowhere"]}, "nowhere/clips.jsonl: no such file"),
        ({"data": [DRAWN, {**DRAWN, "seed": 6_000_000, "head": "ict"}]}, "the head 'ict' needs"),
        ({"text_model": {"name_or_path": "."}}, "no causal language model"),
        ({"text_model": {"config": {"model_type": "qwenn"}}}, "did you mean 'qwen3'"),
        ({"text_model": {"config": {"num_attention_heads": 0}}}, "no language model that can be"),
        ({"text_model": {"config": {"hidden_size": "wide"}}}, "no language model that can be"),
        (
            {"model": {"backbones": {"motion": {"name": "fmanet", "weights": "nowhere"}}}},
            "backbone fmanet: nowhere does not fit",
        ),
    ],
)
def test_what_is_missing_is_told_before_anything_is_rendered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any], words: str
) -> None:
    """A recipe of ours renders for half an hour: no refusal may come after that."""
    monkeypatch.setattr(deft, "build_simulated", lambda *_: pytest.fail("rendered"))
    with pytest.raises(UserError, match=words):
        deft.train(recipe(tmp_path / "run", **changes), "test")
    # A finished run needs none of it any more.
    (tmp_path / "run" / "final").mkdir()
    deft.train(recipe(tmp_path / "run", **changes), "test")


def halved(data: Path, output: Path) -> list[list[str]]:
    """The clips of a data folder in two, as the run would have built them; their names."""
    lines = list(read_lines(data / "clips.jsonl"))
    halves = [[str(line["clip"]) for line in half] for half in (lines[:5], lines[5:])]
    for half, folder in zip(halves, (output / "data", output / "data-2"), strict=True):
        shutil.copytree(data, folder)
        for name in ("clips.jsonl", "train.jsonl"):
            kept = (line for line in read_lines(data / name) if line["clip"] in half)
            (folder / name).write_text("".join(json.dumps(line) + "\n" for line in kept))
    return halves


def test_experts_and_language_model_learn_from_different_clips(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = halved(data, tmp_path)
    heard: dict[str, set[str]] = {}

    def stage(name: str, model: Any, shown: Any, *_: Any) -> None:
        clips = shown.clips.clips if name == "experts" else [line.clip for line in shown.lines]
        heard[name] = set(clips)
        if name == "instruct":
            encoded = shown.tokens.tokens["motion"]  # of every clip and its mirror image
            assert len(encoded) == 2 * len(set(clips))  # nothing else is encoded

    monkeypatch.setattr(deft, "run_stage", stage)
    own = [{**SETS[0], "used_by": "experts"}, {**SETS[1], "used_by": "language_model"}]
    values = recipe(tmp_path, data=own)
    values["instruct"] = {**values["instruct"], "freeze_experts": True}
    deft.train(values, "test")
    assert (heard["experts"], heard["instruct"]) == (set(first), set(second))

    shutil.rmtree(tmp_path / "final")
    (tmp_path / "recipe.json").unlink()
    deft.train({**values, "data": [SETS[0], own[1]]}, "test")
    assert (heard["experts"], heard["instruct"]) == (set(first), {*first, *second})


def test_a_part_of_a_set_reads_the_same_files(data: Path, tmp_path: Path) -> None:
    first, second = halved(data, tmp_path)
    clips = ClipDataset.open(tmp_path / "data", tmp_path / "data-2")
    part = clips.from_folders(tmp_path / "data-2")
    assert part.clips.tolist() == second
    assert clips.clips.tolist() == first + second
    whole, again = clips.by_name(second[0]).features, part.by_name(second[0]).features
    assert whole is not None and again is not None
    assert all(np.array_equal(values, whole[name]) for name, values in again.items())


def test_folders_are_used_by_all(tmp_path: Path) -> None:
    own = [{**SETS[0], "used_by": "experts"}]
    made = validate_settings(DeftRecipe, recipe(tmp_path, data=own, folders=["x"]), "test")
    assert made.folders_of("experts") == [tmp_path / "data", Path("x")]
    assert made.folders_of("language_model") == [Path("x")]


@pytest.mark.parametrize(
    ("used_by", "words"),
    [
        ("experts", "all sets are used by experts alone; let the other use one as well"),
        ("language_model", "all sets are used by language_model alone"),
        ("llm", "used_by"),
    ],
)
def test_somebody_would_learn_nothing(used_by: str, words: str, tmp_path: Path) -> None:
    sets = [{**drawn, "used_by": used_by} for drawn in SETS]
    with pytest.raises(UserError, match=words):
        validate_settings(DeftRecipe, recipe(tmp_path, data=sets), "test")


def test_an_old_key_is_unknown(tmp_path: Path) -> None:
    old = [{**DRAWN, "teaches": "experts"}, SETS[1]]
    with pytest.raises(UserError, match=r"unknown key 'data\.0\.teaches'"):
        validate_settings(DeftRecipe, recipe(tmp_path, data=old), "test")
