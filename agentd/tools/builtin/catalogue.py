"""All tools of the daemon itself, put together."""

from collections.abc import Sequence

from agentd.tools.builtin.command import Reveal, Sandbox, command_tools
from agentd.tools.builtin.fetch import FetchTool
from agentd.tools.builtin.files import file_tools
from agentd.tools.builtin.frame import LocalTool
from agentd.tools.builtin.search import search_tools
from agentd.tools.builtin.work import Threads


def builtin_tools(sandbox: Sandbox, reveal: Reveal) -> Sequence[LocalTool]:
    """Return the daemon's own tools, those that run commands only where the sandbox works.

    `reveal` returns a secret by name, for commands that were granted it.
    """
    threads = Threads()
    return (
        *file_tools(threads),
        *search_tools(threads),
        FetchTool(),
        *command_tools(sandbox, reveal),
    )
