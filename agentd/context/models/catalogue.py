"""The models that are configured: which there are, which can be used, and the way to each."""

import asyncio
import importlib
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from typing import Protocol, assert_never

from agentd.agent.budget import FREE
from agentd.agent.message import ModelChunk, ModelError, ModelErrorKind, ModelInfo, ModelRequest
from agentd.context.models.files import LOCAL_MODELS, path_of
from agentd.context.models.known import DEFAULT_MODELS, KNOWN_MODELS, UNKNOWN_OUTPUT_TOKENS
from agentd.context.models.settings import (
    Adapter,
    ModelSettings,
    ModelsSettings,
    ProviderSettings,
)
from agentd.errors import Conflict, NotFound, Reason

_ADVICE = (
    "no model can be used: set ANTHROPIC_API_KEY, set OPENAI_API_KEY, or run "
    "`agentd models pull smollm2`"
)
_NAMED_AT_MOST = 12
_MODULES = {
    Adapter.ANTHROPIC: "agentd.context.models.anthropic",
    Adapter.LOCAL: "agentd.context.models.local",
    Adapter.OPENAI: "agentd.context.models.openai",
    Adapter.SCRIPTED: "agentd.context.models.scripted",
}


_OPENED_AT_MOST = 256
"""Adapters that are kept at hand; clients may name any number of models."""


class Streaming(Protocol):
    """What every adapter's model can do."""

    def stream(self, request: ModelRequest) -> AsyncGenerator[ModelChunk, None]:
        """Answer a request: TextDeltas, then one ModelReply."""
        ...


class Connection(Protocol):
    """What every adapter holds open for a provider."""

    def model(self, settings: ModelSettings) -> Streaming:
        """Return one of the provider's models."""
        ...

    async def close(self) -> None:
        """Release what is held."""
        ...


class Catalogue:
    """The port `Models` over the configuration."""

    def __init__(self, settings: ModelsSettings) -> None:
        self._default = settings.default
        self._providers = {provider.name: provider for provider in settings.providers}
        self._connections: dict[str, Connection] = {}
        self._connecting: dict[str, asyncio.Lock] = {}
        self._opened: dict[str, Streaming] = {}
        """Adapters at hand: looking a model up costs as much as the rest of a request."""

    def resolve(self, name: str) -> ModelInfo:
        """Return a model by `provider/model`, by a bare name that a provider lists, or the default
        for an empty name.

        Any name is taken under a provider that serves models over the network, since it adds models
        faster than a table can. Raises NotFound (MODEL_NOT_FOUND) or Conflict (NO_MODEL).
        """
        if not name:
            return self._resolve_default()
        found = self._find(name)
        if found is None:
            raise NotFound(
                Reason.MODEL_NOT_FOUND,
                f"there is no model {name[:80]!r}; there are: {self._names()}",
                metadata={"model": name[:80]},
            )
        return _info(*found)

    async def open(self, name: str) -> Streaming:
        """Return the adapter of `provider/model`, loading what it needs off the event loop.

        Raises ModelError (AUTHENTICATION or INVALID_REQUEST) when it cannot be used.
        """
        opened = self._opened.get(name)
        if opened is not None:
            return opened
        found = self._find(name)
        if found is None:
            raise ModelError(ModelErrorKind.INVALID_REQUEST, f"there is no model {name[:80]!r}")
        provider, model = found
        detail = _obstacle(provider, model)
        if detail:
            remote = provider.adapter in (Adapter.ANTHROPIC, Adapter.OPENAI)
            kind = ModelErrorKind.AUTHENTICATION if remote else ModelErrorKind.INVALID_REQUEST
            raise ModelError(kind, f"{name}: {detail}")
        key = name if _has_file(provider) else provider.name
        async with self._connecting.setdefault(key, asyncio.Lock()):
            if key not in self._connections:
                self._connections[key] = await _connect(provider, model)
        if len(self._opened) >= _OPENED_AT_MOST:
            self._opened.clear()
        adapter = self._opened[name] = self._connections[key].model(model)
        return adapter

    def list(self) -> Sequence[ModelInfo]:
        """Return the models that are known by name, ordered by name."""
        infos = [
            _info(provider, model)
            for provider in self._providers.values()
            for model in _listed(provider)
        ]
        return sorted(infos, key=lambda info: info.name)

    async def close(self) -> None:
        """Release connections and loaded models."""
        async with AsyncExitStack() as stack:
            for connection in self._connections.values():
                stack.push_async_callback(connection.close)
            self._connections = {}
            self._opened = {}

    def _resolve_default(self) -> ModelInfo:
        if self._default:
            info = self.resolve(self._default)
            if not info.ready:
                message = f"the default model {info.name} cannot be used: {info.detail}"
                raise Conflict(Reason.NO_MODEL, message)
            return info
        for provider in self._providers.values():
            model = _default(provider)
            if model and not _obstacle(provider, model):
                return _info(provider, model)
        raise Conflict(Reason.NO_MODEL, _ADVICE)

    def _find(self, name: str) -> tuple[ProviderSettings, ModelSettings] | None:
        prefix, _, rest = name.partition("/")
        provider = self._providers.get(prefix)
        if provider and rest:
            model = _model(provider, rest)
            return (provider, model) if model else None
        for provider in self._providers.values():
            for model in _listed(provider):
                if model.name == name:
                    return provider, model
        return None

    def _names(self) -> str:
        names = [info.name for info in self.list()]
        more = len(names) - _NAMED_AT_MOST
        return ", ".join(names[:_NAMED_AT_MOST]) + (f" and {more} more" if more > 0 else "")


