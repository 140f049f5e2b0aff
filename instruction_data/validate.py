"""Check a data folder: python instruction_data/validate.py DATA; 1 when something is wrong."""

import argparse
import sys
from itertools import islice
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.unimer.validate import validate_folder


def main() -> int:
    """Print problems by file, line and field; 2 for a wrong input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="data folder")
    parser.add_argument("--most", type=int, default=50, help="problems to print")
    args = parser.parse_args()
    try:
        problems = list(islice(validate_folder(args.data), args.most))
    except UserError as error:
        print(f"validate.py: {error}", file=sys.stderr)
        return 2
    for problem in problems:
        print(problem)
    print(f"{args.data}: {len(problems) or 'no'} problems")
    return int(bool(problems))


if __name__ == "__main__":
    sys.exit(main())
