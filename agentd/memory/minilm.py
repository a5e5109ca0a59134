"""The embedder that knows meanings without asking anybody: all-MiniLM-L6-v2 as int8 ONNX.

Its two files are pulled like a local model's and are checked by their digests before they are
loaded; onnxruntime and tokenizers come with the extra `chroma`. Loading takes about half a second
and 100 MB, so it waits for the first text, and happens in the embedder's own thread.
"""

import asyncio
import hashlib
import importlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from agentd.agent.memory import Vector
from agentd.errors import Reason, Unavailable

MODEL_FILE: Final = "minilm.onnx"
TOKENIZER_FILE: Final = "minilm-tokenizer.json"
SHA256: Final = {
    MODEL_FILE: "8199be6f699a395f99f89df973f9dc5285fbcfcdb2ae1a4e1201dab014f3d2a6",
    TOKENIZER_FILE: "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MAX_TOKENS: Final = 256
"""What its authors trained it on; what comes after is not looked at."""
MAX_BATCH: Final = 16
ADVICE: Final = "get it with `agentd models pull minilm`"


def is_there(directory: Path) -> bool:
    """Whether both files are in a directory of models."""
    return all((directory / name).is_file() for name in SHA256)


class MiniLm:
    """The port `Embedder` on onnxruntime. Vectors have 384 coordinates."""

    name = "minilm-l6-v2-int8"
    lexical = False
    floor = 0.18
    """Below this cosine two texts are about different things, mostly: unrelated pairs of short
    sentences lie around 0.05 and rarely above this."""

    def __init__(self, directory: Path, *, threads: int = 1) -> None:
        self._directory = directory
        self._threads = threads
        self._worker = ThreadPoolExecutor(1, "minilm")
        self._loaded: tuple[Any, Any, Any] | None = None

    @staticmethod
    def can_load() -> bool:
        """Whether the packages are installed that it needs."""
        return all(find_spec(name) for name in ("numpy", "onnxruntime", "tokenizers"))

    async def embed(self, texts: Sequence[str]) -> Sequence[Vector]:
        """Return a vector for each text: about 2 ms for a short one.

        Raises Unavailable (UNREACHABLE) when a package or a file is missing or not the right one.
        """
        loop = asyncio.get_running_loop()
        vectors: list[Vector] = []
        for start in range(0, len(texts), MAX_BATCH):
            batch = texts[start : start + MAX_BATCH]
            vectors += await loop.run_in_executor(self._worker, self._embed, batch)
        return vectors

    async def close(self) -> None:
        """Let the thread end."""
        await asyncio.to_thread(self._worker.shutdown, cancel_futures=True)

    def _embed(self, texts: Sequence[str]) -> list[Vector]:
        numpy, tokenizer, session = self._loaded or self._load()
        encoded = tokenizer.encode_batch(list(texts))
        ids = numpy.array([each.ids for each in encoded], dtype=numpy.int64)
        mask = numpy.array([each.attention_mask for each in encoded], dtype=numpy.int64)
        types = numpy.zeros_like(ids)
        [states] = session.run(
            None, {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        )
        # The mean over the tokens, as the model's card has it: padding does not count.
        weights = mask[:, :, None].astype(numpy.float32)
        means = (states * weights).sum(axis=1) / weights.sum(axis=1)
        means /= numpy.linalg.norm(means, axis=1, keepdims=True)
        return [tuple(row) for row in means.tolist()]

    def _load(self) -> tuple[Any, Any, Any]:
        """Load packages and files. Blocks."""
        try:
            numpy: Any = importlib.import_module("numpy")
            runtime: Any = importlib.import_module("onnxruntime")
            tokenizers: Any = importlib.import_module("tokenizers")
        except ImportError as error:
            message = f"{self.name} needs the extra 'chroma': {error}"
            raise Unavailable(Reason.UNREACHABLE, message) from error
        files = {name: self._read(name) for name in SHA256}
        tokenizer = tokenizers.Tokenizer.from_str(files[TOKENIZER_FILE].decode())
        tokenizer.enable_truncation(MAX_TOKENS)
        tokenizer.enable_padding()
        options = runtime.SessionOptions()
        options.intra_op_num_threads = self._threads
        options.inter_op_num_threads = 1
        session = runtime.InferenceSession(
            files[MODEL_FILE], options, providers=["CPUExecutionProvider"]
        )
        self._loaded = numpy, tokenizer, session
        return self._loaded

    def _read(self, name: str) -> bytes:
        path = self._directory / name
        try:
            data = path.read_bytes()
        except OSError as error:
            message = f"{path} cannot be read ({error.strerror}): {ADVICE}"
            raise Unavailable(Reason.UNREACHABLE, message) from error
        if hashlib.sha256(data).hexdigest() != SHA256[name]:
            message = f"{path} is not the file it should be: delete it, and {ADVICE}"
            raise Unavailable(Reason.UNREACHABLE, message)
        return data
