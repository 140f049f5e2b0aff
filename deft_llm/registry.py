"""Lazy resolver for all registries: name -> "module:Class".

A registry is a small dict of strings, so that listing a class needs no import and a lower layer
can name a class of a higher one. The module is imported when the name is resolved.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from deft_llm.errors import UserError, did_you_mean


def resolve(registry: Mapping[str, str], name: str, kind: str, where: str = "") -> Any:
    """The class or function behind a name.

    Args:
        registry: Name -> "module:attribute".
        name: The requested name.
        kind: Kind of thing for the message: "flow method", "recognizer".
        where: The file that contains the name, if any; starts the message.

    Raises:
        UserError: If the name is not registered; lists the names and the nearest one.
    """
    if name not in registry:
        known = ", ".join(registry)
        hint = did_you_mean(name, registry)
        place = f"{where}: " if where else ""
        raise UserError(f"{place}unknown {kind} {name!r}, expected one of {known}{hint}")
    module, _, attribute = registry[name].partition(":")
    return getattr(importlib.import_module(module), attribute)
