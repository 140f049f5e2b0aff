"""Build Uni-MER instruction data from licensed corpora, simulated clips, or both.

python instruction_data/build.py OUT --simulated 1000
python instruction_data/build.py OUT --corpora cache/casme2.jsonl cache/samm.jsonl --simulated 1000

Run it again after an interruption to go on. On many machines, give each its share of the
measuring (--shard 2/8), copy the packets-* files into one folder and run it there once more,
without --shard: conversations are written when all parts are there. The same seed gives the same
bytes whatever the number of workers or shards.
"""

import argparse
import logging
import sys
from pathlib import Path

from deft_llm.config import validate
from deft_llm.data.parts import Shard, absent, claim
from deft_llm.errors import UserError
from deft_llm.simulator.scene.clip_spec import NEUTRAL_SHARE
from deft_llm.unimer.assemble import Assembly, assemble
from deft_llm.unimer.build import SimulatedData, measure_simulated
from deft_llm.unimer.coded import measure_corpus, open_prepared, unmeasured
from deft_llm.unimer.dialogue import Templates


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("out", type=Path, help="data folder to write")
    parser.add_argument("--corpora", type=Path, nargs="*", default=[], help="prepared listings")
    parser.add_argument("--simulated", type=int, default=0, help="number of simulated clips")
    parser.add_argument("--identities", type=int, default=300, help="simulated faces")
    parser.add_argument("--first-identity", type=int, default=1_000)
    parser.add_argument("--head", default="own", help="head model of the simulated faces")
    parser.add_argument("--head-path", type=Path, help="its file or folder, where it needs one")
    parser.add_argument("--balanced-share", type=float, default=0.0, help="with an AU drawn evenly")
    parser.add_argument("--neutral-share", type=float, default=NEUTRAL_SHARE, help="without any AU")
    parser.add_argument("--seed", type=int, default=1_000_000)
    parser.add_argument("--variants", type=int, default=8, help="conversations per clip")
    parser.add_argument("--turns", type=int, default=3, help="questions per conversation")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--shard", default="1/1", help="i/n: this machine's share of the measuring")
    parser.add_argument("--templates", type=Path, help="wording; default: our own")
    return parser.parse_args()


def build(args: argparse.Namespace) -> None:
    """Measure what is missing, then write conversations when all parts are there."""
    shard, templates = Shard.parse(args.shard), Templates(args.templates)
    if not args.corpora and not args.simulated:
        raise UserError("nothing to build from; give --corpora, --simulated N, or both")
    names = set(SimulatedData.model_fields) - {"clips"}
    values = {"clips": args.simulated, **{name: getattr(args, name) for name in names}}
    data = validate(SimulatedData, values, "command line")
    corpora = [str(listing) for listing in args.corpora]
    elsewhere = {"workers", "head_path", "variants", "turns"}  # not what is drawn
    drawn = data.model_dump(exclude=elsewhere) if args.simulated else None
    claim(args.out, {"corpora": corpora, "simulated": drawn})
    parts: list[str] = []
    refused: list[tuple[str, str]] = []
    for listing in args.corpora:
        parts += measure_corpus(open_prepared(listing), listing.stem, args.out, shard)
        refused += unmeasured(listing)
    if args.simulated:
        parts += measure_simulated(data, args.out, shard)
    if missing := absent(args.out, parts):
        print(f"{len(missing)} of {len(parts)} parts belong to other shards, e.g. {missing[0]}")
        return
    chosen = {name: getattr(args, name) for name in ("seed", "variants", "turns")}
    settings = validate(Assembly, chosen, "command line")
    found = assemble(args.out, parts, settings, templates, refused)
    print(
        f"{args.out}: {found.conversations} conversations about {found.clips} clips of "
        f"{len(found.subjects)} subjects; {len(found.left_out)} clips left out"
    )


def main() -> int:
    """Parse and build; 2 for a wrong input, 130 after Ctrl-C."""
    args = parse()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    try:
        build(args)
    except UserError as error:
        print(f"build.py: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("build.py: stopped; the same command goes on after the last whole part")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
