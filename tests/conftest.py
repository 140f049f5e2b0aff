"""What the tests of several rooms share: untrained models on disk, features, a moved face."""

from __future__ import annotations

import os

# One thread per process, before numpy loads its libraries, which read this only once: matrices here
# are small, and threads that wait for each other cost more than they compute. Processes that tests
# start inherit it.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("MKL_NUM_THREADS", "1")

import json
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from deft_llm import facs
from deft_llm.clip import OFFSET_PHASE, Evidence, Interval
from deft_llm.data.features import REGION_COLUMNS, Features
from deft_llm.data.records import ClipRecord
from deft_llm.downloads import FACE_MESH, model_file
from deft_llm.media.canonical import CANONICAL_LANDMARKS, CANONICAL_SIZE
from deft_llm.media.face import AlignedClip
from deft_llm.motion.evidence import explaining_aus
from deft_llm.motion.measure import Measurement
from deft_llm.motion.regions import REGION_NAMES, region_masks, region_table

ROOT = Path(__file__).resolve().parents[1]
MakeRecord = Callable[[int], ClipRecord]
# Looked up before the tests get a cache of their own.
_MESH_FILE = model_file(FACE_MESH)


@pytest.fixture(autouse=True)
def own_accelerator() -> Iterator[None]:
    """Each run starts as in a process of its own: accelerate keeps the precision of the last."""
    yield
    if state := sys.modules.get("accelerate.state"):
        state.AcceleratorState._reset_state(reset_partial_state=True)


