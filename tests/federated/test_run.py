"""A recipe of a federation from its file to its table, and what is refused before anything runs."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from deft_llm import facs, resources
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.features import Features, FeatureSizes
from deft_llm.errors import UserError
from deft_llm.evaluation.federated.tables import class_note, compared
from deft_llm.federated import run
from deft_llm.federated.client import SiteScores
from deft_llm.federated.engine import RuleRun
from deft_llm.federated.run import open_sites, recipe_of
from deft_llm.federated.simulated_sites import (
    SimulatedSites,
    camera_of,
    classes_of,
    site_specs,
)
from deft_llm.federated.sites import Site, make_site, require_apart, require_same_shapes
from deft_llm.metrics.classification import uf1
from deft_llm.recognizers.saved import open_saved
from tests.federated.conftest import MakeRecipe, dataset
from tests.recognizers.conftest import write_folder


@pytest.fixture
def file(tmp_path: Path, make_features: Callable[[int], Features]) -> Path:
    folders = {name: str(write_folder(tmp_path / name, make_features, name)) for name in "ab"}
    values = {
        "task": "federated",
        "output": str(tmp_path / "run"),
        "recognizer": "psyau",
        "rules": ["local", "p_fedprox"],
        "rounds": 1,
        "sites": folders,
        "local": {"epochs": 1, "batch_size": 4},
    }
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


def test_from_a_file_to_a_table(file: Path) -> None:
    table = compared(recipe_of(file))
    out = file.parent / "run"
    head, _, local, personal = table.splitlines()[:4]
    assert "| UF1 a | UF1 b | gain over local |" in head and "membership AUC" in head
    assert local.startswith("| local |") and personal.startswith("| p_fedprox |")
    assert (out / "table.md").read_text() == table
    assert {"table.csv", "table.tex", "rounds.png", "rounds.pdf"} <= {p.name for p in out.iterdir()}
    # Two sites hide nothing from each other, and the note says so.
    assert "With two sites" in (out / "privacy.md").read_text()
    scores = json.loads((out / "p_fedprox" / "scores.json").read_text())
    assert [s["site"] for s in scores] == ["a", "b"]
    saved = open_saved(out / "p_fedprox" / "final" / "a")
    assert saved.config.name == "psyau" and saved.config.classes == [
        "negative",
        "positive",
        "surprise",
    ]


def test_the_table_says_where_no_answers_could_score_1() -> None:
    """UF1 is over all classes, also at a site that has no test clip of one."""
    whole, part = np.eye(3, 4, dtype=np.int64), np.diag([4, 0, 2]).astype(np.int64)
    scores = (SiteScores("a", whole, 0.5), SiteScores("b", np.pad(part, ((0, 0), (0, 1))), 0.5))
    told = class_note([RuleRun("local", scores, (), ())], facs.THREE_CLASSES)
    assert told.endswith("counts 0. At most it is 0.667 at b (no positive).\n")
    assert uf1(scores[1].counts) == pytest.approx(2 / 3)
    assert class_note([RuleRun("local", scores[:1], (), ())], facs.THREE_CLASSES) == ""


def test_another_recipe_in_the_folder_is_refused(file: Path) -> None:
    small = ["recognizer=ststnet", "rules=[local]"]
    compared(recipe_of(file, small))
    with pytest.raises(UserError, match="holds a federation of another recipe: rounds was 1"):
        compared(recipe_of(file, [*small, "rounds=2"]))


def test_a_recipe_that_failed_before_its_first_round_can_be_mended(file: Path) -> None:
    small = ["recognizer=ststnet", "rules=[local]"]
    with pytest.raises(UserError, match="no such file"):
        compared(recipe_of(file, [*small, "sites.b=nowhere"]))
    assert (file.parent / "run" / "recipe.json").is_file()
    assert "| local |" in compared(recipe_of(file, small))


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ("recognizer=logistic_flow", "is no network: it has no weights to exchange"),
        ("recognizer=psyaux", "did you mean 'psyau'"),
        ("rules=[fedavgg]", "rules"),
        ("scheme=8", "scheme: expected one of 3, 4"),
        ("sites={}", "expected either sites"),
        ("sites={a: x}", r"recipe\.yaml: 1 site; a federation has two or more$"),
        ("sites={a: x, b: y}", "no such file"),
        ("task=recognizer", "expected a recipe with task: federated"),
    ],
)
def test_a_wrong_recipe_is_one_line(file: Path, change: str, told: str) -> None:
    with pytest.raises(UserError, match=told) as caught:
        compared(recipe_of(file, [change]))
    assert "\n" not in str(caught.value)


def test_sites_that_share_a_subject_are_refused(make_features: Callable[[int], Features]) -> None:
    one, other = dataset("a", 9, make_features), dataset("b", 9, make_features)
    both = ClipDataset.joined(other, dataset("a", 1, make_features))
    sites = [make_site(n, clips, "3", 0.3, 0) for n, clips in (("a", one), ("b", both))]
    with pytest.raises(UserError, match="sites a and b share subject x/a00; a subject that one"):
        require_apart(sites)


def test_sites_that_share_a_clip_are_refused(sites: list[Site]) -> None:
    marked = []
    for site in sites[:2]:
        part = site.train.clips
        records = [replace(r, content="same" if i == 0 else "") for i, r in enumerate(part.records)]
        clips = ClipDataset(records, part._places)
        marked.append(replace(site, train=replace(site.train, clips=clips)))
    with pytest.raises(UserError, match="share content same"):
        require_apart(marked)


def test_an_empty_site_is_named(make_features: Callable[[int], Features]) -> None:
    with pytest.raises(UserError, match="site west: west holds no clip"):
        make_site("west", dataset("west", 0, make_features), "3", 0.3, 0)
    with pytest.raises(UserError, match="site west: hold-out share"):
        make_site("west", dataset("west", 1, make_features), "3", 0.3, 0)
    unnamed = ClipDataset.of_clips(
        replace(c, record=replace(c.record, emotion="others"))
        for c in dataset("w", 3, make_features)
    )
    with pytest.raises(UserError, match="site west: clips: no clip with an emotion of negative"):
        make_site("west", unnamed, "3", 0.3, 0)


def test_sites_with_other_classes_or_shapes_are_refused(sites: list[Site]) -> None:
    other = replace(sites[1], train=replace(sites[1].train, classes=("happiness", "disgust")))
    with pytest.raises(UserError, match="sites a and b have the classes negative, positive"):
        require_apart([sites[0], other])
    with pytest.raises(UserError, match=r"site b: input flow_uvs has the shape \(3, 64, 64\)"):
        require_same_shapes({"a": {"flow_uvs": (3, 28, 28)}, "b": {"flow_uvs": (3, 64, 64)}})


def test_a_site_can_be_sent_to_another_process(file: Path) -> None:
    site = open_sites(recipe_of(file))[0]
    again = copy.deepcopy(site)  # by the way that processes take
    for name, values in site.train.clips.inputs(("flow_uvs",), 28).items():
        np.testing.assert_array_equal(values, again.train.clips.inputs((name,), 28)[name])


def test_subjects_are_split_once(make_features: Callable[[int], Features]) -> None:
    clips = dataset("a", 12, make_features)
    found = [make_site("a", clips, "3", 0.3, 0) for _ in range(2)]
    assert set(found[0].train.clips.clips) == set(found[1].train.clips.clips)
    assert not set(found[0].train.clips.people) & set(found[0].test.clips.people)


def test_simulated_sites_differ_and_share_nobody() -> None:
    data = SimulatedSites(sites=5, clips=30, identities=6, least=3)
    specs = [site_specs(data, k) for k in range(5)]
    people = [{spec.subject for spec in some} for some in specs]
    assert sum(map(len, people)) == len(set.union(*people)) == 30
    cameras = [camera_of(data, k) for k in range(5)]
    assert len({c.crf for c in cameras}) == len({c.sensor.read_noise for c in cameras}) == 5
    for k, some in enumerate(specs):
        assert all(spec.fps == cameras[k].fps for spec in some)
        assert len({spec.sensor.noise_seed for spec in some}) == len(some)
        counts = np.unique(classes_of(data, k), return_counts=True)[1]
        assert len(counts) == 3 and counts.min() >= 3 and counts.sum() == 30
    assert site_specs(data, 0) == specs[0]


@pytest.mark.parametrize(
    ("recognizer", "sizes"), [("ststnet", FeatureSizes()), ("mol", FeatureSizes(raw=128))]
)
def test_simulated_sites_are_measured_for_what_the_network_reads(
    recognizer: str, sizes: FeatureSizes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def rendered(data: SimulatedSites, site: int, cache: Path, sizes: FeatureSizes) -> ClipDataset:
        asked.append(sizes)
        raise UserError("enough")

    monkeypatch.setattr(run, "simulated_site", rendered)
    smoke = resources.recipe("federated/psyau_smoke")
    recipe = recipe_of(smoke, [f"recognizer={recognizer}", f"output={tmp_path}"])
    with pytest.raises(UserError, match="enough"):
        open_sites(recipe)
    assert asked == [sizes]


def test_a_site_has_room_for_the_least_of_every_class(make_recipe: MakeRecipe) -> None:
    for clips, least in ((6, 2), (12, 4), (13, 0)):
        drawn = classes_of(SimulatedSites(sites=2, clips=clips, least=least), 1)
        assert len(drawn) == clips
        assert min(drawn.count(name) for name in facs.THREE_CLASSES) >= least
    told = r"12 clips of a site cannot hold 12 of each of 3 classes \(least\); set clips to 36 or"
    changed: dict[str, Any] = {"simulated": {"clips": 12}, "sites": {}}
    with pytest.raises(UserError, match=told):
        make_recipe(**changed)


def test_the_shipped_recipes_are_valid(make_recipe: MakeRecipe) -> None:
    assert recipe_of(resources.recipe("federated/psyau")).simulated is not None
    assert recipe_of(resources.recipe("federated/psyau_smoke")).rounds == 2
    changed: dict[str, Any] = {"simulated": {"sites": 2}}
    with pytest.raises(UserError, match="expected either sites"):
        make_recipe(**changed)
