"""Speed of DEFT-LLM: a chat about a clip that is encoded already, and instruction tuning.

Chat: first token, then the rest; two questions in a row about the first of demo/clips, the second
with the first and its answer before it. Training: a step on frozen experts' tokens that were
encoded once, against the same language model on plain text of equal length; and tokens per second
(padding not counted) against transformers.Trainer, which groups no lengths. Both learn from
conversations about drawn expressions; nothing is rendered.

    python eval/speed/deft.py [--runs 15] [--json FILE] [--check]
"""

import argparse
import random
import resource
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import Trainer, TrainerCallback, TrainingArguments

from deft_llm import facs
from deft_llm.clip import Evidence
from deft_llm.data.conversations import messages_of
from deft_llm.data.features import pack
from deft_llm.data.measuring import measure_video
from deft_llm.data.records import ClipRecord
from deft_llm.data.simulated import SimulatedData, specs
from deft_llm.deft.inference.explainer import Explainer
from deft_llm.deft.tuning.datasets import ClipTargets, Collator, LengthGroupedBatches
from deft_llm.deft.tuning.model import train_only
from deft_llm.deft.tuning.stages import DeftTrainer
from deft_llm.errors import UserError
from deft_llm.metrics.figures import Figure, report
from deft_llm.motion.measure import Measurement
from deft_llm.resources import checkpoint
from deft_llm.unimer.answer_writer import AnswerWriter, Templates
from deft_llm.unimer.rows import conversation_row

ROOT = Path(__file__).resolve().parents[2]
CLIPS = ROOT / "demo" / "clips"
DATA = SimulatedData(clips=48, identities=12, seed=9_400_000, variants=4, turns=2)
BATCH = 16  # conversations, as in train_configs/deft/tiny.yaml
STEPS, WARM = 12, 3  # of each trainer, and how many of them are not counted
FIRST_TOKEN, STEP_BAR, RATE_BAR = 0.06, 1.15, 1.0


def once(
    explainer: Explainer, measurement: Measurement, turns: list[tuple[str, str]], question: str
) -> dict[str, float]:
    """Seconds to the first token of one answer, and tokens per second after it."""
    started = time.perf_counter()
    parts = explainer.stream(measurement, turns, question)
    answer = next(parts)
    first = time.perf_counter()
    answer = max(parts, key=len, default=answer)
    seconds = time.perf_counter() - first
    turns.append((question, answer))
    tokens = len(explainer.processor.tokenizer(answer, add_special_tokens=False)["input_ids"])
    return {"first": first - started, "rate": (tokens - 1) / seconds}


def chat(explainer: Explainer, measurement: Measurement, runs: int) -> list[Figure]:
    """Medians over several conversations."""
    prompts = explainer.processor.prompts
    once(explainer, measurement, [], prompts["motion"])  # encodes the clip, warms up
    opening, later = [], []
    for _ in range(runs):
        turns: list[tuple[str, str]] = []
        opening.append(once(explainer, measurement, turns, prompts["motion"]))
        later.append(once(explainer, measurement, turns, prompts["why"]))
    first = [statistics.median(r["first"] for r in rows) for rows in (opening, later)]
    return [
        Figure("chat_first_token_s", first[0], FIRST_TOKEN, False),
        Figure("chat_later_first_token_s", first[1], FIRST_TOKEN, False),
        Figure("chat_tokens_per_s", statistics.median(r["rate"] for r in [*opening, *later])),
    ]


class Talks(Dataset):
    """Conversations as the instruction data holds them, all about one clip that is encoded.

    No clip is rendered: what is said moves is what each AU moves by the table.
    """

    def __init__(self, explainer: Explainer, measurement: Measurement) -> None:
        features = pack(measurement, explainer.sizes)
        found = explainer.encode([features])
        self.tokens = {name: tokens[0].clone() for name, tokens in found.items()}
        targets = ClipTargets(explainer.model.config)
        writer = AnswerWriter(Templates())
        self.rows: list[dict[str, Any]] = []
        self.characters: list[int] = []
        for spec in specs(DATA):
            moves = [(r, w, c) for c in spec.aus for r, w in facs.expected_directions(c).items()]
            seen = {r: Evidence(r, w[0], 0.6, 8.0, (c,)) for r, w, c in moves if w}
            evidence = tuple(seen[region] for region in facs.REGIONS if region in seen)
            known = spec.emotion is not None or not spec.aus
            record = ClipRecord(
                spec.name, spec.subject, spec.emotion, known, spec.aus, evidence, "", 0, ""
            )
            for variant in range(DATA.variants):
                rng = random.Random(f"{spec.seed}/{variant}")
                turns = writer.conversation(record.facts(), rng, DATA.turns, known)
                messages = messages_of(conversation_row("", record, False, turns))
                ids, labels = explainer.processor.encode_conversation(messages)
                row = {"input_ids": ids, "labels": labels, "expert_tokens": self.tokens}
                self.rows.append({**row, **targets(record, False)})
                self.characters.append(sum(len(message["content"]) for message in messages))

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.rows[index]

    def lengths(self) -> list[int]:
        """Characters of every conversation, as ``InstructionDataset`` has them."""
        return self.characters


