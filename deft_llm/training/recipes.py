"""Read a recipe: validated, with what it names found wherever it was started from."""

from __future__ import annotations

from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from deft_llm.config import Settings, validate_settings

Recipe = TypeVar("Recipe", bound=Settings)
# Folders that a run writes are always those of the working directory.
_WRITTEN = frozenset({"output", "cache"})
_NAMES = frozenset({"name_or_path"})  # text that may be a folder


def read_recipe(kind: type[Recipe], values: dict[str, Any], where: str) -> Recipe:
    """Validate a recipe and find the files and folders that it reads.

    A relative path is looked for from the working directory; what is not there and lies beside the
    recipe is taken from there.

    Args:
        kind: Type of the recipe.
        values: Its settings, as read from YAML.
        where: Its file, for messages and as the place to look beside.

    Raises:
        UserError: If a setting is wrong.
    """
    recipe: Recipe = located(validate_settings(kind, values, where), Path(where).resolve().parent)
    return recipe


def located(value: Any, beside: Path, name: str = "") -> Any:
    """A setting, or a whole recipe, with the paths in it that lie in a folder found there."""
    if isinstance(value, BaseModel):
        fields = {key: getattr(value, key) for key in type(value).model_fields}
        found = {key: located(inner, beside, key) for key, inner in fields.items()}
        moved = {key: inner for key, inner in found.items() if inner is not fields[key]}
        return value.model_copy(update=moved) if moved else value
    if isinstance(value, list):
        items = [located(inner, beside, name) for inner in value]
        return items if any(a is not b for a, b in zip(items, value, strict=True)) else value
    is_path = isinstance(value, Path) or (isinstance(value, str) and name in _NAMES)
    if not is_path or name in _WRITTEN or Path(value).exists() or not (beside / value).exists():
        return value
    return type(value)(beside / value)
