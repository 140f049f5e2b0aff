"""YAML and dotted overrides -> validated pydantic models, with the paths that they name found.

Values are cast to the field's type (PyYAML reads ``1e-4`` as a string). For an unknown key the
error suggests the nearest valid one.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from deft_llm.errors import UserError, did_you_mean

logger = logging.getLogger(__name__)

Model = TypeVar("Model", bound=BaseModel)
# Folders that a run writes are always those of the working directory.
_WRITTEN = frozenset({"output", "cache"})
_NAMES = frozenset({"name_or_path"})  # text that may be a folder
# What pydantic says of these in terms of Python.
_PLAIN = {
    "model_type": "expected a group of settings, {key: value}",
    "dict_type": "expected a group of settings, {key: value}",
    "path_type": "expected a path",
}


class Settings(BaseModel):
    """Base of every configuration: unknown keys are errors, values are cast."""

    model_config = ConfigDict(extra="forbid")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: If the file is missing, not YAML, or not a mapping.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a YAML configuration")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    # ValueError: a wrong encoding, or an impossible date such as 2024-13-45.
    except (yaml.YAMLError, ValueError) as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds {type(values).__name__}; expected a mapping of settings")
    return values


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """A copy of the settings with dotted keys set: ``["optim.lr=1e-3", "data.0.clips=500"]``.

    A number selects an item of a list, counted from 0. A name applied to a list is set in every
    item that is a mapping; if there are several, this is logged. Items cannot be appended: to
    extend a list, give the whole list as YAML.

    Raises:
        UserError: If an override has no ``=``, is not YAML, names a missing list item, or passes
            through a value that is neither a mapping nor a list of mappings.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UserError(
                f"override {override!r}: expected key=value, for example data.clips=100"
            )
        try:
            value = yaml.safe_load(text)
        except (yaml.YAMLError, ValueError):
            raise UserError(f"override {override!r}: {text!r} is not readable as YAML") from None
        if glued := _glued(value):
            raise UserError(
                f"override {override!r}: {glued!r} is a key without a value in YAML; put a space "
                "after the colon"
            )
        spread: list[str] = []
        try:
            values = _with(values, key.split("."), value, (), spread)
        except UserError as error:
            raise UserError(f"override {override!r}: {error}") from None
        if spread:
            logger.info("override %s: set in each of the %s", override, ", ".join(spread))
    return values


def _glued(value: Any) -> str | None:
    """A key such as "width:8", which is what YAML makes of ``{width:8}``."""
    if isinstance(value, dict):
        keys = (str(k) for k, inner in value.items() if inner is None and ":" in str(k))
        return next(keys, None) or next(filter(None, map(_glued, value.values())), None)
    if isinstance(value, list):
        return next(filter(None, map(_glued, value)), None)
    return None


def _with(
    node: Any, names: Sequence[str], value: Any, above: tuple[str, ...], spread: list[str]
) -> Any:
    """A copy of ``node`` with one value replaced; nodes shared by YAML aliases are separated.

    Args:
        node: A group, a list or a value.
        names: Remaining keys from ``node`` to the value.
        value: The new value.
        above: Keys from the top to ``node``, for messages.
        spread: Collects every list in which the value was set in several items.
    """
    if not names:
        return value
    if isinstance(node, list):
        items = _chosen(node, names[0], ".".join(above), spread)
        # A number is used up by choosing the item; a name is still to be looked up inside each
        # item.
        rest = names[1:] if names[0] in items else names
        return [
            _with(item, rest, value, (*above, str(i)), spread) if str(i) in items else item
            for i, item in enumerate(node)
        ]
    if isinstance(node, dict):
        name, *rest = names
        return {**node, name: _with(node.get(name, {}), rest, value, (*above, name), spread)}
    raise UserError(f"{'.'.join(above)!r} is a value, not a group")


def _chosen(node: list[Any], name: str, where: str, spread: list[str]) -> list[str]:
    """Numbers of the list items that a name in an override selects: one item, or all groups."""
    numbers = [str(i) for i in range(len(node))]
    if name in numbers:
        return [name]
    count = f"{len(node)} item{'' if len(node) == 1 else 's'}"
    if re.fullmatch(r"[+-]?\d+", name):
        raise UserError(
            f"{where!r} has {count}, counted from 0, and no item {name}; "
            "to append one, give the whole list as YAML"
        )
    groups = [i for i in numbers if isinstance(node[int(i)], dict)]
    if not groups:
        raise UserError(
            f"{where!r} is a list of {count}, none of them a group; give the whole list as YAML"
        )
    if len(groups) > 1:
        spread.append(f"{len(groups)} items of {where}")
    return groups


def validate_settings(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Build a settings object.

    Raises:
        UserError: One line with the key, the value and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        # A misspelt key also makes its field missing. Report the spelling, which is the cause.
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        key = _as_written(first["loc"], values)
        if first["type"] == "extra_forbidden":
            raise UserError(
                f"{where}: unknown key {key!r}{_nearest(model, first['loc'])}"
            ) from None
        # A check of ours says what is wrong in its own words; pydantic puts "Value error" before.
        ours = first["type"] == "value_error"
        message = str(first["ctx"]["error"]) if ours else _in_plain_words(first)
        # Settings that do not fit each other: what was got is all of them.
        if not first["loc"] and first["type"] not in _PLAIN:
            raise UserError(f"{where}: {message}") from None
        got = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise UserError(": ".join(filter(None, (where, key, message))) + got) from None


def _in_plain_words(error: Any) -> str:
    """What pydantic found, for somebody who writes YAML."""
    return _PLAIN.get(error["type"]) or str(error["msg"]).lower()


def load(model: type[Model], path: Path, overrides: Sequence[str] = ()) -> Model:
    """Read, override and validate a configuration file."""
    return validate_settings(model, apply_overrides(read_yaml(path), overrides), str(path))


def read_recipe(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Validate a recipe and find the files and folders that it reads.

    A relative path is looked for from the working directory; what is not there and lies beside the
    recipe is taken from there.

    Args:
        model: Type of the recipe.
        values: Its settings, as read from YAML.
        where: Its file, for messages and as the place to look beside.

    Raises:
        UserError: If a setting is wrong.
    """
    recipe: Model = located(validate_settings(model, values, where), Path(where).resolve().parent)
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


def _as_written(location: tuple[Any, ...], values: Any) -> str:
    """An error location as a dotted key, without an index where a single item was written."""
    # A single mapping may stand for a list of one: pydantic then reports an index that the user
    # never wrote.
    parts = []
    for part in location:
        if isinstance(part, int) and isinstance(values, dict):
            continue
        parts.append(str(part))
        inside = part in values if isinstance(values, dict) else isinstance(values, list)
        values = values[part] if inside else None
    return ".".join(parts)


def _nearest(model: type[BaseModel], location: tuple[Any, ...]) -> str:
    """A hint with the valid key that is most similar to the unknown one."""
    fields: Any = model
    for name in location[:-1]:
        if isinstance(name, int):  # a list item: the list's item model was already found
            continue
        annotation = fields.model_fields[name].annotation if name in fields.model_fields else None
        while get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        fields = annotation
    valid = list(fields.model_fields)
    hint = did_you_mean(str(location[-1]), valid, cutoff=0.5)
    return hint or f"; expected one of {', '.join(valid)}"