def timed_step(
    model: torch.nn.Module, parameters: list[torch.nn.Parameter]
) -> Callable[[dict[str, Any]], float]:
    """Seconds of forward, backward and AdamW on a batch."""
    optimizer = torch.optim.AdamW(parameters, lr=1e-5)

    def step(batch: dict[str, Any]) -> float:
        started = time.perf_counter()
        model(**batch, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        return time.perf_counter() - started

    return step


def steps(explainer: Explainer, talks: Talks, collator: Collator) -> list[Figure]:
    """A step of instruction tuning over one of the language model alone, batch by batch."""
    model = explainer.model.train()
    whole = timed_step(model, [p for p in model.parameters() if p.requires_grad])
    text = timed_step(model.language_model, list(model.language_model.parameters()))
    rows = list(LengthGroupedBatches(talks.lengths(), BATCH, seed=0))[: BATCH * (STEPS + WARM)]
    taken = []
    for first in range(0, len(rows), BATCH):
        batch = collator([talks[i] for i in rows[first : first + BATCH]])
        plain = {name: batch[name] for name in ("input_ids", "labels", "attention_mask")}
        taken.append((whole(batch), text(plain)))
    ratio = statistics.median(a / b for a, b in taken[WARM:])
    return [
        Figure("step_s", statistics.median(a for a, _ in taken[WARM:])),
        Figure("step_over_plain_text", ratio, STEP_BAR, False),
    ]


class Counted(TrainerCallback):
    """Tokens of every batch that is collated, padding left out; and when each step began."""

    def __init__(self, collator: Collator) -> None:
        self.collator = collator
        self.tokens: list[int] = []
        self.began: list[float] = []

    def collate(self, rows: list[dict[str, Any]]) -> dict[str, Any]:
        """What the collator makes of it."""
        batch = self.collator(rows)
        self.tokens.append(int(batch["attention_mask"].sum()))
        return batch

    def on_step_begin(self, *args: Any, **kwargs: Any) -> None:
        """Note the time."""
        self.began.append(time.perf_counter())

    @property
    def rate(self) -> float:
        """Tokens per second between the first and the last counted step."""
        return sum(self.tokens[WARM : STEPS - 1]) / (self.began[STEPS - 1] - self.began[WARM])


def rates(explainer: Explainer, talks: Talks, collator: Collator) -> list[Figure]:
    """Tokens per second of our trainer and of its base class, in turns."""
    found: dict[str, list[float]] = {"ours": [], "peer": []}
    for seed in range(3):
        for name, values in found.items():
            counted = Counted(collator)
            with tempfile.TemporaryDirectory() as folder:
                given: dict[str, Any] = {
                    "model": explainer.model,
                    "args": TrainingArguments(
                        output_dir=folder,
                        max_steps=STEPS,
                        per_device_train_batch_size=BATCH,
                        learning_rate=1e-5,
                        save_strategy="no",
                        report_to="none",
                        use_cpu=not torch.cuda.is_available(),
                        remove_unused_columns=False,
                        disable_tqdm=True,
                        seed=seed,
                        data_seed=seed,
                    ),
                    "train_dataset": talks,
                    "data_collator": counted.collate,
                    "callbacks": [counted],
                }
                if name == "ours":
                    given.update(rates={}, modules=None)
                (DeftTrainer if name == "ours" else Trainer)(**given).train()
            values.append(counted.rate)
    ours, peer = (statistics.median(found[name]) for name in ("ours", "peer"))
    return [
        Figure("train_tokens_per_s", ours),
        Figure("trainer_tokens_per_s", peer),
        Figure("train_over_trainer", ours / peer, RATE_BAR),
    ]


def main() -> int:
    """Measure, print medians."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--checkpoint", type=Path, default=checkpoint())
    parser.add_argument("--clip", type=Path, default=min(CLIPS.glob("*.mp4")))
    parser.add_argument("--json", type=Path)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    try:
        explainer = Explainer.load(args.checkpoint)
        _, measurement = measure_video(args.clip)
        figures = chat(explainer, measurement, args.runs)
        figures.append(Figure("chat_peak_gb", _peak()))
        talks = Talks(explainer, measurement)
    except UserError as error:
        print(f"eval/speed/deft.py: {error}", file=sys.stderr)
        return 2
    processor = explainer.processor
    collator = Collator(processor.feature_extractor, processor.tokenizer.pad_token_id)
    train_only(explainer.model, ("projectors", "language_model"))
    figures += steps(explainer, talks, collator)
    figures += rates(explainer, talks, collator)
    figures.append(Figure("train_peak_gb", _peak()))
    return report(figures, args.json, args.check)


def _peak() -> float:
    """GB of memory that this process has held at most."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


if __name__ == "__main__":
    sys.exit(main())
