"""Measure figures again and write eval/RESULTS.md.

make results                          every figure
python eval/results.py simulated      those of the commands that hold this word; the others stay
python eval/results.py robustness --measured FILE   that one command, from its own --json FILE
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from deft_llm.evaluation.tables import markdown
from deft_llm.files import write_text

ROOT = Path(__file__).resolve().parent.parent
COMMANDS = (
    "eval/run.py eval/benchmarks/simulated.yaml",
    "eval/run.py eval/benchmarks/deft_simulated.yaml",
    "eval/run.py eval/benchmarks/motion_reward.yaml",
    "eval/run.py eval/benchmarks/chat.yaml",
    "eval/run.py eval/benchmarks/dual_phase.yaml",
    "eval/run.py eval/benchmarks/gaze_simulated.yaml",
    "eval/run.py eval/benchmarks/federated_simulated.yaml",
    "eval/run.py eval/benchmarks/federated_megc2019_flow.yaml",
    "eval/run.py eval/benchmarks/facet_simulated.yaml",
    "eval/run.py eval/benchmarks/landmarks.yaml",
    "eval/run.py eval/benchmarks/megc2019_flow.yaml",
    "eval/run.py eval/benchmarks/deft_megc2019_flow.yaml",
    "eval/run.py eval/benchmarks/deft_samm_aus.yaml",
    "eval/run.py eval/benchmarks/corpora_simulated.yaml",
    "eval/run.py eval/benchmarks/mevqa_simulated.yaml",
    "eval/run.py eval/benchmarks/robustness.yaml",
    "eval/run.py eval/benchmarks/spotting_simulated.yaml",
    "eval/run.py eval/benchmarks/srflow.yaml",
    "eval/run.py eval/benchmarks/unimer.yaml",
    "eval/run.py eval/benchmarks/video_recognizers.yaml",
    "eval/run.py eval/benchmarks/mol_heads.yaml",
    "eval/run.py eval/benchmarks/warped.yaml",
    "eval/speed/chat.py",
    "eval/speed/chat.py --model smollm2",
    "eval/speed/corpus.py",
    "eval/speed/deft.py",
    "eval/speed/demo.py",
    "eval/speed/explain.py",
    "eval/speed/federated.py",
    "eval/speed/facet.py",
    "eval/speed/flow.py",
    "eval/speed/gaze.py",
    "eval/speed/landmarks.py",
    "eval/speed/loso.py",
    "eval/speed/mol.py",
    "eval/speed/mpfnet.py",
    "eval/speed/prepare.py",
    "eval/speed/splat.py",
    "eval/speed/spot.py",
    "eval/speed/state_space.py",
    "eval/speed/unimer.py",
    "eval/speed/video.py",
)
HEAD = """# Results

The latest of every figure, written by `make results`; never by hand. A figure without a bar is
reported only, one that is "not measured" lacks the data or the trained network that its file
names. Simulated benchmarks: 600 clips of 80 faces that training never saw; seeds are in the YAML
files of `eval/benchmarks`. Recognition on real flow needs the data folder and `runs/flow-prior`
(train_configs/recognizers/flow_prior.yaml).

"""


def measure(command: str, measured: Path | None = None) -> list[dict]:
    """The figures of one script, run with ``--json``, or from the file of a run before."""
    if measured:
        return list(json.loads(measured.read_text(encoding="utf-8")))
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "figures.json"
        parts = [sys.executable, *command.split(), "--json", str(out)]
        subprocess.run(parts, cwd=ROOT, check=True)
        return list(json.loads(out.read_text(encoding="utf-8")))


def table(command: str, figures: list[dict], machine: str) -> str:
    """One Markdown table under its command."""
    rows = []
    for row in figures:
        bar = "" if row["bar"] is None else f"{'>=' if row['above'] else '<='} {row['bar']:.4g}"
        value = "not measured" if row["value"] is None else f"{row['value']:.4g}"
        verdict = "" if row["bar"] is None else ("reached" if row["reached"] else "**missed**")
        rows.append({"figure": row["name"], "measured": value, "bar": bar, "": verdict})
    head = f"## `python {command} --check`\n\n{date.today().isoformat()} · {machine}\n\n"
    return head + markdown(rows)


def kept() -> dict[str, str]:
    """The tables that the page has now, by command."""
    page = ROOT / "eval" / "RESULTS.md"
    text = page.read_text(encoding="utf-8") if page.is_file() else ""
    parts = [part.rstrip() + "\n" for part in text.split("## `python ")[1:]]
    return {part.partition(" --check`")[0]: "## `python " + part for part in parts}


def chosen(words: list[str]) -> list[str]:
    """The commands that hold one of these words; all without any."""
    # A whole command means itself, though it may be the beginning of another one.
    return [
        command
        for command in COMMANDS
        if not words
        or any(word == command if word in COMMANDS else word in command for word in words)
    ]


def main() -> int:
    """Measure, and write the page after each command; one that fails leaves its old table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="measure only commands that hold one of these")
    parser.add_argument("--measured", type=Path, help="what the command wrote with --json")
    args = parser.parse_args()
    if unknown := [word for word in args.words if not chosen([word])]:
        parser.error(f"no command holds {' or '.join(unknown)}; there are: {', '.join(COMMANDS)}")
    wanted = chosen(args.words)
    if args.measured and len(wanted) > 1:
        parser.error(f"--measured is of one command, these are {len(wanted)}: {', '.join(wanted)}")
    machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
    failed = []
    for command in wanted:
        try:
            measured = table(command, measure(command, args.measured), machine)
        except subprocess.CalledProcessError as error:
            failed.append(f"{command} (exit status {error.returncode})")
            continue
        tables = kept() | {command: measured}  # read now: another run may have written meanwhile
        page = HEAD + "\n".join(tables[c] for c in COMMANDS if c in tables)
        write_text(ROOT / "eval" / "RESULTS.md", page)
    if failed:
        sys.stderr.write(f"not measured: {', '.join(failed)}\n")
    return min(len(failed), 1)


if __name__ == "__main__":
    sys.exit(main())
