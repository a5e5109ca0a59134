"""The tools that run commands, in the sandbox and with exactly what their call was granted."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol, TypeAlias

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from agentd.agent.hosting import Failed, Invocation, Outcome
from agentd.agent.permission import Labels
from agentd.agent.tool import EffectClass, Tool
from agentd.errors import AgentdError
from agentd.tools.builtin.files import Path
from agentd.tools.builtin.frame import (
    LocalTool,
    Refused,
    Shapes,
    decode,
    manifest_of,
    succeeded,
    unfit,
)
from agentd.tools.builtin.work import path_needs, reach
from agentd.tools.sandbox.profile import Command, Finished, Limits, Profile, Tier

MAX_TIMEOUT_S = 540
"""The longest that a model may ask for; the manifest's own limit is 600."""
GRACE_S = 5.0
"""Between the request to end and the kill."""
MAX_OUTPUT_BYTES = 64 * 1024
"""Kept of standard output, and of standard error; some 16,000 tokens each."""

Host: TypeAlias = Annotated[
    str,
    Meta(max_length=260, pattern=r"^(\*\.)?[a-z0-9_-]+(\.[a-z0-9_-]+)*:[1-9][0-9]{0,4}$"),
]
"""In the one form that permissions and the sandbox's proxy read alike."""

