"""The demo's tab for scans, with an untrained network."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest
import torch

from deft_llm.errors import UserError
from deft_llm.facet import files
from deft_llm.facet.configuration import FacetConfig
from deft_llm.facet.network import Facet
from deft_llm.facet.texts import default_prompts, load_text_tower
from deft_llm.scans.reading import write_scan
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
    (card,) = page.read("me", frames[:1], "")
    assert "happiness" in card and "data:image/png" in card and "Motion" not in card
    (card,) = page.read("me", frames, "pouting: a pout\nonly: [pouting, anger]")
    assert "pouting" in card and "Motion" in card and "network for 3D" in card


def test_frames_go_by_their_numbers_and_a_damaged_one_is_told(
    page: ScanPage, uploads: Path, tmp_path: Path
) -> None:
    """As in a folder of the command: 10 comes after 9, whatever the order of the upload."""
    frames = sorted(uploads.rglob("*.wrl"))[:3]
    damaged = tmp_path / "damaged"
    damaged.write_text("#VRML V2.0 utf8\n")
    placed = []
    for name, frame in zip(
        ("f10.wrl", "f9.wrl", "f8.wrl", "f11.wrl"), (*frames[::-1], damaged), strict=True
    ):
        (uploads / name[:-4]).mkdir()
        placed.append(str(shutil.copy(frame, uploads / name[:-4] / name)))
    (card,) = page.read("me", placed, "")
    assert "most at frame 3" in card, "the smile is largest in f10"
    assert "Frame 11 is left out" in card
    (uploads / "other").mkdir()
    again = shutil.copy(frames[0], uploads / "other" / "f8.wrl")
    with pytest.raises(UserError, match=r"f8.wrl: two files have this name"):
        page.read("me", [*placed, str(again)], "")
    for name in ("f8", "f9", "f10", "f11", "other"):
        shutil.rmtree(uploads / name)


def test_wrong_uploads(page: ScanPage, uploads: Path) -> None:
    with pytest.raises(UserError, match="no scan: upload one"):
        page.read("me", None, "")
    with pytest.raises(UserError, match="not an uploaded file"):
        page.read("me", ["/etc/hostname"], "")
    frame = str(next(uploads.rglob("*.wrl")))
    with pytest.raises(UserError, match="at most 150 frames"):
        page.read("me", [frame] * 151, "")
    with pytest.raises(UserError, match="expressions: 'a smirk' has no name; expected one a line"):
        page.read("me", [frame], "pouting: a pout\na smirk")
    with pytest.raises(UserError, match="name action units"):
        page.read("me", [frame], "table: a table")
