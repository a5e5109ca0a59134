"""Skills: folders with a SKILL.md, whose name and description are shown and whose text is read on
demand.

The format is the open one of Agent Skills (agentskills.io/specification). Of its front matter
`name`, `description` and `allowed-tools` are read; what is written for people is left alone. A
skill grants nothing: an agent reads and executes the files of those only for whose folders it has
`fs.read`.
"""

import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import msgspec.yaml

from agentd.agent.hosting import Failed, Invocation, Outcome, Succeeded
from agentd.agent.tool import EffectClass, Tool
from agentd.errors import FieldFault

MAX_SKILLS = 256
"""The most skills of all folders together."""
MAX_ENTRIES = 4096
"""The most entries of one folder that are looked at."""
MAX_FRONT_MATTER_BYTES = 8 * 1024
MAX_FILE_BYTES = 128 * 1024
"""The longest text that is read: the format asks for less than 5,000 tokens."""
MAX_NAME = 64
MAX_DESCRIPTION = 1024
MAX_DEPTH = 16
"""The most folders on the way to a file of a skill."""

SKILL_FILE = "SKILL.md"

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*\Z")
_FRONT_MATTER = re.compile(
    rb"(?:\xef\xbb\xbf)?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE
)
_ANCHOR = re.compile(r"(?:^|[\s,\[{:])&[^\s&]")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_YAML_FAULTS = (ValueError, LookupError, AttributeError, RecursionError)
"""What the parser raises for tags with values that are not theirs, such as `!!bool x`."""
_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Skill(msgspec.Struct, frozen=True):
    """A skill that was found."""

    name: str
    description: str
    folder: str
    """Absolute and resolved."""
    allowed_tools: tuple[str, ...] = ()
    """What its author expects to be allowed; it allows nothing."""

    @property
    def permission(self) -> str:
        """What an agent needs for everything in the skill's folder."""
        return f"fs.read:{self.folder}/**"


class Found(msgspec.Struct, frozen=True):
    """What folders of skills hold."""

    skills: tuple[Skill, ...]
    """By name."""
    faults: tuple[FieldFault, ...]
    """The folders that hold no usable skill, and why."""


class _Broken(Exception):
    """Says in one sentence what is wrong with a skill or with what is asked of it."""


class _FrontMatter(msgspec.Struct, frozen=True):
    name: str
    description: str
    allowed_tools: str | list[str] = msgspec.field(default="", name="allowed-tools")


def discover(roots: Sequence[str]) -> Found:
    """Return the skills in the folders beneath these, which are absolute paths.

    Of two with one name the first counts. Nothing is raised: what is wrong with a skill, or with a
    root, is among the faults.
    """
    skills: dict[str, Skill] = {}
    faults: list[FieldFault] = []
    for place in map(os.path.realpath, roots):
        try:
            names = _entries(place)
        except _Broken as fault:
            faults.append(FieldFault(place, str(fault)))
            continue
        for name in names:
            _discover_one(place, name, skills, faults)
    return Found(tuple(skills[name] for name in sorted(skills)), tuple(faults))


def describe(skills: Sequence[Skill]) -> str:
    """Return what a model is told of skills that it may read: a line for each."""
    return "\n".join(f"- {skill.name}: {skill.description}" for skill in skills)


class SkillReader:
    """The tool `skills/read`, for the skills that were found."""

    manifest = Tool(
        "skills",
        "read",
        "Read the instructions of a skill, or another file of it that they name.",
        '{"type":"object","properties":{'
        '"skill":{"type":"string","description":"The name of the skill."},'
        '"file":{"type":"string","description":"A path within its folder, such as '
        'references/forms.md. Left out: the instructions."}},'
        '"required":["skill"],"additionalProperties":false}',
        '{"type":"object","properties":{"folder":{"type":"string"},"text":{"type":"string"}},'
        '"required":["folder","text"]}',
        effect=EffectClass.READ_ONLY,
        timeout_ms=10_000,
    )

    def __init__(self, skills: Sequence[Skill]) -> None:
        self._skills = {skill.name: skill for skill in skills}

    def needs(self, arguments: Mapping[str, Any], workspace: str) -> Sequence[str]:
        """Return `fs.read` of the file; nothing for what `__call__` will refuse anyway."""
        del workspace  # Skills are the daemon's, not the run's.
        try:
            skill, parts = self._find(arguments)
        except _Broken:
            return ()
        return (f"fs.read:{'/'.join((skill.folder, *parts))}",)

    async def __call__(self, invocation: Invocation) -> Outcome:
        """Return the text of the file. Reads at most MAX_FILE_BYTES, and so does not wait."""
        try:
            skill, parts = self._find(msgspec.json.decode(invocation.arguments_json))
            result = {"folder": skill.folder, "text": _read_text(skill, parts)}
        except _Broken as fault:
            return Failed(str(fault))
        return Succeeded(msgspec.json.encode(result).decode())

    def _find(self, arguments: Mapping[str, Any]) -> tuple[Skill, tuple[str, ...]]:
        """Return the skill and the path within its folder, or raise _Broken."""
        skill = self._skills.get(arguments["skill"])
        if skill is None:
            known = ", ".join(self._skills) or "none"
            raise _Broken(f"there is no skill {arguments['skill'][:80]!r}; there are: {known}")
        file = arguments.get("file") or SKILL_FILE
        parts = tuple(file.removeprefix("./").split("/"))
        if len(parts) > MAX_DEPTH or any(
            part in {"", ".", ".."} or _CONTROL.search(part) for part in parts
        ):
            raise _Broken(f"{file[:80]!r} is not a path within the skill's folder")
        return skill, parts


