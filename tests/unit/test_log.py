"""The log: one JSON object a line, with the ids of what is worked on."""

import asyncio
import io
import json
import logging
import subprocess
import sys
from collections.abc import Iterator

import pytest
import structlog

from agentd import log


@pytest.fixture
def stream(monkeypatch: pytest.MonkeyPatch) -> Iterator[io.StringIO]:
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(logging.root, "level", logging.WARNING)
    yield io.StringIO()
    structlog.reset_defaults()


def lines(stream: io.StringIO) -> list[dict[str, object]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_is_an_object(stream: io.StringIO) -> None:
    logger = log.get_logger()  # made before the log is configured, as modules do
    log.configure(level="info", format="json", stream=stream)
    logger.info("daemon_ready", socket="/run/agentd/agentd.sock")
    logger.debug("not_shown")
    (line,) = lines(stream)
    assert str(line.pop("time")).endswith("Z")
    assert line == {"event": "daemon_ready", "level": "info", "socket": "/run/agentd/agentd.sock"}


async def test_ids_are_bound_to_the_task_that_binds_them(stream: io.StringIO) -> None:
    log.configure(level="info", format="json", stream=stream)

    async def work(run: str) -> None:
        with log.bind(run=run, call="c1-1"):
            await asyncio.sleep(0)
            log.get_logger().info("call_started")

    async with asyncio.TaskGroup() as group:
        for run in ("runs/a", "runs/b"):
            group.create_task(work(run))
    log.get_logger().info("outside")
    assert [line.get("run") for line in lines(stream)] == ["runs/a", "runs/b", None]
    assert lines(stream)[0]["call"] == "c1-1"


def test_libraries_write_into_the_same_log(stream: io.StringIO) -> None:
    log.configure(level="info", format="json", stream=stream)
    logging.getLogger("asyncio").error("a task was %s", "lost")
    logging.getLogger("httpx").info("chatter")
    (line,) = lines(stream)
    assert (line["event"], line["logger"]) == ("library_message", "asyncio")
    assert (line["level"], line["message"]) == ("error", "a task was lost")


def test_a_reload_changes_the_level(stream: io.StringIO) -> None:
    logger = log.get_logger()
    log.configure(level="warning", format="json", stream=stream)
    logger.info("not_shown")
    log.configure(level="debug", format="json", stream=stream)
    logger.debug("shown")
    assert [line["event"] for line in lines(stream)] == ["shown"]


def test_people_get_lines_without_control_codes_of_others(stream: io.StringIO) -> None:
    log.configure(level="info", format="console", stream=stream)
    log.get_logger().info("daemon_ready", path="/a\x1b[2Jb\nc")
    (line,) = stream.getvalue().splitlines()
    assert "daemon_ready" in line
    assert "\x1b[2J" not in line


def test_auto_is_json_where_there_is_no_terminal(stream: io.StringIO) -> None:
    log.configure(format="auto", stream=stream)
    log.get_logger().info("x")
    assert lines(stream)


def test_rich_is_neither_loaded_nor_lost() -> None:
    code = (
        "import sys, agentd.log\n"
        "assert not any(name.split('.')[0] == 'rich' for name in sys.modules)\n"
        "import rich\nassert rich.__name__ == 'rich'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
