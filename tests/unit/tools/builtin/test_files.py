"""The tools for files do what their manifests say, within what they were granted."""

import asyncio
import gc
import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from agentd.agent.hosting import InvocationKind, OutcomeUnknown
from agentd.agent.tool import EffectClass
from agentd.tools.builtin.files import MAX_ENTRIES, MAX_TEXT_BYTES
from agentd.tools.builtin.frame import LocalTool
from agentd.tools.builtin.work import Halt, Threads
from agentd.tools.schema import check_schema, compile_arguments
from tests.unit.tools.builtin.calls import call, failure, invocation, names, result

Tools = dict[str, LocalTool]


def test_manifests_are_complete(tools: Tools) -> None:
    effects = {tool.manifest.path: tool.manifest.effect for tool in tools.values()}
    assert effects == {
        "files/read": EffectClass.READ_ONLY,
        "files/write": EffectClass.IDEMPOTENT,
        "files/edit": EffectClass.IDEMPOTENT,
        "files/list": EffectClass.READ_ONLY,
        "files/glob": EffectClass.READ_ONLY,
        "files/search": EffectClass.READ_ONLY,
    }
    for tool in tools.values():
        manifest = tool.manifest
        assert manifest.description
        assert manifest.simulate == (manifest.id in {"write", "edit"})
        assert manifest.permissions == ()
        check_schema(manifest.input_schema_json, "in", of_object=True)
        check_schema(manifest.output_schema_json, "out")
        assert compile_arguments(manifest).check('{"path":"x","pattern":"y","other":1}')


async def test_a_file_is_read_by_lines(tools: Tools, workspace: Path) -> None:
    (workspace / "a.txt").write_text("one\ntwo\nthree\n")
    assert await result(tools["read"], workspace, {"path": "a.txt"}) == {
        "content": "one\ntwo\nthree\n",
        "first_line": 1,
        "lines": 3,
        "total_lines": 3,
        "size_bytes": 14,
        "truncated": False,
    }
    part = await result(tools["read"], workspace, {"path": "a.txt", "offset": 2, "limit": 1})
    assert (part["content"], part["lines"], part["truncated"]) == ("two\n", 1, True)
    last = await result(tools["read"], workspace, {"path": "a.txt", "offset": 3})
    assert (last["content"], last["truncated"]) == ("three\n", False)
    assert "3 lines" in await failure(tools["read"], workspace, {"path": "a.txt", "offset": 4})


@pytest.mark.parametrize(
    ("text", "lines"), [("", 0), ("\n", 1), ("x", 1), ("x\ny", 2), ("\n\n", 2), ("ä\r\nö", 2)]
)
async def test_lines_are_counted(tools: Tools, workspace: Path, text: str, lines: int) -> None:
    (workspace / "f").write_bytes(text.encode())
    read = await result(tools["read"], workspace, {"path": "f"})
    assert (read["content"], read["lines"], read["total_lines"]) == (text, lines, lines)


async def test_long_lines_are_cut_between_characters(tools: Tools, workspace: Path) -> None:
    (workspace / "long").write_text("x" + "ä" * MAX_TEXT_BYTES)
    read = await result(tools["read"], workspace, {"path": "long"})
    assert read["truncated"]
    assert len(read["content"].encode()) == MAX_TEXT_BYTES - 1
    (workspace / "many").write_text("0123456789\n" * 20_000)
    read = await result(tools["read"], workspace, {"path": "many", "limit": 10_000})
    assert read["truncated"]
    assert read["lines"] == MAX_TEXT_BYTES // 11
    assert read["content"].endswith("9\n")


async def test_what_is_no_text_is_refused(tools: Tools, workspace: Path) -> None:
    (workspace / "program").write_bytes(b"\x7fELF\0\0")
    (workspace / "latin").write_bytes("später".encode("latin-1"))
    for tool, more in (("read", {}), ("edit", {"old": "a", "new": "b"})):
        message = await failure(tools[tool], workspace, {"path": "program", **more})
        assert message == "'program' is a binary file of 6 bytes: only text can be read"
        message = await failure(tools[tool], workspace, {"path": "latin", **more})
        assert "not UTF-8" in message


async def test_writing_makes_folders_and_says_so(tools: Tools, workspace: Path) -> None:
    arguments = {"path": "a/b/c.txt", "content": "text"}
    assert await result(tools["write"], workspace, arguments) == {"created": True, "size_bytes": 4}
    assert (workspace / "a/b/c.txt").read_text() == "text"
    assert not (await result(tools["write"], workspace, arguments))["created"]
    assert "is a folder" in await failure(tools["write"], workspace, {**arguments, "path": "a/b"})


