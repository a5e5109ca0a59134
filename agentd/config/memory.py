"""The section of the configuration about memory."""

from dataclasses import dataclass
from pathlib import Path

from agentd.config.keys import FLAG, OPTIONAL_PATH, TEXT, choice, integer, key, number


@dataclass(frozen=True, slots=True)
class MemorySection:
    """What agents remember beyond a run, and how it is found."""

    embedder: str = key(
        "auto",
        choice("auto", "minilm", "provider", "lexical"),
        "What compares meanings. auto: minilm if it was pulled, else lexical: spellings only.",
    )
    provider: str = key(
        "openai", TEXT, "With provider: which one. What is remembered is then sent to it."
    )
    model: str = key("text-embedding-3-small", TEXT, "With provider: its embedding model.")
    store: str = key(
        "chroma", choice("chroma", "sqlite"), "What holds the vectors. sqlite needs no package."
    )
    directory: Path | None = key(
        None, OPTIONAL_PATH, "Where the index is. Empty: memory, below state.directory."
    )
    tools: bool = key(True, FLAG, "Whether agents may be given memory/remember and memory/recall.")
    working_ttl_s: float = key(
        86_400.0, number(1, 10**9, "seconds"), "How long a working memory lives when nobody says."
    )
    max_memories: int = key(100_000, integer(1, 10**7), "Memories of one namespace.")
    max_text_bytes: int = key(32_768, integer(1, 1 << 20, "bytes"), "The longest memory.")
