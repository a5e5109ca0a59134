"""A declared secret is in nothing that the daemon keeps or says, however it is written."""

import base64
import json
from collections.abc import Mapping
from urllib.parse import quote

from agentd.client import Client, tool
from agentd.v1.event_pb2 import Event
from agentd.v1.run_pb2 import Run, RunState
from agentd.v1.run_service_pb2 import CreateRunResponse
from tests.e2e.daemon import Home, daemon
from tests.e2e.test_tools import calling, cli, client, declare_server, home

__all__ = ("client", "home")  # The fixtures.

CANARY = 'k9/Tb+\u00fc"Zq 7w%Lm-x4'
RUN = "runs/r-1"
FORMS: Mapping[str, str] = {
    "plain": CANARY,
    "base64": base64.b64encode(CANARY.encode()).decode(),
    "hex": CANARY.encode().hex(),
    "percent": quote(CANARY, safe=""),
    "json": json.dumps(CANARY)[1:-1],
}
ALL = " | ".join(FORMS.values())
"""Every form of it."""
SHOWING = (
    ("logs", RUN),
    ("events", "--run", RUN),
    ("inspect", RUN),
    ("inspect", RUN, "-o", "json"),
    ("explain", RUN, "c2-1"),
    ("ps", "-a", "-o", "json"),
    ("config", "show"),
)
"""Commands that print what is known of a run."""
REVEAL = (
    "[(v := __import__('os').environ['TOKEN']), v.encode().hex(),"
    " __import__('base64').b64encode(v.encode()), __import__('urllib.parse').parse.quote(v),"
    " __import__('json').dumps(v)]"
)


@tool(effect="read_only")
def tell() -> str:
    """Tell a secret."""
    return ALL


@tool(effect="read_only")
def stumble() -> str:
    """Fail with a secret."""
    raise ValueError(ALL)


def found_in(data: bytes) -> list[str]:
    """Return the forms that some bytes hold."""
    return [name for name, form in FORMS.items() if form.encode() in data]


def script() -> dict[str, object]:
    """Return the script of a model that spells a secret wherever it can."""
    made = calling(
        ("look", {"code": REVEAL}),
        ("write", {"path": "s.txt", "content": ALL}),
        ("read", {"path": f"{CANARY}.txt"}),
        ("run", {"argv": ["cat", "s.txt", ALL]}),
        ("tell", {}),
        ("stumble", {}),
        ("read", {"path": 7, ALL: ALL}),
        (ALL, {}),
    )
    made["conversations"][0]["turns"][-1] = {
        "text": f"It was {ALL}. {{{{last_result}}}}",
        "chunks": 40,
    }
    return made


async def test_a_secret_in_five_forms_is_nowhere(home: Home, client: Client) -> None:
    more = declare_server(home, CANARY, 'trusted = true\neffects = ["look=READ_ONLY"]')
    home.script(script(), more=more)
    places: dict[str, bytes] = {}
    async with daemon(home) as served, client.host("box", [tell, stumble], host="box"):
        tools = ["mcp-nosy/*", "files/*", "process/*", "box/*"]
        created = await client.runs.create(Run(name=RUN, goal=f"spell {ALL}", tools=tools))
        items, pieces = await followed(client, created)
        places |= {"events": items, "pieces of answers": pieces}
        run = await client.runs.get(RUN)
        assert run.state == RunState.RUN_STATE_SUCCEEDED
        calls = [call async for call in client.runs.calls(RUN)]
        assert "[secret token]" in calls[0].result_json  # It was there to be seen.
        assert len(calls) == 8
        for words in SHOWING:
            result = cli(home, *words)
            assert result.returncode == 0, result.stderr
            assert result.stdout, words
            places[" ".join(words)] = result.stdout.encode()
        assert await served.stop() == 0
    places["log"] = served.log.encode()
    kept = [path for path in home.state.rglob("*") if path.is_file()]
    assert home.state / "journal.db" in kept
    places |= {str(path): path.read_bytes() for path in kept}
    assert {name: found_in(data) for name, data in places.items() if found_in(data)} == {}
    assert any(b"[secret token]" in places[str(path)] for path in kept)
    assert found_in(ALL.encode()) == [*FORMS]


async def followed(client: Client, created: CreateRunResponse) -> tuple[bytes, bytes]:
    """Follow a run to its end; return its events, and the text of its pieces put together."""
    events, pieces = b"", ""
    async for item in client.follow(created):
        events += item.SerializeToString()
        if isinstance(item, Event) and item.HasField("run_ended"):
            break
        if not isinstance(item, Event):
            pieces += item.text
    return events, pieces.encode()
