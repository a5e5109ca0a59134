"""Runs on providers over real HTTP: parallel tools, retries, usage and cost."""

import pytest

from agentd.client import Client, tool
from agentd.v1.event_pb2 import ModelErrorKind
from agentd.v1.run_pb2 import RunState
from tests.e2e.daemon import Home, daemon
from tests.e2e.watching import history
from tests.providers.server import KEY, Fail, FakeProvider, Request, Say, Text, Use

CONFIGURATION = """\
[models]
default = "{name}/thinker"
[models.providers.{name}]
kind = "{kind}"
base_url = "{url}"
api_key_file = "{key}"
models = ["thinker"]
[models.details."{name}/thinker"]
context_tokens = 100000
max_output_tokens = 1000
[models.prices."{name}/thinker"]
input = 3.0
output = 15.0
cache_read = 0.3
cache_write = 3.75
"""


def answer(request: Request) -> Say:
    """Ask for two calls, then say what they gave."""
    if len(request.body["messages"]) <= 2:
        uses = tuple(
            Use(f"call_{city}", "weather", ('{"city":', f'"{city}"', "}"))
            for city in ("Paris", "Oslo")
        )
        return Say((Text(("Let me ",)), *uses))
    return Say((Text(("It is ", "fine.")),))


@pytest.mark.parametrize(("kind", "path"), [("anthropic", ""), ("openai", "/v1")])
async def test_a_run_on_a_provider(home: Home, client: Client, kind: str, path: str) -> None:
    asked: list[str] = []

    @tool(effect="read_only")
    def weather(city: str) -> str:
        asked.append(city)
        return f"fine in {city}"

    key = home.path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    async with FakeProvider(answer) as provider:
        provider.play(Fail(429, "rate_limit_error", headers={"retry-after": "0"}), Fail(503))
        url = provider.url + path
        home.configure(CONFIGURATION.format(name="cloud", kind=kind, url=url, key=key))
        async with daemon(home), client.host("sky", [weather]):
            created = await client.runs.start("How is the weather?", tools=["sky/*"])
            run = await client.runs.wait(created.run.name, timeout_s=20)
            assert run.state == RunState.RUN_STATE_SUCCEEDED, run
            assert run.output == "It is fine."
            assert sorted(asked) == ["Oslo", "Paris"]
            failures = [
                event.model_failed.kind
                async for event in client.events()
                if event.HasField("model_failed")
            ]
            assert failures == [
                ModelErrorKind.MODEL_ERROR_KIND_RATE_LIMITED,
                ModelErrorKind.MODEL_ERROR_KIND_OVERLOADED,
            ]
            kinds = await history(client)
            assert kinds.count("model_requested") == 4
            first_end = kinds.index("call_ended")
            assert kinds[:first_end].count("call_leased") == 2
            usage = run.usage
            plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
            cost = (
                plain * 3000
                + usage.output_tokens * 15000
                + usage.cache_read_tokens * 300
                + usage.cache_write_tokens * 3750
            )
            assert usage.cost_nanos == cost > 0
            assert usage.reserved_tokens == usage.unknown_tokens == 0
            assert (usage.turns, usage.tool_calls) == (2, 2)


async def test_a_wrong_key_fails_the_run_and_is_in_no_log(home: Home, client: Client) -> None:
    key = home.path / "key"
    key.write_text("sk-wrong-0123456789")
    key.chmod(0o600)
    async with FakeProvider(answer) as provider:
        url = provider.url
        home.configure(CONFIGURATION.format(name="cloud", kind="anthropic", url=url, key=key))
        async with daemon(home) as served:
            created = await client.runs.start("How is the weather?")
            run = await client.runs.wait(created.run.name, timeout_s=20)
            assert run.state == RunState.RUN_STATE_FAILED
            assert len(provider.requests) == 1
            assert "sk-wrong" not in served.log
            assert "sk-wrong" not in str(run)
