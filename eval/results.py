"""Measure every figure again and write eval/RESULTS.md: make results."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "eval/run.py eval/benchmarks/simulated.yaml",
    "eval/run.py eval/benchmarks/unimer.yaml",
    "eval/speed/explain.py",
    "eval/speed/splat.py",
    "eval/speed/unimer.py",
    "eval/speed/video.py",
)
HEAD = """# Results

The latest of every figure, written by `make results`; never by hand. A figure without a bar is
reported only. Simulated benchmarks: 600 clips of 80 faces that training never saw; seeds are in
the YAML files of `eval/benchmarks`.

"""


def measure(command: str) -> list[dict]:
    """Run one script with ``--json`` and read its figures."""
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        parts = [sys.executable, *command.split(), "--json", str(out)]
        subprocess.run(parts, cwd=ROOT, check=True)
        return list(json.loads(out.read_text(encoding="utf-8")))


def table(command: str, figures: list[dict], machine: str) -> str:
    """One Markdown table."""
    lines = [
        f"## `python {command} --check`",
        "",
        f"{date.today().isoformat()} · {machine}",
        "",
        "| figure | measured | bar | |",
        "|---|---|---|---|",
    ]
    for row in figures:
        sign = ">=" if row["above"] else "<="
        bar = "" if row["bar"] is None else f"{sign} {row['bar']:.4g}"
        value = "not measured" if row["value"] is None else f"{row['value']:.4g}"
        verdict = "" if row["bar"] is None else ("reached" if row["reached"] else "**missed**")
        lines.append(f"| {row['name']} | {value} | {bar} | {verdict} |")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Measure all, then write the page in one go."""
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    tables = [table(command, measure(command), machine) for command in COMMANDS]
    (ROOT / "eval" / "RESULTS.md").write_text(HEAD + "\n".join(tables), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
