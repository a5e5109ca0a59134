"""The daemon as its service manager sees it: readiness, reload, drain, sockets, and refusals."""

import json
import signal
import socket
import sys
from pathlib import Path

import apsw
import pytest

from agentd.client import AgentdError, Client, Denied, Reason, RetryPolicy, Unavailable, connect
from agentd.v1.run_pb2 import RunState
from tests.e2e.daemon import EAGER, SERVE, Home, daemon, process
from tests.e2e.watching import until

INHERIT = (
    "import os, socket, sys\n"
    "listener = socket.socket(fileno=int(sys.argv[1]))\n"
    "os.dup2(listener.fileno(), 3)\n"
    "os.set_inheritable(3, True)\n"
    "os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))\n"
    "os.execv(sys.argv[2], sys.argv[2:])\n"
)
"""Does what systemd does before it starts a service that has a socket unit."""


async def test_it_tells_its_service_manager_how_it_is(home: Home) -> None:
    async with daemon(home) as served:
        served.signal(signal.SIGTERM)
        assert await served.until_said("STOPPING=1")
        assert await served.ended() == 0
    ready, *_, stopping = [message.splitlines() for message in served.said]
    assert ready == ["READY=1", f"STATUS=serving {home.socket}"]
    assert stopping == ["STOPPING=1", "STATUS=draining"]


async def test_a_drain_lets_a_request_end_and_refuses_new_runs(home: Home, client: Client) -> None:
    async with daemon(home) as served:
        run = (await client.runs.start("slow")).run.name
        await until(client, run, "model_requested")
        served.signal(signal.SIGTERM)
        assert await served.until_said("STOPPING=1")
        async with connect(home.address, retry=RetryPolicy(attempts=1)) as once:
            with pytest.raises(Unavailable) as refused:
                await once.runs.start("another")
        assert refused.value.reason is Reason.DRAINING
        assert await served.ended() == 0
    async with daemon(home):
        ended = await client.runs.wait(run, timeout_s=10)
        assert ended.state == RunState.RUN_STATE_SUCCEEDED
        assert ended.output == "at last"
        assert ended.usage.unknown_tokens == 0
        kinds = [event.WhichOneof("payload") async for event in client.events()]
        assert kinds == [
            "run_created",
            "run_started",
            "model_requested",
            "model_replied",
            "run_ended",
        ]


async def test_a_drain_that_runs_out_of_time_records_nothing_false(
    home: Home, client: Client
) -> None:
    home.configure(home.config.read_text() + "[server]\ndrain_timeout_s = 0.1\n")
    async with daemon(home) as served:
        run = (await client.runs.start("stay")).run.name
        await until(client, run, "model_requested")
        assert await served.stop() == 0
    async with daemon(home):
        lost = await until(client, run, "model_lost")
        assert lost.sequence == 4
        report = await client.runs.cancel(run)
        assert report.run.state == RunState.RUN_STATE_CANCELLED


async def test_a_reload_takes_a_log_level_and_models(home: Home, client: Client) -> None:
    async with daemon(home) as served:
        other = home.path / "other.json"
        other.write_text(json.dumps({"conversations": [{"turns": [{"text": "other"}]}]}))
        text = home.config.read_text()
        text = text.replace('models = ["script"]', 'models = ["script", "other"]')
        more = f'[models.details."scripted/other"]\npath = "{other}"\n[log]\nlevel = "debug"\n'
        home.configure(text + more)
        served.signal(signal.SIGHUP)
        assert await served.until_said("READY=1")
        assert served.said[-2].splitlines()[0] == "RELOADING=1"
        created = await client.runs.start("answer", model="scripted/other")
        assert (await client.runs.wait(created.run.name, timeout_s=10)).output == "other"
        before = served.log
        home.configure("[log]\nlevle = 1\n")
        served.signal(signal.SIGHUP)
        assert await served.until_said("READY=1")
        assert "reload_refused" in served.log.removeprefix(before)
        created = await client.runs.start("answer", model="scripted/other")
        assert (await client.runs.wait(created.run.name, timeout_s=10)).output == "other"