Variable: TypeAlias = Annotated[str, Meta(max_length=128, pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")]
SecretName: TypeAlias = Annotated[
    str, Meta(max_length=128, pattern=r"^[A-Za-z0-9_][A-Za-z0-9_.-]*$")
]
Reveal: TypeAlias = Callable[[str], str]
"""Returns a secret by name, or raises AgentdError."""

_IN_FOLDER = 'cd -- "$1" && shift && exec "$@"'


class Sandbox(Protocol):
    """What runs a command and nothing beside it."""

    @property
    def tier(self) -> Tier:
        """Return how commands are confined."""

    async def run(self, command: Command, profile: Profile) -> Finished:
        """Run a command to its end; when cancelled, kill all of it first. Raises AgentdError."""


class RunArguments(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Arguments of process/run."""

    argv: Annotated[
        list[str],
        Meta(max_length=1000, description="A program and its arguments. Either this or 'line'."),
    ] = []
    line: Annotated[str, Meta(max_length=100_000, description="A line for the shell `sh`.")] = ""
    folder: Annotated[
        str, Meta(max_length=4096, description="Where to run it, relative to the workspace.")
    ] = "."
    stdin: str = ""
    timeout_s: Annotated[int, Meta(ge=1, le=MAX_TIMEOUT_S)] = 60
    reads: Annotated[
        list[Path],
        Meta(max_length=32, description="Files and folders outside the workspace to be read."),
    ] = []
    writes: Annotated[
        list[Path],
        Meta(max_length=32, description="Files and folders outside the workspace to be written."),
    ] = []
    secrets: Annotated[
        dict[Variable, SecretName],
        Meta(max_length=32, description="Secrets to put into variables: {variable: secret}."),
    ] = {}

    @property
    def program(self) -> str:
        """Return what is to be executed; empty if the call names none."""
        return "sh" if self.line else next(iter(self.argv), "")


class OnlineArguments(RunArguments, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """Arguments of process/run-online."""

    network: Annotated[
        list[Host],
        Meta(
            min_length=1,
            max_length=32,
            description="The hosts to connect to, as in `example.com:443` or `*.example.com:443`.",
        ),
    ]


class RunResult(msgspec.Struct, frozen=True):
    """Result of a command, whether it succeeded or not."""

    exit_code: int
    """128 + the signal when one ended it."""
    stdout: str
    stderr: str
    omitted_bytes: int
    """Left out in the middle of both."""
    timed_out: bool
    tier: str
    """How the command was confined."""


RUN = manifest_of(
    "process/run",
    "Run a command in the workspace, without a network. It sees the system's programs and the "
    "workspace, which alone it can change.",
    Shapes(RunArguments, RunResult),
    # A second execution may do things twice, but only to the workspace, where they can be seen.
    EffectClass.NON_IDEMPOTENT,
)
RUN_ONLINE = manifest_of(
    "process/run-online",
    "Run a command in the workspace that may connect to the hosts that are named.",
    Shapes(OnlineArguments, RunResult),
    EffectClass.IRREVERSIBLE,  # What was sent cannot be taken back,
    labels=Labels(untrusted=True),  # and what was received is anybody's text.
)


@dataclass(frozen=True, slots=True)
class CommandTool:
    """A tool that runs commands."""

    manifest: Tool
    arguments: type[RunArguments]
    sandbox: Sandbox
    reveal: Reveal

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return the permissions for the program, the paths and the hosts of a call."""
        return _needs(msgspec.convert(arguments, self.arguments), workspace)

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Run a command to its end."""
        if answer := unfit(self.manifest, invocation):
            return answer
        try:
            arguments = decode(invocation.arguments_json, self.arguments)
            granted = frozenset(invocation.permissions)
            profile = compile_profile(arguments, invocation.workspace, granted)
            environment = {
                variable: self._secret(name, granted)
                for variable, name in arguments.secrets.items()
            }
            profile = replace(profile, environment=environment)
            finished = await self.sandbox.run(_command(arguments), profile)
        except Refused as refusal:
            return Failed(str(refusal))
        except AgentdError as error:
            return Failed(error.message)
        return succeeded(
            RunResult(
                finished.exit_code,
                finished.stdout,
                finished.stderr,
                finished.omitted_bytes,
                finished.timed_out,
                finished.tier,
            )
        )

    def _secret(self, name: str, granted: frozenset[str]) -> str:
        if f"secret.use:{name}" not in granted:
            raise Refused(f"the call was not granted secret.use:{name}")
        return self.reveal(name)


def compile_profile(arguments: RunArguments, workspace: str, granted: frozenset[str]) -> Profile:
    """Return what the sandbox may let a command do: what it asks for, all of which was granted.

    Raises Refused for what was not, which includes a path that leads elsewhere since.
    """
    for need in _program_needs(arguments, workspace):
        if need not in granted:
            raise Refused(f"the call was not granted {need}")
    readable = tuple(reach("fs.read", path, workspace, granted, "/**") for path in arguments.reads)
    writable = tuple(
        reach("fs.write", path, workspace, granted, "/**") for path in arguments.writes
    )
    hosts = arguments.network if isinstance(arguments, OnlineArguments) else []
    for host in hosts:
        if f"net.connect:{host}" not in granted:
            raise Refused(f"the call was not granted net.connect:{host}")
    seconds = float(arguments.timeout_s)
    limits = Limits(
        soft_timeout_s=seconds,
        hard_timeout_s=seconds + GRACE_S,
        output_bytes=MAX_OUTPUT_BYTES,
    )
    return Profile(workspace, readable, writable, tuple(hosts), limits=limits)


def command_tools(sandbox: Sandbox, reveal: Reveal) -> Sequence[LocalTool]:
    """Return process/run and process/run-online; nothing where no sandbox passed its probe."""
    if sandbox.tier is Tier.NONE:
        return ()
    return (
        CommandTool(RUN, RunArguments, sandbox, reveal),
        CommandTool(RUN_ONLINE, OnlineArguments, sandbox, reveal),
    )


def _needs(arguments: RunArguments, workspace: str) -> Sequence[str]:
    needs = list(_program_needs(arguments, workspace))
    for path in arguments.reads:
        needs += path_needs("fs.read", path, workspace, "/**")
    for path in arguments.writes:
        needs += path_needs("fs.write", path, workspace, "/**")
    if isinstance(arguments, OnlineArguments):
        needs += [f"net.connect:{host}" for host in arguments.network]
    needs += [f"secret.use:{name}" for name in arguments.secrets.values()]
    return tuple(dict.fromkeys(needs))


def _program_needs(arguments: RunArguments, workspace: str) -> Sequence[str]:
    """Return the permissions for a program: by its name, or by its path and where that leads."""
    program = arguments.program
    if "/" not in program:
        return (f"process.exec:{program}",)
    folder = f"{workspace}/{arguments.folder}"
    return path_needs("process.exec", program, folder)


def _command(arguments: RunArguments) -> Command:
    """Return what to execute. Raises Refused for a call that is not one command."""
    if bool(arguments.line) == bool(arguments.argv):
        raise Refused("give either 'argv' or 'line'")
    argv = ("sh", "-c", arguments.line) if arguments.line else tuple(arguments.argv)
    folder = os.path.normpath(arguments.folder)
    if folder.startswith(("/", "..")):
        raise Refused("'folder' must be relative to the workspace, and beneath it")
    if folder != ".":
        argv = ("sh", "-c", _IN_FOLDER, "sh", f"./{folder}", *argv)
    try:
        stdin = arguments.stdin.encode()
    except UnicodeEncodeError:
        raise Refused("'stdin' has half of a surrogate pair") from None
    return Command(argv, stdin)
