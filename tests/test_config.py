"""A configuration file says what is wrong with it in one line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from deft_llm.config import Settings, apply_overrides, load, read_yaml, validate
from deft_llm.errors import UserError


class Optim(Settings):
    learning_rate: float
    steps: int = 10


class Recipe(Settings):
    optim: Optim
    output: Path = Path("runs")
    bf16: bool = True


def write(folder: Path, text: str) -> Path:
    path = folder / "recipe.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("number", ["1e-4", "1.0e-4", "0.0001", "'1e-4'"])
def test_every_spelling_of_a_number_is_a_float(tmp_path: Path, number: str) -> None:
    """PyYAML reads 1e-4 as a string; a learning rate that is a string fails hours later."""
    recipe = load(Recipe, write(tmp_path, f"optim:\n  learning_rate: {number}\n"))
    assert recipe.optim.learning_rate == 1e-4
    assert isinstance(recipe.optim.learning_rate, float)


def test_overrides_win_are_cast_and_may_open_groups(tmp_path: Path) -> None:
    path = write(tmp_path, "bf16: true\n")
    overrides = ["optim.learning_rate=3e-4", "optim.steps=7", "bf16=false", "output=a=b/c"]
    recipe = load(Recipe, path, overrides)
    assert recipe.optim == Optim(learning_rate=3e-4, steps=7)
    assert recipe.bf16 is False
    assert recipe.output == Path("a=b/c")


def test_the_last_override_of_a_key_wins() -> None:
    assert apply_overrides({}, ["a.b=1", "a.b=2"]) == {"a": {"b": 2}}


@pytest.mark.parametrize(
    ("values", "parts"),
    [
        ({"optim": {"learning_rte": 1}}, ["'optim.learning_rte'", "did you mean 'learning_rate'"]),
        ({"optim": {"learning_rate": 1}, "ouput": "x"}, ["'ouput'", "did you mean 'output'"]),
        ({"optim": {"learning_rate": 1}, "zzz": 1}, ["'zzz'", "expected one of", "bf16"]),
        ({"optim": {"learning_rate": "fast"}}, ["optim.learning_rate", "'fast'"]),
        ({"optim": {"learning_rate": 1, "steps": 1.5}}, ["optim.steps", "1.5"]),
        ({}, ["optim", "required"]),
    ],
)
def test_a_wrong_setting_is_one_line_with_its_key(values: dict[str, Any], parts: list[str]) -> None:
    with pytest.raises(UserError) as caught:
        validate(Recipe, values, "recipe.yaml")
    message = str(caught.value)
    assert message.startswith("recipe.yaml: ")
    assert "\n" not in message
    assert all(part in message for part in parts), message


@pytest.mark.parametrize("text", ["- a\n- b\n", "just words\n", "", "a: [1\nb: 2\n", "a:\n\t- b\n"])
def test_a_file_that_is_no_mapping_is_one_line(tmp_path: Path, text: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        read_yaml(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_file_in_another_encoding_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "recipe.yaml"
    path.write_bytes("name: Übung".encode("latin-1"))
    with pytest.raises(UserError, match="not readable as YAML"):
        read_yaml(path)


def test_a_missing_file_and_a_folder_are_named(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(UserError, match="no such file"):
            read_yaml(path)


@pytest.mark.parametrize("override", ["optim.steps", "output.x=1", "optim.steps=[1"])
def test_a_wrong_override_is_one_line(override: str) -> None:
    with pytest.raises(UserError) as caught:
        apply_overrides({"output": "runs", "optim": {}}, [override])
    assert repr(override) in str(caught.value)
    assert "\n" not in str(caught.value)
