"""Skills are found without being trusted: broken ones are named, and nothing outside is read."""

import os
from pathlib import Path

import msgspec
import pytest

from agentd.agent.hosting import Failed, Invocation, InvocationKind, Outcome, Succeeded
from agentd.agent.ids import CallId, RunId
from agentd.agent.permission import NO_LABELS, Decision, Rule
from agentd.tools.permissions import check_permission, judge
from agentd.tools.schema import check_schema
from agentd.tools.skills import MAX_FILE_BYTES, Skill, SkillReader, describe, discover

PDF = """---
name: pdf
description: >-
  Reads forms: fills them in,
  and signs them.
license: Apache-2.0
allowed-tools: process/run files/*
metadata:
  version: 1.0
  nested: {list: [1, 2]}
---
# PDF

See references/forms.md.
"""


def put(root: Path, name: str, text: str | bytes = "") -> Path:
    """Write a skill and return its folder."""
    folder = root / name
    folder.mkdir(parents=True)
    data = text.encode() if isinstance(text, str) else text
    (folder / "SKILL.md").write_bytes(data or f"---\nname: {name}\ndescription: D\n---\n".encode())
    return folder


def front(text: str, name: str = "pdf") -> str:
    return f"---\nname: {name}\ndescription: D\n{text}\n---\nbody"


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = put(tmp_path / "skills", "pdf", PDF)
    (folder / "references").mkdir()
    (folder / "references" / "forms.md").write_text("Forms: ü")
    return tmp_path / "skills"


async def read(reader: SkillReader, **arguments: str) -> Outcome:
    text = msgspec.json.encode(arguments).decode()
    invocation = Invocation(
        RunId("r"), CallId("c1-1"), InvocationKind.EXECUTE, "skills/read", text, 1, "", "", 0, 0
    )
    return await reader(invocation)


async def failure(reader: SkillReader, **arguments: str) -> str:
    outcome = await read(reader, **arguments)
    assert isinstance(outcome, Failed)
    return outcome.message


def descriptors() -> int:
    return len([*Path("/proc/self/fd").iterdir()])


def test_finds_skills_and_tells_of_them_in_a_line_each(root: Path) -> None:
    put(root, "a1", "\ufeff---\r\nname: a1\r\ndescription: 'One'\r\n---\r\nbody")
    put(root, "b", "---\nname: b\ndescription: D\nallowed-tools: [web/fetch, files/read]\n---")
    (root / "notes").mkdir()
    (root / ".git").mkdir()
    (root / "README.md").write_text("not a skill")
    found = discover([str(root)])
    assert found.faults == ()
    assert found.skills[2] == Skill(
        "pdf",
        "Reads forms: fills them in, and signs them.",
        str(root / "pdf"),
        ("process/run", "files/*"),
    )
    assert found.skills[1].allowed_tools == ("web/fetch", "files/read")
    assert describe(found.skills) == (
        "- a1: One\n- b: D\n- pdf: Reads forms: fills them in, and signs them."
    )


