"""The HTTP carrier over real sockets, with small services behind it."""

import asyncio
import gc
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import pytest

from agentd.carriers.http import HttpCarrier, HttpLimits
from agentd.carriers.http_server import ServerLimits
from agentd.errors import AgentdError, Reason
from agentd.services.registry import method_table
from tests.fakes.web import JSON, Web, read_answer, reason_of
from tests.unit.carriers.serving import Events, Runs, System, services

TOKEN = "open-sesame"
DEFAULTS = HttpLimits()
HASTE = ServerLimits(head_timeout_s=0.1, idle_timeout_s=1, stall_timeout_s=0.3)


@dataclass
class Site:
    """A carrier and its services."""

    web: Web
    carrier: HttpCarrier
    system: System
    events: Events
    runs: Runs


@asynccontextmanager
async def site(limits: HttpLimits = DEFAULTS) -> AsyncIterator[Site]:
    system, events, runs = System(), Events(), Runs()
    carrier = HttpCarrier(method_table(services(system, events, runs)), token=TOKEN, limits=limits)
    address = await carrier.start("127.0.0.1:0")
    try:
        yield Site(Web(address, TOKEN), carrier, system, events, runs)
    finally:
        await carrier.close(0.1)


async def test_a_request_knows_its_caller() -> None:
    async with site() as at:
        answer = await at.web.get("/v1/info", agentd_namespace="team-a")
        assert (answer.status, answer.document) == (200, {"version": "team-a"})
        assert answer.headers["content-type"] == "application/json"
        assert answer.headers["cache-control"] == "no-store"
        assert (await at.web.get("/v1/info")).document == {"version": "default"}
        assert [caller.transport for caller in at.system.callers] == ["tcp", "tcp"]
        refused = await at.web.get("/v1/info", agentd_namespace="Team A")
        assert refused.reason == "INVALID_FIELD"
        twice = at.web.request("GET", "/v1/info", headers={"agentd-namespace": "a"})
        twice = twice.replace(b"\r\n\r\n", b"\r\nagentd-namespace: b\r\n\r\n")
        assert (await raw(at.web, twice)).startswith(b"HTTP/1.1 400 ")


async def raw(web: Web, data: bytes) -> bytes:
    """Send bytes; return what comes back until the server closes."""
    reader, writer = await web.connect()
    try:
        writer.write(data)
        writer.write_eof()
        async with asyncio.timeout(10):
            return await reader.read()
    finally:
        writer.close()


async def test_an_error_is_a_status_with_its_details() -> None:
    async with site() as at:
        fault = await at.web.get("/v1/runs/x", agentd_namespace="Bad")
        assert fault.error["code"] == fault.status == 400
        answer = await at.web.get("/v1/runs/fault")
        assert (answer.status, answer.error["status"]) == (400, "INVALID_ARGUMENT")
        assert answer.error["details"][1]["fieldViolations"] == [
            {"field": "name", "description": "is a fault"}
        ]
        later = await at.web.get("/v1/runs/wait")
        assert (later.status, later.headers["retry-after"]) == (429, "2")
        assert later.error["details"][1]["retryDelay"] == "1.500s"


async def test_a_bug_is_internal_and_says_nothing() -> None:
    async with site() as at:
        answer = await at.web.get("/v1/runs/bug")
        assert (answer.status, answer.reason) == (500, "INTERNAL")
        assert b"secret" not in answer.body


@pytest.mark.parametrize("path", ["/v1/info", "/v1/events:watch", "/openapi.json", "/nothing"])
async def test_without_the_token_nothing_answers(path: str) -> None:
    async with site() as at:
        for token in ("", "wrong", TOKEN + "x"):
            answer = await Web(at.web.address, token).get(path)
            assert (answer.status, answer.reason) == (401, "UNAUTHENTICATED")
            assert answer.headers["www-authenticate"] == "Bearer"
        assert at.system.callers == []


async def test_whether_it_is_well_needs_no_token() -> None:
    async with site() as at:
        anybody = Web(at.web.address)
        assert (await anybody.get("/healthz")).document == {"status": "ok"}
        assert (await anybody.get("/readyz")).document == {"status": "ready"}
        at.carrier.drain()
        assert (await anybody.get("/healthz")).status == 200
        draining = await anybody.get("/readyz")
        assert (draining.status, draining.reason) == (503, "DRAINING")
        assert (await anybody.ask("POST", "/healthz")).status == 405


@pytest.mark.parametrize("host", ["evil.example", "evil.example:{port}", "127.0.0.1:1", "", "a, b"])
async def test_a_host_of_another_name_is_refused(host: str) -> None:
    async with site() as at:
        name = host.format(port=at.web.address.rpartition(":")[2])
        for path in ("/v1/info", "/healthz"):
            answer = await at.web.get(path, host=name)
            assert (answer.status, answer.reason) == (403, "PERMISSION_DENIED")


