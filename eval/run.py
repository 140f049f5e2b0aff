"""Run a benchmark: python eval/run.py eval/benchmarks/simulated.yaml --check."""

import argparse
import logging
import sys
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.metrics.figures import report


def main() -> int:
    """Parse, run, print tables and then figures; 1 when --check finds one short."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("benchmark", type=Path, help="a YAML file of eval/benchmarks/")
    parser.add_argument("overrides", nargs="*", help="dotted changes, e.g. data.own.clips=60")
    parser.add_argument("--models", help="entries to run, e.g. ststnet,htnet (recognition)")
    parser.add_argument("--seeds", type=int, help="runs of each model (recognition)")
    parser.add_argument(
        "--oracle-epoch",
        action="store_true",
        help="keep the epoch that is best on the test subject, as much of the field does; every "
        "table says so (recognition)",
    )
    parser.add_argument("--json", type=Path, help="also write the figures here")
    parser.add_argument("--check", action="store_true", help="exit 1 when a figure falls short")
    args = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    overrides = list(args.overrides)
    if args.models is not None:
        overrides.append(f"models=[{args.models}]")
    if args.seeds is not None:
        overrides.append(f"seeds={args.seeds}")
    if args.oracle_epoch:
        overrides.append("oracle_epoch=true")
    try:
        figures, tables = run(args.benchmark, overrides)
    except UserError as error:
        print(f"eval/run.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("eval/run.py: stopped; the same command goes on with what is left", file=sys.stderr)
        return 130
    print(tables, end="\n\n")
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
