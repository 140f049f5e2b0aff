"""The demo as it is served: seconds to the first result, three users at once, memory, leftovers.

The example clip goes over the demo's own API into a process of its own, uploads and all; the page
asks for the same work and draws pictures besides (``deft_llm/service/views.py``, in ``view_s``).
"""

import argparse
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import urlopen

from gradio_client import Client, handle_file

from deft_llm.metrics.figures import Figure, report
from deft_llm.resources import checkpoint
from deft_llm.service.clip_service import ClipService
from deft_llm.service.models import Models
from deft_llm.service.views import clip_view

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"
USERS, WARM = 3, 5


@contextmanager
def serving(folder: str) -> Iterator[tuple[str, int]]:
    """Start demo/app.py with its temporary files in ``folder``: its address and process id."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, str(ROOT / "demo" / "app.py"), "--port", str(port)]
    environment = {**os.environ, "TMPDIR": folder}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"
    try:
        while server.poll() is None:
            try:
                urlopen(address, timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield address, server.pid
    finally:
        server.send_signal(2)
        server.wait()


def explain(client: Client) -> float:
    """Seconds from the click to the answer."""
    started = time.perf_counter()
    client.predict(video=handle_file(CLIP), api_name="/explain_clip")
    return time.perf_counter() - started


def together(address: str) -> tuple[float, float]:
    """Seconds until all of three users are served, and the page's median answer meanwhile."""
    clients = [Client(address, verbose=False, download_files=False) for _ in range(USERS)]
    users = [threading.Thread(target=explain, args=(client,)) for client in clients]
    started = time.perf_counter()
    for user in users:
        user.start()
    page = []
    while any(user.is_alive() for user in users):
        asked = time.perf_counter()
        urlopen(address, timeout=60).read()
        page.append(time.perf_counter() - asked)
        time.sleep(0.05)
    return time.perf_counter() - started, statistics.median(page)


def memory(pid: int) -> float:
    """Resident memory of a process, MB (Linux)."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("VmRSS")).split()[1]) / 1e3


def view() -> float:
    """Seconds that the page's pieces take to be made."""
    seen = ClipService(Models(checkpoint())).explain(CLIP)
    clip_view(seen)
    started = time.perf_counter()
    clip_view(seen)
    return time.perf_counter() - started


def main() -> int:
    """Measure, print figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=50)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        with serving(folder) as (address, pid):
            client = Client(address, verbose=False, download_files=False)
            first = explain(client)
            seconds = [explain(client) for _ in range(WARM)]
            before = memory(pid)
            for _ in range(args.clips):
                explain(client)
            grown = memory(pid) - before
            all_served, page = together(address)
        left = sum(path.is_file() for path in Path(folder).rglob("*"))
    drawing = view()
    figures = [
        Figure("demo_first_s", first + drawing, 6.0, above=False),
        Figure("demo_median_s", statistics.median(seconds) + drawing, 6.0, above=False),
        Figure("demo_view_s", drawing),
        Figure("demo_three_users_s", all_served, 18.0, above=False),
        Figure("demo_page_while_busy_s", page, 1.0, above=False),
        Figure("demo_memory_growth_mb", grown, 50.0, above=False),
        Figure("demo_files_left", left, 0.0, above=False),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
