"""Fit a checkpoint's temperatures: python eval/calibrate.py [PLAN.yaml] [overrides]."""

import argparse
import logging
import sys
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.evaluation.explanation.calibrate import calibrate
from deft_llm.metrics.figures import report

PLAN = Path(__file__).with_name("benchmarks") / "calibration.yaml"


def main() -> int:
    """Parse, fit, print what came out."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("plan", nargs="?", type=Path, default=PLAN)
    parser.add_argument("overrides", nargs="*", help="dotted changes, e.g. checkpoint=runs/x/final")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        figures, written = calibrate(args.plan, args.overrides)
    except UserError as error:
        print(f"eval/calibrate.py: {error}", file=sys.stderr)
        return 2
    print(f"written: {written}")
    return report(figures)


if __name__ == "__main__":
    sys.exit(main())
