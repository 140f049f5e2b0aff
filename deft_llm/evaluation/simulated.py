"""The simulated benchmark: DEFT-LLM on clips of faces that it was never trained on.

Pinned: at least 600 clips of at least 60 identities; emotions and AU sets from the statistics of
real codings; peak displacement log-uniform 0.3-3 canonical px; blinks, gaze, head drift, camera
noise; H.264 at CRF 18; 10 % of the clips without any AU. The language model carries the bars:
classes by label likelihood, AUs and claims from its raw text. Onset and apex are the coded ones,
as in published protocols.
"""

from __future__ import annotations

import hashlib
import json
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from tqdm import tqdm

from deft_llm import facs
from deft_llm.clip import Prediction
from deft_llm.config import Settings, load
from deft_llm.deft.configuration_deft import NO_EMOTION
from deft_llm.deft.explain import Answers, Explainer
from deft_llm.deft.processing_deft import DeftFeatureExtractor
from deft_llm.errors import UserError
from deft_llm.metrics.classification import binary_f1, confusion_matrix, f1_per_class, uar, uf1
from deft_llm.metrics.faithfulness import ClaimCounts, count_claims
from deft_llm.metrics.figures import Figure
from deft_llm.motion.measure import MotionSettings, measure
from deft_llm.motion.packet import Packet, pack
from deft_llm.simulator.clip_spec import ClipSpec, combinations
from deft_llm.simulator.clips import SimulatedClip, render_many
from deft_llm.training.deft import DeftRecipe
from deft_llm.unimer.build import SimulatedData, filmed, specs, true_motion
from deft_llm.unimer.dialogue import NOTHING, parse_triple, stated_claims
from deft_llm.unimer.records import PacketStore, read_lines, save_packets, write_lines

logger = logging.getLogger(__name__)
AMPLITUDES = (0.3, 0.6, 1.0, 1.8, 3.0001)  # canonical px, edges of the table's rows
BATCH = 32


class Bars(Settings):
    """What the language model has to reach; see the issue of each benchmark file."""

    uf1_of_ceiling: float
    au_macro_f1: float
    claim_precision: float
    claim_recall: float
    parsed: float
    named_without_au: float
    structure_alone_uf1: float


class SimulatedBenchmark(Settings):
    """A file of ``eval/benchmarks`` with ``benchmark: simulated``.

    Attributes:
        benchmark: "simulated".
        checkpoint: Folder of the model.
        recipe: What it was trained by: its training draw fits the ceiling, and no subject of it
            may be in the test.
        train_data: Data folder of that recipe, for the logistic regression; may be absent.
        data: The test clips.
        least_au_share: An AU is scored when it is in at least this share of the statistics.
        bars: Bars.
        cache: Where measured test clips are kept.
    """

    benchmark: str
    checkpoint: Path
    recipe: Path
    train_data: Path
    data: SimulatedData
    least_au_share: float = 0.02
    bars: Bars
    cache: Path = Path("runs/benchmarks")


@dataclass(frozen=True)
class TestClip:
    """One test clip.

    Attributes:
        spec: Its recipe.
        motion: (R, 2) exact head-compensated motion of the regions, canonical px.
        packet: As measured with the coded interval; None where no face was found.
    """

    spec: ClipSpec
    motion: NDArray[np.float32]
    packet: Packet | None


# ----------------------------------------------------------------------------- clips


def _observe(simulated: SimulatedClip) -> tuple[Packet | None, NDArray[np.float32]]:
    """Measure with the coded interval; and the exact motion."""
    truth = true_motion(simulated)
    try:
        _, aligned = filmed(simulated)
    except UserError as error:
        logger.warning("%s: %s", simulated.spec.name, error)
        return None, truth
    interval = simulated.spec.curve.interval
    return pack(measure(aligned, interval, MotionSettings(curve=False))), truth


