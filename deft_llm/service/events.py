"""Wrappers for page events and API functions: session key, queue, and error messages."""

from __future__ import annotations

import html
import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial, wraps
from inspect import isgeneratorfunction
from queue import SimpleQueue
from typing import Any

import gradio as gr

from deft_llm.errors import UserError
from deft_llm.service.limits import public
from deft_llm.stages import heard
from deft_llm.viz import cards

logger = logging.getLogger(__name__)


@contextmanager
def told(as_html: bool) -> Iterator[None]:
    """Hand a user's mistake to gradio as its message, without local paths; the log has one line.

    Args:
        as_html: Whether it is shown on the page, which renders messages as HTML: then it is
            escaped, since a file's name may hold any. A program reads plain text.
    """
    try:
        yield
    except UserError as error:
        message = public(error)
        logger.warning("refused: %s", " ".join(message.split()))
        text = html.escape(message, quote=False) if as_html else message
        # gradio would print a traceback as well.
        raise gr.Error(text, duration=20, print_exception=False) from None


def asked(work: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap a function that takes the session key first; a generator stays a generator."""

    # Gradio fills in the parameter that is annotated as a request, and streams only from a function
    # that it sees to be a generator function: hence two wrappers.
    def call(visitor: gr.Request, *values: Any) -> Any:
        with told(as_html=True):
            return work(visitor.session_hash, *values)

    def stream(visitor: gr.Request, *values: Any) -> Iterator[Any]:
        with told(as_html=True):
            yield from work(visitor.session_hash, *values)

    return stream if isgeneratorfunction(work) else call


def in_stages(work: Callable[..., tuple[Any, ...]], outputs: int) -> Callable[..., Any]:
    """Wrap a function as ``asked`` does, and name the stage that it is in while it works.

    Args:
        work: Takes the session key first; returns ``outputs`` values.
        outputs: Their number. The event gets one output more, last, for the stage.
    """

    def stream(visitor: gr.Request, *values: Any) -> Iterator[tuple[Any, ...]]:
        with told(as_html=True):
            yield from _stages(partial(work, visitor.session_hash, *values), outputs)

    return stream


def _stages(work: Callable[[], tuple[Any, ...]], outputs: int) -> Iterator[tuple[Any, ...]]:
    """The stages of some work as they begin, then its values."""
    news: SimpleQueue[str | None] = SimpleQueue()
    unchanged = (gr.skip(),) * outputs

    def run() -> tuple[Any, ...]:
        try:
            with heard(news.put):
                return work()
        finally:
            # Also after an error, or the loop below would wait for ever.
            news.put(None)

    # In a thread, since only what yields can show something before the work is done.
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(run)
        while (stage := news.get()) is not None:
            yield *unchanged, cards.working(stage)
    if working.exception():
        # The stage goes; the error is shown in its place.
        yield *unchanged, ""
    yield *working.result(), ""


def reported(function: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap an API function so that user errors reach the caller as messages."""

    # ``gr.api`` reads names, types and documentation from the function's signature.
    @wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with told(as_html=False):
            return function(*args, **kwargs)

    return call


def waiting(queue: str, at_once: int, place: gr.HTML | None = None) -> dict[str, Any]:
    """Options of an event that waits in a queue and is not part of the API.

    Args:
        queue: Name of the queue.
        at_once: How many of its events run at the same time.
        place: Where the place in the queue and an error are marked: without it, at each output.
    """
    options = {"concurrency_id": queue, "concurrency_limit": at_once, "api_visibility": "private"}
    return options | ({} if place is None else {"show_progress_on": place})
