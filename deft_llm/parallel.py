"""A pool of processes with one core each, for any work on many items.

Each process is driven by a thread of the parent, which starts it, sends one item at a time, waits
for the result, and ends it. Sending and receiving alternate, so the two sides cannot block each
other, however large items and results are. If a process dies, its pipe closes and the thread
notices. Ctrl-C arrives in the main thread, which only waits on a queue. (``concurrent.futures``
can hang when a process dies while it receives a large item, and it lets running items finish.)
"""

from __future__ import annotations

import os
import signal
import sys
import time
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
_AHEAD = 2  # items read for each worker, so that a free worker finds the next one ready
_LOOK_EVERY_S = 0.2  # how soon a waiting thread notices close(), and how often tick is called
# What ends a process before its first item: started, it imports the script that started it.
_UNGUARDED = '; a script has to begin its work below `if __name__ == "__main__":`'
_GRACE_S = 5.0  # time for a worker to exit by itself and remove its temporary files


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
    """Apply a function to every item in processes with one thread each.

    Ctrl-C, an error and closing the generator stop the processes at once, even inside an item.

    Args:
        function: A module-level function, or a partial of one. It is sent to each process once,
            so the arguments in a partial may be large.
        items: Read only a few items ahead.
        workers: Maximum number of processes; with 1 or fewer everything runs in this process.
        ordered: Yield results in the order of the items, otherwise as they finish.
        initializer: Called first in each process.
        initargs: Its arguments, which may be ``multiprocessing``'s shared values; they must be
            small.
        tick: Called a few times a second while other processes work, for example by a progress bar.
        advice: What to do after a process was killed from outside, for the error message.

    Yields:
        ``function(item)`` for each item.

    Raises:
        UserError: If a process was killed from outside, or cannot import the function.
        Exception: What the function raised, after the results before it were yielded; the
            traceback of the process is attached as a note.
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
        # Items in flight are bounded, so an endless or lazy source is not read into memory.
        for item in islice(items, _AHEAD * pool.workers - (read - given)):
            pool.put(read, item)
            read += 1
        if given == read:
            return
        # In order: wait for the next index. Otherwise: take whichever finished first.
        turn = given if ordered else next(iter(finished), given)
        if turn in finished:
            yield finished.pop(turn).result()
            given += 1
            continue
        with suppress(Empty):  # without a timeout, Ctrl-C would not interrupt the wait on Windows
            index, outcome = pool.done.get(timeout=_LOOK_EVERY_S)
            finished[index] = outcome
        if tick is not None:
            tick()


class _Pool(Generic[Item, Result]):
    """Threads with one process each, started as work arrives, up to a limit."""

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
        """Queue an item for the next free process."""
        self.todo.put((index, item))
        if len(self.threads) < self.workers:
            thread = Thread(target=self._serve, daemon=True)
            self.threads.append(thread)  # first: Ctrl-C may come while it starts
            thread.start()

    def _serve(self) -> None:
        """Send items to one process, one at a time; the first error stops all processes."""
        _deaf_to_ctrl_c()
        worker: _Worker | None = None
        for index, item in iter(self.todo.get, None):
            outcome: Future[Result] = Future()
            try:
                if worker is None:
                    # Started inside the try block, so that a failing start reaches the caller as an
                    # outcome.
                    worker = _Worker(*self.start)
                    self._ask(worker, self.function, _UNGUARDED)
                outcome.set_result(self._ask(worker, item))
            except Exception as error:
                outcome.set_exception(error)
            self.done.put((index, outcome))
            if outcome.exception() is not None:
                break
        else:
            self.todo.put(None)  # one sentinel serves all threads: each passes it on
        if worker is not None:
            worker.end()

    def _ask(self, worker: _Worker, message: Any, cause: str = "") -> Any:
        try:
            worker.pipe.send(message)
            while not worker.pipe.poll(_LOOK_EVERY_S):
                if self.closing.is_set():
                    raise EOFError
            error, result = worker.pipe.recv()
        except (EOFError, OSError) as problem:
            raise UserError(
                f"a worker process was ended, perhaps for lack of memory; {self.advice}{cause}"
            ) from problem
        if error is not None:
            raise error
        return result

    def close(self) -> None:
        """End all processes, interrupting those that are working."""
        self.closing.set()
        self.todo.put(None)
        for thread in self.threads:
            _join(thread)


def _join(thread: Thread) -> None:
    """Wait for the end of a thread whose start Ctrl-C may have interrupted."""
    for _ in range(100):  # a second; a thread that has not begun by then never will
        try:
            thread.join()
            return
        except RuntimeError:  # it is still being started
            time.sleep(0.01)


class _Worker:
    """A process and the parent's end of its pipe."""

    def __init__(
        self, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
    ) -> None:
        # Not fork: this process has threads, and a forked copy of their locks can deadlock.
        context = get_context("spawn")
        self.pipe, theirs = context.Pipe()
        # A daemon, so that it ends with this process even if the generator was never closed.
        self.process = context.Process(
            target=_work, args=(theirs, initializer, initargs), daemon=True
        )
        self.process.start()
        theirs.close()  # only the child holds it now, so the pipe closes when the child dies

    def end(self) -> None:
        self.process.terminate()
        self.process.join(_GRACE_S)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()
        self.pipe.close()


def _deaf_to_ctrl_c() -> None:
    """Make processes that this thread starts ignore Ctrl-C from the beginning.

    Python takes a moment to start and would print a traceback if it were interrupted meanwhile.
    """
    if sys.platform != "win32":
        from multiprocessing import resource_tracker

        resource_tracker.ensure_running()  # starting it later would unblock SIGINT again
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})


def _work(
    pipe: Connection, initializer: Callable[..., object] | None, initargs: tuple[Any, ...]
) -> None:
    """Main loop of a worker: receive the function, then items, and send back the results."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    signal.signal(signal.SIGTERM, _leave)
    one_core()
    with suppress(EOFError, OSError):  # the pipe is closed: the parent has exited
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
    """Exit by an exception, so that context managers can remove unfinished files."""
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
    # Pickling an exception drops its traceback but keeps its notes.
    error.add_note(f"in a worker process:\n{traceback.format_exc()}")
    return error


def one_core() -> None:
    """Limit this process to one core, because the pool already fills the cores with processes.

    Libraries that are loaded later, including torch, read the environment variable.
    """
    os.environ["OMP_NUM_THREADS"] = "1"
    cv2.setNumThreads(1)
    threadpool_limits(limits=1)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)


@contextmanager
def for_a_while_on_one_core() -> Iterator[None]:
    """Limit this process to one core for the duration of the block."""
    import torch  # noqa: F401  # import it first, so that the limit covers its thread pool too

    threads = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        cv2.setNumThreads(threads)