def test_clips(data: SimulatedData, cache: Path) -> list[TestClip]:
    """Simulate and measure the test clips, once; kept in ``cache``.

    Args:
        data: What to simulate.
        cache: Folder; a subfolder by the hash of ``data``.
    """
    key = hashlib.sha256(data.model_dump_json(exclude={"workers"}).encode()).hexdigest()[:12]
    folder = cache / f"simulated-{key}"
    drawn = list(specs(data))
    if not (folder / "clips.jsonl").is_file():
        folder.mkdir(parents=True, exist_ok=True)
        packets: list[Packet] = []
        lines = []
        seen = render_many(drawn, _observe, data.workers)
        for packet, motion in tqdm(seen, total=len(drawn), desc="test clips", unit="clip"):
            row = len(packets) if packet is not None else -1
            lines.append(json.dumps({"motion": motion.tolist(), "row": row}))
            packets += [packet] if packet is not None else []
        save_packets(folder / "packets.safetensors", packets)
        write_lines(folder / "clips.jsonl", lines)
    arrays = load_file(folder / "packets.safetensors")
    clips = []
    for spec, line in zip(drawn, read_lines(folder / "clips.jsonl"), strict=True):
        row = line["row"]
        kept = {name: array[row] for name, array in arrays.items()} if row >= 0 else None
        clips.append(TestClip(spec, np.array(line["motion"], np.float32), kept))
    return clips


# --------------------------------------------------------------------------- answers


@dataclass
class Reply:
    """What the model said of one clip; empty where no face was found."""

    likelihoods: dict[str, float]
    text: str
    au_probabilities: NDArray[np.float32] | None
    emotion_probabilities: NDArray[np.float32] | None

    def three(self) -> str | None:
        """The likeliest of the three classes."""
        of_three = {name: self.likelihoods.get(name, -np.inf) for name in facs.THREE_CLASSES}
        return max(of_three, key=of_three.__getitem__) if self.likelihoods else None

    def best(self) -> str:
        """The likeliest of all labels, "none" among them."""
        return max(self.likelihoods, key=self.likelihoods.__getitem__, default=NOTHING)


def ask(
    explainer: Explainer, clips: Sequence[TestClip], blank: tuple[str, ...] = (), write: bool = True
) -> list[Reply]:
    """Ask the model about every clip."""
    replies = [Reply({}, "", None, None) for _ in clips]
    shown = [i for i, clip in enumerate(clips) if clip.packet is not None]
    name = "answers" if write else f"without {' and '.join(blank)}"
    for first in tqdm(range(0, len(shown), BATCH), desc=name, unit="batch"):
        part = shown[first : first + BATCH]
        packets = [p for p in (clips[i].packet for i in part) if p is not None]
        said = explainer.answers(packets, blank, write=write)
        for k, i in enumerate(part):
            replies[i] = _reply(said, k)
    return replies


def _reply(said: Answers, k: int) -> Reply:
    return Reply(
        dict(zip(said.labels, said.log_likelihoods[k].tolist(), strict=True)),
        said.texts[k],
        said.au_probabilities[k].numpy(),
        said.emotion_probabilities[k].numpy(),
    )


# ---------------------------------------------------------------------------- scores


def _class_of(spec: ClipSpec) -> str | None:
    return facs.to_three(spec.emotion)


def three_class_uf1(clips: Sequence[TestClip], guesses: Iterable[str | None]) -> float:
    """UF1 over the clips that have one of the three classes."""
    return uf1(_confusion(clips, guesses))


def _confusion(clips: Sequence[TestClip], guesses: Iterable[str | None]) -> NDArray[np.int64]:
    rows = [(_class_of(c.spec), g) for c, g in zip(clips, guesses, strict=True)]
    kept = [(label, guess) for label, guess in rows if label is not None]
    return confusion_matrix([r[0] for r in kept], [r[1] for r in kept], facs.THREE_CLASSES)


