"""The query engine as a tool of an instruct model: its JSON schema, and the call in a model's text.

Models that have learned to call tools (Qwen, Llama, …) get the schema by their chat template and
write a call instead of an answer. What they write besides the call is never shown.
"""

from __future__ import annotations

import json
import re
from typing import Any

from deft_llm.errors import UserError
from deft_llm.queries import query as grammar
from deft_llm.queries.query import Query, expand

NAME = "look_at_clip"
_LISTS: dict[str, tuple[str, ...]] = {
    "regions": (*grammar.GROUPS, *grammar.PARTS),
    "sides": grammar.SIDES,
    "directions": grammar.WAYS,
    "classes": grammar.CLASSES,
    "moments": grammar.MOMENTS,
    "than": (*grammar.GROUPS, *grammar.PARTS, *grammar.CLASSES),
}
_WORDS = {
    "kind": grammar.KINDS,
    "of": grammar.OBJECTS,
    "rank": grammar.RANKS,
    "topic": grammar.TOPICS,
}
_FLAGS = ("polar", "negated")


def tool() -> dict[str, Any]:
    """The schema of the tool, in the form that chat templates take."""
    lists = {
        name: {"type": "array", "items": {"type": "string", "enum": list(known)}}
        for name, known in _LISTS.items()
    }
    words = {name: {"type": "string", "enum": list(known)} for name, known in _WORDS.items()}
    numbers = {"aus": {"type": "array", "items": {"type": "integer"}}}
    flags = {name: {"type": "boolean"} for name in _FLAGS}
    return {
        "type": "function",
        "function": {
            "name": NAME,
            "description": "Looks up what was measured in the clip. Use kind 'decline' for what a "
            "face cannot tell (lying, guilt, health, age, identity, the future), and kind "
            "'unknown' for what is not about the clip. 'polar' is true for a yes/no question.",
            "parameters": {
                "type": "object",
                "properties": {**words, **flags, **lists, **numbers},
                "required": ["kind"],
            },
        },
    }


def called(text: str) -> Query | None:
    """The query of a tool call in a model's text; None if there is no valid one."""
    for start in (match.start() for match in re.finditer(r"\{", text)):
        try:
            call, _ = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
        values = _arguments(call)
        if values is not None and (found := _query(values)) is not None:
            return found
    return None


def _arguments(call: Any) -> dict[str, Any] | None:
    if not isinstance(call, dict):
        return None
    given = call.get("arguments", call.get("parameters", call if "kind" in call else None))
    if isinstance(given, str):  # some models write the arguments as a string
        try:
            given = json.loads(given)
        except ValueError:
            return None
    return given if isinstance(given, dict) else None


def _query(values: dict[str, Any]) -> Query | None:
    try:
        lists = {name: expand(values.get(name, ())) for name in _LISTS}
        words = {name: values.get(name, "") for name in _WORDS if name != "kind"}
        flags = {name: values.get(name) is True for name in _FLAGS}
        aus = tuple(map(int, values.get("aus", ())))
        return Query(values["kind"], aus=aus, **flags, **lists, **words)  # type: ignore[arg-type]
    except (UserError, KeyError, TypeError, ValueError):
        return None
