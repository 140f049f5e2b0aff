"""The demo, on this machine alone: python demo/app.py [--models FOLDER] [--port N]."""

import argparse
import sys
from pathlib import Path

from deft_llm.errors import UserError
from deft_llm.resources import checkpoint
from deft_llm.service.app import run


def main() -> int:
    """Load the model and serve the page until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--checkpoint", type=Path, default=checkpoint(), help="the embedded model")
    parser.add_argument("--models", type=Path, help="folder of models that may be chosen as well")
    parser.add_argument("--port", type=int, default=7860)
    args = parser.parse_args()
    try:
        run(args.checkpoint, args.models, args.port)
    except UserError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