class BayesRule:
    """The ceiling: the likeliest class given the true AUs with sides, fitted on training draws.

    A combination that was drawn in training is looked up; another is read by naive Bayes over
    its AUs with add-one smoothing (our choice).
    """

    def __init__(self, train: Iterable[ClipSpec]) -> None:
        self.seen: dict[tuple[str, ...], Counter[str]] = defaultdict(Counter)
        self.prior: Counter[str] = Counter()
        self.units: dict[str, Counter[str]] = defaultdict(Counter)
        for spec in train:
            label = _class_of(spec)
            if label is None:
                continue
            key = facs.sort_aus(spec.aus)
            self.seen[key][label] += 1
            self.prior[label] += 1
            for code in key:
                self.units[label][code] += 1

    def __call__(self, aus: Iterable[str]) -> str:
        """The class of a clip with these AU codes."""
        key = facs.sort_aus(aus)
        if key in self.seen:
            return self.seen[key].most_common(1)[0][0]
        scores = {
            label: np.log(count)
            + sum(np.log((self.units[label][code] + 1) / (count + 2)) for code in key)
            for label, count in self.prior.items()
        }
        return max(scores, key=scores.__getitem__)


def scored_aus(least_share: float) -> list[int]:
    """FACS numbers in at least that share of the coded combinations."""
    counts: dict[int, float] = defaultdict(float)
    total = 0.0
    for table in combinations().values():
        for code, count in table.items():
            total += count
            for number in {facs.au_number(au) for au in code.split("+")}:
                counts[number] += count
    return sorted(number for number, count in counts.items() if count / total >= least_share)


def au_matrix(sets: Iterable[Iterable[str]], numbers: Sequence[int]) -> NDArray[np.bool_]:
    """AU codes of N clips -> (N, K) bool, sides left aside."""
    rows = [{facs.au_number(code) for code in codes} for codes in sets]
    return np.array([[number in row for number in numbers] for row in rows], bool)


def _said_aus(reply: Reply) -> list[str]:
    record = parse_triple(reply.text)
    return list(record["aus"]) if record else []


def claims(clips: Sequence[TestClip], replies: Sequence[Reply]) -> ClaimCounts:
    """Claims of the raw texts against exact motion, summed over clips."""
    counts = (
        count_claims(stated_claims(reply.text), clip.motion)
        for clip, reply in zip(clips, replies, strict=True)
    )
    return sum(counts, ClaimCounts())


def amplitude_table(clips: Sequence[TestClip], replies: Sequence[Reply]) -> list[dict[str, Any]]:
    """Scores by peak displacement, clips with AUs only."""
    rows = []
    for low, high in pairwise(AMPLITUDES):
        kept = [
            (c, r)
            for c, r in zip(clips, replies, strict=True)
            if c.spec.aus and low <= c.spec.peak_px < high
        ]
        some, said = [c for c, _ in kept], [r for _, r in kept]
        counts = claims(some, said)
        numbers = scored_aus(0.02)
        f1 = binary_f1(
            au_matrix((c.spec.aus for c in some), numbers),
            au_matrix((_said_aus(r) for r in said), numbers),
        )
        rows.append(
            {
                "peak px": f"{low:.1f}-{min(high, 3.0):.1f}",
                "clips": len(kept),
                "UF1": three_class_uf1(some, (r.three() for r in said)),
                "AU macro-F1": float(f1.mean()),
                "claim precision": counts.precision,
                "claim recall": counts.recall,
            }
        )
    return rows


# ------------------------------------------------------------------------- reference


def logistic_regression_uf1(folder: Path, clips: Sequence[TestClip]) -> float:
    """UF1 of a logistic regression on the same flow, trained on the recipe's clips.

    The flow of the rising phase, ``flow_uvs`` at 14x14 cells and its log amplitude. NaN when the
    training data is not there.
    """
    if not (folder / "clips.jsonl").is_file():
        logger.warning("no %s: the logistic regression is left out (train first)", folder)
        return float("nan")
    store = PacketStore(folder)
    labelled = [(r, facs.to_three(r.emotion)) for r in store.records.values()]
    known = [(r, label) for r, label in labelled if label is not None]
    inputs = np.stack([_flow_vector(store[r.clip]) for r, _ in known])
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.003, max_iter=2000))
    model.fit(inputs, [label for _, label in known])
    guesses = [
        str(model.predict(_flow_vector(c.packet)[None])[0]) if c.packet is not None else None
        for c in clips
    ]
    return three_class_uf1(clips, guesses)


