"""Datasets of 3D and 4D faces: readers of their trees, one class each.

A reader lists what is there: whose face, which expression, how strong, and the file or the folder
of frames. The scans themselves are opened by `scans.reading`. No licensed copy was at hand: the
trees follow the datasets' papers and public readers of them, and are written out below.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import ClassVar

from deft_llm.corpora.four_dme import FourDme
from deft_llm.corpora.people import clip_name, subject_key
from deft_llm.corpora.report import Report
from deft_llm.corpora.scan_base import ScanCorpus, ScanEntry
from deft_llm.corpora.sheets import read_sheet
from deft_llm.registry import resolve

SCAN_CORPORA: dict[str, str] = {
    "bu3dfe": "deft_llm.corpora.scans:Bu3dfe",
    "bosphorus": "deft_llm.corpora.scans:Bosphorus",
    "bu4dfe": "deft_llm.corpora.scans:Bu4dfe",
    "bp4d": "deft_llm.corpora.scans:Bp4d",
    "four_dme_4d": "deft_llm.corpora.scans:FourDme4D",
}
"""Name -> "module:Class"; each class takes the dataset's folder."""


class Bu3dfe(ScanCorpus):
    """BU-3DFE (Yin et al. 2006)."""

    name = "bu3dfe"
    title = "BU-3DFE"
    licence = "Binghamton University (L. Yin)"
    tree = """
BU_3DFE/
  F0001/F0001_AN01WH_F3D.wrl   (AN DI FE HA SA SU with 01-04, NE00; _RAW is the uncropped scan)
  F0001/F0001_AN01WH_F3D.bmp   (its texture)
"""
    sequences = False
    published = "100 subjects, 2,500 scans: six expressions at four intensities, and neutral"
    words: ClassVar[Mapping[str, str]] = {
        "AN": "anger",
        "DI": "disgust",
        "FE": "fear",
        "HA": "happiness",
        "SA": "sadness",
        "SU": "surprise",
        "NE": "neutral",
    }
    _file = re.compile(r"([FM]\d{4})_([A-Z]{2})(\d\d)([A-Z]{2})_F3D\.wrl", re.IGNORECASE)

    def find(self, report: Report) -> Iterator[ScanEntry]:
        """See the base; the cropped models (F3D) are read, the raw ones are not."""
        for path in self._files("_f3d.wrl"):
            found = self._file.fullmatch(path.name)
            word = self.words.get(found[2].upper()) if found else None
            if found is None or word is None:
                why = "expected F0001_AN01WH_F3D.wrl"
                report.add(path.name, None, "an unknown name", why, "dropped")
                continue
            subject = f"bu3dfe_{found[1].lower()}"
            yield ScanEntry(subject, path.stem, path, (word,), int(found[3]))


class Bosphorus(ScanCorpus):
    """Bosphorus (Savran et al. 2008): the emotional expressions and the neutral faces."""

    name = "bosphorus"
    title = "Bosphorus 3D Face Database"
    licence = "Bogazici University (bosphorus.ee.boun.edu.tr)"
    tree = """
BosphorusDB/
  bs000/bs000_E_HAPPY_0.bnt    (E_ANGER E_DISGUST E_FEAR E_HAPPY E_SADNESS E_SURPRISE, N_N)
  bs000/bs000_E_HAPPY_0.png    (its photograph)
"""
    sequences = False
    published = "105 subjects, 4,666 scans; 65 subjects have all six expressions"
    words: ClassVar[Mapping[str, str]] = {
        "E_ANGER": "anger",
        "E_DISGUST": "disgust",
        "E_FEAR": "fear",
        "E_HAPPY": "happiness",
        "E_SADNESS": "sadness",
        "E_SURPRISE": "surprise",
        "N_N": "neutral",
    }
    _file = re.compile(r"(bs\d{3})_(.+)_(\d+)\.bnt", re.IGNORECASE)

    def find(self, report: Report) -> Iterator[ScanEntry]:
        """See the base; scans of action units, poses and occlusions show no expression."""
        for path in self._files(".bnt"):
            found = self._file.fullmatch(path.name)
            if found is None:
                why = "expected bs000_E_HAPPY_0.bnt"
                report.add(path.name, None, "an unknown name", why, "dropped")
            elif (word := self.words.get(found[2].upper())) is not None:
                yield ScanEntry(f"bosphorus_{found[1].lower()}", path.stem, path, (word,))