def pytest_sessionstart() -> None:
    """Let programs that the tests start be ended by Ctrl-C, also from tests in the background.

    A process in the background ignores it, and so would its children.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def own_signals() -> Iterator[None]:
    """Each test starts with the handlers of a new process, and leaves none behind.

    A command in the same process sets its own, and tests that run in the background ignore Ctrl-C.
    """
    usual: dict[int, Any] = {
        signal.SIGINT: signal.default_int_handler,
        signal.SIGTERM: signal.SIG_DFL,
    }
    before = {number: signal.signal(number, handler) for number, handler in usual.items()}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture(scope="session", autouse=True)
def empty_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No test depends on what this machine has downloaded; commands in processes neither."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DEFT_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def no_ict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No file of ICT's head is to be found."""
    for name in ("DEFT_ICT", "DEFT_DATA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="session")
def mesh_file() -> Path:
    """The file of the face mesh, where it was downloaded."""
    if _MESH_FILE is None:
        pytest.skip("no face mesh on this machine; deft-llm models get face-mesh downloads it")
    return _MESH_FILE


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """Networks here are tiny: a second thread only waits for the first, and long on a busy machine.

    Training runs ask for all cores and would leave them to the tests after them.
    """
    import torch

    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(torch, "set_num_threads", lambda threads: None)
        yield


def _instruction_lines() -> list[str]:
    """Conversations in the words of the instruction data, for the tokenizer."""
    moves = [f"The {name} moves {d}, slight." for name in facs.REGIONS for d in facs.DIRECTIONS]
    aus = [au.label for au in facs.ACTION_UNITS.values()]
    texts = [*moves, *aus, *facs.EMOTIONS, *facs.THREE_CLASSES, "others", "none"]
    return [json.dumps({"conversations": [{"from": "gpt", "value": text}]}) for text in texts]


@pytest.fixture(scope="session")
def tiny_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as ``train.py`` leaves it in ``final/``, of a model that has learnt nothing."""
    import torch

    from deft_llm.config import read_yaml, validate_settings
    from deft_llm.deft.tuning.model import build_model
    from deft_llm.deft.tuning.recipe import DeftRecipe

    folder = tmp_path_factory.mktemp("tiny")
    (folder / "train.jsonl").write_text("\n".join(_instruction_lines()), encoding="utf-8")
    values = read_yaml(ROOT / "train_configs" / "deft" / "smoke.yaml")
    values = {**values, "templates": str(ROOT / "deft_llm" / "unimer" / "templates")}
    values.pop("task")
    torch.manual_seed(0)
    model, processor = build_model(validate_settings(DeftRecipe, values, "smoke.yaml"), folder)
    model.save_pretrained(folder / "final")
    processor.save_pretrained(folder / "final")
    return folder / "final"


@pytest.fixture(scope="session")
def text_folder(tiny_checkpoint: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny Qwen2.5 with its tokenizer, as they are published."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

    folder = tmp_path_factory.mktemp("text")
    tokenizer = AutoTokenizer.from_pretrained(tiny_checkpoint)
    torch.manual_seed(1)
    config = AutoConfig.for_model(
        "qwen2",
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=1,
        intermediate_size=64,
        max_position_embeddings=1024,
        vocab_size=len(tokenizer),
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=None,
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def make_features() -> Callable[[int], Features]:
    """Seed -> features of noise."""

    def make(seed: int) -> Features:
        rng = np.random.default_rng(seed)
        table = (2, len(facs.REGIONS), len(REGION_COLUMNS))
        return {
            "onset": rng.integers(0, 255, (64, 64, 3)).astype(np.uint8),
            "texture": rng.normal(0, 4, (8, 48, 48)).astype(np.float16),
            "flow": rng.normal(0, 0.3, (2, 3, 56, 56)).astype(np.float16),
            "regions": rng.uniform(0, 2, table).astype(np.float16),
        }

    return make


@pytest.fixture(scope="session")
def make_measurement() -> Callable[..., Measurement]:
    """``make_measurement(lift, found)`` -> a face whose subject's left inner brow rises, px."""

    def make(lift: float = 0.8, found: bool = True) -> Measurement:
        shape = (CANONICAL_SIZE, CANONICAL_SIZE)
        grain = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        texture = np.clip(120 + 300 * cv2.GaussianBlur(grain, (0, 0), 3), 0, 255).astype(np.uint8)
        landmarks = np.asarray(CANONICAL_LANDMARKS, np.float32)
        masks = region_masks(landmarks, CANONICAL_SIZE)
        flow = np.zeros((2, *shape), np.float32)
        flow[1] = -lift * masks[REGION_NAMES.index("left inner brow")]
        noise = np.full(len(masks), 0.05, np.float32)
        aligned = AlignedClip(
            name="clip",
            frames=np.tile(texture[None, ..., None], (12, 1, 1, 3)),
            present=np.ones(12, bool),
            transforms=np.tile(np.eye(2, 3), (12, 1, 1)),
            landmarks=landmarks,
            landmark_uncertainty=np.full(68, 2.0, np.float32),
            timestamps=np.arange(12) / 200,
            constant=True,
            landmark_method="mean shape",
        )
        return Measurement(
            aligned=aligned,
            interval=Interval(1, 5, 9),
            found=found,
            flow_apex=flow,
            flow_offset=-flow,
            table_apex=region_table(flow, masks, noise),
            table_offset=region_table(-flow, masks, noise),
            curve=np.linspace(0, 1, 12, dtype=np.float32),
            head_motion=1.8,
            noise=noise,
            noise_samples=0,
            sensor_noise=1.0,
            remarks=() if found else ("no motion above the noise floor",),
        )

    return make


@pytest.fixture(scope="session")
def real() -> Path:
    """Folder of real material."""
    data = os.environ.get("DEFT_DATA")
    if not data:
        pytest.skip("set DEFT_DATA to the folder of test data")
    return Path(data)


def _evidence(aus: tuple[str, ...], rng: random.Random) -> tuple[Evidence, ...]:
    """Some of the motion that the AUs may cause, in the order of ``facs.REGIONS``."""
    rows = []
    for name, region in facs.REGIONS.items():
        directions = [d for code in aus for d in facs.expected_directions(code).get(name, ())]
        if not directions or rng.random() < 0.3:
            continue
        direction = rng.choice(directions)
        codes = explaining_aus(name, *facs.direction_vector(direction, region.side), aus)
        magnitude, z = rng.uniform(0.05, 2), rng.uniform(2, 30)
        rows.append(Evidence(name, direction, magnitude, z, facs.sort_aus(codes)))
    return tuple(rows)


def _returns(evidence: tuple[Evidence, ...]) -> tuple[Evidence, ...]:
    """Every second region goes back."""
    rows = []
    for row in evidence[::2]:
        side = facs.REGIONS[row.region].side
        u, v = facs.direction_vector(row.direction, side)
        back = facs.direction_name(-u, -v, side)
        rows.append(Evidence(row.region, back, row.magnitude, row.z, row.aus, OFFSET_PHASE))
    return tuple(rows)


@pytest.fixture(scope="session")
def make_record() -> MakeRecord:
    """``make_record(seed)``: one to four AUs on random sides with some of their motion."""

    def make(seed: int) -> ClipRecord:
        rng = random.Random(seed)
        numbers = rng.sample(sorted(facs.ACTION_UNITS), rng.randint(1, 4))
        aus = facs.sort_aus(rng.choice(("", "L", "R")) + str(number) for number in numbers)
        evidence = _evidence(aus, rng)
        return ClipRecord(
            clip=f"clip-{seed}",
            subject=f"subject-{seed % 3}",
            emotion=rng.choice(facs.EMOTIONS),
            emotion_known=True,
            aus=aus,
            evidence=evidence,
            shard="features-0.safetensors",
            row=seed,
            content=f"hash-{seed}",
            spec='{"seed": 1}',
            returns=_returns(evidence),
            interval=Interval(10, 10 + rng.randint(2, 9), 30),
            fps=30.0,
        )

    return make
