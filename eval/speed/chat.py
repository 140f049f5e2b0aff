"""The chat: seconds to the first words and the whole answer, until a model is ready, and memory.

Questions of many kinds, every tenth of ``eval/benchmarks/chat.jsonl``, about an example clip that
is measured and explained already, as it is by the time that the chat takes questions. "ready" is
the loading of the model in a fresh process, "start" all of that process with its imports.

    python eval/speed/chat.py [--model smollm2] [--json FILE] [--check]
"""

import argparse
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path

from deft_llm.cli.light_start import load_explainer, use_one_thread
from deft_llm.data.measuring import measure_video
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.errors import UserError
from deft_llm.evaluation.chat.questions import read_questions
from deft_llm.metrics.figures import Figure, report
from deft_llm.motion.measure import Measurement
from deft_llm.resources import EMBEDDED, benchmark_data

ROOT = Path(__file__).resolve().parents[2]
CLIP = ROOT / "demo" / "clips" / "01_surprise.mp4"
EVERY, WARM = 10, 3  # questions that are left out between two, and that are not counted
# First words and whole answer, s, of a tiny model and of a larger one.
BARS = {EMBEDDED: (0.06, 1.0), "smollm2": (0.7, 4.0)}
READY, PEAK = 2.0, 1.5  # s, GB
# Prints the seconds that loading takes, imports apart.
LOAD = (
    "import sys, time\n"
    "from pathlib import Path\n"
    "from deft_llm.cli.light_start import load_explainer, use_one_thread\n"
    "use_one_thread()\n"
    "import deft_llm.deft.inference.explainer\n"
    "started = time.perf_counter()\n"
    "load_explainer(Path(sys.argv[1]))\n"
    "print(time.perf_counter() - started)\n"
)


def loading(model: str, runs: int) -> tuple[float, float]:
    """Seconds until a model is ready in a fresh process: loading alone, and the whole process."""
    ready, start = [], []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-c", LOAD, model], cwd=ROOT, capture_output=True, text=True
        )
        start.append(time.perf_counter() - begun)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        ready.append(float(done.stdout))
    # The first one fills the disk's cache.
    return statistics.median(ready[1:]), statistics.median(start[1:])


def answers(explainer: Explainer, measurement: Measurement) -> tuple[list[float], list[float]]:
    """Seconds to the first words and to the end of every answer."""
    first, whole = [], []
    for question in read_questions(benchmark_data("chat.jsonl"))[::EVERY]:
        turns = []
        if question.after:
            turns = [(question.after, explainer.answer(measurement, [], question.after).text)]
        started = time.perf_counter()
        parts = explainer.answer(measurement, turns, question.ask).growing()
        next(parts)
        first.append(time.perf_counter() - started)
        for _ in parts:
            pass
        whole.append(time.perf_counter() - started)
    return first[WARM:], whole[WARM:]


def main() -> int:
    """Measure, print figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default=EMBEDDED)
    parser.add_argument("--runs", type=int, default=5, help="fresh processes")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    try:
        ready, start = loading(args.model, args.runs)
        use_one_thread()
        _, measurement = measure_video(CLIP)
        explainer = load_explainer(Path(args.model))
        begun = time.perf_counter()
        explainer.explain(measurement)
        explained = time.perf_counter() - begun
        first, whole = answers(explainer, measurement)
    except UserError as error:
        print(f"eval/speed/chat.py: {error}", file=sys.stderr)
        return 2
    first_bar, whole_bar = BARS.get(args.model, (None, None))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    name = f"chat_{Path(args.model).name}"
    figures = [
        Figure(f"{name}_first_words_s", statistics.median(first), first_bar, above=False),
        Figure(f"{name}_whole_answer_s", statistics.median(whole), whole_bar, above=False),
        Figure(f"{name}_slowest_answer_s", max(whole)),
        Figure(f"{name}_explain_s", explained),
        Figure(f"{name}_peak_gb", peak, PEAK, above=False),
        Figure(f"{name}_ready_s", ready, READY, above=False),
        Figure(f"{name}_start_s", start),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