async def test_a_read_only_file_is_not_written(tools: Tools, workspace: Path) -> None:
    (workspace / "f").write_text("x")
    (workspace / "f").chmod(0o444)
    assert "read-only" in await failure(tools["write"], workspace, {"path": "f", "content": ""})


async def test_simulation_shows_and_changes_nothing(tools: Tools, workspace: Path) -> None:
    (workspace / "f").write_text("a\nb\n")
    how: dict[str, Any] = {"kind": InvocationKind.SIMULATE}
    shown = await result(tools["edit"], workspace, {"path": "f", "old": "b", "new": "c"}, **how)
    assert shown["diff"].endswith("-b\n+c\n")
    assert (shown["created"], shown["size_bytes"]) == (False, 4)
    shown = await result(tools["write"], workspace, {"path": "new/f", "content": "hi\n"}, **how)
    assert shown == {
        "created": True,
        "size_bytes": 3,
        "diff": "--- a/new/f\n+++ b/new/f\n@@ -0,0 +1 @@\n+hi\n",
    }
    assert names(workspace) == ["f"]
    assert (workspace / "f").read_text() == "a\nb\n"


async def test_a_repeated_attempt_at_an_edit_finds_it_done(tools: Tools, workspace: Path) -> None:
    (workspace / "f").write_text("call()\n")
    arguments = {"path": "f", "old": "call()", "new": "call()\ncall()"}
    assert (await result(tools["edit"], workspace, arguments))["replacements"] == 1
    again = await result(tools["edit"], workspace, arguments, attempt=2)
    assert again["replacements"] == 0
    assert (workspace / "f").read_text() == "call()\ncall()\n"
    # A first attempt that finds nothing to do was told the wrong text.
    assert "does not have" in await failure(tools["edit"], workspace, arguments)


async def test_edits_of_one_file_take_turns(tools: Tools, workspace: Path) -> None:
    (workspace / "f").write_text("".join(f"<{number}>" for number in range(12)))
    async with asyncio.TaskGroup() as group:
        for number in range(12):
            arguments = {"path": "f", "old": f"<{number}>", "new": f"[{number}]"}
            group.create_task(result(tools["edit"], workspace, arguments))
    assert (workspace / "f").read_text() == "".join(f"[{number}]" for number in range(12))


async def test_a_folder_is_listed(tools: Tools, workspace: Path) -> None:
    (workspace / "b").write_text("xyz")
    (workspace / "a").mkdir()
    (workspace / "c").symlink_to("/etc/passwd")
    os.mkfifo(workspace / "d")
    os.close(os.open(os.fsencode(workspace) + b"/\xff", os.O_CREAT | os.O_WRONLY))
    listed = await result(tools["list"], workspace, {})
    assert [(entry["name"], entry["type"]) for entry in listed["entries"]] == [
        ("a", "folder"),
        ("b", "file"),
        ("c", "link"),
        ("d", "other"),
        ("\ufffd", "file"),
    ]
    assert listed["entries"][1]["size_bytes"] == 3
    assert "not a folder" in await failure(tools["list"], workspace, {"path": "b"})


async def test_a_long_listing_is_cut(tools: Tools, workspace: Path) -> None:
    for number in range(MAX_ENTRIES + 5):
        (workspace / f"{number:05}").touch()
    listed = await result(tools["list"], workspace, {})
    assert (len(listed["entries"]), listed["total"]) == (MAX_ENTRIES, MAX_ENTRIES + 5)


def test_needs_name_the_path_and_where_it_leads(tools: Tools, workspace: Path) -> None:
    (workspace / "data").mkdir()
    (workspace / "link").symlink_to("data")
    (workspace / "out").symlink_to("/etc")
    needs = [
        tools["read"].needs({"path": path}, str(workspace))
        for path in ("data/x", "link/x", "out/passwd", "../up", "/srv/./a//b", ".")
    ]
    assert needs == [
        [f"fs.read:{workspace}/data/x"],
        [f"fs.read:{workspace}/link/x", f"fs.read:{workspace}/data/x"],
        [f"fs.read:{workspace}/out/passwd", "fs.read:/etc/passwd"],
        [f"fs.read:{workspace.parent}/up"],
        ["fs.read:/srv/a/b"],
        [f"fs.read:{workspace}"],
    ]
    assert tools["edit"].needs({"path": "f", "old": "a", "new": "b"}, "/w") == [
        "fs.read:/w/f",
        "fs.write:/w/f",
    ]
    assert tools["search"].needs({"path": ".", "pattern": "x"}, "/w") == ["fs.read:/w/**"]
    assert tools["search"].needs({"path": "/", "pattern": "x"}, "/w") == ["fs.read:/**"]


