"""Do two data folders share a subject, a clip or a content hash?

python instruction_data/audit.py TRAIN TEST: 0 when they share nothing, 1 when they leak.
"""

import argparse
import sys
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.unimer.audit import audit


def main() -> int:
    """Print what is shared; 2 for a wrong input."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("train", type=Path, help="data folder")
    parser.add_argument("test", type=Path, help="data folder")
    args = parser.parse_args()
    try:
        found = audit(args.train, args.test)
    except UserError as error:
        print(f"audit.py: {error}", file=sys.stderr)
        return 2
    for name, values in found.items():
        examples = f", for example {', '.join(values[:3])}" if values else ""
        print(f"shared {name}s: {len(values)}{examples}")
    return int(any(found.values()))


if __name__ == "__main__":
    sys.exit(main())
