"""What the configuration says about models. Data only: no environment, no provider's SDK."""

from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path

from agentd.agent.budget import Prices

CONNECT_TIMEOUT_S = 10.0
IDLE_TIMEOUT_S = 300.0


class Adapter(Enum):
    """The code that speaks to a provider; the values are what the configuration writes."""

    ANTHROPIC = "anthropic"
    OPENAI = "openai"
    LOCAL = "local"
    SCRIPTED = "scripted"


@dataclass(frozen=True, slots=True)
class ModelSettings:
    """One model of a provider. What is unset is taken from the table of known models."""

    name: str
    """The model's own name at its provider, without `provider/`."""
    context_tokens: int = 0
    max_output_tokens: int = 0
    prices: Prices | None = None
    effort: str = ""
    """OpenAI's `reasoning_effort`, sent with requests that carry tools."""
    path: Path | None = None
    """The GGUF file of a local model, or the script of a scripted one."""


@dataclass(frozen=True, slots=True)
class ProviderSettings:
    """One provider, by the name that stands before the `/` of its models."""

    name: str
    adapter: Adapter
    base_url: str = ""
    """Empty means the provider's own address; else a compatible server's."""
    key: str = field(default="", repr=False)
    key_variable: str = ""
    """The environment variable that would have given the key, for advice; never read here."""
    models: tuple[ModelSettings, ...] = ()
    default_model: str = ""
    """Empty means the known default of the adapter, else the first of `models`."""
    idle_timeout_s: float = IDLE_TIMEOUT_S
    """How long a stream may say nothing before it counts as broken."""
    directory: Path | None = None
    """Where `agentd models pull` puts the files of local models."""
    concurrency: int = 1
    """How many requests a local model serves at a time: 1 or 2."""
    threads: int = 0
    """With how many threads a local model computes; 0 means the physical cores but one."""


@dataclass(frozen=True, slots=True)
class ModelsSettings:
    """Every provider, in the order in which they are tried for a default."""

    providers: tuple[ProviderSettings, ...] = ()
    default: str = ""
    """`provider/model`; empty means the default of the first provider that is ready."""
