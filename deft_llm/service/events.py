"""Wrappers for page events and API functions: session key, queue, and error messages."""

from __future__ import annotations

import html
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from inspect import isgeneratorfunction
from typing import Any

import gradio as gr

from deft_llm.errors import UserError
from deft_llm.service.limits import public


@contextmanager
def shown() -> Iterator[None]:
    """Show a user's mistake as a message on the page, without local paths and with HTML escaped."""
    try:
        yield
    except UserError as error:
        # Gradio shows messages as HTML, and a file's name may hold any.
        raise gr.Error(html.escape(public(error), quote=False), duration=20) from None


def asked(work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function that takes the session key first; a generator stays a generator."""

    # Gradio fills in the parameter that is annotated as a request, and streams only from a function
    # that it sees to be a generator function: hence two wrappers.
    def call(visitor: gr.Request, *values: Any) -> Any:
        with shown():
            return work(visitor.session_hash, *values)

    def stream(visitor: gr.Request, *values: Any) -> Iterator[Any]:
        with shown():
            yield from work(visitor.session_hash, *values)

    return stream if isgeneratorfunction(work) else call


def reported(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an API function so that user errors reach the caller as messages."""

    # ``gr.api`` reads names, types and documentation from the function's signature.
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with shown():
            return function(*args, **kwargs)

    return call


def waiting(queue: str, at_once: int) -> dict[str, Any]:
    """Options of an event that waits in a queue and is not part of the API."""
    return {"concurrency_id": queue, "concurrency_limit": at_once, "api_visibility": "private"}
