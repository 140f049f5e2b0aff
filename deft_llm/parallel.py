"""One pool of processes on one core each, for everything that is done to many items.

Each process has a thread here, which starts it, sends it an item and waits for the result, in turn,
and ends it. So the two never write to each other at once and wait for ever, however large items
and results are; a process that dies is the end of its pipe, at any moment of its life; and Ctrl-C,
which comes in the main thread, finds that one waiting on a queue. (``concurrent.futures`` can hang
on a process that dies while it is handed much, and lets those at work finish.)
"""

from __future__ import annotations

import os
import signal
import sys
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from itertools import islice
from multiprocessing import get_context
from multiprocessing.connection import Connection
from queue import Empty, SimpleQueue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

import cv2
from threadpoolctl import threadpool_limits

from deft_llm.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 2  # items read for each worker: the next one waits when a worker is done
_LOOK_EVERY_S = 0.2
_GRACE_S = 5.0  # for a worker to leave by itself, its temporary files removed


def parallel_map(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    *,
    ordered: bool = True,
    initializer: Callable[..., object] | None = None,
    initargs: tuple[Any, ...] = (),
    tick: Callable[[], object] | None = None,
    advice: str = "run again with fewer workers",
) -> Generator[Result, None, None]:
    """Apply a function to every item, in processes of one thread each.

    Ctrl-C, an error and closing the generator end the processes at once, in the middle of an item.

    Args:
        function: A module-level function, or a partial of one. It is sent to each process once,
            so what a partial holds may be large.
        items: Read a few ahead only.
        workers: Processes at most; with 1 or fewer everything is done in this one.
        ordered: Give results in the order of the items, or else as they are finished.
        initializer: Called first in each process.
        initargs: Its arguments, which may be ``multiprocessing``'s shared values; they must be
            small.
        tick: Called a few times a second while other processes work, as for a progress bar.
        advice: How to go on after a process was ended from outside, for the message.

    Yields:
        ``function(item)`` for each item.

    Raises:
        UserError: If a process was ended from outside, or cannot import the function.
        Exception: What the function raised, once the results before it were given; the traceback
            in the process is a note on it.
    """
    if workers <= 1:
        if initializer is not None:
            initializer(*initargs)
        yield from map(function, items)
        return
    pool = _Pool(function, workers, initializer, initargs, advice)
    try:
        yield from _results(pool, iter(items), ordered, tick)
    finally:
        pool.close()


def _results(
    pool: _Pool[Item, Result],
    items: Iterator[Item],
    ordered: bool,
    tick: Callable[[], object] | None,
) -> Iterator[Result]:
    read = given = 0
    finished: dict[int, Future[Result]] = {}
    while True:
        for item in islice(items, _AHEAD * pool.workers - (read - given)):
            pool.put(read, item)
            read += 1
        if given == read:
            return
        turn = given if ordered else next(iter(finished), given)
        if turn in finished:
            yield finished.pop(turn).result()
            given += 1
            continue
        with suppress(Empty):  # waiting without a limit would hold up Ctrl-C on Windows
            index, outcome = pool.done.get(timeout=_LOOK_EVERY_S)
            finished[index] = outcome
        if tick is not None:
            tick()


class _Pool(Generic[Item, Result]):
    """Threads with a process each; more of them as there is work, up to a limit."""

    def __init__(
        self,
        function: Callable[[Item], Result],
        workers: int,
        initializer: Callable[..., object] | None,
        initargs: tuple[Any, ...],
        advice: str,
    ) -> None:
        self.function, self.workers, self.advice = function, workers, advice
        self.start = (initializer, initargs)
        self.todo: SimpleQueue[tuple[int, Item] | None] = SimpleQueue()
        self.done: SimpleQueue[tuple[int, Future[Result]]] = SimpleQueue()
        self.threads: list[Thread] = []
        self.closing = Event()

    def put(self, index: int, item: Item) -> None:
        """Have an item done by the next process that is free."""
        self.todo.put((index, item))
        if len(self.threads) < self.workers:
            thread = Thread(target=self._serve, daemon=True)
            thread.start()
            self.threads.append(thread)

    def _serve(self) -> None:
        """Hand a process one item after the other; up to the first error, which ends them all."""
        _deaf_to_ctrl_c()
        worker: _Worker | None = None
        for index, item in iter(self.todo.get, None):
            outcome: Future[Result] = Future()
            try:
                if worker is None:
                    worker = _Worker(*self.start)
                    self._ask(worker, self.function)
                outcome.set_result(self._ask(worker, item))
            except Exception as error:
                outcome.set_exception(error)
            self.done.put((index, outcome))
            if outcome.exception() is not None:
                break
        else:
            self.todo.put(None)  # for the other threads
        if worker is not None:
            worker.end()

    def _ask(self, worker: _Worker, message: Any) -> Any:
        try:
            worker.pipe.send(message)
            while not worker.pipe.poll(_LOOK_EVERY_S):
                if self.closing.is_set():
                    raise EOFError
            error, result = worker.pipe.recv()
        except (EOFError, OSError) as problem:
            raise UserError(
                f"a worker process was ended, perhaps for lack of memory; {self.advice}"
            ) from problem
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End all processes; those at work are interrupted."""
        self.closing.set()
        self.todo.put(None)
        for thread in self.threads:
            thread.join()


class _Worker:
    """A process and this end of its pipe."""

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
    ) -> None:
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # A daemon: it goes with this process where the generator was never closed.
        self.process = context.Process(
            target=_work, args=(theirs, initializer, initargs), daemon=True
        )
        self.process.start()
        theirs.close()  # held by the process alone, so that its death is the end of the pipe

    def end(self) -> None:
        self.process.terminate()
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _deaf_to_ctrl_c() -> None:
    """Let processes that this thread starts ignore Ctrl-C from their first moment on.

    Python takes a moment to start and would print a traceback if it were stopped in it.
    """
    if sys.platform != "win32":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # or the first process would undo what follows
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _work(
    pipe: Connection, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """A worker's life: a function comes through the pipe, then items; answers go back."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's, which ends this process
    signal.signal(signal.SIGTERM, _leave)
    one_core()
    with suppress(EOFError, OSError):  # of the pipe: the parent is gone
        try:
            function = _receive_function(pipe)
            if initializer is not None:
                initializer(*initargs)
        except Exception as error:
            pipe.send((_with_traceback(error), None))
            return
        pipe.send((None, None))
        while True:
            item = pipe.recv()
            try:
                pipe.send((None, function(item)))
            except Exception as error:
                pipe.send((_with_traceback(error), None))


def _leave(*_: object) -> None:
    """Leave by an exception, so that what is half done is cleared away on the way out."""
    sys.exit()


def _receive_function(pipe: Connection) -> Callable[[Any], Any]:
    try:
        function: Callable[[Any], Any] = pipe.recv()
    except (AttributeError, ImportError) as error:
        raise UserError(
            f"other processes cannot import what they are to run ({error}): it has to be in a "
            "module, not in a notebook; or run it in this process, with 1 worker"
        ) from error
    return function


def _with_traceback(error: Exception) -> Exception:
    error.add_note(f"in a worker process:\n{traceback.format_exc()}")
    return error


def one_core() -> None:
    """Keep this process to one core, as a worker of a pool: threads would only get in the way.

    Libraries that are loaded later, torch among them, read the environment.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    threadpool_limits(limits=1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@contextmanager
def for_a_while_on_one_core() -> Iterator[None]:
    """One core for a process that goes on with something else afterwards."""
    import torch  # noqa: F401  # loaded now, so that it is limited too

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cv2.setNumThreads(threads)
