"""The embedder of meanings: its faults everywhere, its meanings where its files are."""

import sys
from pathlib import Path

import pytest

from agentd.context.models.files import EMBEDDERS
from agentd.errors import Unavailable
from agentd.memory.minilm import MODEL_FILE, SHA256, TOKENIZER_FILE, MiniLm, is_there
from agentd.memory.vectors import dot
from tests.providers.modelfile import SLOW, model_directory

needs_packages = pytest.mark.skipif(not MiniLm.can_load(), reason="needs the extra 'chroma'")


def test_what_is_pulled_is_what_is_loaded() -> None:
    assert {model.file: model.sha256 for model in EMBEDDERS.values()} == SHA256
    assert EMBEDDERS["minilm"].beside == ("minilm-tokenizer",)


def test_both_files_must_be_there(tmp_path: Path) -> None:
    assert not is_there(tmp_path)
    (tmp_path / MODEL_FILE).touch()
    assert not is_there(tmp_path)
    (tmp_path / TOKENIZER_FILE).touch()
    assert is_there(tmp_path)


@needs_packages
@pytest.mark.parametrize(
    ("content", "said"), [(None, "models pull minilm"), (b"other", "is not the file it should be")]
)
async def test_does_not_load_other_files(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / MODEL_FILE).write_bytes(content)
        (tmp_path / TOKENIZER_FILE).write_bytes(content)
    embedder = MiniLm(tmp_path)
    with pytest.raises(Unavailable, match=said):
        await embedder.embed(["rain"])
    await embedder.close()


async def test_says_which_package_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    embedder = MiniLm(tmp_path)
    with pytest.raises(Unavailable, match="needs the extra 'chroma'"):
        await embedder.embed(["rain"])
    await embedder.close()


@needs_packages
@SLOW
async def test_other_words_for_the_same_are_near(request: pytest.FixtureRequest) -> None:
    embedder = MiniLm(model_directory(request.config, "minilm", "minilm-tokenizer"))
    vectors = await embedder.embed(
        ["Cats like to sleep in the sun", "felines napping", "The invoice is due", "x " * 2000]
    )
    alone = (await embedder.embed(["felines napping"]))[0]
    await embedder.close()
    assert len(vectors[0]) == 384
    assert dot(vectors[0], vectors[1]) > 0.5 > embedder.floor > dot(vectors[0], vectors[2])
    # What a text is embedded with changes nothing but the last digits.
    assert dot(alone, vectors[1]) > 0.99
