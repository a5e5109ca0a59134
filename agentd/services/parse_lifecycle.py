"""Read what requests say about plans, phases and tasks into the vocabulary."""

from collections.abc import Iterable

from agentd.agent.ids import RunId, parse_child_name
from agentd.agent.lifecycle import TaskId
from agentd.agent.message import Purpose
from agentd.errors import invalid_field
from agentd.protocol.lifecycle.forms import PHASES, places, unknown_places
from agentd.services import checks
from agentd.services.checks import KIB
from agentd.v1 import agent_pb2

MAX_PROMPT_BYTES = 64 * KIB


def task_name(name: str, field: str = "name") -> tuple[RunId, TaskId]:
    """Return the ids of `runs/{run}/tasks/{task}`."""
    run, task = parse_child_name(name, "runs", "tasks", field)
    return RunId(run), TaskId(task)


def phase_prompts(prompts: Iterable[agent_pb2.PhasePrompt]) -> dict[Purpose, str]:
    """Return an agent's own prompts."""
    found: dict[Purpose, str] = {}
    for index, prompt in enumerate(prompts):
        field = f"agent.phase_prompts[{index}]"
        purpose = checks.choice(prompt.purpose, Purpose, f"{field}.purpose")
        if purpose not in PHASES:
            raise invalid_field(f"{field}.purpose", f"{purpose.name} is no phase")
        if purpose in found:
            raise invalid_field(f"{field}.purpose", f"{purpose.name} has a prompt already")
        text = checks.long_text(
            prompt.text, f"{field}.text", at_most_bytes=MAX_PROMPT_BYTES, needed=True
        )
        if unknown := unknown_places(purpose, text):
            known = ", ".join(sorted(places(purpose)))
            raise invalid_field(f"{field}.text", f"{unknown[0]!r} is none of {known}")
        found[purpose] = text
    return found
