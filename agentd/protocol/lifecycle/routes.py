"""Say which model of a route serves a thread, or a run of the protocol `direct`. Pure."""

from agentd.agent.events import FailureReason, RunStarted
from agentd.agent.lifecycle import RoutedModel
from agentd.agent.state import State
from agentd.agent.threads import Lifecycle, Thread


def model_of(lifecycle: Lifecycle, thread: Thread) -> RoutedModel:
    """Return the model that serves a thread."""
    models = lifecycle.terms.models(thread.purpose)
    return models[min(thread.model, len(models) - 1)]


def fallback(lifecycle: Lifecycle, thread: Thread) -> RoutedModel | None:
    """Return the model that takes over from one that stays down, or None."""
    failure = thread.failure
    if failure is None or failure.reason is not FailureReason.MODEL_UNAVAILABLE:
        return None
    models = lifecycle.terms.models(thread.purpose)
    return models[thread.model + 1] if thread.model + 1 < len(models) else None


def model_of_run(state: State, started: RunStarted) -> RoutedModel:
    """Return the model that serves a run of the protocol `direct`."""
    if state.rerouted:
        return started.fallbacks[state.rerouted - 1]
    return RoutedModel(started.model, started.prices, started.max_output_tokens)


def fallback_of(state: State) -> RoutedModel | None:
    """Return the model that takes over in a run of the protocol `direct`, or None."""
    failure, started = state.failure, state.started
    if failure is None or failure.reason is not FailureReason.MODEL_UNAVAILABLE or started is None:
        return None
    left = started.fallbacks[state.rerouted :]
    return left[0] if left else None
