"""All work with the model, one piece at a time, and a bounded queue in front of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from deft_llm.service.openai_errors import ApiError

_Result = TypeVar("_Result")


class QueueOfOne:
    """Runs work in one thread, so that neither model nor memory is used twice at a time."""

    def __init__(self, waiting: int) -> None:
        """Set how many requests may wait for the one that is served."""
        self._pool = ThreadPoolExecutor(1, "deft-model")
        self._waiting, self._present = waiting, 0
        # First come, first served, up to the last piece: piece by piece in turn, all answers that
        # are asked for together would be ready with the slowest.
        self._turn = asyncio.Lock()

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """The turn of a request, waited for in the queue; it lasts as long as the request.

        Raises:
            ApiError: If the queue is full, or the server ends in the meantime.
        """
        # ">": one is served while the others wait.
        if self._present > self._waiting:
            message = f"{self._waiting} requests are waiting already; try again later"
            raise ApiError(message, 429, "rate_limit_exceeded")
        self._present += 1
        try:
            async with self._turn:
                yield
        except asyncio.CancelledError:
            # A client that leaves cancels nothing here; only the end of the server does.
            raise ApiError("the server is being stopped; try again later", 503) from None
        finally:
            self._present -= 1

    async def run(self, work: Callable[..., _Result], *values: Any) -> _Result:
        """The result of some work."""
        return await asyncio.get_running_loop().run_in_executor(self._pool, work, *values)

    async def iterate(self, items: Iterator[_Result]) -> AsyncIterator[_Result]:
        """The items of an iterator, each computed in the thread."""
        # A StopIteration cannot pass through a future.
        end = object()
        while (item := await self.run(next, items, end)) is not end:
            yield item

    def close(self) -> None:
        """Drop what waits; what runs ends by itself."""
        self._pool.shutdown(wait=False, cancel_futures=True)
