"""What simulated models submit in the phases of a run: sound, foolish or stubborn."""

import re
from random import Random
from typing import Any

from agentd.agent.message import AssistantMessage, ModelRequest, Purpose
from tests.simulation.world import World


def submitted(world: World, random: Random, request: ModelRequest) -> dict[str, Any]:
    """Return the arguments of a submission."""
    match request.purpose:
        case Purpose.PLANNING:
            return _plan(random, request)
        case Purpose.SIMULATION:
            verdicts = ["PROCEED"] * (20 if world.calm else 6)
            verdict = random.choice((*verdicts, "REVISE", "STOP"))
            return {"verdict": verdict, "reason": f"it is {verdict.lower()}"}
        case Purpose.FEEDBACK:
            choices = ["ACCEPT"] * (20 if world.calm else 5)
            choice = random.choice((*choices, "RETRY", "REPLAN", "ABANDON", "ASK"))
            if any(isinstance(message, AssistantMessage) for message in request.messages):
                choice = "ABANDON"  # The last one was refused.
            return {"choice": choice, "reason": "because", "guidance": "do it so"}
        case Purpose.MEMORY:
            return {"episode": "it was", "facts": [{"text": f"it is {random.randint(1, 9)}"}]}
        case _:
            achieved = random.random() < 0.8
            return {"achieved": achieved, "answer": "so it is", "lessons": ["measure twice"]}


def _plan(random: Random, request: ModelRequest) -> dict[str, Any]:
    # Ids are never those of an earlier plan, unless chance says so, and then they are refused.
    stem = f"p{random.randint(0, 999)}"
    names = [f"{stem}-{index}" for index in range(random.randint(1, 5))]
    tools = re.findall(r"^- (\w+) \(", _told(request), re.MULTILINE)
    tasks = []
    for index, name in enumerate(names):
        needs = [need for need in names[:index] if random.random() < 0.4]
        if random.random() < 0.03:
            needs.append(random.choice(("nobody", name)))
        task: dict[str, Any] = {"id": name, "objective": f"do {name}", "criterion": "done"}
        used = random.sample(tools, min(len(tools), random.randint(0, 2)))
        task |= {"dependencies": needs, "tools": used, "effect": "IRREVERSIBLE"}
        tasks.append(task)
    return {"summary": "a plan", "tasks": tasks}


def _told(request: ModelRequest) -> str:
    return "".join(getattr(message, "text", "") for message in request.messages)
