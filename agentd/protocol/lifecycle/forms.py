"""What each phase asks of a model: its prompt, and the form of its answer, from files beside this.

The files are versioned by their names. A prompt that was recorded stays what it was: what a model
is asked is in the journal word for word.
"""

import re
from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import msgspec

from agentd.agent.message import Purpose
from agentd.agent.tool import EffectClass, Tool

VERSION = 1
"""Of the prompts and forms that new runs use."""
TOOLSET = "lifecycle"
"""The toolset of the tools that answers are submitted with. No host can offer it."""

PHASES = (
    Purpose.PLANNING,
    Purpose.SIMULATION,
    Purpose.EXECUTION,
    Purpose.FEEDBACK,
    Purpose.MEMORY,
    Purpose.REFLECTION,
)

_PLACE = re.compile(r"\{\{([a-z_]+)\}\}")
_SUBMISSIONS = {
    Purpose.PLANNING: ("submit_plan", "plan", "Submit the plan for the goal."),
    Purpose.SIMULATION: ("submit_verdict", "verdict", "Submit the verdict on the plan."),
    Purpose.FEEDBACK: ("submit_feedback", "feedback", "Submit the judgement of the task."),
    Purpose.MEMORY: ("submit_memories", "memories", "Submit what is worth remembering."),
    Purpose.REFLECTION: ("submit_reflection", "reflection", "Submit the look back at the work."),
}
_PLACES = {
    Purpose.PLANNING: "goal tools memories notes done objection budget",
    Purpose.SIMULATION: "goal plan done memories notes revisions",
    Purpose.EXECUTION: "goal objective criterion expected results notes guidance attempt",
    Purpose.FEEDBACK: "goal objective criterion result notes attempt attempts limits",
    Purpose.MEMORY: "goal done memories notes",
    Purpose.REFLECTION: "goal done memories notes",
}


class Form(msgspec.Struct, frozen=True):
    """What a phase asks."""

    prompt: str
    submission: Tool | None
    """The tool that the answer is submitted with; None when any answer will do."""


@cache
def form(purpose: Purpose) -> Form:
    """Return what a phase asks."""
    folder = files(__package__)
    prompt = folder.joinpath(f"prompts/{purpose.name.lower()}.v{VERSION}.md").read_text("utf-8")
    if purpose not in _SUBMISSIONS:
        return Form(prompt, None)
    name, schema, description = _SUBMISSIONS[purpose]
    text = folder.joinpath(f"schemas/{schema}.v{VERSION}.json").read_text("utf-8")
    packed = msgspec.json.encode(msgspec.json.decode(text)).decode()
    return Form(prompt, Tool(TOOLSET, name, description, packed, effect=EffectClass.READ_ONLY))


def places(purpose: Purpose) -> frozenset[str]:
    """Return what stands between double braces in a prompt of a phase."""
    return frozenset(_PLACES[purpose].split())


def unknown_places(purpose: Purpose, prompt: str) -> list[str]:
    """Return what stands between double braces in a prompt, and means nothing there."""
    return sorted(set(_PLACE.findall(prompt)) - places(purpose))


def fill(prompt: str, values: Mapping[str, str]) -> str:
    """Fill a prompt. A section that holds nothing but an empty place is left out, with its heading.

    What is filled in is not looked through for places again.
    """
    paragraphs = []
    for paragraph in prompt.strip().split("\n\n"):
        heading, _, body = paragraph.partition("\n")
        place = _PLACE.fullmatch(body.strip())
        if heading.startswith("#") and place and not values.get(place.group(1)):
            continue
        paragraphs.append(_PLACE.sub(lambda found: values.get(found.group(1), ""), paragraph))
    return "\n\n".join(paragraphs)
