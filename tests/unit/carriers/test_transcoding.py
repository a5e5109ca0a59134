"""Requests come out of HTTP as they went in, and what does not fit is refused with its place."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.json_format import Parse
from hypothesis import given, settings
from hypothesis import strategies as st

from agentd.carriers.http_routes import Route, Routes
from agentd.carriers.transcoding import read_request, write_response
from agentd.errors import InvalidRequest, Reason
from agentd.services.registry import method_table
from agentd.v1 import agent_service_pb2, event_service_pb2, run_service_pb2
from agentd.v1.run_pb2 import RunState
from tests.unit.carriers.requesting import messages, put, requests

ROUTES = Routes(method_table({}))
EVERY = sorted(ROUTES, key=lambda route: route.method.path)
CREATE_RUN = ("POST", "/v1/runs")
LIST_RUNS = ("GET", "/v1/runs")
LIST_EVENTS = ("GET", "/v1/events")
WATCH = ("GET", "/v1/events:watch")
RESOLVE = ("POST", "/v1/runs/a/calls/c1-1:resolve")
UPDATE_AGENT = ("PATCH", "/v1/agents/a")


def read(at: tuple[str, str], query: str = "", body: bytes | object = b"") -> Any:
    """Read a request as the carrier does."""
    route, values = ROUTES.find(*at)
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return read_request(route, values, query, data)


def refused(at: tuple[str, str], query: str = "", body: bytes | object = b"") -> InvalidRequest:
    with pytest.raises(InvalidRequest) as caught:
        read(at, query, body)
    return caught.value


EXPECTED = (None, Reason.MALFORMED_REQUEST, Reason.INVALID_FIELD)


def outcome(work: Callable[[], object]) -> Reason | None:
    """Return why a request is refused, if it is."""
    try:
        work()
    except InvalidRequest as error:
        return error.reason
    return None


@pytest.mark.parametrize("route", EVERY, ids=lambda route: route.method.path)
@settings(max_examples=40)
@given(data=st.data(), original_names=st.booleans())
def test_every_request_comes_out_as_it_went_in(
    route: Route, data: st.DataObject, original_names: bool
) -> None:
    request = data.draw(requests(route))
    path, query, body = put(route, request, original_names=original_names)
    found, values = ROUTES.find(route.http_method, path)
    assert found is route
    assert read_request(found, values, query, body) == request


@pytest.mark.parametrize("route", EVERY, ids=lambda route: route.method.path)
@settings(max_examples=10)
@given(data=st.data())
def test_every_response_is_one_line_of_json(route: Route, data: st.DataObject) -> None:
    response = data.draw(messages(route.method.response_class))
    text, message = write_response(response.SerializeToString(), route.method.response_class)
    assert message == response
    assert b"\n" not in text
    again = route.method.response_class()
    assert Parse(text, again) == response


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["run", "agent", "budget", "name", "goal", "tools", "models"])
            | st.sampled_from(["maxTurns", "max_wall_time", "purpose", "annotations", "updateMask"])
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@settings(max_examples=300)
@given(route=st.sampled_from([each for each in EVERY if each.body]), document=JSON)
def test_any_json_is_read_or_refused(route: Route, document: object) -> None:
    values = {variable.field: "x" for variable in route.template.variables}
    data = json.dumps(document).encode()
    assert outcome(lambda: read_request(route, values, "", data)) in EXPECTED


@settings(max_examples=300)
@given(at=st.sampled_from([CREATE_RUN, LIST_RUNS, WATCH]), data=st.binary(max_size=40))
def test_any_bytes_and_any_query_are_read_or_refused(at: tuple[str, str], data: bytes) -> None:
    assert outcome(lambda: read(at, data.decode("latin-1"))) in EXPECTED
    assert outcome(lambda: read(at, "", data)) in EXPECTED


def test_a_query_holds_lists_enums_dots_and_both_spellings() -> None:
    query = (
        "filter.states=RUN_STATE_RUNNING&filter.states=RUN_STATE_PAUSED&filter.agent=agents%2Fa"
        "&pageSize=3&page_token=a%2Bb+c"
    )
    assert read(LIST_RUNS, query) == run_service_pb2.ListRunsRequest(
        filter=run_service_pb2.RunFilter(
            states=[RunState.RUN_STATE_RUNNING, RunState.RUN_STATE_PAUSED], agent="agents/a"
        ),
        page_size=3,
        page_token="a+b c",
    )
    watch: event_service_pb2.WatchRequest = read(
        WATCH, "includeDeltas=true&progressInterval=1.5s&after_revision=9007199254740993"
    )
    assert watch.include_deltas
    assert watch.progress_interval.ToMilliseconds() == 1500
    assert watch.after_revision == 9007199254740993


def test_the_path_may_be_repeated_but_not_contradicted() -> None:
    body = {"agent": {"name": "agents/a", "displayName": "A"}, "updateMask": "displayName,tools"}
    request: agent_service_pb2.UpdateAgentRequest = read(UPDATE_AGENT, body=body)
    assert request.agent.name == "agents/a"
    assert list(request.update_mask.paths) == ["display_name", "tools"]
    error = refused(UPDATE_AGENT, body={"agent": {"name": "agents/b"}})
    assert [fault.field for fault in error.faults] == ["agent.name"]


@pytest.mark.parametrize(
    ("at", "query", "body", "field"),
    [
        (CREATE_RUN, "", {"run": {"budget": {"maxTurnz": 1}}}, "run.budget.maxTurnz"),
        (CREATE_RUN, "", {"run": {"budget": {"maxTurns": "x"}}}, "run.budget.max_turns"),
        (CREATE_RUN, "", {"run": {"budget": {"maxTurns": 1.5}}}, "run.budget.max_turns"),
        (CREATE_RUN, "", {"run": {"budget": {"maxTurns": True}}}, "run.budget.max_turns"),
        (CREATE_RUN, "", {"run": {"budget": {"maxTurns": 2**63}}}, "run.budget.max_turns"),
        (CREATE_RUN, "", {"run": {"budget": []}}, "run.budget"),
        (CREATE_RUN, "", {"run": ""}, "run"),
        (CREATE_RUN, "", {"run": {"goal": 3}}, "run.goal"),
        (CREATE_RUN, "", {"run": {"goal": "\ud800"}}, "run.goal"),
        (CREATE_RUN, "", {"run": {"tools": "a"}}, "run.tools"),
        (CREATE_RUN, "", {"run": {"tools": ["a", 3]}}, "run.tools[1]"),
        (CREATE_RUN, "", {"run": {"tools": [None]}}, "run.tools[0]"),
        (CREATE_RUN, "", {"run": {"annotations": {"a": 1}}}, "run.annotations"),
        (CREATE_RUN, "", {"run": {"createTime": "yesterday"}}, "run.create_time"),
        (CREATE_RUN, "", {"run": {"state": "RUNNING"}}, "run.state"),
        (CREATE_RUN, "", {"requestId": "a", "request_id": "a"}, "request_id"),
        (CREATE_RUN, "requestId=a", {}, "requestId"),
        (RESOLVE, "", {"resultJson": "1", "retry": {}}, "retry"),
        (UPDATE_AGENT, "", {"agent": {"models": [{}, 3]}}, "agent.models[1]"),
        (UPDATE_AGENT, "", {"agent": {"models": [{"purpose": "X"}]}}, "agent.models[0].purpose"),
        (LIST_RUNS, "pageSize=x", b"", "page_size"),
        (LIST_RUNS, "pageSize=1&page_size=2", b"", "page_size"),
        (LIST_RUNS, "filter.states=RUNNING", b"", "filter.states[0]"),
        (LIST_RUNS, "filter=x", b"", "filter"),
        (LIST_RUNS, "pageSize.x=1", b"", "pageSize.x"),
        (LIST_RUNS, "filter.nothing=1", b"", "filter.nothing"),
        (WATCH, "includeDeltas=1", b"", "include_deltas"),
        (WATCH, "includeDeltas", b"", "include_deltas"),
    ],
)
def test_what_does_not_fit_is_named(
    at: tuple[str, str], query: str, body: bytes | object, field: str
) -> None:
    error = refused(at, query, body)
    assert error.reason is Reason.INVALID_FIELD
    assert [fault.field for fault in error.faults] == [field]


@pytest.mark.parametrize(
    ("at", "query", "body"),
    [
        (CREATE_RUN, "", b"{"),
        (CREATE_RUN, "", b"[]"),
        (CREATE_RUN, "", b"null"),
        (CREATE_RUN, "", b"\xff"),
        (CREATE_RUN, "", b"[" * 100_000),
        (CREATE_RUN, "", b'{"run": {"usage": {"turns": ' + b"9" * 5000 + b"}}}"),
        (CREATE_RUN, "", b'{"a": 1, "a": 1}'),
        (CREATE_RUN, "", b'{"run": NaN}'),
        (LIST_RUNS, "", b"{}"),
        (LIST_RUNS, "a=%ff", b""),
        (LIST_RUNS, "a=1&" * 3000, b""),
    ],
)
def test_what_is_no_request_is_malformed(at: tuple[str, str], query: str, body: bytes) -> None:
    assert refused(at, query, body).reason is Reason.MALFORMED_REQUEST


def test_null_is_the_same_as_nothing() -> None:
    assert read(CREATE_RUN, body={"run": None, "requestId": None}) == read(CREATE_RUN)