async def test_a_host_that_is_this_one_is_served() -> None:
    async with site() as at:
        port = at.web.address.rpartition(":")[2]
        for name in (f"localhost:{port}", f"LOCALHOST:{port}", f"[::1]:{port}", "127.0.0.1"):
            assert (await at.web.get("/v1/info", host=name)).status == 200


async def test_no_other_site_may_ask() -> None:
    async with site() as at:
        for method in ("GET", "OPTIONS"):
            answer = await at.web.ask(method, "/v1/info", headers={"origin": "http://evil.example"})
            assert not [name for name in answer.headers if name.startswith("access-control")]
        assert answer.status == 405


async def test_what_http_has_its_own_words_for() -> None:
    limits = HttpLimits(max_message_bytes=100)
    async with site(limits) as at:
        body = b'{"name": "x"}'
        for answer, status, reason in (
            (await at.web.get("/nothing"), 404, "NOT_IMPLEMENTED"),
            (await at.web.ask("PUT", "/v1/runs/a"), 405, "NOT_IMPLEMENTED"),
            (await at.web.get("/v1/sessions"), 501, "NOT_IMPLEMENTED"),
            (await at.web.get("/v1/info", accept="text/html"), 406, "MALFORMED_REQUEST"),
            (await at.web.ask("POST", "/v1/runs/a:cancel", body), 415, "MALFORMED_REQUEST"),
            (await at.web.post("/v1/runs/a:cancel", b"x" * 101), 413, "TOO_LARGE"),
            (await at.web.post("/v1/runs/a:cancel", b"{"), 400, "MALFORMED_REQUEST"),
        ):
            assert (answer.status, answer.reason) == (status, reason)
            assert answer.error["code"] == status


async def test_a_body_without_a_length_is_limited_too() -> None:
    async with site(HttpLimits(max_message_bytes=100)) as at:
        head = {**JSON, "transfer-encoding": "chunked", "connection": "close"}
        request = at.web.request("POST", "/v1/runs/a:cancel", headers=head)
        answer = await raw(at.web, request + b"40\r\n" + b" " * 64 + b"\r\n40\r\n" + b" " * 64)
        assert answer.startswith(b"HTTP/1.1 413 ")


async def test_a_body_that_says_that_it_is_too_large_is_not_waited_for() -> None:
    async with site(HttpLimits(max_message_bytes=100)) as at:
        head = {**JSON, "content-length": "101"}
        answer = await at.web.ask("POST", "/v1/runs/a:cancel", headers=head)
        assert (answer.status, answer.reason) == (413, "TOO_LARGE")


async def test_head_is_get_without_the_body() -> None:
    async with site() as at:
        answer = await at.web.ask("HEAD", "/v1/info")
        assert (answer.status, answer.headers["content-length"]) == (200, "21")
        assert (await at.web.ask("HEAD", "/v1/events:watch")).status == 405


async def test_a_stream_is_events_with_their_revisions() -> None:
    async with site() as at, at.web.stream("/v1/events:watch?afterRevision=3&untilEnded=true") as s:
        assert s.answer.headers["content-type"] == "text/event-stream"
        events = [event async for event in s.events()]
        assert [(event.id, event.kind) for event in events] == [
            ("1", "message"), ("2", "message"), ("3", "message"), ("", "end")
        ]  # fmt: skip
        assert events[0].document == {"progressRevision": "1"}
        assert at.events.closed_count == 1


async def test_last_event_id_is_where_a_stream_goes_on() -> None:
    async with site() as at:
        path = "/v1/events:watch?afterRevision=100&untilEnded=true"
        async with at.web.stream(path, last_event_id="2") as stream:
            events = [event async for event in stream.events()]
        assert [event.id for event in events] == ["1", "2", ""]  # of so many that it asked for
        for bad in ("x", "-1", "9" * 30, "\u0663"):
            answer = await at.web.get(path, last_event_id=bad)
            assert (answer.status, answer.reason) == (400, "INVALID_FIELD")


async def test_a_stream_may_be_lines_of_json() -> None:
    path = "/v1/events:watch?afterRevision=2&untilEnded=true"
    async with site() as at, at.web.stream(path, accept="application/x-ndjson") as stream:
        assert stream.answer.headers["content-type"] == "application/x-ndjson"
        lines = [json.loads(line) async for line in stream.lines()]
        assert lines == [{"progressRevision": "1"}, {"progressRevision": "2"}]


