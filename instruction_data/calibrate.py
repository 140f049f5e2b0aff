"""Fit the score of the dual constraint anew: python instruction_data/calibrate.py.

Simulates clips of faces that neither training nor benchmarks use, fits, and writes the weights to
deft_llm/unimer/agreement.json (or --out). Run it when simulator, flow or features change.
"""

import argparse
import logging
import sys
from pathlib import Path

from deft_llm.config import validate
from deft_llm.data.simulated_test import test_clips
from deft_llm.errors import UserError
from deft_llm.evaluation.unimer.agreement_fit import fit, samples
from deft_llm.unimer.agreement import WEIGHTS
from deft_llm.unimer.build import SimulatedData


def main() -> int:
    """Simulate, fit, write; 2 for a wrong input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=600)
    parser.add_argument("--identities", type=int, default=120)
    parser.add_argument("--first-identity", type=int, default=500_000)
    parser.add_argument("--seed", type=int, default=5_000_000)
    parser.add_argument("--precision", type=float, default=0.97, help="wanted, out of fold")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--cache", type=Path, default=Path("runs/calibration"))
    parser.add_argument("--out", type=Path, default=WEIGHTS)
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = ("clips", "identities", "first_identity", "seed", "workers")
    try:
        data = validate(SimulatedData, {n: getattr(args, n) for n in names}, "command line")
        recipe = {n: getattr(args, n) for n in names[:-1]} | {"precision_wanted": args.precision}
        weights = fit(samples(test_clips(data, args.cache)), args.precision, recipe)
    except UserError as error:
        print(f"calibrate.py: {error}", file=sys.stderr)
        return 2
    args.out.write_text(weights.to_json() + "\n", encoding="utf-8")
    print(f"wrote {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
