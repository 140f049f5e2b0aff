"""The benchmark of networks that read frames, reduced: measured clips in, figures out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from deft_llm.data.feature_files import save_features
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.errors import UserError
from deft_llm.evaluation.benchmark import run
from deft_llm.files import write_lines
from deft_llm.recognizers.base import load_recognizer
from deft_llm.simulator.scene.clip_spec import draw_spec

BENCHMARK = Path(__file__).resolve().parents[3] / "eval" / "benchmarks" / "video_recognizers.yaml"
MakeFeatures = Callable[[int], Features]
CODED = (("happiness", "12"), ("disgust", "4"), ("surprise", "1"), ("surprise", "2"))
STAGES = "{triplets: 1, magnified: 1, episodes: 1, batch_size: 6}"
SMALL = [
    "baseline=logistic_flow",
    "few_shot=null",
    "seeds=1",
    *(f"entries.mpfnet_{v}.options.{k}" for v in "cp" for k in ("side=32", f"stages={STAGES}")),
    "entries.mol_tenth_all.options.training={steps: 1, batch_size: 2, flow_target: dis}",
    "entries.mol_tenth_all.options.training.labelled=0.5",
]


def write_clips(folder: Path, make: MakeFeatures, first: int, count: int) -> Path:
    """Clips of simulated recipes with noise for features: four of each face."""
    folder.mkdir()
    records, features = [], []
    for i in range(count):
        emotion, au = CODED[i % len(CODED)]
        spec = draw_spec(first + i, first + i // len(CODED), emotion=emotion, aus=(au,))
        coding = spec.annotation()
        place = {"shard": "features-0.safetensors", "row": i, "content": f"{first + i}"}
        records.append(ClipRecord.of(coding, spec=spec.to_json(), **place))
        features.append({**make(first + i), **raw(first + i)})
    save_features(folder / "features-0.safetensors", features)
    write_lines(folder / "clips.jsonl", (r.to_json() for r in records))
    return folder


def raw(seed: int) -> Features:
    rng = np.random.default_rng(seed)
    return {
        "onset": rng.integers(0, 255, (64, 64, 3)).astype(np.uint8),
        "sub_clips": rng.integers(0, 255, (2, 8, 128, 128)).astype(np.uint8),
        "key_frames": rng.normal(120, 30, (3, 3, 48, 48)).astype(np.float16),
        "landmarks": rng.uniform(20, 100, (68, 2)).astype(np.float32),
    }


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory, make_features: MakeFeatures) -> Path:
    parent = tmp_path_factory.mktemp("measured")
    for name, first, count in (("train", 1000, 8), ("test", 900_000, 4)):
        write_clips(parent / name, make_features, first, count)
    return parent


def overrides(folders: Path, output: Path, *more: str) -> list[str]:
    places = [f"clips={folders / 'train'}", f"test={folders / 'test'}", f"output={output}"]
    return [*places, *SMALL, *more]


def test_the_reduced_benchmark(folders: Path, tmp_path: Path) -> None:
    models = "models=[mpfnet_c,mpfnet_p,mol_tenth_all,logistic_flow]"
    figures, text = run(BENCHMARK, overrides(folders, tmp_path / "out", models))
    values = {f.name: f.value for f in figures}
    assert values["ceiling_uf1"] == 1.0  # AU 1 and 2 are surprise, and nothing else is
    share = values["mpfnet_c_of_ceiling"]
    assert share == pytest.approx(values["mpfnet_c_uf1"])
    # Bars of entries that were not run are left out.
    assert "mpfnet_c_gain_over_mpfnet_p" in values and "mol_all_of_ceiling" not in values
    assert "| ceiling | 1.000" in text and "| mol_tenth_all |" in text
    rows = list((tmp_path / "out" / "rows").glob("*/*.jsonl"))
    assert len(rows) == 4
    tested = {json.loads(line)["subject"] for line in rows[0].open(encoding="utf-8")}
    assert len(tested) == 1


def test_measured_clips_under_another_protocol(folders: Path, tmp_path: Path) -> None:
    changes = ["test=null", "protocol=loso", "models=[logistic_flow]", "bars={}"]
    figures, _ = run(
        BENCHMARK, overrides(folders, tmp_path, *changes, "figures=[logistic_flow_of_ceiling]")
    )
    assert [f.name for f in figures] == ["logistic_flow_of_ceiling"]
    assert len(list(tmp_path.glob("rows/*/*.jsonl"))) == 2


def test_psyau_learns_from_coded_aus(folders: Path, tmp_path: Path) -> None:
    changes = ["models=[psyau]", "bars={}", "figures=[psyau_uf1]", "ceiling=false"]
    short = "entries.psyau.options.training={epochs: 1, batch_size: 4}"
    figures, _ = run(BENCHMARK, overrides(folders, tmp_path, *changes, short))
    assert [f.name for f in figures] == ["psyau_uf1"]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        (["test={folder}"], "clips and test share subject"),
        (["protocol=loso"], "go together"),
        (["data=flow"], "expected either data"),
        (["entries.ceiling={{recognizer: svm_flow}}"], "cannot be called 'ceiling'"),
    ],
)
def test_sources_that_do_not_fit(
    folders: Path, tmp_path: Path, changes: list[str], words: str
) -> None:
    more = [text.format(folder=folders / "train") for text in changes]
    with pytest.raises(UserError, match=words):
        run(BENCHMARK, overrides(folders, tmp_path, *more))


def test_every_entry_of_the_file_can_be_built() -> None:
    from deft_llm.config import load
    from deft_llm.evaluation.recognition.benchmark import RecognitionBenchmark

    settings = load(RecognitionBenchmark, BENCHMARK)
    for name, entry in settings.entries.items():
        # What has random weights is run once for each seed, or a bar would compare single runs.
        made = load_recognizer(entry.recognizer, 3, **entry.options)
        joint = ("mpfnet_staged", "mol_joint", "psyau_joint")
        assert entry.seeded == (entry.recognizer in joint), name
        assert made.inputs
    assert set(settings.models) <= set(settings.entries)
