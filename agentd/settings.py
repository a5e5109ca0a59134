"""What the configuration means to each layer, in the words of that layer."""

from agentd.config import Config
from agentd.context.models.settings import (
    Adapter,
    ModelSettings,
    ModelsSettings,
    ProviderSettings,
)
from agentd.runtime.leases import LeaseLimits
from agentd.runtime.runtime import RuntimeLimits
from agentd.runtime.scheduler import SchedulerLimits
from agentd.runtime.starting import RunLimits
from agentd.runtime.watch import WatchLimits


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
    )
