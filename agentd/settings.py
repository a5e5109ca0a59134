"""What the configuration means to each layer, in the words of that layer."""

from collections.abc import Iterable, Mapping, Sequence

from agentd.agent.tool import EffectClass
from agentd.config import Config
from agentd.config.keys import invalid_config
from agentd.context.models.settings import (
    Adapter,
    ModelSettings,
    ModelsSettings,
    ProviderSettings,
)
from agentd.memory.hashing import HashedNgrams
from agentd.memory.minilm import MiniLm, is_there
from agentd.memory.provider import ProviderEmbedder
from agentd.memory.store import Store
from agentd.runtime.leases import LeaseLimits
from agentd.runtime.local import LocalLimits
from agentd.runtime.memories import MemoryLimits, MemoryParts
from agentd.runtime.ports import Embedder
from agentd.runtime.runtime import RuntimeLimits
from agentd.runtime.scheduler import SchedulerLimits
from agentd.runtime.starting import RunLimits
from agentd.runtime.watch import WatchLimits
from agentd.tools.mcp.server import McpServer, check_server
from agentd.tools.redaction import MIN_CHARACTERS
from agentd.tools.secrets import (
    CredentialSource,
    FileSource,
    Secrets,
    Source,
    VariableSource,
)

OPENAI_URL = "https://api.openai.com/v1"


def models_settings(config: Config) -> ModelsSettings:
    """Return what the configuration says about models."""
    providers = tuple(
        ProviderSettings(
            name,
            Adapter(provider.kind),
            base_url=provider.base_url,
            key=key.reveal() if (key := provider.key()) else "",
            key_variable=f"{name.upper()}_API_KEY",
            models=_model_settings(config, name, provider.models),
            default_model=provider.default_model,
            idle_timeout_s=provider.idle_timeout_s,
            directory=config.state.models_directory,
            concurrency=provider.concurrency,
            threads=provider.threads,
        )
        for name, provider in config.models.providers.items()
    )
    script = config.models.scripted.file
    if script is not None:
        model = ModelSettings(script.stem, path=script)
        providers = (*providers, ProviderSettings("scripted", Adapter.SCRIPTED, models=(model,)))
    return ModelsSettings(providers, config.models.default)


def _model_settings(
    config: Config, provider: str, names: tuple[str, ...]
) -> tuple[ModelSettings, ...]:
    """Return the models of a provider that the configuration lists, describes or prices."""
    prefix = f"{provider}/"
    described = [*config.models.details, *config.models.prices]
    listed = [*names, *(name.removeprefix(prefix) for name in described if name.startswith(prefix))]
    settings = []
    for name in dict.fromkeys(listed):
        details = config.models.details.get(prefix + name)
        prices = config.models.prices.get(prefix + name)
        settings.append(
            ModelSettings(
                name,
                details.context_tokens if details else 0,
                details.max_output_tokens if details else 0,
                prices.nanos() if prices else None,
                details.effort if details else "",
                details.path if details else None,
            )
        )
    return tuple(settings)


def secrets_of(config: Config) -> Secrets:
    """Return the declared secrets, and beside them the keys of providers, which are never given to
    tools and are redacted all the same.

    Raises InvalidRequest (INVALID_CONFIG).
    """
    sources: dict[str, Source] = {}
    environment: dict[str, str] = {}
    for name, secret in config.secrets.items():
        if secret.file:
            sources[name] = FileSource(str(secret.file))
        elif secret.credential:
            sources[name] = CredentialSource(secret.credential)
        elif secret.variable:
            sources[name] = VariableSource(secret.variable)
        else:
            at = f"secrets.{name}"
            raise invalid_config(f"{at}: needs one of file, variable and credential", key=at)
        if secret.environment_value:
            environment[secret.variable] = secret.environment_value.reveal()
    secrets = Secrets(sources, environment=environment, credentials=config.supervisor.credentials)
    for name, provider in config.models.providers.items():
        key = provider.key()
        if key and len(key.reveal()) >= MIN_CHARACTERS:
            secrets.conceal(f"{name}-key", key.reveal())
    return secrets


