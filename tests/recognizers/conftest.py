"""A folder of measured clips, as a recipe reads it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from deft_llm.data.feature_files import save_features
from deft_llm.data.features import Features
from deft_llm.data.records import ClipRecord
from deft_llm.files import write_lines

EMOTIONS = ("happiness", "disgust", "surprise", "others")


def write_folder(folder: Path, make: Callable[[int], Features], subjects: str) -> Path:
    """Twelve clips of twelve subjects, every fourth of none of the three classes."""
    folder.mkdir()
    record = ClipRecord("", "", None, True, ("12",), (), "features-0.safetensors", 0, "")
    records = [
        replace(record, clip=f"c{i}", subject=f"{subjects}{i}", emotion=EMOTIONS[i % 4], row=i)
        for i in range(12)
    ]
    save_features(folder / "features-0.safetensors", [make(i) for i in range(12)])
    write_lines(folder / "clips.jsonl", (r.to_json() for r in records))
    return folder