def _flow_vector(packet: Packet) -> NDArray[np.float32]:
    features = DeftFeatureExtractor()(packet)
    flow = features["flow"][0, 0].numpy()
    pooled = flow.reshape(3, 14, 4, 14, 4).mean((2, 4))
    return np.concatenate([pooled.ravel(), features["flow_scale"][0, 0].numpy()[:3]])


# ------------------------------------------------------------------------------- run


def run(path: Path, overrides: Sequence[str] = ()) -> tuple[list[Figure], str]:
    """Run the benchmark.

    Args:
        path: A file of ``eval/benchmarks``.
        overrides: Dotted changes.

    Returns:
        The figures, and the tables as Markdown.

    Raises:
        UserError: If the test shares a subject with the training draw, or a file is missing.
    """
    bench = load(SimulatedBenchmark, path, overrides)
    recipe = load(_RecipeFile, bench.recipe)
    train = list(specs(recipe.data))
    _audit(train, bench.data)
    explainer = Explainer.load(bench.checkpoint)
    clips = test_clips(bench.data, bench.cache)
    started = time.perf_counter()
    replies = ask(explainer, clips)
    seconds = (time.perf_counter() - started) / len(clips)
    ceiling = three_class_uf1(clips, map(BayesRule(train), (c.spec.aus for c in clips)))
    figures = _language_figures(bench, clips, replies, ceiling)
    figures += _ablation_figures(bench, explainer, clips, figures[0].value)
    figures += _head_figures(bench, explainer, clips, replies)
    figures.append(Figure("lr_on_flow_uf1", logistic_regression_uf1(bench.train_data, clips)))
    _write_rows(bench, clips, replies, seconds)
    return figures, _tables(bench, clips, replies)


class _RecipeFile(DeftRecipe):
    """A recipe with the ``task`` key that train.py reads."""

    task: str


def _audit(train: Sequence[ClipSpec], data: SimulatedData) -> None:
    test = list(specs(data))
    both = {s.subject for s in train} & {s.subject for s in test}
    both |= {s.name for s in train} & {s.name for s in test}
    if both:
        raise UserError(
            f"training draw and test share {sorted(both)[0]} and {len(both) - 1} more; "
            "set data.first_identity and data.seed of the benchmark apart from the recipe's"
        )
    faces = len({s.subject for s in test})
    logger.info("%d test clips of %d faces, none in training", len(test), faces)


def _language_figures(
    bench: SimulatedBenchmark, clips: Sequence[TestClip], replies: Sequence[Reply], ceiling: float
) -> list[Figure]:
    bars = bench.bars
    matrix = _confusion(clips, (r.three() for r in replies))
    strict = three_class_uf1(clips, (r.best() for r in replies))
    numbers = scored_aus(bench.least_au_share)
    truth = au_matrix((c.spec.aus for c in clips), numbers)
    f1 = binary_f1(truth, au_matrix(map(_said_aus, replies), numbers))
    counts = claims(clips, replies)
    shown = [r for c, r in zip(clips, replies, strict=True) if c.packet is not None]
    neutral = [r for c, r in zip(clips, replies, strict=True) if not c.spec.aus]
    named = [r.best() != NOTHING or _text_class(r) != NOTHING for r in neutral]
    return [
        Figure("uf1", uf1(matrix), bars.uf1_of_ceiling * ceiling),
        Figure("ceiling_uf1", ceiling),
        Figure("uar", uar(matrix)),
        *(
            Figure(f"f1_{name}", float(value))
            for name, value in zip(facs.THREE_CLASSES, f1_per_class(matrix), strict=True)
        ),
        Figure("uf1_none_is_an_error", strict),
        Figure("au_macro_f1", float(f1.mean()), bars.au_macro_f1),
        *(Figure(f"f1_au{n}", float(value)) for n, value in zip(numbers, f1, strict=True)),
        Figure("claim_precision", counts.precision, bars.claim_precision),
        Figure("claim_recall", counts.recall, bars.claim_recall),
        Figure(
            "parsed", float(np.mean([parse_triple(r.text) is not None for r in shown])), bars.parsed
        ),
        Figure("named_without_au", float(np.mean(named)), bars.named_without_au, above=False),
        Figure("clips_without_face", float(sum(c.packet is None for c in clips))),
    ]


