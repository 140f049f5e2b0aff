"""Build Uni-MER instruction data from simulated clips.

python instruction_data/build.py OUT --clips 1000: run again after an interruption to go on.
"""

import argparse
import logging
import sys
from pathlib import Path

from deft_llm.config import validate
from deft_llm.errors import UserError
from deft_llm.unimer.build import SimulatedData, build_simulated
from deft_llm.unimer.dialogue import Templates

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Parse and build; 2 for a wrong input, 130 after Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="data folder to write")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--identities", type=int, default=300)
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--variants", type=int, default=8, help="conversations per clip")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--templates", type=Path, default=HERE / "templates")
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    names = ("clips", "identities", "seed", "variants", "workers")
    values = {name: getattr(args, name) for name in names}
    try:
        data = validate(SimulatedData, values, "command line")
        build_simulated(data, args.out, Templates(args.templates))
    except UserError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("build.py: stopped; the same command goes on after the last whole shard")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