def test_needs_never_raise(tools: Tools) -> None:
    for path in ("\0", "a" * 4096, "\ud800", "~", "x/../../.."):
        assert tools["read"].needs({"path": path}, "/w")


async def test_a_link_is_followed_as_far_as_was_granted(tools: Tools, workspace: Path) -> None:
    outside = workspace.parent / "secret"
    outside.write_text("secret")
    (workspace / "link").symlink_to(outside)
    read = await result(tools["read"], workspace, {"path": "link"})
    assert read["content"] == "secret"
    granted = (f"fs.read:{workspace}/link",)
    message = await failure(tools["read"], workspace, {"path": "link"}, granted=granted)
    assert message == f"'link' leads to '{outside}', for which the call has no fs.read"


@pytest.mark.parametrize("path", ["/proc/self/environ", "/dev/stdin", "/sys/kernel/notes"])
async def test_nothing_of_the_kernel_is_read(tools: Tools, workspace: Path, path: str) -> None:
    assert "kernel" in await failure(tools["read"], workspace, {"path": path})
    (workspace / "link").symlink_to(path)
    assert "kernel" in await failure(tools["read"], workspace, {"path": "link"})


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("missing", "no such file"),
        ("a" * 300, "too long"),
        ("f/x", "not a folder"),
        (".", "is a folder"),
        ("loop", "symbolic link"),
        ("nul\0", "not a path"),
    ],
)
async def test_failures_are_sentences(
    tools: Tools, workspace: Path, path: str, reason: str
) -> None:
    (workspace / "f").touch()
    (workspace / "loop").symlink_to("loop")
    message = await failure(tools["read"], workspace, {"path": path})
    assert reason in message


async def test_answers_are_bounded_whatever_names_there_are(tools: Tools, workspace: Path) -> None:
    rest = "\x01" * 250  # takes six characters each in JSON
    for number in range(900):
        (workspace / f"{number:03}{rest}").write_text("x" * 300)
    for tool, arguments, key, most in (
        ("list", {}, "entries", 600),
        ("glob", {"pattern": "**"}, "paths", 600),
        ("search", {"pattern": "x", "limit": 500}, "matches", 300),
    ):
        found = await result(tools[tool], workspace, arguments)  # which checks its size
        assert most - 100 < len(found[key]) < most


@pytest.mark.parametrize("tool", ["read", "write"])
async def test_only_what_was_declared_is_done(tools: Tools, workspace: Path, tool: str) -> None:
    arguments = {"path": "f", "content": "x"} if tool == "write" else {"path": "f"}
    made = invocation(tools[tool], workspace, arguments, kind=InvocationKind.RECONCILE)
    assert isinstance(await tools[tool](made), OutcomeUnknown)
    assert names(workspace) == []
    if tool == "read":
        how = {"kind": InvocationKind.SIMULATE}
        assert "cannot be simulated" in await failure(tools[tool], workspace, arguments, **how)


async def test_cancelling_waits_for_the_work_to_end() -> None:
    halt, begun, ended = Halt(60), asyncio.Event(), threading.Event()
    loop = asyncio.get_running_loop()
    faults: list[object] = []
    loop.set_exception_handler(lambda _, context: faults.append(context))

    def work() -> None:
        loop.call_soon_threadsafe(begun.set)
        try:
            while True:
                halt.check()
                time.sleep(0.001)
        finally:
            time.sleep(0.05)  # as a slow disk would
            ended.set()

    async def call_it() -> None:
        await Threads().run(work, halt)

    async with asyncio.TaskGroup() as group:
        task = group.create_task(call_it())
        await begun.wait()
        task.cancel()
    assert task.cancelled()
    assert ended.is_set()
    gc.collect()
    assert faults == []


async def test_the_event_loop_goes_on_meanwhile(tools: Tools, workspace: Path) -> None:
    (workspace / "f").write_text("a" * 200_000)
    ticks = 0
    async with asyncio.TaskGroup() as group:
        task = group.create_task(call(tools["search"], workspace, {"pattern": "((a?){20}){20}b"}))
        while not task.done():
            await asyncio.sleep(0.001)
            ticks += 1
    assert ticks > 10
