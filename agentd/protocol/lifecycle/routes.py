"""Say which model of a route serves a thread. Pure."""

from agentd.agent.events import FailureReason
from agentd.agent.lifecycle import RoutedModel
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
