"""A daemon over HTTP: runs, hosts and watches, restarts, bad input, and its own description."""

import asyncio
import json
import sys
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import pytest

from agentd.client import Client
from tests.e2e.daemon import Home, daemon
from tests.e2e.web import TOKEN, over_http
from tests.fakes.web import ServerEvent, Streamed, Web, reason_of

WAIT_S = 15.0
GARBAGE = (b"\xff" * 50, b'{"run": ', b"[" * 50_000, b'{"run": {"goal": "\\ud800"}}')
HOST = {
    "host": "http-host",
    "toolset": "toolsets/box",
    "tools": [
        {
            "name": "toolsets/box/tools/act",
            "effect": "EFFECT_CLASS_READ_ONLY",
            "inputSchemaJson": '{"type": "object"}',
        }
    ],
}


async def start(web: Web, goal: str, **fields: Any) -> str:
    """Start a run; return its name."""
    answer = await web.post("/v1/runs", {"run": {"goal": goal, **fields}})
    assert answer.status == 200, answer.body
    return str(answer.document["run"]["name"])


async def ended(web: Web, run: str) -> Any:
    """Wait until a run has ended; return it."""
    answer = await web.get(f"/v1/{run}:wait?timeout=10s")
    return answer.document["run"]


async def test_without_the_key_there_is_no_http(home: Home) -> None:
    async with daemon(home) as served:
        libraries = mapped(served.process.pid)
    assert "uvloop" in libraries
    assert "httptools" not in libraries


def mapped(process: int) -> str:
    """Return what the kernel says of a process's memory, the libraries in it included."""
    return Path(f"/proc/{process}/maps").read_text()


async def test_a_run_from_its_start_to_its_end(home: Home) -> None:
    web = over_http(home)
    async with daemon(home):
        agent = {"agent": {"name": "agents/short", "instructions": "Be short."}}
        assert (await web.post("/v1/agents", agent)).document["agent"]["revision"] == "1"
        run = await start(web, "answer", agent="agents/short", name="runs/mine")
        assert run == "runs/mine"
        found = await ended(web, run)
        assert (found["state"], found["output"]) == ("RUN_STATE_SUCCEEDED", "done")
        listed = await web.get(
            "/v1/runs?filter.agent=agents/short&filter.states=RUN_STATE_SUCCEEDED"
        )
        assert [each["name"] for each in listed.document["runs"]] == [run]
        stays = await start(web, "stay")
        report = (await web.post(f"/v1/{stays}:cancel", {"timeout": "5s"})).document["report"]
        assert report
        path = f"/v1/events:watch?filter.runs={run}&untilEnded=true"
        async with asyncio.timeout(WAIT_S), web.stream(path) as stream:
            *events, last = [event async for event in stream.events()]
        kinds = [event for each in events for event in each.document["events"]]
        assert "runCreated" in kinds[0]
        assert "runEnded" in kinds[-1]
        assert last.kind == "end"


async def test_a_program_hosts_its_tools_over_http(home: Home) -> None:
    web = over_http(home)
    async with daemon(home), asyncio.timeout(WAIT_S), web.stream("/v1/hosts:watchCalls", HOST) as s:
        instructions = told(s)
        assert "welcome" in await anext(instructions)
        run = await start(web, "act", tools=["box/*"])
        invoke = (await anext(instructions))["invoke"]
        assert invoke["argumentsJson"] == '{"item":"x"}'
        outcome = {key: invoke[key] for key in ("call", "attempt", "leaseToken")}
        done = await web.post(
            "/v1/calls:complete", {"completions": [{**outcome, "resultJson": '"acted"'}]}
        )
        assert done.document["statuses"][0]["result"] == "LEASE_RESULT_OK"
        assert "acted" in (await ended(web, run))["output"]


async def told(stream: Streamed) -> Any:
    """Yield each instruction of a host's stream."""
    async for event in stream.events():
        for instruction in event.document["instructions"]:
            yield instruction


async def test_a_watch_goes_on_over_restarts_without_gap_or_repeat(
    home: Home, client: Client
) -> None:
    web = over_http(home)
    seen: list[Any] = []
    last = ""
    lives = 3
    for life in range(lives):
        async with daemon(home) as served, asyncio.timeout(WAIT_S):
            headers = {"last-event-id": last} if last else {}
            async with web.stream("/v1/events:watch", **headers) as stream:
                await start(web, "answer")
                async for event in stream.events():
                    seen += event.document.get("events", [])
                    last = event.id
                    if "runEnded" in seen[-1]:
                        break
            if life < lives - 1:
                await served.kill()
            else:
                listed = [event async for event in client.events()]
    assert [event["revision"] for event in seen] == [str(event.revision) for event in listed]
    assert len([event for event in seen if "runEnded" in event]) == lives


async def test_the_doctor_looks_at_it(home: Home) -> None:
    web = over_http(home)
    async with daemon(home):
        assert await doctor(home) == ["ok", f"http://{web.address} answers /readyz with 200"]
    state, text = await doctor(home)
    assert state == "warn"
    assert text.startswith(f"{web.address} does not answer")


async def doctor(home: Home) -> list[str]:
    """Return what the doctor found out about HTTP."""
    command = (sys.executable, "-m", "agentd", "doctor", "-o", "json")
    process = await asyncio.create_subprocess_exec(*command, env=home.environment, stdout=PIPE)
    async with asyncio.timeout(WAIT_S):
        written, _ = await process.communicate()
    [found] = [each for each in json.loads(written) if each["subject"] == "http"]
    return [found["state"], found["text"]]


