"""Time and memory of a chat about a clip that is encoded already: first token, then the rest.

The clip is the first of demo/clips. Two questions in a row are asked, the second with the first
and its answer before it, as in a conversation.
"""

import argparse
import resource
import statistics
import sys
import time
from pathlib import Path

from deft_llm.cli import CHECKPOINT
from deft_llm.deft.explain import Explainer, observe
from deft_llm.errors import UserError
from deft_llm.metrics.figures import Figure, report
from deft_llm.motion.measure import Measurement

CLIPS = Path(__file__).resolve().parents[2] / "demo" / "clips"


def once(
    explainer: Explainer, measurement: Measurement, turns: list[tuple[str, str]], question: str
) -> dict[str, float]:
    """Seconds to the first token of one answer, and tokens per second after it."""
    started = time.perf_counter()
    parts = explainer.stream(measurement, turns, question)
    answer = next(parts)
    first = time.perf_counter()
    answer = max(parts, key=len, default=answer)
    seconds = time.perf_counter() - first
    turns.append((question, answer))
    tokens = len(explainer.processor.tokenizer(answer, add_special_tokens=False)["input_ids"])
    return {"first": first - started, "rate": (tokens - 1) / seconds}


def main() -> int:
    """Measure several conversations, print medians."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--checkpoint", type=Path, default=CHECKPOINT)
    parser.add_argument("--clip", type=Path, default=min(CLIPS.glob("*.mp4")))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    try:
        explainer = Explainer.load(args.checkpoint)
        _, measurement = observe(args.clip)
    except UserError as error:
        print(f"eval/speed/deft.py: {error}", file=sys.stderr)
        return 2
    prompts = explainer.processor.prompts
    once(explainer, measurement, [], prompts["motion"])  # encodes the clip, warms up
    opening, later = [], []
    for _ in range(args.runs):
        turns: list[tuple[str, str]] = []
        opening.append(once(explainer, measurement, turns, prompts["motion"]))
        later.append(once(explainer, measurement, turns, prompts["why"]))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    figures = [
        Figure("chat_first_token_s", statistics.median(r["first"] for r in opening), 0.06, False),
        Figure(
            "chat_later_first_token_s", statistics.median(r["first"] for r in later), 0.06, False
        ),
        Figure("chat_tokens_per_s", statistics.median(r["rate"] for r in [*opening, *later])),
        Figure("chat_peak_gb", peak),
    ]
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