def _text_class(reply: Reply) -> str:
    record = parse_triple(reply.text)
    return str(record["class"]) if record else NOTHING


def _ablation_figures(
    bench: SimulatedBenchmark, explainer: Explainer, clips: Sequence[TestClip], whole: float
) -> list[Figure]:
    """UF1 of structure alone, and the drop when each expert alone is blanked."""

    def blanked(*names: str) -> float:
        replies = ask(explainer, clips, names, write=False)
        return three_class_uf1(clips, (r.three() for r in replies))

    alone = blanked("texture", "motion")
    return [
        Figure("structure_alone_uf1", alone, bench.bars.structure_alone_uf1, above=False),
        *(
            Figure(f"drop_without_{n}", whole - blanked(n))
            for n in ("structure", "texture", "motion")
        ),
    ]


def _head_figures(
    bench: SimulatedBenchmark,
    explainer: Explainer,
    clips: Sequence[TestClip],
    replies: Sequence[Reply],
) -> list[Figure]:
    """The discriminative heads: the second row."""
    config = explainer.model.config
    guesses = [_head_class(config.emotions, r.emotion_probabilities) for r in replies]
    numbers = [n for n in scored_aus(bench.least_au_share) if n in config.aus]
    columns = [config.aus.index(n) for n in numbers]
    predicted = np.array(
        [
            (r.au_probabilities.max(-1) > 0.5)[columns]
            if r.au_probabilities is not None
            else np.zeros(len(numbers), bool)
            for r in replies
        ]
    )
    f1 = binary_f1(au_matrix((c.spec.aus for c in clips), numbers), predicted)
    return [
        Figure("heads_uf1", three_class_uf1(clips, guesses)),
        Figure("heads_au_macro_f1", float(f1.mean())),
    ]


def _head_class(emotions: Sequence[str], probabilities: NDArray[np.float32] | None) -> str | None:
    if probabilities is None:
        return None
    total: dict[str, float] = defaultdict(float)
    for name, value in zip(emotions, probabilities, strict=True):
        label = None if name == NO_EMOTION else facs.to_three(name)
        if label is not None:
            total[label] += float(value)
    return max(total, key=total.__getitem__)


def _write_rows(
    bench: SimulatedBenchmark, clips: Sequence[TestClip], replies: Sequence[Reply], seconds: float
) -> None:
    """One ``Prediction`` a line, beside the measured clips."""
    lines = []
    for clip, reply in zip(clips, replies, strict=True):
        values = np.array(list(reply.likelihoods.values()) or [0.0])
        share = np.exp(values - values.max())
        probabilities = dict(zip(reply.likelihoods, (share / share.sum()).tolist(), strict=False))
        row = Prediction(
            "simulated",
            clip.spec.subject,
            clip.spec.name,
            0,
            bench.data.seed,
            _class_of(clip.spec) or (clip.spec.emotion or NOTHING),
            reply.best(),
            probabilities,
            seconds,
        )
        lines.append(json.dumps({**asdict(row), "text": reply.text}))
    bench.cache.mkdir(parents=True, exist_ok=True)
    write_lines(bench.cache / "simulated-predictions.jsonl", lines)


def _tables(bench: SimulatedBenchmark, clips: Sequence[TestClip], replies: Sequence[Reply]) -> str:
    rows = amplitude_table(clips, replies)
    header = list(rows[0])
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    for row in rows:
        cells = [f"{v:.2f}" if isinstance(v, float) else str(v) for v in row.values()]
        lines.append("| " + " | ".join(cells) + " |")
    matrix = _confusion(clips, (r.three() for r in replies))
    lines += ["", "| true \\ said | " + " | ".join(facs.THREE_CLASSES) + " |", "|---|---|---|---|"]
    for name, counts in zip(facs.THREE_CLASSES, matrix, strict=True):
        lines.append(f"| {name} | " + " | ".join(map(str, counts[:3])) + " |")
    return "\n".join(lines)