async def _connect(provider: ProviderSettings, model: ModelSettings) -> Connection:
    """Load the adapter's module off the loop, and have it connect."""
    module = await asyncio.to_thread(importlib.import_module, _MODULES[provider.adapter])
    connect: Callable[[ProviderSettings, ModelSettings], Awaitable[Connection]] = module.connect
    return await connect(provider, model)


def _has_file(provider: ProviderSettings) -> bool:
    """Whether each model of the provider has a file of its own."""
    return provider.adapter in (Adapter.LOCAL, Adapter.SCRIPTED)


def _listed(provider: ProviderSettings) -> Iterable[ModelSettings]:
    """List the models of a provider that are known by name, with all that is known of them."""
    names = {model.name for model in provider.models}
    if not provider.base_url:  # Another server has other models.
        names |= {model.name for model in KNOWN_MODELS[provider.adapter]}
    if provider.adapter is Adapter.LOCAL and provider.directory and provider.directory.is_dir():
        names |= {path.stem for path in provider.directory.glob("*.gguf")}
    models = (_model(provider, name) for name in sorted(names))
    return [model for model in models if model]


def _model(provider: ProviderSettings, name: str) -> ModelSettings | None:
    """Return all that is known of one model: what is configured, over what is in the table."""
    known = _by_name(KNOWN_MODELS[provider.adapter], name)
    configured = _by_name(provider.models, name)
    path = configured.path if configured else None
    if provider.adapter is Adapter.LOCAL and path is None and provider.directory:
        path = path_of(name, provider.directory)
    if _has_file(provider) and not (known or configured or path):
        return None
    below = known or ModelSettings(name)
    above = configured or below
    return replace(
        below,
        context_tokens=above.context_tokens or below.context_tokens,
        max_output_tokens=above.max_output_tokens
        or below.max_output_tokens
        or UNKNOWN_OUTPUT_TOKENS,
        prices=above.prices or below.prices,
        effort=above.effort or below.effort,
        path=path,
    )


def _by_name(models: Iterable[ModelSettings], name: str) -> ModelSettings | None:
    return next((model for model in models if model.name == name), None)


def _default(provider: ProviderSettings) -> ModelSettings | None:
    name = provider.default_model
    if not name and not provider.base_url:
        name = DEFAULT_MODELS.get(provider.adapter, "")
    if not name and provider.models:
        name = provider.models[0].name
    return _model(provider, name) if name else None


def _info(provider: ProviderSettings, model: ModelSettings) -> ModelInfo:
    detail = _obstacle(provider, model)
    return ModelInfo(
        f"{provider.name}/{model.name}",
        model.context_tokens,
        model.max_output_tokens,
        model.prices or FREE,
        ready=not detail,
        detail=detail,
    )


def _obstacle(provider: ProviderSettings, model: ModelSettings) -> str:
    """Say why a model cannot be used; empty when it can."""
    match provider.adapter:
        case Adapter.ANTHROPIC | Adapter.OPENAI:
            if provider.key or provider.base_url:
                return ""
            variable = provider.key_variable
            return f"set {variable}" if variable else f"set the key of provider {provider.name}"
        case Adapter.LOCAL:
            if model.path and model.path.is_file():
                return ""
            if model.path:
                return f"there is no file {model.path}"
            if model.name in LOCAL_MODELS:
                return f"run `agentd models pull {model.name}`"
            return "it has no file"
        case Adapter.SCRIPTED:
            return "" if model.path else "it has no script"
        case _:
            assert_never(provider.adapter)
