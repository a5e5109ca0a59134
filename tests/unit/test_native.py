"""What libagentd does in Python, without its C: the verbs, from threads, at a daemon inside."""

import json
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from google.rpc.status_pb2 import Status

from agentd.carriers.payload import Encoding
from agentd.native import READ_AHEAD, Answer, Ask, Kind, Verb, perform

INFO = "agentd.v1.SystemService/GetInfo"
WAIT = "agentd.v1.RunService/WaitRun"
CREATE = "agentd.v1.RunService/CreateRun"
WATCH = "agentd.v1.EventService/Watch"
JOIN_S = 20.0
SCRIPT = {"conversations": [{"turns": [{"text": "late", "delay_ms": 3_600_000}]}]}


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No configuration but the test's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)


def opened(directory: Path, settings: str = "", encoding: Encoding = Encoding.JSON) -> int:
    answer = perform(
        Ask(
            Verb.OPEN,
            name=f"embedded:{directory}",
            settings=f"server.drain_timeout_s = 0\n{settings}",
            encoding=encoding,
        )
    )
    assert answer.kind is Kind.DONE, answer
    return answer.id


@pytest.fixture
def client(tmp_path: Path) -> Iterator[int]:
    """A daemon inside this process, whose model does not answer."""
    script = tmp_path / "script.json"
    script.write_text(json.dumps(SCRIPT), "utf-8")
    settings = f"models.default = scripted/script\nmodels.scripted.file = {script}"
    number = opened(tmp_path / "state", settings)
    yield number
    perform(Ask(Verb.CLOSE, number))


def call(client: int, name: str, request: object = None, timeout_ms: int = 9000) -> Answer:
    data = json.dumps(request or {}).encode()
    return perform(Ask(Verb.CALL, client, name, data, timeout_ms))


def failed(answer: Answer) -> tuple[int, str]:
    assert answer.kind is Kind.FAILED, answer
    assert answer.message
    return answer.code, answer.reason


def last(stream: int) -> Answer:
    """Read a stream to its end; return how it ended."""
    while (answer := perform(Ask(Verb.NEXT, stream))).kind is Kind.DONE:
        pass
    return answer


def waiting_run(client: int) -> str:
    answer = call(client, CREATE, {"run": {"goal": "wait"}})
    name: str = json.loads(answer.data)["run"]["name"]
    return name


def test_a_call_that_takes_too_long_is_given_up(client: int) -> None:
    run = waiting_run(client)
    answer = call(client, WAIT, {"name": run}, timeout_ms=50)
    assert failed(answer) == (4, "UNREACHABLE")
    assert json.loads(answer.data)["code"] == 4
    assert call(client, INFO, timeout_ms=-1).kind is Kind.DONE


def test_closing_ends_what_is_in_progress(client: int, tmp_path: Path) -> None:
    """A call and a stream that wait in threads of their own are told, and the place is free."""
    request = {"name": waiting_run(client)}
    stream = perform(Ask(Verb.STREAM, client, WATCH, b'{"afterRevision":"-1"}')).id
    ends: list[tuple[int, str]] = []

    def note(answer: Answer) -> None:
        ends.append(failed(answer))

    threads = [
        threading.Thread(target=lambda: note(call(client, WAIT, request, -1))),
        threading.Thread(target=lambda: note(last(stream))),
    ]
    for thread in threads:
        thread.start()
    # Another call's answer shows that the loop has turned since the first was handed to it.
    assert call(client, INFO).kind is Kind.DONE
    assert perform(Ask(Verb.CLOSE, client)).kind is Kind.DONE
    for thread in threads:
        thread.join(JOIN_S)
    assert ends == [(14, "DRAINING")] * 2
    assert failed(call(client, INFO)) == (14, "DRAINING")
    assert failed(perform(Ask(Verb.CLOSE, client))) == (14, "DRAINING")
    assert failed(perform(Ask(Verb.NEXT, stream))) == (14, "DRAINING")
    again = opened(tmp_path / "state")
    listed = call(again, "agentd.v1.RunService/ListRuns")
    assert [run["name"] for run in json.loads(listed.data)["runs"]] == [request["name"]]
    perform(Ask(Verb.CLOSE, again))


