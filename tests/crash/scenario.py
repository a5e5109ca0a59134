"""Seeded scenarios: what runs are asked, what their models answer, what clients do to them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from agentd.v1.agent_pb2 import Agent, OnUnknown, Protocol
from agentd.v1.budget_pb2 import Budget
from agentd.v1.permission_pb2 import Decision, PermissionRule
from agentd.v1.run_pb2 import Run
from agentd.v1.session_pb2 import Session
from tests.crash.world import TOOLSET

Act = Literal["cancel", "message", "pause"]
"""What a client does to a run while a call of it waits at its gate."""

TELLING = "agents/telling"
"""The agent whose model is told of unknown outcomes; a person is asked for the default one."""
CAREFUL = "agents/careful"
"""The agent whose calls of `mail` and `charge` a person has to allow, and which may not `fail`."""
PLANNING = "agents/planning"
APPROVED = "agents/approved"
"""The agents that plan; a person has to approve the plans of the latter."""
RULES = (
    PermissionRule(decision=Decision.DECISION_ALLOW, permission="tool.use:*"),
    PermissionRule(decision=Decision.DECISION_ASK, permission=f"tool.use:{TOOLSET}/mail"),
    PermissionRule(decision=Decision.DECISION_ASK, permission=f"tool.use:{TOOLSET}/charge"),
    PermissionRule(decision=Decision.DECISION_DENY, permission=f"tool.use:{TOOLSET}/fail"),
)
SESSION = "sessions/talk"
EFFECTS = ("look", "put", "charge", "mail", "fail")

CONFIGURATION = """\
[runs]
lease_s = 3
model_attempts = 50
call_attempts = 50
"""
"""Every crash costs what is in flight an attempt, and no run is to fail by that. Leases are short,
so that one which is forgotten shows within a trial."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One run."""

    run: Run
    turns: Sequence[Mapping[str, Any]]
    acts: Sequence[Act] = ()
    exact: bool = True
    """Whether a crash must not change its outcome at all."""
    phases: Sequence[Mapping[str, Any]] = ()
    """What its models answer instead of turns, when its agent plans."""

    @property
    def name(self) -> str:
        """The run's resource name."""
        return self.run.name

    def conversations(self) -> Sequence[Mapping[str, Any]]:
        """Return its part of the script."""
        return self.phases or ({"goal": f"^{self.run.goal}$", "turns": self.turns},)


@dataclass(frozen=True, slots=True)
class Scenario:
    """What happens on one daemon."""

    seed: int
    plans: Sequence[Plan]
    host: str
    """The tool host's id. Empty: made by its client, which then knows what it never began."""
    agents: Sequence[Agent] = field(
        default=(
            Agent(
                name=TELLING,
                tools=[f"{TOOLSET}/*"],
                on_unknown=OnUnknown.ON_UNKNOWN_TELL_MODEL,
            ),
            Agent(name=CAREFUL, tools=[f"{TOOLSET}/*"], permissions=RULES),
            Agent(name=PLANNING, protocol=Protocol.PROTOCOL_LIFECYCLE),
            Agent(
                name=APPROVED,
                protocol=Protocol.PROTOCOL_LIFECYCLE,
                require_plan_approval=True,
            ),
        )
    )
    sessions: Sequence[Session] = field(default=(Session(name=SESSION),))

    def script(self) -> Mapping[str, Any]:
        """Return the script of the model."""
        return {
            "usage": {"input_tokens": 40, "output_tokens": 20},
            "conversations": [
                conversation for plan in self.plans for conversation in plan.conversations()
            ],
        }


def make_scenario(seed: int) -> Scenario:
    """Return the scenario of a seed: every kind of run, in another mixture and order each time."""
    random = Random(seed)
    makers = [_steps, _steps, _faults, _mistakes, _few_calls, _few_turns, _few_tokens, _told]
    makers += [_careful, _careful]
    plans = [
        make(random, f"{make.__name__.strip('_').replace('_', '-')}-{number}")
        for number, make in enumerate(makers, 1)
    ]
    acts: tuple[Act, ...] = ("cancel", "message", "pause")
    plans += [_acted(random, f"{act}-1", (act,)) for act in acts]
    plans.append(_acted(random, "all-1", ("pause", "message")))
    random.shuffle(plans)
    plans += [_chain(random, "chain-1"), _graph(random, "graph-1")]
    plans += [_spoken(random, f"talk-{number}") for number in (1, 2)]
    return Scenario(seed, plans, random.choice(("", "world-host")))


def _run(name: str, **fields: Any) -> Run:
    return Run(name=f"runs/{name}", goal=f"goal {name}", tools=[f"{TOOLSET}/*"], **fields)


def _call(tool: str, item: object) -> dict[str, Any]:
    return {"tool": tool, "arguments": {"item": str(item)}}


def _turn(random: Random, *calls: Mapping[str, Any], **fields: Any) -> dict[str, Any]:
    return {"text": "next", "calls": calls, "delay_ms": random.choice((0, 0, 5, 20)), **fields}


def _calls(random: Random, turn: int) -> list[dict[str, Any]]:
    count = random.randint(1, 4)
    return [_call(random.choice(EFFECTS), f"{turn}.{index}") for index in range(count)]


_END: Mapping[str, Any] = {"text": "the end: {{last_result}}", "chunks": 3}


def _steps(random: Random, name: str) -> Plan:
    turns = [_turn(random, *_calls(random, turn)) for turn in range(random.randint(2, 4))]
    return Plan(_run(name), [*turns, _END])


