"""Write each corpus's layout, read it back: two descriptions of one layout, kept apart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from deft_llm import facs
from deft_llm.corpora.base import CORPORA, load_corpus
from deft_llm.corpora.layouts import LAYOUTS
from deft_llm.corpora.mmew import Mmew
from deft_llm.corpora.sheets import read_sheet
from deft_llm.corpora.synthetic import write_corpus, write_sheet
from deft_llm.media.video import read_clip
from deft_llm.simulator.scene.clip_spec import ClipSpec


def smooth(spec: ClipSpec) -> NDArray[np.uint8]:
    """Frames that JPEG keeps nearly as they are, different for every clip and time."""
    y, x = np.mgrid[:32, :40].astype(np.float32)
    t = np.arange(spec.curve.frames, dtype=np.float32)[:, None, None]
    base = 90 + 60 * np.sin(x / 9 + spec.seed) + 40 * np.cos(y / 7) + t
    return np.repeat(np.clip(base, 0, 255)[..., None], 3, axis=-1).astype(np.uint8)


@pytest.mark.parametrize("name", CORPORA)
def test_what_was_written_is_read(name: str, tmp_path: Path) -> None:
    written = write_corpus(name, tmp_path / "corpus", subjects=3, clips=4, renderer=smooth)
    reading = load_corpus(name, tmp_path / "corpus").read()
    assert {a.clip: a for a in reading.annotations} == {
        w.annotation.clip: w.annotation for w in written
    }
    assert len(reading.entries) == len(written)
    assert not reading.report.count("mended")
    folders = {w.annotation.clip: (w.folder, w.spec) for w in written}
    for entry in reading.entries:
        folder, _ = folders[entry.annotation.clip]
        assert entry.folder is not None and entry.folder.samefile(folder)
    entry, (_, spec) = reading.entries[0], folders[reading.entries[0].annotation.clip]
    assert entry.folder is not None and entry.annotation.interval is not None
    frames = read_clip(entry.folder, fps=100).frames
    assert len(frames) == entry.frames
    start = entry.annotation.interval.onset - spec.curve.onset
    error = np.abs(frames[start : start + spec.curve.frames].astype(int) - smooth(spec))
    assert error.mean() < 1.5  # JPEG


def test_a_sheet_is_of_the_kind_that_its_suffix_says(tmp_path: Path) -> None:
    layout = LAYOUTS["mmew"].sheets[0]
    values = {"onset": 3, "apex": 7, "offset": 12, "aus": "4+L7", "word": "others"}
    rows = [{"s": s, "k": k, **values} for s in (1, 2) for k in (1, 2)]
    found = []
    for suffix in (".csv", ".xlsx"):
        path = (tmp_path / layout.file).with_suffix(suffix)
        write_sheet(path, layout, rows, {})
        found.append(read_sheet(path, Mmew.sheet))
    assert found[0] == found[1] and len(found[0]) == 4
    assert (tmp_path / layout.file).with_suffix(".csv").read_text("utf-8").startswith("Subject,")


@pytest.mark.parametrize(
    ("mode", "channels"), [("rgb", 3), ("grey", 1), ("grey16", 1), ("rgba", 4)]
)
def test_every_kind_of_pixel_is_read_exactly(mode: str, channels: int, tmp_path: Path) -> None:
    written = write_corpus(
        "casme2",
        tmp_path,
        subjects=1,
        clips=2,
        renderer=smooth,
        mode=mode,  # type: ignore[arg-type]
    )
    reading = load_corpus("casme2", tmp_path).read()
    for entry, clip in zip(reading.entries, written, strict=True):
        assert entry.folder is not None
        assert np.array_equal(read_clip(entry.folder, fps=200).frames, smooth(clip.spec))


@pytest.mark.parametrize("name", CORPORA)
def test_labels_fall_into_the_schemes_of_the_corpus(name: str, tmp_path: Path) -> None:
    write_corpus(name, tmp_path / "corpus", subjects=4, clips=6, renderer=smooth)
    corpus = load_corpus(name, tmp_path / "corpus")
    reading = corpus.read(frames=False)
    for scheme in corpus.schemes:
        counts = reading.classes(scheme)
        assert set(counts) == set(facs.SCHEMES[scheme])
        assert sum(counts.values()) == sum(
            facs.to_scheme(a.emotion, scheme) is not None for a in reading.annotations
        )
        assert scheme != "3" or min(counts.values()) > 0