def test_a_stream_that_is_cancelled_ends_for_who_waits(client: int) -> None:
    stream = perform(Ask(Verb.STREAM, client, WATCH, b'{"afterRevision":"-1"}')).id
    answers: list[Answer] = []
    thread = threading.Thread(target=lambda: answers.append(last(stream)))
    thread.start()
    assert perform(Ask(Verb.CANCEL, stream)).kind is Kind.DONE
    thread.join(JOIN_S)
    assert [answer.kind for answer in answers] == [Kind.END]
    assert perform(Ask(Verb.NEXT, stream, timeout_ms=0)).kind is Kind.END
    assert perform(Ask(Verb.FREE, stream)).kind is Kind.DONE
    assert failed(perform(Ask(Verb.NEXT, stream))) == (14, "DRAINING")


def test_a_stream_is_read_to_its_end_however_long_it_is(client: int) -> None:
    """Beyond what is read ahead, with every event once and in order."""
    runs = [waiting_run(client) for _ in range(2 * READ_AHEAD)]
    for run in runs:
        assert call(client, "agentd.v1.RunService/CancelRun", {"name": run}).kind is Kind.DONE
    request = json.dumps({"filter": {"runs": runs}, "untilEnded": True}).encode()
    stream = perform(Ask(Verb.STREAM, client, WATCH, request)).id
    revisions: list[int] = []
    while (answer := perform(Ask(Verb.NEXT, stream, timeout_ms=9000))).kind is Kind.DONE:
        events = json.loads(answer.data).get("events", ())
        revisions += [int(event["revision"]) for event in events]
    assert answer.kind is Kind.END
    assert revisions == sorted(set(revisions))
    assert len(revisions) >= 2 * len(runs)


def test_binary_clients_get_binary_errors(tmp_path: Path) -> None:
    number = opened(tmp_path / "state", encoding=Encoding.PROTOBUF)
    name = "agentd.v1.RunService/GetRun"
    ask = Ask(Verb.CALL, number, name, b"\n\truns/none", encoding=Encoding.PROTOBUF)
    answer = perform(ask)
    assert failed(answer) == (5, "RUN_NOT_FOUND")
    assert Status.FromString(answer.data).code == 5
    perform(Ask(Verb.CLOSE, number))


@pytest.mark.parametrize(
    ("ask", "expected", "words"),
    [
        (Ask(Verb.OPEN, name="nowhere"), (3, "INVALID_FIELD"), "neither unix:"),
        (Ask(Verb.OPEN, name="embedded:"), (9, "INVALID_CONFIG"), "a directory"),
        (Ask(Verb.OPEN, name="embedded:x", settings="oops"), (9, "INVALID_CONFIG"), "'oops'"),
        (Ask(Verb.OPEN, name="embedded:x", settings="no.key = 1"), (9, "INVALID_CONFIG"), "no.key"),
        (Ask(Verb.OPEN, name="embedded:x", namespace="No!"), (3, "INVALID_FIELD"), "namespace"),
        (Ask(Verb.OPEN, name="unix:/x", token_file="/none"), (9, "INVALID_CONFIG"), "/none"),
        (Ask(Verb.OPEN, name="embedded:/dev/null"), (14, "UNREACHABLE"), "/dev/null"),
        (Ask(Verb.CALL, 10**9, INFO), (14, "DRAINING"), "closed"),
        (Ask(Verb.STREAM, 10**9, WATCH), (14, "DRAINING"), "closed"),
        (Ask(Verb.NEXT, 10**9), (14, "DRAINING"), "closed"),
    ],
)
def test_what_cannot_be_is_said(ask: Ask, expected: tuple[int, str], words: str) -> None:
    answer = perform(ask)
    assert failed(answer) == expected
    assert words in answer.message
