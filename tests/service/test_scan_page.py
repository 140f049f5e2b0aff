"""The demo's tab for scans, with an untrained network."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import numpy as np
import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.facet import files
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.network import Facet
from deft_llm.facet.texts import default_prompts, load_text_tower
from deft_llm.scans.reading import write_scan
from deft_llm.scans.scan import Scan
from deft_llm.service.limits import LIMITS
from deft_llm.service.page import Page
from deft_llm.service.scan_page import ScanPage
from deft_llm.service.sessions import Sessions
from deft_llm.simulator.own_head.head import OwnHead
from deft_llm.simulator.scans import Scanner, Sitter
from deft_llm.weights import save_network

CLASSES = ("anger", "happiness")


@pytest.fixture(scope="module")
def uploads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three frames of a smile, each in a folder of its own as Gradio stores them."""
    folder = tmp_path_factory.mktemp("uploads")
    sitter = Sitter.of(OwnHead(), 3)
    for number, share in enumerate((0.0, 0.5, 1.0)):
        (folder / f"hash{number}").mkdir()
        scan = sitter.scan({"12": share}, Scanner(pitch=1.8))
        write_scan(folder / f"hash{number}" / f"{number:03d}.wrl", scan)
    return folder


@pytest.fixture
def page(uploads: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ScanPage:
    values = {"classes": list(CLASSES), "prompts": default_prompts(CLASSES), "side": 64, "dim": 8}
    config = FacetConfig.model_validate({**values, "visual": {"width": 8, "depth": 1}})
    torch.manual_seed(0)
    (tmp_path / "scans").mkdir()
    network = Facet(config, load_text_tower(config.text).width)
    save_network(network, tmp_path / "scans")
    monkeypatch.setattr(files, "WEIGHTS", tmp_path)
    service = SimpleNamespace(limits=LIMITS)
    return ScanPage(cast(Page, SimpleNamespace(sessions=Sessions(uploads), service=service)))


def test_a_scan_and_a_sequence(page: ScanPage, uploads: Path) -> None:
    frames = [str(path) for path in sorted(uploads.rglob("*.wrl"))]
    card = page.read("me", frames[:1], "")
    assert "happiness" in card and "data:image/png" in card and "Motion" not in card
    card = page.read("me", frames, "pouting: a pout\nonly: [pouting, anger]")
    assert "pouting" in card and "Motion" in card and "network for 3D" in card


def test_uploads_are_frames_in_the_order_of_their_numbers(
    page: ScanPage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: dict[str, object] = {}

    def read_sequence(scans: tuple[Scan, ...], name: str, notes: list[str]) -> None:
        given.update(order=[int(scan.vertices[0, 0]) for scan in scans], notes=notes)

    stub = SimpleNamespace(read_sequence=read_sequence)
    monkeypatch.setattr(page, "_reader", lambda *_: stub)
    paths = [tmp_path / f"{number}.wrl" for number in (9, 12, 10)]
    for path in paths:
        points = np.full((3, 3), int(path.stem), np.float32)
        write_scan(path, Scan(points, np.zeros((0, 3), np.int32)))
    page._reading(paths, None)
    assert given == {"order": [9, 10, 12], "notes": ["frame 11 missing: the others are used"]}


def test_wrong_uploads(page: ScanPage, uploads: Path) -> None:
    with pytest.raises(UserError, match="no scan: upload one"):
        page.read("me", None, "")
    with pytest.raises(UserError, match="not an uploaded file"):
        page.read("me", ["/etc/hostname"], "")
    frame = str(next(uploads.rglob("*.wrl")))
    with pytest.raises(UserError, match="at most 150 frames"):
        page.read("me", [frame] * 151, "")
    with pytest.raises(UserError, match="name action units"):
        page.read("me", [frame], "table: a table")
