"""The grammar of permissions: what each kind may say, what a pattern matches and what it covers.

    fs.read:PATH, fs.write:PATH     an absolute path, normalised; `*` is any run of characters in a
                                    segment, the segment `**` any number of segments, none too:
                                    `/srv/**` is `/srv` and all beneath. `**` alone is every path,
                                    `**/.env` that name everywhere, `$workspace` the run's folder
    net.connect:HOST[:PORT]         a name, an IPv4 address, an IPv6 address in brackets; `*.a.org`
                                    is every name below a.org, `*` every host; no port: every port
    process.exec:PROGRAM            a name, which is looked up in the system's folders, or a path
                                    as above; `*` is every program. To deny or ask, a name stands
                                    for every path that ends in it too
    tool.use:TOOLSET/TOOL           here and below `*` is any run of characters
    secret.use:NAME, agent.spawn:AGENT, memory.read:SCOPE, memory.write:SCOPE

A pattern with `*` stands for the set of all that it matches. Nothing here knows rules or runs.
"""

import ipaddress
import re
from collections.abc import Callable, Sequence
from enum import Enum
from functools import lru_cache
from itertools import pairwise

import msgspec

from agentd.errors import invalid_field
from agentd.tools.registry import matches

WORKSPACE = "$workspace"
"""Stands at the start of a path for the folder of the run."""
MAX_CHARACTERS = 4200
"""The longest permission: Linux ends a path at 4,096 bytes."""
MAX_SEGMENT = 255
"""The longest name of a file, in characters: Linux ends it at 255 bytes."""
MAX_HOST = 253
"""The longest name of a host, in characters (RFC 1035)."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?\Z")
_NUMERIC = re.compile(r"(0x[0-9a-f]*|[0-9]+)\Z")
_PORT = re.compile(r"[1-9][0-9]{0,4}\Z")
_TOOL = re.compile(r"[A-Za-z0-9_*-]+(/[A-Za-z0-9_*-]+)?\Z")
_NAME = re.compile(r"[A-Za-z0-9_.*-]{1,128}\Z")
_SCOPE = re.compile(r"[A-Za-z0-9_.:@/*-]{1,256}\Z")
_TWO_READINGS = re.compile("[\u00df\u03c2\u200c\u200d]")
"""What the two versions of IDNA map to different names."""


class Kind(Enum):
    """What a permission is about."""

    FS_READ = "fs.read"
    FS_WRITE = "fs.write"
    NET_CONNECT = "net.connect"
    PROCESS_EXEC = "process.exec"
    SECRET_USE = "secret.use"  # noqa: S105 - a kind, not a secret
    AGENT_SPAWN = "agent.spawn"
    MEMORY_READ = "memory.read"
    MEMORY_WRITE = "memory.write"
    TOOL_USE = "tool.use"


class Names(msgspec.Struct, frozen=True):
    """Texts in which `*` is any run of characters."""

    text: str


class Paths(msgspec.Struct, frozen=True):
    """Paths of files."""

    text: str
    """From `/` on, or from `$workspace` while that is not resolved."""
    segments: tuple[str, ...]
    stem: str
    """What comes before the first `*`."""
    deep: bool
    """Whether all that follows is `**`, as in `/srv/**`."""


class Hosts(msgspec.Struct, frozen=True):
    """Hosts, lower-case and ASCII, and their ports."""

    host: str
    port: int
    """0 is every port."""


Value = Names | Paths | Hosts


class Permission(msgspec.Struct, frozen=True):
    """A permission as it was parsed."""

    kind: Kind
    value: Value


class Malformed(Exception):
    """Says what is wrong with a permission, in one sentence without a subject."""


def check(text: str, field: str) -> Permission:
    """Return a permission, or raise InvalidRequest (INVALID_FIELD) naming the field."""
    try:
        return parse(text)
    except Malformed as fault:
        raise invalid_field(field, str(fault)) from None


@lru_cache(maxsize=2048)
def parse(text: str) -> Permission:
    """Return a permission, or raise Malformed."""
    if len(text) > MAX_CHARACTERS:
        raise Malformed(f"has {len(text)} characters, and at most {MAX_CHARACTERS} may be")
    if _CONTROL.search(text):
        raise Malformed(f"{_shown(text)} has a control character")
    name, colon, value = text.partition(":")
    kind = _KINDS.get(name)
    if kind is None:
        raise Malformed(f"there is no permission {_shown(name)}; {_advice(name)}")
    if not colon or not value:
        raise Malformed(f"{name} needs a value, such as {_EXAMPLES[kind]!r}")
    return Permission(kind, _READERS[kind](value))


def covers(wide: Value, narrow: Value) -> bool:
    """Whether all that `narrow` matches is matched by `wide`. Says no where it is not sure."""
    match wide, narrow:
        case Paths(), Paths():
            return _covers_path(wide, narrow)
        case Names(), Names():
            return matches(wide.text, narrow.text)  # A `*` of `narrow` is met by a `*` only.
        case Names(text="*"), Paths():
            return True  # Every program
        case Hosts(), Hosts():
            return wide.port in {0, narrow.port} and _covers_host(wide.host, narrow.host)
        case _:
            return False


def meets(rule: Value, need: Value) -> bool:
    """Whether something that `need` matches is what `rule` is to stop. Says yes where it is not
    sure."""
    match rule, need:
        case Paths(), Paths():
            if "*" not in need.text:
                return _covers_path(rule, need)
            return _align(rule.segments, need.segments, "**", _meet_texts, both=True)
        case Names(), Names():
            return _meet_texts(rule.text, need.text)
        case Names(), Paths():
            return _meet_texts(rule.text, need.segments[-1] if need.segments else "")
        case Paths(), Names():
            return need.text == "*"  # Every program
        case Hosts(), Hosts():
            if rule.port and need.port and rule.port != need.port:
                return False
            return _covers_host(rule.host, need.host) or _covers_host(need.host, rule.host)
        case _:
            return False


def _covers_path(wide: Paths, narrow: Paths) -> bool:
    if wide.stem == wide.text:
        return wide.text == narrow.text
    if not f"{narrow.text}/".startswith(wide.stem):
        return False
    return wide.deep or _align(wide.segments, narrow.segments, "**", _covers_segment, both=False)


def _covers_segment(wide: str, narrow: str) -> bool:
    return narrow != "**" and matches(wide, narrow)


def _covers_host(wide: str, narrow: str) -> bool:
    if wide.startswith("*."):
        return narrow.endswith(wide[1:])
    return wide in {"*", narrow}


def _meet_texts(left: str, right: str) -> bool:
    if "*" not in right:
        return matches(left, right)
    if "*" not in left:
        return matches(right, left)
    return _align(left, right, "*", str.__eq__, both=True)


def _align(
    left: Sequence[str],
    right: Sequence[str],
    wildcard: str,
    fits: Callable[[str, str], bool],
    *,
    both: bool,
) -> bool:
    """Whether `left` can be laid over all of `right`, its wildcard over any number of elements.
    With `both`, the wildcard of `right` may stand for elements too: whether the two have something
    in common. Takes len(left) * len(right) steps at most."""
    reached = [True] + [False] * len(right)  # By how many elements of `right` are used up
    for column, element in enumerate(right):
        reached[column + 1] = both and element == wildcard and reached[column]
    for row in left:
        free = row == wildcard
        before, reached[0] = reached[0], reached[0] and free
        for column, element in enumerate(right, 1):
            above = reached[column]
            if free or (both and element == wildcard):
                reached[column] = above or reached[column - 1]
            else:
                reached[column] = before and fits(row, element)
            before = above
    return reached[-1]


def _read_path(text: str) -> Paths:
    """Return the paths of a text, or raise Malformed."""
    rooted = f"/{text}" if text == "**" or text.startswith("**/") else text
    anchor, *segments = rooted.split("/")
    if anchor not in {"", WORKSPACE} or (not segments and anchor != WORKSPACE):
        raise Malformed(
            f"{_shown(text)} is not an absolute path: it starts with '/', '{WORKSPACE}' or '**'"
        )
    if rooted == "/":
        return Paths(rooted, (), stem=rooted, deep=False)
    for segment in segments:
        if not segment:
            raise Malformed(f"{_shown(text)} has a '/' too many")
        if segment in {".", ".."}:
            raise Malformed(f"{_shown(text)} is not normalised: leave out {segment!r}")
        if len(segment) > MAX_SEGMENT:
            raise Malformed(f"{_shown(text)}: a name has at most {MAX_SEGMENT} characters")
        if "**" in segment and segment != "**":
            raise Malformed(f"{_shown(text)}: '**' stands alone between two '/'")
    stem = rooted.partition("*")[0]
    deep = stem.endswith("/") and rooted == f"{stem}**"
    return Paths(rooted, (*([anchor] if anchor else []), *segments), stem, deep)


def _read_program(text: str) -> Value:
    if "/" not in text and text not in {".", "..", WORKSPACE}:
        return Names(text if text.strip("*") else "*")
    if not text.startswith(("/", WORKSPACE, "**/")):
        raise Malformed(f"{_shown(text)} is neither the name of a program nor an absolute path")
    return _read_path(text)


def _read_tool(text: str) -> Names:
    if not _TOOL.match(text) or ("/" not in text and "*" not in text):
        raise Malformed(f"{_shown(text)} must have the form 'toolset/tool', with '*' for any text")
    return Names(text)


def _read_name(text: str) -> Names:
    if not _NAME.match(text):
        raise Malformed(f"{_shown(text)} is not a name: letters, digits, '_', '.', '-' and '*'")
    return Names(text)


def _read_scope(text: str) -> Names:
    if not _SCOPE.match(text):
        raise Malformed(
            f"{_shown(text)} is not a scope: letters, digits, '_', '.', ':', '@', '/', '-' and '*'"
        )
    return Names(text)


def _read_host(text: str) -> Hosts:
    """Return the hosts of HOST[:PORT], or raise Malformed."""
    if text.startswith("["):
        address, bracket, rest = text[1:].partition("]")
        host, port = _ipv6(address, text), rest.removeprefix(":")
        if not bracket or (rest and not port) or rest == port != "":
            raise Malformed(f"{_shown(text)} must have the form '[ADDRESS]' or '[ADDRESS]:PORT'")
    else:
        name, colon, port = text.partition(":")
        if ":" in port:
            raise Malformed(f"{_shown(text)}: an IPv6 address stands in brackets, as in '[::1]'")
        if colon and not port:
            raise Malformed(f"{_shown(text)} lacks the port after ':'")
        host = _host_name(name, text)
    if port and (not _PORT.match(port) or int(port) > 65535):
        raise Malformed(f"{_shown(port)} is not a port: a number from 1 to 65535")
    return Hosts(host, int(port or 0))


def _ipv6(address: str, text: str) -> str:
    try:
        parsed = ipaddress.IPv6Address(address)
    except ValueError:
        raise Malformed(f"{_shown(text)} has no IPv6 address in its brackets") from None
    if parsed.scope_id is not None:
        raise Malformed(f"{_shown(text)}: an address with a zone cannot be granted")
    # The kernel connects to the same place by both forms, so both must meet the same rules.
    return str(parsed.ipv4_mapped) if parsed.ipv4_mapped else f"[{parsed.compressed}]"


def _host_name(name: str, text: str) -> str:
    """Return a name or an IPv4 address in its one form, or raise Malformed."""
    if name == "*":
        return name
    below, bare = ("*.", name[2:]) if name.startswith("*.") else ("", name)
    if len(bare) > MAX_HOST:
        raise Malformed(f"the host has {len(bare)} characters, and at most {MAX_HOST} may be")
    labels = _ascii(bare, text).removesuffix(".").split(".")
    if _NUMERIC.match(labels[-1]):
        return _ipv4(".".join(labels), below, text)
    if any("*" in label for label in labels):
        raise Malformed(f"{_shown(text)}: '*' may only be the whole first label, as in '*.a.org'")
    if not all(_LABEL.match(label) for label in labels):
        raise Malformed(f"{_shown(text)} has no valid host")
    return below + ".".join(labels)


def _ascii(name: str, text: str) -> str:
    if name.isascii():
        return name.lower()
    if _TWO_READINGS.search(name):
        raise Malformed(f"{_shown(text)} can be read as two hosts: write it as 'xn--…'")
    try:
        return name.encode("idna").decode("ascii").lower()
    except UnicodeError:
        raise Malformed(f"{_shown(text)} has no valid host") from None


def _ipv4(address: str, below: str, text: str) -> str:
    try:
        if not below:
            return str(ipaddress.IPv4Address(address))
    except ValueError:
        pass
    raise Malformed(f"{_shown(text)} is not an IPv4 address of the form '192.0.2.1'")


def _advice(name: str) -> str:
    """Name the kind that shares the most pairs of letters, or all kinds."""

    def likeness(kind: str) -> int:
        return len({*pairwise(name.lower())} & {*pairwise(kind)})

    nearest = max(_KINDS, key=likeness)
    if likeness(nearest) >= 2:
        return f"did you mean '{nearest}'?"
    return f"there are: {', '.join(_KINDS)}"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 80 else f"{text[:77]}...")


_KINDS = {kind.value: kind for kind in Kind}
_READERS: dict[Kind, Callable[[str], Value]] = {
    Kind.FS_READ: _read_path,
    Kind.FS_WRITE: _read_path,
    Kind.NET_CONNECT: _read_host,
    Kind.PROCESS_EXEC: _read_program,
    Kind.SECRET_USE: _read_name,
    Kind.AGENT_SPAWN: _read_name,
    Kind.MEMORY_READ: _read_scope,
    Kind.MEMORY_WRITE: _read_scope,
    Kind.TOOL_USE: _read_tool,
}
_EXAMPLES = {
    Kind.FS_READ: "fs.read:/srv/data/**",
    Kind.FS_WRITE: "fs.write:$workspace/**",
    Kind.NET_CONNECT: "net.connect:example.com:443",
    Kind.PROCESS_EXEC: "process.exec:git",
    Kind.SECRET_USE: "secret.use:github-token",
    Kind.AGENT_SPAWN: "agent.spawn:reviewer",
    Kind.MEMORY_READ: "memory.read:project",
    Kind.MEMORY_WRITE: "memory.write:project",
    Kind.TOOL_USE: "tool.use:files/*",
}
