"""`agentd memory`: what agents remember beyond a run."""

from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import click
import msgspec

from agentd.cli.base import DURATION, Group, Settings, pass_settings, run_async
from agentd.cli.listing import take
from agentd.cli.output import (
    JSON,
    TABLE,
    output_option,
    say,
    write_document,
    write_items,
    write_line,
)
from agentd.cli.text import age_of_time, line, lower, resource
from agentd.client.types import (
    Memory,
    MemoryKind,
    MemoryMatch,
    SearchMemoriesResponse,
    from_json,
    to_json,
)
from agentd.errors import AgentdError, AlreadyExists, InvalidRequest, NotFound, Reason

if TYPE_CHECKING:
    from agentd.client import Client

F = TypeVar("F", bound=Callable[..., Any])

COLUMNS = ("MEMORY", "KIND", "SCOPE", "AGE", "TEXT")
MATCH_COLUMNS = ("SCORE", *COLUMNS)
KINDS: Mapping[str, MemoryKind] = {
    "working": MemoryKind.MEMORY_KIND_WORKING,
    "episode": MemoryKind.MEMORY_KIND_EPISODE,
    "fact": MemoryKind.MEMORY_KIND_FACT,
    "lesson": MemoryKind.MEMORY_KIND_LESSON,
}

scope_option = click.option("--scope", default="", metavar="SCOPE", help="Of this scope only.")


def kind_option(*, many: bool) -> Callable[[F], F]:
    """Return the option for one kind, or for some."""
    return click.option(
        "--kind",
        "kinds" if many else "kind",
        type=click.Choice(sorted(KINDS)),
        multiple=many,
        default=() if many else "fact",
        show_default=not many,
        help="Of these kinds only." if many else "What sort of thing it is.",
    )


@click.group(cls=Group)
def memory() -> None:
    """Search, add, list, show, forget and move what agents remember."""


@memory.command(examples='agentd memory search "which port do we deploy to"')
@click.argument("query")
@click.option("-n", "--limit", default=10, show_default=True, type=click.IntRange(1, 1000))
@scope_option
@kind_option(many=True)
@output_option
@pass_settings
def search(settings: Settings, /, *, query: str, limit: int, output: str, **of: Any) -> None:
    """Find memories by meaning and by words, best first."""

    async def work() -> SearchMemoriesResponse:
        async with settings.client() as client:
            return await client.memories.search(
                query, scope=of["scope"], kinds=_kinds(of["kinds"]), limit=limit
            )

    found = run_async(work())
    if output == JSON:
        write_document(to_json(found))
    else:
        write_items(found.matches, output, to_json=to_json, columns=MATCH_COLUMNS, row=_match_row)
    method = found.method
    if method.lexical:
        say("Only spellings were compared. `agentd models pull minilm` adds meanings.")
    for fault in method.faults:
        say(f"Some may be missing: {fault}")


@memory.command(examples='agentd memory add "We deploy to port 8080" --scope team/web')
@click.argument("text")
@click.option("--scope", default="", metavar="SCOPE", help="Who shares it. Without: shared.")
@kind_option(many=False)
@click.option("--supersedes", multiple=True, metavar="MEMORY", help="What it takes the place of.")
@click.option("--ttl", type=DURATION, metavar="DURATION", help="Forget it after this time.")
@click.option("--private", is_flag=True, help="It must not leave without consent.")
@output_option
@pass_settings
def add(settings: Settings, /, *, text: str, output: str, **of: Any) -> None:
    """Remember TEXT. A fact or a lesson that is known already is not stored again."""
    wanted = Memory(
        text=text,
        scope=of["scope"],
        kind=KINDS[of["kind"]],
        supersedes=[resource(name, "memories") for name in of["supersedes"]],
        private=of["private"],
    )
    if of["ttl"]:
        wanted.expire_time.FromDatetime(datetime.now(UTC) + timedelta(seconds=of["ttl"]))

    async def work() -> tuple[Memory, bool]:
        async with settings.client() as client:
            answer = await client.memories.create(wanted)
            return answer.memory, answer.existed

    created, existed = run_async(work())
    if existed:
        say("It was known already")
    if output == TABLE:
        click.echo(created.name)
    else:
        write_line(to_json(created))


