"""A recipe finds what it names from the working directory, and then from beside itself."""

from __future__ import annotations

from pathlib import Path

import pytest

from deft_llm.config import Settings, read_recipe


class _Set(Settings):
    folder: Path | None = None


class _Recipe(Settings):
    output: Path
    cache: Path = Path("cache")
    checkpoint: Path | None = None
    folders: list[Path] = []
    sets: list[_Set] = []
    name_or_path: str | None = None


@pytest.fixture
def where(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A recipe in one folder, the working directory another; both hold some of what it names."""
    for name in ("here/both", "recipes/both", "recipes/beside", "recipes/out", "recipes/cache"):
        (tmp_path / name).mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "here")
    return str(tmp_path / "recipes" / "mine.yaml")


def test_beside_itself_if_not_here(where: str) -> None:
    beside = Path(where).parent / "beside"
    values = {
        "output": "out",
        "checkpoint": "beside",
        "folders": ["both", "beside", "nowhere"],
        "sets": [{"folder": "beside"}, {}],
        "name_or_path": "beside",
    }
    recipe = read_recipe(_Recipe, values, where)
    assert recipe.checkpoint == beside
    assert recipe.folders == [Path("both"), beside, Path("nowhere")]
    assert [one.folder for one in recipe.sets] == [beside, None]
    assert recipe.name_or_path == str(beside)
    # What a run writes is where the user is.
    assert (recipe.output, recipe.cache) == (Path("out"), Path("cache"))


def test_names_that_are_no_paths_stay(where: str) -> None:
    values = {"output": "out", "checkpoint": "embedded", "name_or_path": "Qwen/Qwen2.5-7B-Instruct"}
    recipe = read_recipe(_Recipe, values, where)
    assert recipe.checkpoint == Path("embedded")
    assert recipe.name_or_path == values["name_or_path"]