async def test_a_second_daemon_names_the_first(home: Home) -> None:
    async with daemon(home) as first:
        with Home() as elsewhere:
            elsewhere.environment["XDG_RUNTIME_DIR"] = home.environment["XDG_RUNTIME_DIR"]
            for second in (elsewhere, home):
                log = await refused_start(second, log=elsewhere.path / "second")
                assert str(first.process.pid) in log
                assert str(home.socket) in log


async def test_an_inherited_socket(home: Home, client: Client) -> None:
    home.socket.parent.mkdir(parents=True)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(home.socket))
        listener.listen()
        number = str(listener.fileno())
        command = (sys.executable, "-c", INHERIT, number, *SERVE)
        async with daemon(home, command, pass_fds=(listener.fileno(),)) as served:
            assert (await client.system.info()).process_id == served.process.pid
            assert await served.stop() == 0
        assert home.socket.exists()


async def test_tcp_needs_the_token(home: Home) -> None:
    token = home.path / "token"
    token.write_text("open-sesame")
    token.chmod(0o600)
    wrong = home.path / "wrong"
    wrong.write_text("open-barley")
    wrong.chmod(0o600)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home.configure(
        home.config.read_text() + f'[server]\ntcp = "127.0.0.1:{port}"\ntoken_file = "{token}"\n'
    )
    async with daemon(home):
        address = f"127.0.0.1:{port}"
        async with connect(address, token_file=token, retry=EAGER) as client:
            assert (await client.system.info()).version
        for bad in (wrong, None):
            async with connect(address, token_file=bad, retry=EAGER) as client:
                with pytest.raises(Denied) as error:
                    await client.system.info()
                assert error.value.reason is Reason.UNAUTHENTICATED


async def test_namespaces_do_not_see_each_other(home: Home, client: Client) -> None:
    async with daemon(home), home.client(namespace="other") as other:
        created = await client.runs.start("answer")
        name = created.run.name
        await client.runs.wait(name, timeout_s=10)
        assert [run.name async for run in other.runs.list()] == []
        assert [event async for event in other.events()] == []
        with pytest.raises(AgentdError) as error:
            await other.runs.get(name)
        assert error.value.reason is Reason.RUN_NOT_FOUND
        await other.runs.start("answer")
        assert [run.name async for run in client.runs.list()] == [name]


async def refused_start(home: Home, *, log: Path | None = None, code: int = 1) -> str:
    """Start a daemon that refuses to; return the one line that says why."""
    async with process(home, log=log) as served:
        assert not await served.until_said("READY=1")
        assert await served.ended() == code
    lines = served.log.splitlines()
    assert len(lines) == 1, served.log
    assert lines[0].startswith("agentd: ")
    return lines[0]


async def test_a_misspelt_key_is_refused_with_its_place(home: Home) -> None:
    home.configure("[server]\n\nsokcet = '/tmp/x'\n")
    line = await refused_start(home, code=2)
    assert f"{home.config}:3" in line or f"{home.config}, line 3" in line
    assert "did you mean 'server.socket'?" in line


async def test_a_newer_journal_is_refused_and_not_touched(home: Home) -> None:
    async with daemon(home) as served:
        assert await served.stop() == 0
    [database] = home.state.glob("journal.db")
    connection = apsw.Connection(str(database))
    [(version,)] = connection.execute("PRAGMA user_version")
    if version:
        connection.execute(f"PRAGMA user_version = {version + 1}")
    else:
        connection.execute("UPDATE meta SET value = value + 1 WHERE name = 'schema'")
    connection.close()
    before = database.read_bytes()
    line = await refused_start(home)
    assert "newer" in line
    assert database.read_bytes() == before


async def test_no_model_names_the_three_ways_on(home: Home, client: Client) -> None:
    home.configure("")
    async with daemon(home):
        with pytest.raises(AgentdError) as error:
            await client.runs.start("answer")
    assert error.value.reason is Reason.NO_MODEL
    for way in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "agentd models pull"):
        assert way in error.value.message
    assert "\n" not in error.value.message