def _faults(random: Random, name: str) -> Plan:
    faults = [{"kind": random.choice(("RATE_LIMITED", "TRANSIENT", "OVERLOADED"))}]
    turns = [_turn(random, *_calls(random, 0), faults=faults), {**_END, "chunk_delay_ms": 5}]
    return Plan(_run(name), turns)


def _mistakes(random: Random, name: str) -> Plan:
    wrong = [
        _call("nowhere", 1),
        {"tool": "put", "arguments": "not JSON"},
        {"tool": "charge", "arguments": {"thing": 1}},
        _call("charge", 2),
    ]
    random.shuffle(wrong)
    return Plan(_run(name), [_turn(random, *wrong), _END])


def _few_calls(random: Random, name: str) -> Plan:
    calls = [_call(random.choice(("charge", "mail")), index) for index in range(4)]
    budget = Budget(max_tool_calls=random.randint(1, 3))
    return Plan(_run(name, budget=budget), [_turn(random, *calls), _END])


def _few_turns(random: Random, name: str) -> Plan:
    turns = [_turn(random, *_calls(random, turn)) for turn in range(3)]
    return Plan(_run(name, budget=Budget(max_turns=random.randint(1, 3))), [*turns, _END])


def _few_tokens(random: Random, name: str) -> Plan:
    turns = [_turn(random, *_calls(random, turn)) for turn in range(3)]
    budget = Budget(max_tokens=random.randint(100, 600))
    return Plan(_run(name, budget=budget), [*turns, _END], exact=False)


def _told(random: Random, name: str) -> Plan:
    turns = [_turn(random, *_calls(random, turn)) for turn in range(3)]
    return Plan(_run(name, agent=TELLING), [*turns, _END], exact=False)


def _careful(random: Random, name: str) -> Plan:
    """A run whose calls a person allows, changes or refuses, by the item that they are about: so
    that the answer is the same however often it is given."""
    turns = [
        _turn(random, _call("mail", f"{turn}.allow"), _call("charge", f"{turn}.{answer}"))
        for turn, answer in enumerate(random.sample(("allow", "deny", "edit", "run"), 3))
    ]
    turns.append(_turn(random, _call("fail", 9), _call("look", 8)))
    return Plan(_run(name, agent=CAREFUL), [*turns, _END])


def _chain(random: Random, name: str) -> Plan:
    """A run whose tasks come one after another, one of them twice: the same whatever happens."""
    retry = {"choice": "RETRY", "reason": "it is thin", "guidance": "make it thick"}
    phases = [
        _phase(name, "FEEDBACK", "submit_feedback", retry, "do b of(.|\n)*of attempt 1"),
        *_planned(random, name, {"a": (), "b": ("a",), "c": ("b",)}),
    ]
    return Plan(_run(name, agent=random.choice((PLANNING, APPROVED))), (), phases=phases)


def _graph(random: Random, name: str) -> Plan:
    """A run whose tasks take place at once, so that chance numbers their turns."""
    needs = {"a": (), "b": (), "c": (), "d": ("a", "b"), "e": ("c", "d")}
    phases = _planned(random, name, needs)
    return Plan(_run(name, agent=PLANNING), (), exact=False, phases=phases)


def _planned(
    random: Random, name: str, needs: Mapping[str, Sequence[str]]
) -> list[Mapping[str, Any]]:
    """Return what the models of a run answer that carries out a plan."""
    tasks = [
        {
            "id": task,
            "objective": f"do {task} of {name}",
            "criterion": "it is done",
            "dependencies": dependencies,
            "tools": ["look", "put", "charge", "fail"],
            "effect": "IRREVERSIBLE",
        }
        for task, dependencies in needs.items()
    ]
    phases = [
        _phase(name, "PLANNING", "submit_plan", {"tasks": tasks}),
        _phase(name, "SIMULATION", "submit_verdict", {"verdict": "PROCEED", "reason": "well"}),
        _phase(name, "FEEDBACK", "submit_feedback", {"choice": "ACCEPT", "reason": "well"}),
        _phase(name, "MEMORY", "submit_memories", {"episode": "it was", "facts": []}),
        _phase(name, "REFLECTION", "submit_reflection", {"achieved": True, "answer": "all done"}),
    ]
    for index, task in enumerate(needs):
        tool = random.choice(("look", "put", "charge", "fail"))
        turns = [_turn(random, _call(tool, f"{index}.0")), {**_END, "repeat": 0}]
        place = f"# The task\ndo {task} of {name}\n"
        phases.append({"purpose": "EXECUTION", "goal": place, "turns": turns})
    return phases


def _phase(
    name: str, purpose: str, tool: str, arguments: Mapping[str, Any], place: str = ""
) -> Mapping[str, Any]:
    turn = {"calls": [{"tool": tool, "arguments": arguments}], "repeat": 0}
    goal = f"(?=(.|\n)*goal {name}\\b)(.|\n)*{place}"
    return {"purpose": purpose, "goal": goal, "turns": [turn]}


def _acted(random: Random, name: str, acts: Sequence[Act]) -> Plan:
    calls = [*_calls(random, 0), _call("hold", 9)]
    random.shuffle(calls)
    return Plan(_run(name), [_turn(random, *calls), _END], acts, exact="cancel" not in acts)


def _spoken(random: Random, name: str) -> Plan:
    turns = [_turn(random, *_calls(random, 0)), _END]
    return Plan(_run(name, session=SESSION), turns)
