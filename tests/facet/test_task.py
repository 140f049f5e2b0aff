"""FACET-VLM trains by its recipe, on sets that are what they say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from deft_llm.config import read_recipe, read_yaml
from deft_llm.errors import UserError
from deft_llm.facet import view_sets
from deft_llm.facet.au_text import AuTextTower
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.files import load_facet
from deft_llm.facet.network import Facet
from deft_llm.facet.task import FacetRecipe, FacetTask
from deft_llm.facet.view_sets import ViewData, performances
from deft_llm.facet.view_store import ViewStore, restored, row
from deft_llm.simulator.scan_sets import HELD_OUT, units
from deft_llm.training import tasks
from deft_llm.training.schedule import Schedule
from deft_llm.weights import save_network

RECIPES = Path(__file__).resolve().parents[2] / "train_configs" / "facet"
SMALL = ViewData(scans=4, mixed=0.5, identities=2, side=32, workers=1)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("views")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(view_sets, "SCANS_PER_SHARD", 3)
        SMALL.build(folder)
    return folder


def recipe(folder: Path, output: Path) -> FacetRecipe:
    values = {
        **{"output": output, "data": SMALL, "views": folder, "batch_size": 3},
        **{"model": {"dim": 16, "visual": {"width": 16, "depth": 1}}},
        **{"schedule": Schedule(steps=2, save_every=1)},
    }
    return FacetRecipe.model_validate(values)


@pytest.fixture
def store(folder: Path, monkeypatch: pytest.MonkeyPatch) -> ViewStore:
    monkeypatch.setattr(view_sets, "SCANS_PER_SHARD", 3)
    return ViewStore(SMALL, folder)


@pytest.mark.usefixtures("no_ict")
def test_a_head_without_its_file_is_told_before_anything_is_rendered(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="the head 'ict' needs a path"):
        SMALL.model_copy(update={"heads": ("own", "ict")}).build(tmp_path / "views")
    assert not list(tmp_path.rglob("*.safetensors"))


def test_a_set_holds_faces(store: ViewStore) -> None:
    assert len(store) == 4 and store.views([0, 3]).shape == (2, 3, 3, 32, 32)
    shown = list(performances(SMALL, 0))
    assert store.label.sum(axis=1).tolist() == [len(p.emotions) for p in shown]
    for codes, performance in zip(store.aus, shown, strict=True):
        assert set(np.flatnonzero(codes)) == {au for au, _ in performance.aus}
    views = store.views(range(4))
    # A face covers the middle of every view, and nothing lies in the corners.
    assert (views[..., 16, 16] != 128).any(axis=-1).all() and (views[..., 0, 0] == 128).all()


def test_no_training_scan_shows_a_held_out_combination() -> None:
    data = SMALL.model_copy(update={"scans": 800, "mixed": 1.0})
    held = [set(units(combination)) for combination in HELD_OUT]
    shown = [{au for au, _ in p.aus} for p in performances(data, 0)]
    assert not any(h <= s for h in held for s in shown)
    unseen = data.model_copy(update={"content": "unseen", "scans": 60})
    assert {tuple(au for au, _ in p.aus) for p in performances(unseen, 0)} == {
        units(combination) for combination in HELD_OUT
    }


def test_sets_by_head_and_intensity() -> None:
    two = SMALL.model_copy(
        update={"heads": ("own", "ict"), "scans": 24, "levels": (4,), "mixed": 0}
    )
    for number, head in enumerate(("own", "ict")):
        shown = list(performances(two, number))
        assert {p.head for p in shown} == {head} and {p.level for p in shown} == {4}
        assert len({p.emotions for p in shown}) == 6
    worst = two.model_copy(update={"worst": True, "noise": (0.5, 0.5)})
    assert {(p.scanner.noise, p.scanner.holes) for p in performances(worst, 0)} == {(0.5, 0.1)}
    # The same faces with the same expressions, whatever the scanner.
    seen = [[(p.identity, p.aus) for p in performances(d, 0)] for d in (two, worst)]
    assert seen[0] == seen[1]


def test_batches_are_functions_of_their_index(
    folder: Path, store: ViewStore, tmp_path: Path
) -> None:
    task = FacetTask(recipe(folder, tmp_path), store)
    one, other = task.batch(3), task.batch(3)
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert not torch.equal(one["views"], task.batch(4)["views"])
    losses = task.training_step(one)
    assert all(torch.isfinite(value) for value in losses.values())
    losses["loss"].backward()
    assert all(p.grad is not None for n, p in task.model.named_parameters() if n != "offset")


def test_a_batch_without_expressions_has_no_naming_loss(
    folder: Path, store: ViewStore, tmp_path: Path
) -> None:
    task = FacetTask(recipe(folder, tmp_path), store)
    batch = task.batch(0)
    batch["label"] = torch.zeros_like(batch["label"])
    losses = task.training_step(batch)
    assert float(losses["linear"]) == 0 and float(losses["language"]) > 0


def test_a_recipe_runs_and_resumes_nothing_new(tmp_path: Path, folder: Path) -> None:
    smoke = Path(__file__).resolve().parents[2] / "train_configs" / "facet" / "smoke.yaml"
    changes = [f"output={tmp_path / 'run'}", "data.scans=3", "validation.scans=3"]
    tasks.run(smoke, changes)
    loaded = load_facet(tmp_path / "run")
    assert loaded.network.config.classes[0] == "anger"
    with pytest.raises(UserError, match="other settings"):
        tasks.run(smoke, [*changes, f"output={tmp_path / 'other'}", f"views={folder}"])


def test_recipes_that_share_a_folder_of_views_have_one_set() -> None:
    # The folder is claimed by the first one's settings, and refused to others.
    sets: dict[str, list[object]] = {}
    for file in sorted(RECIPES.glob("*.yaml")):
        values = read_yaml(file)
        if "views" in values:
            sets.setdefault(values["views"], []).append(values["data"])
    assert len(sets["runs/facet-views"]) == 3
    for same in sets.values():
        assert all(each == same[0] for each in same)


def test_heads_are_chosen_by_name(store: ViewStore) -> None:
    assert store.of_heads(["own"]).all() and store.good.all()
    with pytest.raises(UserError, match="no scan of 'ict'"):
        store.of_heads(["ict"])


def test_a_head_whose_name_begins_another_is_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = ViewData(scans=5, identities=1, side=32, heads=("own", "own2"))
    monkeypatch.setattr(ViewData, "build", lambda *_: None)
    for shards, digit in zip(data.shards(tmp_path), ("", "2"), strict=True):
        one = row(data.empty(moving=False), [True] * 6, {}, 1, f"own{digit}7")
        shards.render([one] * shards.clips, list, "scans")
    two = ViewStore.rendered(data, tmp_path)
    assert two.of_heads(["own"]).tolist() == [True, True, True, False, False]
    assert two.of_heads(["own2"]).tolist() == [False, False, False, True, True]
    assert two.of_heads([]).all() and two.of_heads(["own2", "own"]).all()


def test_prompts_of_a_recipe_are_those_of_its_classes(folder: Path, tmp_path: Path) -> None:
    values = recipe(folder, tmp_path).model_dump()
    names = SMALL.classes
    texts = {name: [f"a {name} face"] for name in reversed(names)}
    config = FacetRecipe.model_validate({**values, "prompts": texts}).config()
    assert list(config.prompts) == list(names) == config.classes and config.prompts == texts
    with pytest.raises(UserError, match=r"prompts: .*no text for surprise.*joy is no class"):
        renamed = {**texts, "joy": texts["anger"]}
        del renamed["surprise"]
        read_recipe(FacetRecipe, {**values, "prompts": renamed}, "mine.yaml")


def test_a_start_that_knows_other_classes_is_refused(
    folder: Path, store: ViewStore, tmp_path: Path
) -> None:
    trained = recipe(folder, tmp_path)
    other = trained.config().model_dump() | {"classes": ["joy"], "prompts": {"joy": ["AU12"]}}
    save_network(Facet(FacetConfig.model_validate(other), AuTextTower().width), tmp_path)
    with pytest.raises(UserError, match=r"knows joy; expected anger"):
        FacetTask(trained.model_copy(update={"start": tmp_path}), store)


def test_a_start_that_sees_other_pictures_is_refused(
    folder: Path, store: ViewStore, tmp_path: Path
) -> None:
    trained = recipe(folder, tmp_path)
    other = trained.config().model_dump() | {"yaws": [-60.0, 0.0, 60.0]}
    save_network(Facet(FacetConfig.model_validate(other), AuTextTower().width), tmp_path)
    with pytest.raises(
        UserError, match=r"at -60, 0, 60 degrees; the data has .* at 0, -45, 45 deg"
    ):
        FacetTask(trained.model_copy(update={"start": tmp_path}), store)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"used_yaws": [30]}, "used_yaws: no view at 30 degrees in data; there are 0, -45, 45"),
        (
            {"validation": {**SMALL.model_dump(), "yaws": [0]}},
            "used_yaws: no view at -45 degrees in validation; there are 0",
        ),
        ({"validation": SMALL.model_dump()}, "validation.first_identity 1000: 2 of its identities"),
        (
            {"validation": {**SMALL.model_dump(), "first_identity": 5000}},
            "validation.seed 5000000: 4 of its scans are those of data too",
        ),
        ({"validation": {**SMALL.model_dump(), "side": 48}}, "side 48; expected 32, as the data"),
        ({"validation": {**SMALL.model_dump(), "content": "micro"}}, "classes .*as the data has"),
    ],
)
def test_sets_and_views_that_do_not_fit_are_told_before_rendering(
    changes: dict[str, object], told: str, folder: Path, tmp_path: Path
) -> None:
    values = recipe(folder, tmp_path).model_dump()
    read_recipe(FacetRecipe, {**values, "used_yaws": [0]}, "mine.yaml")
    with pytest.raises(UserError, match=told):
        read_recipe(FacetRecipe, {**values, **changes}, "mine.yaml")


def test_views_of_another_set_are_taken_by_their_angle(
    folder: Path, store: ViewStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # By their place, those of a set in another order were scored as if they were turned away.
    task = FacetTask(recipe(folder, tmp_path), store)
    turned = SMALL.model_copy(update={"yaws": SMALL.yaws[::-1]})
    shown = store.views([0, 1])
    other = ViewStore(turned, folder)
    monkeypatch.setattr(other, "views", lambda indices: shown[:, ::-1])
    assert np.array_equal(task.views(other, np.arange(2)), restored(shown))


def test_scans_that_could_not_be_read_are_neither_learned_nor_right(
    folder: Path, store: ViewStore, tmp_path: Path
) -> None:
    small = recipe(folder, tmp_path)
    task = FacetTask(small, store, held_out := ViewStore(SMALL, folder))
    held_out.good[:] = False
    assert task.evaluate()["accuracy"] == 0
    store.good[:] = False
    with pytest.raises(UserError, match="no scan to learn from in expressions of heads own"):
        FacetTask(small, store)


def test_a_scan_without_a_face_teaches_nothing_and_counts_as_wrong(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fails(*_: object) -> None:
        raise UserError("no face found")

    data = ViewData(scans=1, identities=1, first_identity=1, seed=0, side=32)
    monkeypatch.setattr(view_sets, "scan_views", fails)
    made = view_sets.draw_views(data, next(performances(data, 0)))
    assert not made["subject"].any()  # such rows are not trained on, and never right
    assert made["label"].sum() == 1 and not restored(made["views"]).any()