@memory.command("list", examples="agentd memory list --kind fact --scope team/web")
@scope_option
@kind_option(many=True)
@click.option("-a", "--all", "everything", is_flag=True, help="What was superseded too.")
@click.option("-n", "--limit", default=100, show_default=True, type=click.IntRange(1))
@output_option
@pass_settings
def list_(settings: Settings, /, *, everything: bool, limit: int, output: str, **of: Any) -> None:
    """List memories, newest first."""

    async def work() -> list[Memory]:
        async with settings.client() as client:
            found = client.memories.list(
                scope=of["scope"], kinds=_kinds(of["kinds"]), include_superseded=everything
            )
            return await take(found, limit)

    write_items(run_async(work()), output, to_json=to_json, columns=COLUMNS, row=_row)


@memory.command(examples="agentd memory show m01hx3")
@click.argument("name")
@output_option
@pass_settings
def show(settings: Settings, name: str, output: str) -> None:
    """Show a memory with where it comes from and what became of it."""
    from agentd.cli.inspecting import show as show_resource  # noqa: PLC0415

    async def work() -> Memory:
        async with settings.client() as client:
            return await client.memories.get(resource(name, "memories"))

    found = run_async(work())
    if output == TABLE:
        show_resource(found, [])
    else:
        write_line(to_json(found))


@memory.command(examples="agentd memory forget m01hx3")
@click.argument("names", nargs=-1, required=True, metavar="NAME...")
@pass_settings
def forget(settings: Settings, names: tuple[str, ...]) -> None:
    """Delete memories: they are not found or recalled any more."""

    async def work() -> None:
        async with settings.client() as client:
            for name in names:
                await client.memories.delete(resource(name, "memories"))
                say(f"{resource(name, 'memories')} is forgotten")

    run_async(work())


@memory.command(examples="agentd memory export > memories.jsonl")
@scope_option
@kind_option(many=True)
@pass_settings
def export(settings: Settings, scope: str, kinds: tuple[str, ...]) -> None:
    """Write memories as JSON Lines, oldest first, history included."""

    async def work() -> list[Memory]:
        async with settings.client() as client:
            found = client.memories.list(scope=scope, kinds=_kinds(kinds), include_superseded=True)
            return [each async for each in found]

    found = run_async(work())
    for each in reversed(found):
        write_line(to_json(each))
    say(f"{len(found)} memories")


@memory.command("import", examples="agentd memory import memories.jsonl")
@click.argument("file", type=click.File("rb"), default="-")
@pass_settings
def import_(settings: Settings, file: Iterable[bytes]) -> None:
    """Read what `export` wrote. What exists already stays as it is, so that importing twice is
    importing once."""
    wanted = [_parse(text, number) for number, text in enumerate(file, 1) if text.strip()]
    names = {each.name for each in wanted}
    now = datetime.now(UTC)
    # What was superseded by something that is gone since must not hold again.
    usable = [
        each
        for each in wanted
        if (not each.superseded_by or each.superseded_by in names) and not _is_over(each, now)
    ]

    async def work() -> int:
        async with settings.client() as client:
            return sum([await _take_in(client, each) for each in usable])

    created = run_async(work())
    say(f"{created} memories are new, {len(usable) - created} were there already")
    if len(usable) < len(wanted):
        say(f"{len(wanted) - len(usable)} hold no more and were left out")


async def _take_in(client: "Client", wanted: Memory) -> bool:
    """Create a memory; return whether it is new."""
    try:
        return not (await client.memories.create(wanted)).existed
    except AlreadyExists:
        return False
    except NotFound:  # What it superseded was forgotten before the export.
        wanted.ClearField("supersedes")
        return not (await client.memories.create(wanted)).existed


def _is_over(memory: Memory, now: datetime) -> bool:
    return memory.HasField("expire_time") and memory.expire_time.ToDatetime(tzinfo=UTC) <= now


def _parse(text: bytes, number: int) -> Memory:
    try:
        return from_json(msgspec.json.decode(text), Memory)
    except (msgspec.MsgspecError, AgentdError) as error:
        raise InvalidRequest(Reason.MALFORMED_REQUEST, f"line {number}: {error}") from error


def _kinds(names: Iterable[str]) -> list[MemoryKind]:
    return [KINDS[name] for name in names]


def _row(found: Memory) -> tuple[str, ...]:
    marks = [mark for mark in ("untrusted", "private") if getattr(found, mark)]
    if found.superseded_by:
        marks.append(f"superseded by {found.superseded_by.removeprefix('memories/')}")
    text = line(found.text, 80)
    return (
        found.name.removeprefix("memories/"),
        lower(MemoryKind.Name(found.kind), "MEMORY_KIND_"),
        found.scope,
        age_of_time(found.create_time),
        f"{text} ({', '.join(marks)})" if marks else text,
    )


def _match_row(match: MemoryMatch) -> tuple[str, ...]:
    return (f"{match.score:.2f}", *_row(match.memory))