async def test_a_quiet_stream_begins_and_says_that_it_is_there() -> None:
    limits = HttpLimits(heartbeat_s=0.05)
    async with site(limits) as at, at.web.stream("/v1/events:watch") as stream:
        assert stream.answer.status == 200
        async with asyncio.timeout(10):
            assert await stream.reader.readexactly(8) == b"3\r\n:\n\n\r\n"
        assert at.events.open_count == 1


async def test_a_client_that_leaves_ends_its_stream_and_its_request() -> None:
    async with site() as at:
        async with at.web.stream("/v1/events:watch"):
            await at.events.opened.wait()
        reader, writer = await at.web.connect()
        writer.write(at.web.request("GET", "/v1/runs/a:wait"))
        await at.runs.waiting.wait()
        writer.close()
        async with asyncio.timeout(10):
            await at.events.closed.wait()
            await at.runs.cancelled.wait()
        del reader


@pytest.mark.parametrize("accept", ["text/event-stream", "application/x-ndjson"])
async def test_a_reader_that_stalls_is_cut_and_told_how_far_it_came(accept: str) -> None:
    path = "/v1/events:watch?afterRevision=1000&filter.agent=100000"
    limits = HttpLimits(write_timeout_s=0.2)
    async with site(limits) as at, at.web.stream(path, accept=accept) as stream:
        async with asyncio.timeout(10):
            await at.events.closed.wait()
        assert (await at.web.get("/v1/info")).status == 200
        lines = [line async for line in stream.lines() if "error" in line]
        error = json.loads(lines[-1].removeprefix("data: "))["error"]
        assert reason_of(error) == "SLOW_READER"
        assert error["details"][0]["metadata"] == {"last_revision": str(at.events.sent - 1)}
        assert at.events.sent < 1000


async def test_closing_ends_streams_at_once_and_waits_for_requests() -> None:
    async with site() as at, at.web.stream("/v1/events:watch?afterRevision=1") as stream:
        events = stream.events()
        assert (await anext(events)).id == "1"
        async with asyncio.TaskGroup() as group:
            waiting = group.create_task(at.web.get("/v1/runs/a:wait"))
            await at.runs.waiting.wait()
            group.create_task(at.carrier.close(60))
            last = await anext(events)
            assert last.kind == "error"
            assert reason_of(last.document["error"]) == "DRAINING"
            with pytest.raises(ConnectionRefusedError):
                await at.web.get("/v1/info")
            at.runs.released.set()
            assert (await waiting).document == {}


async def test_closing_ends_late_requests_with_the_reason() -> None:
    async with site() as at, asyncio.TaskGroup() as group:
        waiting = group.create_task(at.web.get("/v1/runs/a:wait"))
        await at.runs.waiting.wait()
        await at.carrier.close(0.05)
        assert ((await waiting).status, (await waiting).reason) == (503, "DRAINING")


async def test_a_connection_serves_one_request_after_another() -> None:
    async with site() as at:
        reader, writer = await at.web.connect()
        writer.write(at.web.request("GET", "/v1/info") * 3)
        for _ in range(3):
            assert (await read_answer(reader)).status == 200
        writer.write(at.web.request("GET", "/nothing"))
        assert (await read_answer(reader)).status == 404
        writer.close()


@pytest.mark.parametrize(
    "garbage", [b"\x16\x03\x01\x02\x00", b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"\xff" * 99]
)
async def test_what_is_no_http_is_answered_as_other_errors(garbage: bytes) -> None:
    async with site() as at:
        answer = await raw(at.web, garbage)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400 ")
        assert reason_of(json.loads(body)["error"]) == "MALFORMED_REQUEST"
        assert (await at.web.get("/v1/info")).status == 200


async def test_a_client_that_leaves_ends_a_stream_with_a_request_behind_it() -> None:
    async with site() as at:
        reader, writer = await at.web.connect()
        writer.write(at.web.request("GET", "/v1/events:watch") + at.web.request("GET", "/healthz"))
        await reader.readuntil(b"\r\n\r\n")
        writer.close()
        async with asyncio.timeout(10):
            await at.events.closed.wait()


async def test_too_many_requests_behind_another_end_the_connection() -> None:
    async with site() as at:
        reader, writer = await at.web.connect()
        writer.write(at.web.request("GET", "/v1/events:watch"))
        await reader.readuntil(b"\r\n\r\n")
        writer.write(at.web.request("GET", "/healthz") * 20)
        async with asyncio.timeout(10):
            await at.events.closed.wait()
        writer.close()


