"""What comes with the package is found by name, from a folder that holds nothing of it."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from deft_llm import resources
from deft_llm.config import read_yaml
from deft_llm.errors import UserError

ROOT = Path(__file__).resolve().parents[1]
YAMLS = sorted([*(ROOT / "train_configs").glob("*/*.yaml"), *(ROOT / "eval").rglob("*.yaml")])


@pytest.fixture(autouse=True)
def empty(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The working directory: an empty folder."""
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def wheel(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as the wheel lays it out, without a repository around it."""
    package = tmp_path_factory.mktemp("site") / "deft_llm"
    for inside, beside in (
        ("train_configs", "train_configs"),
        ("benchmarks", "eval/benchmarks"),
        ("clips", "demo/clips"),
    ):
        shutil.copytree(ROOT / beside, package / "resources" / inside)
    monkeypatch.setattr(resources, "_PACKAGE", package)
    return package


@pytest.mark.parametrize("form", ["train_configs/deft/smoke.yaml", "deft/smoke.yaml", "deft/smoke"])
def test_a_recipe_has_three_forms(form: str) -> None:
    assert resources.recipe(form) == ROOT / "train_configs" / "deft" / "smoke.yaml"


@pytest.mark.parametrize("form", ["eval/benchmarks/srflow.yaml", "srflow.yaml", "srflow"])
def test_a_benchmark_has_three_forms(form: str) -> None:
    assert resources.benchmark(form) == ROOT / "eval" / "benchmarks" / "srflow.yaml"


def test_the_wheel_has_them_inside(wheel: Path) -> None:
    inside = wheel / "resources"
    assert (
        resources.recipe("train_configs/deft/tiny.yaml") == inside / "train_configs/deft/tiny.yaml"
    )
    assert resources.benchmark("simulated") == inside / "benchmarks" / "simulated.yaml"
    assert len(list(resources.clips().glob("*.mp4"))) == 8


def test_a_wheel_without_clips_shows_none(wheel: Path) -> None:
    shutil.rmtree(wheel / "resources" / "clips")
    assert not list(resources.clips().glob("*.mp4"))


def test_a_file_of_the_user_goes_first(empty: Path) -> None:
    own = empty / "train_configs" / "deft" / "smoke.yaml"
    own.parent.mkdir(parents=True)
    own.write_text("task: deft\n", encoding="utf-8")
    assert resources.recipe("train_configs/deft/smoke.yaml").resolve() == own
    assert resources.recipe(own) == own
    assert resources.recipe("deft/smoke") == ROOT / "train_configs" / "deft" / "smoke.yaml"


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("deft/smok", "did you mean deft/smoke"),
        (
            "smoke",
            "did you mean deft/smoke, facet/smoke, flow/smoke, landmarks/smoke, spotters/smoke?",
        ),
        ("deft/tinny.yaml", "did you mean deft/tiny"),
        ("xyz", "there are deft/ict, "),
        ("accelerate/cpu", "no such file"),  # for accelerate, not for a task
        ("/nowhere/recipe.yaml", "'/nowhere/recipe.yaml': no such file"),
        ("", "there are deft/ict, "),
    ],
)
def test_a_wrong_recipe_gets_one_line(name: str, words: str) -> None:
    with pytest.raises(UserError) as refused:
        resources.recipe(name)
    assert words in str(refused.value) and "\n" not in str(refused.value)
    assert str(ROOT) not in str(refused.value)


def test_a_wrong_benchmark_gets_one_line() -> None:
    with pytest.raises(UserError, match=r"benchmark 'simulatd': .* did you mean simulated"):
        resources.benchmark("simulatd")


def test_embedded_is_the_package_s_own_unless_the_user_has_a_folder_of_that_name(
    empty: Path,
) -> None:
    assert (resources.checkpoint() / "model.safetensors").is_file()
    assert resources.checkpoint("runs/x") == Path("runs/x")
    assert (resources.templates() / "questions.yaml").is_file()
    (empty / "embedded").mkdir()
    assert resources.checkpoint() == Path("embedded")


def _values(part: Any) -> list[Any]:
    """Every value below a YAML mapping or list."""
    if isinstance(part, dict):
        return [v for value in part.values() for v in _values(value)]
    if isinstance(part, list):
        return [v for value in part for v in _values(value)]
    return [part]


@pytest.mark.parametrize("path", YAMLS, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_what_a_file_names_is_found_from_anywhere(path: Path) -> None:
    """Outputs and data lie where the user is; nothing else may be a path in the repository."""
    values = read_yaml(path)
    for name in (v for v in _values(values) if str(v).endswith(".yaml")):
        find = resources.benchmark if "benchmarks" in str(name) else resources.recipe
        assert find(name).is_file()
    folders = ("deft_llm/", "demo/", "instruction_data/")
    assert not [v for v in _values(values) if str(v).startswith(folders)]
