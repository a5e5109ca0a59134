"""The lines of a transcript, as tests/clients/README.md defines them."""

from collections.abc import Callable, Mapping
from typing import Any

from google.protobuf.message import Message

from agentd.client import AgentdError
from agentd.v1.call_pb2 import Call
from agentd.v1.event_pb2 import Event
from agentd.v1.run_pb2 import CancelEntry, Run


def quoted(text: str) -> str:
    """Return a text as one word."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def enum_value(message: Message, field: str) -> str:
    """Return the value of an enum field without its prefix; empty when it is unset."""
    enum = message.DESCRIPTOR.fields_by_name[field].enum_type
    number = getattr(message, field)
    if enum is None or not number:
        return ""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return enum.values_by_number[number].name.removeprefix(prefix)


def refusal_line(step: str, error: AgentdError) -> str:
    """Return the line of a step whose request was refused."""
    return f"refused {step} {_error(error)}"


def error_line(case: str, error: AgentdError) -> str:
    """Return the line of one case of the step `errors`."""
    pairs = sorted((key, value) for key, value in error.metadata.items() if key != "code")
    metadata = ",".join(f"{key}:{value}" for key, value in pairs)
    retry = "none" if error.retry_after_s is None else str(round(error.retry_after_s * 1000))
    return f"error {case} {_error(error)} metadata={metadata} retry_ms={retry}"


def _error(error: AgentdError) -> str:
    fields = ",".join(fault.field for fault in error.faults)
    kind = next(kind for kind in type(error).__mro__ if not kind.__name__.startswith("_"))
    return f"{kind.__name__} {error.reason.value} {error.metadata.get('code', '')} fields={fields}"


def run_line(run: Run) -> str:
    """Return the line of a run."""
    return (
        f"run {run.name} state={enum_value(run, 'state')} output={quoted(run.output)}"
        f" failure={enum_value(run.failure, 'reason')}"
        f" turns={run.usage.turns} tool_calls={run.usage.tool_calls}"
    )


def call_line(call: Call) -> str:
    """Return the line of a call."""
    return (
        f"call {call.name} tool={call.tool} state={enum_value(call, 'state')}"
        f" attempt={call.attempt} host={call.host} result={quoted(call.result_json)}"
        f" error={enum_value(call.error, 'reason')}"
    )


def entry_line(entry: CancelEntry) -> str:
    """Return the line of one entry of a cancel report."""
    return f"entry {entry.name} {enum_value(entry, 'outcome')}"


def event_line(event: Event) -> str:
    """Return the line of an event."""
    kind = str(event.WhichOneof("payload"))
    more = _MORE[kind](getattr(event, kind)) if kind in _MORE else ""
    return f"event {event.run} {event.sequence} {kind}{more and ' '}{more}"


def _replied(fact: Any) -> str:
    calls = ",".join(f"{call.tool}({call.call})" for call in fact.calls)
    stop = enum_value(fact, "stop_reason")
    return f"turn={fact.turn} text={quoted(fact.text)} calls={calls} stop={stop}"


def _ended_call(fact: Any) -> str:
    return (
        f"call={fact.call} attempt={fact.attempt} state={enum_value(fact, 'state')}"
        f" result={quoted(fact.result_json)} error={enum_value(fact.error, 'reason')}"
        f" message={quoted(fact.error.message)}"
    )


def _lost(fact: Any) -> str:
    return f"call={fact.call} attempt={fact.attempt} reason={enum_value(fact, 'reason')}"


def _ended_run(fact: Any) -> str:
    state, failure = enum_value(fact, "state"), enum_value(fact.failure, "reason")
    return f"state={state} output={quoted(fact.output)} failure={failure}"


_MORE: Mapping[str, Callable[[Any], str]] = {
    "run_created": lambda fact: (
        f"agent={fact.agent} agent_revision={fact.agent_revision} goal={quoted(fact.goal)}"
    ),
    "run_started": lambda fact: f"model={fact.model}",
    "run_waiting": lambda fact: f"reason={enum_value(fact, 'reason')}",
    "run_cancelling": lambda fact: (
        f"reason={quoted(fact.reason)} outcome={enum_value(fact, 'outcome')}"
    ),
    "run_ended": _ended_run,
    "message_posted": lambda fact: f"text={quoted(fact.text)}",
    "model_requested": lambda fact: f"turn={fact.turn} attempt={fact.attempt}",
    "model_replied": _replied,
    "call_leased": lambda fact: f"call={fact.call} attempt={fact.attempt} host={fact.host}",
    "call_lost": _lost,
    "call_unknown": _lost,
    "call_ended": _ended_call,
}
