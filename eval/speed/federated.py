"""Ten rounds of a federation in one process, and the bytes of adapters against whole models.

Five sites of 120 clips with FED-PsyAU's network, as in train_configs/federated/psyau.yaml, on
features of noise: time does not depend on them. One round is measured, with scores at every site
and its checkpoint; ten take ten times as long. Adapters are those of `recognizer: deft_lora` on the
checkpoint that comes along; all cores.

    python eval/speed/federated.py [--rounds 1] [--json FILE] [--check]
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from deft_llm import facs
from deft_llm.clip import Annotation
from deft_llm.config import read_yaml, validate_settings
from deft_llm.data.clip_dataset import ClipDataset
from deft_llm.data.records import ClipRecord
from deft_llm.federated.adapters import adapted_model
from deft_llm.federated.engine import run_rule
from deft_llm.federated.exchange import bytes_of, taken
from deft_llm.federated.learners import first_weights
from deft_llm.federated.settings import FederatedRecipe
from deft_llm.federated.sites import Site, make_site
from deft_llm.machine import use_all_cores
from deft_llm.metrics.figures import Figure, report

RECIPE = Path(__file__).resolve().parents[2] / "train_configs" / "federated" / "psyau.yaml"
ROUNDS, SITES, CLIPS, SUBJECTS = 10, 5, 120, 24
_CODED = (("happiness", ("12",)), ("disgust", ("4", "9")), ("surprise", ("1", "2")))


def noise_site(number: int, recipe: FederatedRecipe) -> Site:
    """A site of flow of noise."""
    rng = np.random.default_rng(number)
    records = []
    for i in range(CLIPS):
        emotion, aus = _CODED[i % len(_CODED)]
        subject = f"s{number}-{i % SUBJECTS}"
        coding = Annotation("noise", subject, f"{number}-{i}", emotion=emotion, aus=aus)
        records.append(ClipRecord.of(coding))
    flow = rng.normal(0, 0.3, (CLIPS, 2, 3, 56, 56)).astype(np.float16)
    clips = ClipDataset.of_arrays(records, {"flow": flow})
    return make_site(f"site{number}", clips, recipe.scheme, recipe.test_share, 0)


def main() -> int:
    """Measure, print, and with --check compare with the bars."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    use_all_cores()
    values = read_yaml(RECIPE)
    values.pop("task")
    recipe = validate_settings(FederatedRecipe, values, str(RECIPE))
    short = recipe.model_copy(update={"rounds": args.rounds})
    sites = [noise_site(number, recipe) for number in range(SITES)]
    with TemporaryDirectory() as folder:
        started = time.perf_counter()
        run = run_rule(short, "p_fedprox", sites, Path(folder))
        seconds = (time.perf_counter() - started) / args.rounds
    adapters = recipe.model_copy(update={"recognizer": "deft_lora", "options": {}})
    sent = bytes_of(first_weights(adapters, "fedavg"))
    model = adapted_model(adapters)
    # Without the adapters, and PEFT's copies of what it could train.
    own = [n for n, _ in model.named_parameters() if "lora_" not in n and ".original_" not in n]
    whole = bytes_of(taken(model, own))
    figures = [
        Figure("federated_round_s", seconds),
        Figure("federated_ten_rounds_min", ROUNDS * seconds / 60, 20.0, above=False),
        Figure("federated_round_mb", float(run.log[0]["bytes"]) / 1e6),
        Figure("adapters_kb", sent / 1e3),
        Figure("adapters_of_full_exchange", sent / whole, 0.02, above=False),
    ]
    print(f"{len(facs.SCHEMES[recipe.scheme])} classes, {SITES} sites", file=sys.stderr)
    return report(figures, args.json, args.check)


if __name__ == "__main__":
    sys.exit(main())