def _entries(root: str) -> list[str]:
    if "*" in root or _CONTROL.search(root):
        raise _Broken(f"its path {root!r} could not be written as a permission")
    try:
        with os.scandir(root) as entries:
            # A link to a folder is one too, here: it is refused by name when it is opened.
            names = sorted(entry.name for entry in entries if entry.is_dir())
    except OSError as error:
        raise _Broken(f"cannot be read: {error.strerror}") from None
    if len(names) > MAX_ENTRIES:
        raise _Broken(f"has {len(names)} folders, and at most {MAX_ENTRIES} may be")
    return [name for name in names if not name.startswith(".")]


def _discover_one(root: str, name: str, skills: dict[str, Skill], faults: list[FieldFault]) -> None:
    """Add the skill in a folder, or what is wrong with it."""
    try:
        if (skill := _load(root, name)) is not None:
            _add(skills, skill)
    except _Broken as fault:
        faults.append(FieldFault(f"{root}/{name}", str(fault)))


def _add(skills: dict[str, Skill], skill: Skill) -> None:
    if skill.name in skills:
        raise _Broken(f"is hidden by {skills[skill.name].folder}")
    if len(skills) == MAX_SKILLS:
        raise _Broken(f"is left out: there are {MAX_SKILLS} skills already")
    skills[skill.name] = skill


def _load(root: str, name: str) -> Skill | None:
    """Return the skill in a folder, None if there is no SKILL.md, or raise _Broken."""
    if Path(root, name).is_symlink():
        raise _Broken("is a link: put the folder itself here, or name the one that holds it")
    try:
        data = _read(f"{root}/{name}", (SKILL_FILE,), MAX_FRONT_MATTER_BYTES)
    except FileNotFoundError:
        return None
    found = _FRONT_MATTER.match(data)
    if found is None:
        raise _Broken(
            f"{SKILL_FILE} does not begin with front matter, between two lines '---' and within "
            f"{MAX_FRONT_MATTER_BYTES} bytes"
        )
    front = _parse(found[1])
    if len(front.name) > MAX_NAME or not _NAME.match(front.name):
        raise _Broken(
            f"the name {front.name[:80]!r} must be lower-case letters, digits and single inner "
            f"hyphens, 1 to {MAX_NAME}"
        )
    if front.name != name:
        raise _Broken(f"the name {front.name!r} must be that of the folder")
    # In the context a description is one line: no more of it may look like something else.
    description = " ".join(_CONTROL.sub(" ", front.description).split())
    if not 1 <= len(description) <= MAX_DESCRIPTION:
        raise _Broken(
            f"the description has {len(description)} characters, and must have 1 to "
            f"{MAX_DESCRIPTION}"
        )
    allowed = front.allowed_tools
    tools = tuple(allowed.split() if isinstance(allowed, str) else allowed)
    return Skill(name, description, f"{root}/{name}", tools)


def _parse(front_matter: bytes) -> _FrontMatter:
    try:
        text = front_matter.decode()
        # Merged aliases take a few lines to a billion entries, and no skill needs one.
        if _ANCHOR.search(text):
            raise _Broken(f"the front matter of {SKILL_FILE} has an anchor ('&'): quote the text")
        return msgspec.yaml.decode(text, type=_FrontMatter)
    except UnicodeDecodeError:
        raise _Broken(f"the front matter of {SKILL_FILE} is not UTF-8 text") from None
    except (msgspec.MsgspecError, *_YAML_FAULTS) as error:
        said = " ".join(str(error).split())[:200]
        raise _Broken(f"the front matter of {SKILL_FILE} cannot be read: {said}") from None


def _read_text(skill: Skill, parts: Sequence[str]) -> str:
    path = "/".join(parts)
    try:
        data = _read(skill.folder, parts, MAX_FILE_BYTES)
        text = data.decode()
    except FileNotFoundError:
        raise _Broken(f"there is no file {path!r} in {skill.folder}") from None
    except UnicodeDecodeError:
        raise _Broken(f"{path!r} is not text") from None
    if len(data) > MAX_FILE_BYTES:
        raise _Broken(f"{path!r} is longer than {MAX_FILE_BYTES} bytes")
    return text


def _read(folder: str, parts: Sequence[str], at_most: int) -> bytes:
    """Return the first bytes of a regular file beneath a folder, one more than `at_most` if there
    are more, without following any link.

    Raises FileNotFoundError if there is none, and _Broken for anything else.
    """
    path = "/".join(parts)
    try:
        with _folder(folder, parts[:-1]) as place:
            descriptor = os.open(parts[-1], _FILE, dir_fd=place)
        try:
            # What is no regular file may wait for ever, or have no end.
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise _Broken(f"{path!r} is not a regular file")
            with os.fdopen(descriptor, "rb", closefd=False) as file:
                return file.read(at_most + 1)
        finally:
            os.close(descriptor)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise _Broken(f"{path!r} cannot be read: {error.strerror}") from None


@contextmanager
def _folder(root: str, parts: Sequence[str]) -> Iterator[int]:
    """Open a folder beneath another one, a step at a time so that no step is a link."""
    place = os.open(root, _FOLDER)
    try:
        for part in parts:
            step = os.open(part, _FOLDER, dir_fd=place)
            os.close(place)
            place = step
        yield place
    finally:
        os.close(place)