async def test_a_reader_that_is_behind_at_the_end_gets_what_was_written() -> None:
    path = "/v1/events:watch?afterRevision=1000&filter.agent=100000"
    async with site() as at, at.web.stream(path) as stream, asyncio.timeout(10):
        await at.events.opened.wait()
        async with asyncio.TaskGroup() as group:
            group.create_task(at.carrier.close(5))
            await at.events.closed.wait()
            while at.carrier._streams:  # noqa: ASYNC110 - nothing tells of it
                await asyncio.sleep(0)
            *_, last = [event async for event in stream.events()]
        assert reason_of(last.document["error"]) == "DRAINING"


async def test_a_client_that_resets_in_the_middle_is_no_fault_of_ours(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    path = "/v1/events:watch?afterRevision=1000&filter.agent=100000&untilEnded=true"
    async with site() as at, asyncio.timeout(10):
        for _ in range(20):
            at.events.closed.clear()
            async with at.web.stream(path) as stream:
                await stream.reader.readexactly(1000)
                stream.writer.transport.abort()  # with what it has not read: a reset
            await at.events.closed.wait()
        assert (await at.web.get("/v1/info")).status == 200
    gc.collect()  # which is when tasks say what nobody heard of them
    assert "Traceback" not in capsys.readouterr().out + caplog.text


async def test_garbage_behind_a_request_ends_it_and_is_no_fault_of_ours(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    async with site() as at:
        path = "/v1/events:watch?afterRevision=3&filter.agent=300000&untilEnded=true"
        for behind in (b"GARBAGE\r\n\r\n", at.web.request("GET", "/v1/info") + b"GARBAGE\r\n"):
            await raw(at.web, at.web.request("GET", path) + behind)
        assert (await at.web.get("/v1/info")).status == 200
    assert "Traceback" not in capsys.readouterr().out + caplog.text


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET /v1/info HTTP/1.1\r\nhost:",
        b"GET /healthz HTTP/1.1\r\nhost: localhost\r\n\r\nGET /hea",
    ],
)
async def test_a_request_that_does_not_come_is_given_up(sent: bytes) -> None:
    async with site(HttpLimits(server=HASTE)) as at:
        reader, writer = await at.web.connect()
        writer.write(sent)
        async with asyncio.timeout(10):
            with suppress(ConnectionResetError):
                await reader.read()
        writer.close()


async def test_a_body_that_does_not_come_is_given_up() -> None:
    async with site(HttpLimits(read_timeout_s=0.1)) as at:
        head = {**JSON, "content-length": "10"}
        reader, writer = await at.web.connect()
        writer.write(at.web.request("POST", "/v1/runs/a:cancel", headers=head) + b"{")
        answer = await read_answer(reader)
        assert (answer.status, answer.headers["connection"]) == (408, "close")
        writer.close()


async def test_a_head_without_end_is_cut() -> None:
    async with site() as at:
        reader, writer = await at.web.connect()
        writer.write(b"GET /v1/info HTTP/1.1\r\n")
        with pytest.raises(ConnectionError):  # noqa: PT012 - which write fails is the kernel's choice
            for _ in range(10_000):
                writer.write(b"x: " + b"y" * 4000 + b"\r\n")
                await writer.drain()
            await reader.read()
        writer.close()


async def test_a_reader_of_nothing_is_dropped_in_the_end() -> None:
    async with site(HttpLimits(write_timeout_s=0.1, server=HASTE)) as at:
        path = "/v1/events:watch?afterRevision=1000&filter.agent=100000"
        async with at.web.stream(path) as stream:
            async with asyncio.timeout(10):
                await at.events.closed.wait()
                await at.carrier._server._state.emptied.wait()
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                async for _ in stream.lines():
                    pass


async def test_connections_above_the_limit_are_closed() -> None:
    async with site(HttpLimits(server=ServerLimits(max_connections=2))) as at:
        kept = [await at.web.connect() for _ in range(2)]
        for _, writer in kept:
            writer.write(at.web.request("GET", "/v1/info"))
        for reader, _ in kept:
            assert (await read_answer(reader)).status == 200
        reader, writer = await at.web.connect()
        async with asyncio.timeout(5):
            assert await reader.read() == b""
        writer.close()
        for _, writer in kept:
            writer.close()


async def test_a_client_may_wait_to_be_asked_for_its_body() -> None:
    async with site() as at:
        head = {**JSON, "content-length": "2", "expect": "100-continue"}
        reader, writer = await at.web.connect()
        writer.write(at.web.request("POST", "/v1/sessions", headers=head))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"{}")
        assert (await read_answer(reader)).status == 501
        writer.close()


async def test_a_second_server_cannot_share_a_port() -> None:
    async with site() as at:
        second = HttpCarrier({}, token=TOKEN)
        with pytest.raises(AgentdError, match="cannot listen on") as error:
            await second.start(at.web.address)
        assert error.value.reason is Reason.UNREACHABLE
