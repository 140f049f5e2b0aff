from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from multiprocessing import active_children, get_context
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path
from threading import Thread

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from threadpoolctl import threadpool_info

from deft_llm import parallel
from deft_llm.errors import UserError
from deft_llm.parallel import parallel_map


def _slow_first(x: int) -> int:
    """The first item is finished last."""
    time.sleep(1.0 if x == 0 else 0.0)
    return x * x


def test_order() -> None:
    items = list(range(12))
    here = list(parallel_map(_slow_first, items, 1))
    assert here == [x * x for x in items]
    assert list(parallel_map(_slow_first, items, 2)) == here
    finished = list(parallel_map(_slow_first, items, 2, ordered=False))
    assert sorted(finished) == here
    assert finished[0] != 0


def test_items_are_read_a_few_ahead() -> None:
    read = []

    def items() -> Iterator[int]:
        for x in range(100):
            read.append(x)
            yield x

    with closing(parallel_map(_slow_first, items(), 2)) as results:
        for given, _ in zip(range(1, 9), results, strict=False):
            assert len(read) <= given + 4
    assert list(parallel_map(_slow_first, [], 2)) == []


def _echo(array: NDArray[np.float64], more: NDArray[np.float64]) -> NDArray[np.float64]:
    return array + more


def test_large_items_and_results_do_not_wait_for_each_other() -> None:
    # More than a pipe holds, both ways and in the function itself.
    items = [np.full(500_000, float(k)) for k in range(8)]
    results = list(parallel_map(partial(_echo, more=items[1]), items, 2))
    assert [float(r[-1]) for r in results] == [k + 1.0 for k in range(8)]


def _where(_: int) -> int:
    return os.getpid()


def test_one_worker_stays_in_this_process() -> None:
    for workers in (0, 1):
        assert set(parallel_map(_where, [1, 2], workers)) == {os.getpid()}
    assert os.getpid() not in set(parallel_map(_where, [1], 2))


def _threads(_: int) -> tuple[int, int, int]:
    import torch

    a = np.ones((300, 300))
    a @ a
    return (
        cv2.getNumThreads(),
        torch.get_num_threads(),
        max(p["num_threads"] for p in threadpool_info()),
    )


def test_workers_keep_to_one_thread() -> None:
    assert set(parallel_map(_threads, [0], 2)) == {(1, 1, 1)}


_count: Synchronized[int]


def _keep(count: Synchronized[int], _: str) -> None:
    global _count
    _count = count


def _add(x: int) -> None:
    with _count.get_lock():
        _count.value += x


def test_initializer_with_a_shared_value() -> None:
    count, ticks = get_context("spawn").Value("q", 0), []
    tick = lambda: ticks.append(count.value)  # noqa: E731
    for workers in (1, 2):
        found = parallel_map(
            _add, range(5), workers, initializer=_keep, initargs=(count, "x"), tick=tick
        )
        assert list(found) == [None] * 5
    assert count.value == 20
    assert ticks[-1] == 20


def _fails(x: int, error: Exception) -> int:
    if x >= 3:
        raise error
    return x


@pytest.mark.parametrize("error", [ValueError("no"), UserError("a.mp4: no"), EOFError("no")])
@pytest.mark.parametrize("workers", [1, 2])
def test_an_error_comes_after_the_results_before_it(error: Exception, workers: int) -> None:
    given = []
    with pytest.raises(type(error)) as raised:
        for x in parallel_map(partial(_fails, error=error), range(20), workers):
            given.append(x)
    assert given == [0, 1, 2]
    assert str(raised.value) == str(error)
    if workers > 1:
        assert "in _fails" in "".join(raised.value.__notes__)
    assert not active_children()


def _dies(x: int) -> int:
    if x == 2:
        os._exit(3)
    return x


def test_a_process_that_dies_is_told() -> None:
    with pytest.raises(UserError) as caught:
        list(parallel_map(_dies, range(20), 2, advice="run again with fewer --workers"))
    message = (
        "a worker process was ended, perhaps for lack of memory; run again with fewer --workers"
    )
    assert str(caught.value) == message
    assert not active_children()