def mcp_settings(config: Config) -> Sequence[McpServer]:
    """Return the servers that are declared.

    Raises InvalidRequest: INVALID_CONFIG, or INVALID_FIELD naming the key.
    """
    servers = [
        McpServer(
            name=name,
            command=server.command,
            url=server.url,
            environment=_pairs(server.environment, "=", f"tools.mcp.{name}.environment"),
            permissions=server.permissions,
            headers=_pairs(server.headers, ":", f"tools.mcp.{name}.headers"),
            effects={
                tool: _effect(effect, f"tools.mcp.{name}.effects")
                for tool, effect in _pairs(server.effects, "=", f"tools.mcp.{name}.effects").items()
            },
            trusted=server.trusted,
            timeout_ms=round(server.timeout_s * 1000),
            memory_bytes=server.memory_mb * 10**6,
        )
        for name, server in config.tools.mcp.items()
    ]
    for server in servers:
        check_server(server, f"tools.mcp.{server.name}")
    return servers


def _pairs(texts: Iterable[str], separator: str, at: str) -> Mapping[str, str]:
    pairs = {}
    for text in texts:
        name, found, value = text.partition(separator)
        if not found or not name.strip():
            raise invalid_config(f"{at}: {text!r} is not NAME{separator}VALUE", key=at)
        pairs[name.strip()] = value.strip() if separator == ":" else value
    return pairs


def _effect(text: str, at: str) -> EffectClass:
    try:
        return EffectClass[text.strip().upper()]
    except KeyError:
        known = ", ".join(effect.name for effect in EffectClass)
        raise invalid_config(f"{at}: {text!r} is none of {known}", key=at) from None


def runtime_limits(config: Config) -> RuntimeLimits:
    """Return the bounds of the runtime."""
    runs = config.runs
    return RuntimeLimits(
        RunLimits(
            budget=runs.budget.limits(),
            max_parallel_calls=runs.max_parallel_calls,
            model_attempts=runs.model_attempts,
            call_attempts=runs.call_attempts,
        ),
        SchedulerLimits(max_active_runs=runs.max_active_runs, idle_eviction_s=runs.idle_eviction_s),
        LeaseLimits(int(runs.lease_s * 1000)),
        WatchLimits(
            config.watch.coalesce_ms / 1000,
            config.watch.page_events,
            config.watch.backlog_events,
        ),
        LocalLimits(config.tools.max_calls, config.tools.max_calls_per_tool),
    )


def memory_parts(config: Config) -> MemoryParts:
    """Return what memories are found with. Opens and loads nothing yet.

    Raises InvalidRequest (INVALID_CONFIG) for a provider that is not configured.
    """
    store = Store(config.memory_directory(), chroma=config.memory.store == "chroma")
    limits = MemoryLimits(
        config.memory.max_memories,
        config.memory.max_text_bytes,
        round(config.memory.working_ttl_s * 1000),
    )
    return MemoryParts(store, _embedder(config), limits)


def _embedder(config: Config) -> Embedder:
    wanted, directory = config.memory.embedder, config.state.models_directory
    if wanted == "minilm" or (wanted == "auto" and is_there(directory) and MiniLm.can_load()):
        return MiniLm(directory)
    if wanted != "provider":
        return HashedNgrams()
    name = config.memory.provider
    provider = config.models.providers.get(name)
    if provider is None or provider.kind != "openai":
        at = "memory.provider"
        message = f"{at}: {name!r} is no provider of kind openai"
        raise invalid_config(message, config.origin(at), at)
    key = provider.key()
    return ProviderEmbedder(
        base_url=provider.base_url or OPENAI_URL,
        model=config.memory.model,
        key=key.reveal() if key else "",
    )