class Bu4dfe(ScanCorpus):
    """BU-4DFE (Yin et al. 2008)."""

    name = "bu4dfe"
    title = "BU-4DFE"
    licence = "Binghamton University (L. Yin)"
    tree = """
BU4DFE/
  F001/Angry/000.wrl           (Angry Disgust Fear Happy Sad Surprise; about 100 frames each)
  F001/Angry/000.jpg           (its texture)
"""
    sequences = True
    published = "101 subjects, 606 sequences"
    words: ClassVar[Mapping[str, str]] = {
        "angry": "anger",
        "disgust": "disgust",
        "fear": "fear",
        "happy": "happiness",
        "sad": "sadness",
        "surprise": "surprise",
    }
    _subject = re.compile(r"[FM]\d{3}", re.IGNORECASE)

    def find(self, report: Report) -> Iterator[ScanEntry]:
        """See the base."""
        for folder in self._folders(".wrl"):
            subject, word = folder.parent.name, self.words.get(folder.name.lower())
            if word is None or not self._subject.fullmatch(subject):
                why = "expected F001/Angry"
                report.add(str(folder), None, "an unknown folder", why, "dropped")
                continue
            name = f"{subject}_{folder.name}"
            yield ScanEntry(f"bu4dfe_{subject.lower()}", name, folder, (word,))


class Bp4d(ScanCorpus):
    """BP4D-Spontaneous (Zhang et al. 2014): the tasks that are read as an emotion."""

    name = "bp4d"
    title = "BP4D-Spontaneous"
    licence = "Binghamton University and the University of Pittsburgh"
    tree = """
BP4D/
  F001/T1/0000.obj             (T1 is read as happiness and T8 as disgust; other tasks are left out)
"""
    sequences = True
    published = "41 subjects, 8 tasks"
    words: ClassVar[Mapping[str, str]] = {"t1": "happiness", "t8": "disgust"}
    _subject = re.compile(r"[FM]\d{3}", re.IGNORECASE)

    def find(self, report: Report) -> Iterator[ScanEntry]:
        """See the base."""
        for folder in self._folders(".obj", ".wrl", ".ply"):
            subject, task = folder.parent.name, folder.name.lower()
            if not self._subject.fullmatch(subject) or not re.fullmatch(r"t\d", task):
                why = "expected F001/T1"
                report.add(str(folder), None, "an unknown folder", why, "dropped")
            elif task in self.words:
                name = f"{subject}_{folder.name}"
                yield ScanEntry(f"bp4d_{subject.lower()}", name, folder, (self.words[task],))


class FourDme4D(ScanCorpus):
    """4DME (Li et al. 2022), its 4D videos, with every emotion that a clip was given."""

    name = "four_dme_4d"
    title = "4DME"
    licence = FourDme.licence
    tree = """
4DME/
  4DME_Labelling_Micro_release v1.xlsx
  4D_micro/01/01_1st_001_01_1/Frame_000000001.obj
"""
    sequences = True
    published = "spontaneous micro- and macro-expressions, 22 action units, 5 emotions"

    def find(self, report: Report) -> Iterator[ScanEntry]:
        """See the base."""
        folders = {folder.name: folder for folder in self._folders(".obj", ".ply", ".wrl")}
        sheets = [p for p in sorted(self.root.rglob("4DME_Labelling_Micro*")) if p.is_file()]
        if not sheets:
            raise self._missing(f"{self.root}: no sheet 4DME_Labelling_Micro*")
        for row in read_sheet(sheets[-1], FourDme.sheet):
            clip, words = clip_name(row["clip"]), re.split(r"[+/,&]", row["emotion"])
            known = [FourDme.emotions.get(word.strip().capitalize()) for word in words]
            if clip not in folders or None in known:
                what = f"no folder {clip}" if clip not in folders else f"{row['emotion']!r}"
                report.add(sheets[-1].name, row.number, what, "the clip cannot be used", "dropped")
                continue
            subject = f"4dme_{subject_key(row['subject']).zfill(2)}"
            yield ScanEntry(subject, clip, folders[clip], tuple(str(word) for word in known))


def load_scan_corpus(name: str, root: Path | str) -> ScanCorpus:
    """Open a dataset of scans by name.

    Raises:
        UserError: If the name is unknown or the folder is missing.
    """
    found: type[ScanCorpus] = resolve(SCAN_CORPORA, name, "dataset of scans")
    return found(root)
