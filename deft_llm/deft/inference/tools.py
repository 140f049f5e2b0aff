"""The query engine as a tool of an instruct model: its JSON schema, and the call in a model's text.

Models that have learned to call tools (Qwen, Llama, …) get the schema by their chat template and
write a call instead of an answer. What they write besides the call is never shown.
"""

from __future__ import annotations

import json
import re
from typing import Any

from deft_llm.queries import calls
from deft_llm.queries.query import Query


def tool() -> dict[str, Any]:
    """The schema of the tool, in the form that chat templates take."""
    lists = {
        name: {"type": "array", "items": {"type": "string", "enum": list(known)}}
        for name, known in calls.LISTS.items()
    }
    words = {name: {"type": "string", "enum": list(known)} for name, known in calls.WORDS.items()}
    numbers: dict[str, Any] = {"aus": {"type": "array", "items": {"type": "integer"}}}
    numbers |= {name: {"type": "number"} for name in calls.LIMITS}
    numbers["at"] = {"type": "string", "description": "one frame, as 20f, or seconds, as 0.2s"}
    flags = {name: {"type": "boolean"} for name in calls.FLAGS}
    return {
        "type": "function",
        "function": {
            "name": calls.TOOL,
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
        # RecursionError: a model may write thousands of brackets.
        except (ValueError, RecursionError):
            continue
        values = _arguments(call)
        if values is not None and (found := calls.from_arguments(values)) is not None:
            return found
    return None


def _arguments(call: Any) -> dict[str, Any] | None:
    if not isinstance(call, dict):
        return None
    # Qwen writes "arguments" and Llama "parameters"; some models leave out what is around them.
    given = call.get("arguments", call.get("parameters", call if "kind" in call else None))
    if isinstance(given, str):  # some models write the arguments as a string
        try:
            given = json.loads(given)
        except ValueError:
            return None
    return given if isinstance(given, dict) else None