async def test_a_stop_tells_its_watchers_and_ends(home: Home) -> None:
    web = over_http(home)
    async with daemon(home) as served, web.stream("/v1/events:watch") as stream:
        async with asyncio.TaskGroup() as group:
            stopping = group.create_task(served.stop())
            events: list[ServerEvent] = [event async for event in stream.events()]
        assert stopping.result() == 0
    assert events[-1].kind == "error"
    assert reason_of(events[-1].document["error"]) == "DRAINING"


async def test_a_reader_that_stalls_is_cut_with_its_place(home: Home) -> None:
    web = over_http(home, more="write_timeout_s = 0.2\n")
    async with daemon(home), web.stream("/v1/events:watch") as stream:
        for _ in range(20):
            run = await start(web, "answer " + "x" * 900_000)
        assert (await ended(web, run))["output"] == "done"
        async with asyncio.timeout(WAIT_S):
            *events, last = [event async for event in stream.events()]
        error = last.document["error"]
        assert reason_of(error) == "SLOW_READER"
        assert 0 < int(error["details"][0]["metadata"]["last_revision"]) <= int(events[-1].id)


async def test_what_is_wrong_is_told_as_over_grpc(home: Home) -> None:
    web = over_http(home)
    async with daemon(home):
        await ended(web, await start(web, "answer", name="runs/over"))
        for answer, status, reason, named in (
            (await web.get("/v1/runs/gone"), 404, "RUN_NOT_FOUND", "gone"),
            (await web.get("/v1/runs/gone/calls/c1-1"), 404, "RUN_NOT_FOUND", "gone"),
            (await web.get("/v1/agents/UPPER"), 400, "INVALID_FIELD", "name"),
            (await web.get("/v1/runs?pageSize=-1"), 400, "INVALID_FIELD", "page_size"),
            (await web.get("/v1/events:watch?filter.kinds=x"), 400, "INVALID_FIELD", "kinds[0]"),
            (await web.get("/v1/events:watch?afterRevision=9999"), 400, "FUTURE_REVISION", "9999"),
            (await web.post("/v1/runs/over:pause", {}), 400, "WRONG_RUN_STATE", "SUCCEEDED"),
            (await web.post("/v1/agents", {"agent": {"name": "agents/default"}}), 409, "NAME_TAKEN",
             "default"),
            (await web.post("/v1/runs", {"run": {"goal": "x", "model": "scripted/gone"}}), 404,
             "MODEL_NOT_FOUND", "gone"),
            (await web.get("/v1/memories/gone"), 404, "MEMORY_NOT_FOUND", "gone"),
        ):  # fmt: skip
            assert (answer.status, answer.reason) == (status, reason), answer.body
            assert named in answer.body.decode()


@pytest.mark.parametrize("garbage", GARBAGE, ids=lambda garbage: garbage[:8].hex())
async def test_garbage_is_invalid_and_leaves_no_traceback(home: Home, garbage: bytes) -> None:
    web = over_http(home)
    async with daemon(home) as served:
        answer = await web.post("/v1/runs", garbage)
        assert (answer.status, answer.error["status"]) == (400, "INVALID_ARGUMENT")
        _, writer = await web.connect()
        writer.write(garbage)
        writer.close()
        assert (await web.get("/v1/info")).document["processId"] == str(served.process.pid)
        assert "Traceback" not in served.log
        assert TOKEN not in served.log


SETTINGS = """\
[checks.not_a_server_error]
expected-statuses = ["2xx", "4xx", 501]
"""
"""What is not implemented says so."""
LEFT_OUT = (
    "SystemService_Drain",  # would end the daemon
    "EventService_Watch",  # does not end
    "ToolHostService_WatchCalls",  # likewise
)
UNCHECKED = (
    "positive_data_acceptance",  # many rules, such as of names, are told in words alone
    "negative_data_rejection",  # `null` is the same as nothing, as protobuf has it
)


@pytest.mark.timeout(120)
async def test_every_answer_is_as_the_daemon_describes_it(home: Home) -> None:
    web = over_http(home)
    (home.path / "schemathesis.toml").write_text(SETTINGS)
    command = [
        *(sys.executable, "-c", "from schemathesis.cli import schemathesis; schemathesis()"),
        *("--config-file", str(home.path / "schemathesis.toml")),
        *(
            "run",
            f"http://{web.address}/openapi.json",
            "--header",
            f"Authorization: Bearer {TOKEN}",
        ),
        *("--checks", "all", "--exclude-checks", ",".join(UNCHECKED)),
        *(part for name in LEFT_OUT for part in ("--exclude-operation-id", name)),
        *("--phases", "examples,coverage,fuzzing", "--max-examples", "10", "--seed", "1"),
        *("--suppress-health-check", "all", "--request-timeout", "10", "--warnings", "off"),
        "--continue-on-failure",
    ]
    async with daemon(home) as served:
        process = await asyncio.create_subprocess_exec(
            *command, cwd=home.path, env=home.environment, stdout=PIPE, stderr=STDOUT
        )
        async with asyncio.timeout(90):
            written, _ = await process.communicate()
        assert process.returncode == 0, written.decode()[-8000:]
        assert "No issues found" in written.decode()
        assert "request_failed_unexpectedly" not in served.log
        assert "Traceback" not in served.log