BROKEN: dict[str, tuple[str | bytes, str]] = {
    "no front matter": ("# PDF", "does not begin with front matter"),
    "no end": ("---\nname: pdf\ndescription: D\n", "does not begin with front matter"),
    "end too late": (front("x: " + "y" * 9000), "within 8192 bytes"),
    "empty": (b"\n", "does not begin with front matter"),
    "not UTF-8": (b"---\nname: \xff\n---\n", "is not UTF-8 text"),
    "not YAML": (front("x: ["), "cannot be read: "),
    "a colon": ("---\nname: pdf\ndescription: Use: it\n---\n", "mapping values are not allowed"),
    "not a mapping": ("---\n- pdf\n---\n", "Expected `object`, got `array`"),
    "no name": ("---\ndescription: D\n---\n", "missing required field `name`"),
    "no description": ("---\nname: pdf\n---\n", "missing required field `description`"),
    "a number": ("---\nname: 1\ndescription: D\n---\n", "Expected `str`, got `int`"),
    "upper case": (front("", "PDF"), "the name 'PDF' must be lower-case letters"),
    "two hyphens": (front("", "p--df"), "the name 'p--df' must be lower-case"),
    "a long name": (front("", "p" * 65), "must be lower-case letters"),
    "another name": (front("", "doc"), "the name 'doc' must be that of the folder"),
    "blank": ("---\nname: pdf\ndescription: ' '\n---\n", "the description has 0 characters"),
    "long": (f"---\nname: pdf\ndescription: {'d' * 1025}\n---\n", "has 1025 characters"),
    "an anchor": (front("a: &a [x]\nb: [*a, *a]"), "has an anchor"),
    "a bad tag": (front("a: !!bool x"), "cannot be read: "),
    "a bad date": (front("a: 2024-13-45"), "cannot be read: "),
    "a bad stamp": (front("a: !!timestamp x"), "cannot be read: "),
    "a python object": (front("a: !!python/object/apply:os.abort []"), "cannot be read: "),
    "deep": (front("a: " + "[" * 7000), "cannot be read: "),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_skill_is_a_fault_and_leaves_the_others(tmp_path: Path, case: str) -> None:
    text, sentence = BROKEN[case]
    put(tmp_path, "good")
    put(tmp_path, "pdf", text)
    found = discover([str(tmp_path)])
    assert [skill.name for skill in found.skills] == ["good"]
    (fault,) = found.faults
    assert fault.field == str(tmp_path / "pdf")
    assert sentence in fault.description
    assert len(fault.description) < 400


def test_a_description_cannot_look_like_anything_else(tmp_path: Path) -> None:
    put(tmp_path, "pdf", '---\nname: pdf\ndescription: "a\\n- b: c\\e[2J\\u2028d"\n---\n')
    assert describe(discover([str(tmp_path)]).skills) == "- pdf: a - b: c [2J d"


def test_no_link_is_followed(root: Path, tmp_path: Path) -> None:
    elsewhere = put(tmp_path / "other", "linked")
    (root / "linked").symlink_to(elsewhere)
    (root / "inner").mkdir()
    (root / "inner" / "SKILL.md").symlink_to(elsewhere / "SKILL.md")
    found = discover([str(root)])
    assert [skill.name for skill in found.skills] == ["pdf"]
    inner, linked = found.faults
    assert "'SKILL.md' cannot be read: Too many levels of symbolic links" in inner.description
    assert linked.description.startswith("is a link")


def test_what_is_no_regular_file_is_a_fault(root: Path) -> None:
    (root / "fifo").mkdir()
    os.mkfifo(root / "fifo" / "SKILL.md")
    (root / "nested" / "SKILL.md").mkdir(parents=True)
    found = discover([str(root)])
    assert [fault.description for fault in found.faults] == [
        "'SKILL.md' is not a regular file",
        "'SKILL.md' is not a regular file",
    ]


def test_roots_that_cannot_be_used_are_faults(root: Path, tmp_path: Path) -> None:
    starred = tmp_path / "a*b"
    starred.mkdir()
    found = discover([str(tmp_path / "missing"), str(starred), str(root)])
    assert [fault.description for fault in found.faults] == [
        "cannot be read: No such file or directory",
        f"its path {str(starred)!r} could not be written as a permission",
    ]
    assert len(found.skills) == 1


def test_the_first_of_two_with_one_name_counts(root: Path, tmp_path: Path) -> None:
    second = put(tmp_path / "second", "pdf")
    found = discover([str(root), str(tmp_path / "second")])
    assert [skill.folder for skill in found.skills] == [str(root / "pdf")]
    assert found.faults[0].field == str(second)
    assert found.faults[0].description == f"is hidden by {root / 'pdf'}"


def test_a_root_may_be_a_link(root: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(root)
    assert discover([str(tmp_path / "link")]).skills[0].folder == str(root / "pdf")


def test_there_are_only_so_many(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("agentd.tools.skills.MAX_SKILLS", 2)
    for name in ("a", "b", "c"):
        put(tmp_path, name)
    found = discover([str(tmp_path)])
    assert [skill.name for skill in found.skills] == ["a", "b"]
    assert found.faults[0].description == "is left out: there are 2 skills already"
    monkeypatch.setattr("agentd.tools.skills.MAX_ENTRIES", 2)
    assert "has 3 folders, and at most 2 may be" in discover([str(tmp_path)]).faults[0].description


async def test_the_tool_reads_the_instructions_and_the_files(root: Path) -> None:
    reader = SkillReader(discover([str(root)]).skills)
    outcome = await read(reader, skill="pdf")
    assert isinstance(outcome, Succeeded)
    assert msgspec.json.decode(outcome.result_json) == {"folder": str(root / "pdf"), "text": PDF}
    outcome = await read(reader, skill="pdf", file="./references/forms.md")
    assert isinstance(outcome, Succeeded)
    assert msgspec.json.decode(outcome.result_json)["text"] == "Forms: ü"


async def test_the_tool_reads_nothing_else(root: Path, tmp_path: Path) -> None:
    (tmp_path / "secret.txt").write_text("secret")
    folder = root / "pdf"
    (folder / "out").symlink_to(tmp_path)
    (folder / "link.md").symlink_to(tmp_path / "secret.txt")
    (folder / "image.png").write_bytes(b"\x89PNG")
    (folder / "big.txt").write_text("x" * (MAX_FILE_BYTES + 1))
    (folder / "full.txt").write_text("x" * MAX_FILE_BYTES)
    os.mkfifo(folder / "fifo")
    reader = SkillReader(discover([str(root)]).skills)
    for outside in ("../../secret.txt", "/etc/passwd", "a/../../b", "a//b", "a\nb", "x/" * 20):
        assert "is not a path within the skill's folder" in await failure(
            reader, skill="pdf", file=outside
        )
        assert reader.needs({"skill": "pdf", "file": outside}, "") == ()
    assert "cannot be read" in await failure(reader, skill="pdf", file="out/secret.txt")
    assert "Too many levels" in await failure(reader, skill="pdf", file="link.md")
    assert "'image.png' is not text" in await failure(reader, skill="pdf", file="image.png")
    assert f"longer than {MAX_FILE_BYTES}" in await failure(reader, skill="pdf", file="big.txt")
    assert isinstance(await read(reader, skill="pdf", file="full.txt"), Succeeded)
    assert "is not a regular file" in await failure(reader, skill="pdf", file="fifo")
    assert "is not a regular file" in await failure(reader, skill="pdf", file="references")
    assert "there is no file 'no.md' in " in await failure(reader, skill="pdf", file="no.md")
    assert await failure(reader, skill="doc") == "there is no skill 'doc'; there are: pdf"


def test_an_agent_needs_the_skills_folder(root: Path) -> None:
    (skill,) = discover([str(root)]).skills
    reader = SkillReader([skill])
    needs = reader.needs({"skill": "pdf", "file": "references/forms.md"}, "/ws")
    assert needs == (f"fs.read:{root}/pdf/references/forms.md",)
    assert reader.needs({"skill": "pdf"}, "/ws") == (f"fs.read:{root}/pdf/SKILL.md",)
    assert reader.needs({"skill": "doc"}, "/ws") == ()
    check_permission(skill.permission, "permission")
    granted = (Rule(Decision.ALLOW, skill.permission),)
    assert judge([granted], needs, NO_LABELS, outward=False).decision is Decision.ALLOW
    other = (Rule(Decision.ALLOW, f"fs.read:{root}/doc/**"),)
    assert judge([other], needs, NO_LABELS, outward=False).decision is Decision.DENY


def test_the_manifest_has_schemas() -> None:
    check_schema(SkillReader.manifest.input_schema_json, "input", of_object=True)
    check_schema(SkillReader.manifest.output_schema_json, "output")


async def test_no_descriptor_stays_open(root: Path) -> None:
    os.mkfifo(root / "pdf" / "fifo")
    reader = SkillReader(discover([str(root)]).skills)
    before = descriptors()
    for file in ("SKILL.md", "fifo", "references", "references/no.md", "no/such/file"):
        await read(reader, skill="pdf", file=file)
    assert descriptors() == before