def test_a_script_that_begins_at_once_is_told_how_to_begin(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text(
        "from deft_llm.parallel import parallel_map\nprint(list(parallel_map(abs, [1, -2], 2)))\n"
    )
    ran = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)
    assert ran.returncode != 0
    assert 'below `if __name__ == "__main__":`' in ran.stderr.splitlines()[-1]


def test_leaving_early_leaves_no_process() -> None:
    with closing(parallel_map(time.sleep, [0.0, 1000.0, 1000.0], 2)) as results:
        next(results)
        started = time.monotonic()
    assert time.monotonic() - started < 4
    assert not active_children()


_ENDLESS = """
import signal, sys, time
from functools import partial
from pathlib import Path
from deft_llm.files import replacing
from deft_llm.parallel import parallel_map

def write(x, folder):
    with replacing(folder / str(x)) as partial:
        partial.touch()
        time.sleep(0.0 if x == 0 else 1000.0)
    return x

if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored below a shell's "&"
    print("started", flush=True)
    for x in parallel_map(partial(write, folder=Path(sys.argv[1])), range(5000), 2):
        print(x, flush=True)
"""


def until_gone(group: int) -> None:
    """Wait for the last process of a group: Python's own resource tracker outlives its parent."""
    for _ in range(300):
        try:
            os.killpg(group, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    raise AssertionError("a process is left")


@pytest.mark.skipif(sys.platform == "win32", reason="sends Ctrl-C to a process group")
@pytest.mark.parametrize(("to_all", "lines"), [(True, 1), (True, 2), (False, 2)])
def test_ctrl_c_ends_the_processes_at_once(tmp_path: Path, to_all: bool, lines: int) -> None:
    # A terminal sends Ctrl-C to all processes of the group, `kill -INT` to one; while they start
    # or in the middle of an item.
    script, out = tmp_path / "endless.py", tmp_path / "out"
    script.write_text(_ENDLESS)
    out.mkdir()
    run = subprocess.Popen(
        [sys.executable, str(script), str(out)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert run.stdout is not None
    for _ in range(lines):
        assert run.stdout.readline()
    if lines == 2:
        while len(list(out.iterdir())) < 3:  # "0", and two that are being written
            time.sleep(0.05)
    (os.killpg if to_all else os.kill)(run.pid, signal.SIGINT)
    sent = time.monotonic()
    _, errors = run.communicate(timeout=60)
    assert time.monotonic() - sent < 10
    assert run.returncode != 0
    assert errors.count("KeyboardInterrupt") == 1, errors
    assert "RuntimeError" not in errors and "spawn_main" not in errors, errors
    until_gone(run.pid)
    assert not list(out.glob(".*")), "temporary files are removed"


@pytest.mark.parametrize("begun", [True, False])
def test_ctrl_c_while_a_thread_starts_leaves_none(
    monkeypatch: pytest.MonkeyPatch, begun: bool
) -> None:
    made: list[Thread] = []

    class Interrupted(Thread):
        def start(self) -> None:
            made.append(self)
            if begun:
                super().start()
            raise KeyboardInterrupt

    monkeypatch.setattr(parallel, "Thread", Interrupted)
    with pytest.raises(KeyboardInterrupt):
        list(parallel_map(abs, range(5), 2))
    assert len(made) == 1 and not made[0].is_alive()


_NO_MODULE = """
from deft_llm.errors import UserError
from deft_llm.parallel import parallel_map
def double(x): return 2 * x
try:
    list(parallel_map(double, range(5), 2))
except UserError as error:
    print(error)
"""


def test_a_function_that_other_processes_cannot_import_is_told() -> None:
    # As from a notebook.
    run = subprocess.run(
        [sys.executable, "-c", _NO_MODULE], capture_output=True, text=True, timeout=120
    )
    assert "has to be in a module" in run.stdout
    assert not run.stderr
