"""What the program says today, stored small: a move of code must not change what is said.

``python tests/e2e/test_goldens.py`` writes the stored values anew; with ``--exact FILE`` it writes
every number unrounded to that file, to compare two trees on one machine to the bit. Renew them only
in a commit that says why the outputs changed. Classes, AUs, regions and words are compared exactly,
numbers to 1e-3.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm.answers import coarse_label, stated_labels
from deft_llm.clip import Clip
from deft_llm.config import read_yaml
from deft_llm.media.landmarks import Landmarks, landmark_finder
from deft_llm.media.tracking import FaceTrack

ROOT = Path(__file__).resolve().parents[2]
STORED = Path(__file__).with_name("goldens.json")
TOLERANCE = 1e-3
Golden = Callable[[Path], Any]


class _WholePixels:
    """The usual landmarks, to whole pixels.

    Networks compute a little differently on another kind of processor. A hundred-thousandth of a
    pixel in the landmarks turns over the rounding of some grey levels of the aligned face, and z
    by a hundredth: more than any move of code may do.
    """

    def place(self, clip: Clip, track: FaceTrack, poses: NDArray[np.float64]) -> Landmarks:
        found = landmark_finder().place(clip, track, poses)
        return replace(found, points=np.round(found.points))


def explanations(folder: Path) -> Any:
    """Every example clip, explained by the embedded checkpoint."""
    from deft_llm.deft.inference.explainer import Explainer
    from deft_llm.media.face import align, track_faces
    from deft_llm.media.video import read_clip
    from deft_llm.motion.measure import measure

    explainer = Explainer.load(ROOT / "deft_llm" / "deft" / "checkpoint")
    found = {}
    for path in sorted((ROOT / "demo" / "clips").glob("*.mp4")):
        clip = read_clip(path)
        measurement = measure(align(clip, track_faces(clip), _WholePixels()))
        explanation = explainer.explain(measurement)
        i = measurement.interval
        found[path.stem] = {
            "interval": [i.onset, i.apex, i.offset],
            "status": explanation.status,
            "emotion": explanation.emotion,
            "probabilities": explanation.probabilities,
            "aus": explanation.aus,
            "evidence": [
                [e.region, e.direction, e.magnitude, e.z, e.aus] for e in explanation.evidence
            ],
            "rationale": explanation.rationale,
        }
    return found


def simulated_scores(folder: Path) -> Any:
    """The figures of sixty clips of ``simulated.yaml``."""
    from deft_llm.evaluation.benchmark import run

    path = ROOT / "eval" / "benchmarks" / "simulated.yaml"
    figures, _ = run(
        path,
        ["data.own.clips=60", "rows={}", f"output={folder}", f"train_data={folder / 'none'}"],
    )
    return {figure.name: figure.value for figure in figures}


def _train(folder: Path, recipe: str, *overrides: str) -> Path:
    from deft_llm.training.tasks import run

    run(ROOT / "train_configs" / recipe, [f"output={folder / 'run'}", *overrides])
    return folder / "run"


def _losses(path: Path, *names: str) -> list[list[float]]:
    rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return [[row[name] for name in names] for row in rows if names[0] in row]


def deft_training(folder: Path) -> Any:
    """Forty steps of ``deft/smoke.yaml``: twenty of the experts, twenty of the language model."""
    steps = [f"{s}.{k}" for s in ("experts", "instruct") for k in ("steps=20", "bf16=false")]
    every = [f"{s}.log_every=5" for s in ("experts", "instruct")]
    run = _train(folder, "deft/smoke.yaml", *steps, *every)
    return {s: _losses(run / f"{s}.log.jsonl", "loss") for s in ("experts", "instruct")}


def flow_training(folder: Path) -> Any:
    """Forty steps of ``flow/smoke.yaml``."""
    run = _train(folder, "flow/smoke.yaml", "schedule.steps=40", "schedule.log_every=10")
    return {name: _losses(run / "log.jsonl", name) for name in ("loss", "epe")}


def recognition_fold(folder: Path) -> Any:
    """One fold of ``megc2019_flow.yaml`` on real flow images."""
    from deft_llm.evaluation.benchmark import run

    if not os.environ.get("DEFT_DATA"):
        pytest.skip("DEFT_DATA names no folder with megc2019_flow/")
    path = ROOT / "eval" / "benchmarks" / "megc2019_flow.yaml"
    figures, _ = run(
        path,
        [
            "protocol=hold_out",
            "seeds=1",
            "few=",
            f"output={folder}",
            "models=[logistic_flow,svm_flow,bi_woof,ststnet]",
        ],
    )
    return {figure.name: figure.value for figure in figures}


def instruction_records(folder: Path) -> Any:
    """The first twenty records of ``instruction_data/build.py``, and some conversations."""
    import subprocess

    script = ROOT / "instruction_data" / "build.py"
    options = ["--simulated", "20", "--variants", "2", "--workers", "1"]
    command = [sys.executable, str(script), str(folder), *options]
    subprocess.run(command, check=True, capture_output=True, env={**os.environ}, cwd=ROOT)
    rows = [json.loads(x) for x in (folder / "clips.jsonl").read_text("utf-8").splitlines()]
    kept = ("clip", "subject", "emotion", "aus", "score", "interval", "content")
    talks = [json.loads(x) for x in (folder / "train.jsonl").read_text("utf-8").splitlines()]
    return {
        "records": [{name: row[name] for name in kept} for row in rows],
        "evidence": [[[e["region"], e["direction"]] for e in row["evidence"]] for row in rows],
        "conversations": [[t["value"] for t in row["conversations"]] for row in talks[:8]],
    }


GOLDENS: dict[str, Golden] = {
    "explanations": explanations,
    "simulated_scores": simulated_scores,
    "deft_training": deft_training,
    "flow_training": flow_training,
    "recognition_fold": recognition_fold,
    "instruction_records": instruction_records,
}
_QUICK = ("explanations", "flow_training", "recognition_fold")


def plain(value: Any, digits: int | None) -> Any:
    """As JSON gives it back, numbers rounded; what is not a number is None."""
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        return value if digits is None else round(value, digits)
    if isinstance(value, dict):
        return {str(name): plain(inner, digits) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [plain(inner, digits) for inner in value]
    return value


def _on_any_processor(folder: Path) -> Any:
    """``explanations`` from a process whose matrix products are those of any x86 processor.

    OpenBLAS adds up in another order on each kind, which moves z by up to 3e-4 of itself; it takes
    its kind when NumPy is loaded.
    """
    pinned = {"OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    file = folder / "explanations.json"
    command = [sys.executable, __file__, "--explanations", str(file)]
    subprocess.run(command, env={**os.environ, **pinned}, check=True)
    return json.loads(file.read_text(encoding="utf-8"))


def differences(stored: Any, found: Any, where: str = "") -> list[str]:
    """Places where two values differ: numbers by more than ``TOLERANCE``, all else at all."""
    if isinstance(stored, float | int) and isinstance(found, float | int):
        return [] if abs(stored - found) <= TOLERANCE else [f"{where}: {stored} -> {found}"]
    if isinstance(stored, dict) and isinstance(found, dict) and stored.keys() == found.keys():
        return [d for key in stored for d in differences(stored[key], found[key], f"{where}.{key}")]
    if isinstance(stored, list) and isinstance(found, list) and len(stored) == len(found):
        pairs = enumerate(zip(stored, found, strict=True))
        return [d for i, (a, b) in pairs for d in differences(a, b, f"{where}[{i}]")]
    return [] if stored == found else [f"{where}: {stored!r} -> {found!r}"]


@pytest.mark.parametrize(
    "name", [n if n in _QUICK else pytest.param(n, marks=pytest.mark.slow) for n in GOLDENS]
)
def test_the_same_is_said_as_before(name: str, tmp_path: Path) -> None:
    stored = json.loads(STORED.read_text(encoding="utf-8"))[name]
    found = _on_any_processor(tmp_path) if name == "explanations" else GOLDENS[name](tmp_path)
    assert differences(stored, plain(found, 4), name) == []


def test_the_examples_are_read_right() -> None:
    """Their names are what was rendered; whoever tries the demo sees no miss that is not told."""
    labels = read_yaml(ROOT / "demo" / "clips" / "labels.yaml")
    for name, said in json.loads(STORED.read_text(encoding="utf-8"))["explanations"].items():
        rendered = name.partition("_")[2].replace("nothing", "none")
        assert (said["emotion"] or "none") == coarse_label(rendered)
        concluded = stated_labels(said["rationale"]) or ("none",)
        miss = "a miss" in labels.get(name, "")
        assert (concluded == (rendered,)) != miss


def main() -> None:
    """Write the stored values."""
    import tempfile

    exact: dict[str, Any] = {}
    if sys.argv[1:2] == ["--explanations"]:
        with tempfile.TemporaryDirectory() as folder:
            found = explanations(Path(folder))
        Path(sys.argv[2]).write_text(json.dumps(plain(found, None)), encoding="utf-8")
        return
    for name, golden in GOLDENS.items():
        with tempfile.TemporaryDirectory() as folder:
            pinned = name == "explanations"
            exact[name] = (_on_any_processor if pinned else golden)(Path(folder))
    if sys.argv[1:2] == ["--exact"]:
        Path(sys.argv[2]).write_text(json.dumps(plain(exact, None), indent=0), encoding="utf-8")
    else:
        STORED.write_text(json.dumps(plain(exact, 4)) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
