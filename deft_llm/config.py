"""YAML and dotted overrides -> validated pydantic models.

Values are cast by the field's type (PyYAML reads ``1e-4`` as a string); an unknown key is
answered with the nearest valid one.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from deft_llm.errors import UserError, did_you_mean

Model = TypeVar("Model", bound=BaseModel)


class Settings(BaseModel):
    """Base of every configuration: unknown keys are errors, values are cast."""

    model_config = ConfigDict(extra="forbid")


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML mapping.

    Raises:
        UserError: If the file is missing, no YAML, or no mapping.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a YAML configuration")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: not readable as YAML ({' '.join(str(error).split())})") from error
    if not isinstance(values, dict):
        raise UserError(f"{path}: holds {type(values).__name__}; expected a mapping of settings")
    return values


def apply_overrides(values: dict[str, Any], overrides: Sequence[str]) -> dict[str, Any]:
    """Set dotted keys: ``["optim.lr=1e-3"]``.

    Raises:
        UserError: If an override has no ``=``, is no YAML, or goes through a value that is no
            mapping.
    """
    for override in overrides:
        key, equals, text = override.partition("=")
        if not equals:
            raise UserError(
                f"override {override!r}: expected key=value, for example data.clips=100"
            )
        *parents, last = key.split(".")
        place = values
        for name in parents:
            child = place.setdefault(name, {})
            if not isinstance(child, dict):
                raise UserError(f"override {override!r}: {name!r} is a value, not a group")
            place = child
        try:
            place[last] = yaml.safe_load(text)
        except yaml.YAMLError:
            raise UserError(f"override {override!r}: {text!r} is not readable as YAML") from None
    return values


def validate(model: type[Model], values: dict[str, Any], where: str) -> Model:
    """Build a settings object.

    Raises:
        UserError: One line that names the key, what was got and what was expected.
    """
    try:
        return model.model_validate(values)
    except ValidationError as error:
        errors = error.errors()
        # A misspelt key also leaves its own field missing: the spelling is what to mend.
        first = next((e for e in errors if e["type"] == "extra_forbidden"), errors[0])
        key = _as_written(first["loc"], values)
        if first["type"] == "extra_forbidden":
            raise UserError(
                f"{where}: unknown key {key!r}{_nearest(model, first['loc'])}"
            ) from None
        got = "" if first["type"] == "missing" else f", got {first['input']!r}"
        raise UserError(f"{where}: {key}: {first['msg'].lower()}{got}") from None


def load(model: type[Model], path: Path, overrides: Sequence[str] = ()) -> Model:
    """Read, override and validate a configuration file."""
    return validate(model, apply_overrides(read_yaml(path), overrides), str(path))


def _as_written(location: tuple[Any, ...], values: Any) -> str:
    """A place as a dotted key; no index where one item was written instead of a list."""
    parts = []
    for part in location:
        if isinstance(part, int) and isinstance(values, dict):
            continue
        parts.append(str(part))
        inside = part in values if isinstance(values, dict) else isinstance(values, list)
        values = values[part] if inside else None
    return ".".join(parts)


def _nearest(model: type[BaseModel], location: tuple[Any, ...]) -> str:
    """A hint with the valid key that looks most like the unknown one."""
    fields: Any = model
    for name in location[:-1]:
        if isinstance(name, int):  # an item of a list, whose model is in hand
            continue
        annotation = fields.model_fields[name].annotation if name in fields.model_fields else None
        if get_origin(annotation) is list:
            annotation = get_args(annotation)[0]
        if not (isinstance(annotation, type) and issubclass(annotation, BaseModel)):
            return ""
        fields = annotation
    valid = list(fields.model_fields)
    hint = did_you_mean(str(location[-1]), valid, cutoff=0.5)
    return hint or f"; expected one of {', '.join(valid)}"
