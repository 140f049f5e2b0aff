"""Events of the page and functions of the API: who asked, where they wait, what a mistake shows."""

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
    """A mistake of the user becomes a message on the page: one line, no paths, no HTML."""
    try:
        yield
    except UserError as error:
        raise gr.Error(html.escape(public(error), quote=False), duration=20) from None


def asked(work: Callable[..., Any]) -> Callable[..., Any]:
    """A control's function for one that takes the visitor's key first; streams stay streams."""

    def call(visitor: gr.Request, *values: Any) -> Any:
        with shown():
            return work(visitor.session_hash, *values)

    def stream(visitor: gr.Request, *values: Any) -> Iterator[Any]:
        with shown():
            yield from work(visitor.session_hash, *values)

    return stream if isgeneratorfunction(work) else call


def reported(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function of the API whose user errors reach the caller."""

    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with shown():
            return function(*args, **kwargs)

    return call


def waiting(queue: str, at_once: int) -> dict[str, Any]:
    """Options of an event that waits its turn in a queue, and is no part of the API."""
    return {"concurrency_id": queue, "concurrency_limit": at_once, "api_visibility": "private"}
