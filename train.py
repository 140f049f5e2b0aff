"""Train anything by its configuration: accelerate launch train.py train_configs/deft/tiny.yaml."""

import argparse
import logging
import sys
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.training.tasks import estimate_cost, run


def main() -> int:
    """Parse, train; 2 for a wrong input, 130 after Ctrl-C (run again to resume)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path, help="a YAML file of train_configs/")
    parser.add_argument("overrides", nargs="*", help="dotted changes, e.g. data.clips=200")
    parser.add_argument("--dry-run", action="store_true", help="print what it would cost, and stop")
    args = parser.parse_intermixed_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S")
    try:
        if args.dry_run:
            print(*estimate_cost(args.config, args.overrides), sep="\n")
        else:
            run(args.config, args.overrides)
    except UserError as error:
        print(f"train.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("train.py: stopped; the same command goes on from the last checkpoint")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
