"""All tools are there, each with a path of its own and schemas that can be registered."""

from agentd.agent.ids import Namespace
from agentd.tools.builtin.catalogue import builtin_tools
from agentd.tools.registry import Registry
from agentd.tools.sandbox.sandbox import Sandbox, probe

FILES = ["files/edit", "files/glob", "files/list", "files/read", "files/search", "files/write"]
COMMANDS = ["process/run", "process/run-online"]


async def test_the_tools_can_be_registered() -> None:
    sandbox = await probe()
    tools = [tool.manifest for tool in builtin_tools(sandbox, str)]
    Registry().register(Namespace("default"), tools, time_ms=1)
    commands = COMMANDS if sandbox.tier.value > 1 else []
    assert sorted(tool.path for tool in tools) == [*FILES, *commands, "web/fetch"]


async def test_without_a_sandbox_commands_are_missing() -> None:
    tools = builtin_tools(Sandbox(None, faults=("no bubblewrap",)), str)
    assert sorted(tool.manifest.path for tool in tools) == [*FILES, "web/fetch"]
