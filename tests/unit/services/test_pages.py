"""Page tokens fit one list only, and pages end in time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.errors import InvalidRequest, Reason
from agentd.services import pages
from agentd.services.pages import cut, parse_page
from agentd.v1 import agent_pb2
from agentd.v1 import agent_service_pb2 as pb


def ask(token: str = "", size: int = 0) -> pb.ListAgentsRequest:
    return pb.ListAgentsRequest(page_token=token, page_size=size)


@pytest.mark.parametrize(
    ("size", "expected"), [(0, 100), (1, 1), (1000, 1000), (1001, 1000), (2**31 - 1, 1000)]
)
def test_sizes(size: int, expected: int) -> None:
    page = parse_page(ask(size=size), str, "ListAgents")
    assert (page.size, page.position) == (expected, None)


@given(st.text(max_size=64), st.lists(st.text(max_size=5), max_size=3))
def test_tokens_come_back_to_their_list(position: str, scope: list[str]) -> None:
    token = parse_page(ask(), str, "ListAgents", *scope).token(position)
    assert parse_page(ask(token), str, "ListAgents", *scope).position == position
    for other in (("ListTools", *scope), ("ListAgents", *scope, "more")):
        with pytest.raises(InvalidRequest):
            parse_page(ask(token), str, *other)
    with pytest.raises(InvalidRequest):
        parse_page(ask(token), int, "ListAgents", *scope)


@given(st.text(max_size=80))
def test_garbage_is_refused(token: str) -> None:
    if not token:
        return
    with pytest.raises(InvalidRequest) as caught:
        parse_page(ask(token), str, "ListAgents")
    assert caught.value.reason is Reason.INVALID_FIELD
    assert caught.value.faults[0].field == "page_token"


@given(st.integers(0, 2**63 - 1), st.data())
def test_a_damaged_token_is_refused(position: int, data: st.DataObject) -> None:
    token = parse_page(ask(), int, "ListRuns").token(position)
    cutting = data.draw(st.integers(1, len(token) - 1))
    with pytest.raises(InvalidRequest):
        parse_page(ask(token[:cutting]), int, "ListRuns")
    with pytest.raises(InvalidRequest):
        parse_page(ask("A" * 2000), int, "ListRuns")


def test_a_negative_size_is_refused() -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse_page(ask(size=-1), str, "ListAgents")
    assert caught.value.faults[0].field == "page_size"


def test_pages_are_cut_by_count_and_by_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    agents = [agent_pb2.Agent(instructions="x" * 100) for _ in range(5)]
    assert cut(agents, 5) == (agents, False)
    assert cut(agents, 4) == (agents[:4], True)
    assert cut([], 4) == ([], False)
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 250)
    assert cut(agents, 5) == (agents[:2], True)
    monkeypatch.setattr(pages, "MAX_PAGE_BYTES", 50)
    assert cut(agents, 5) == (agents[:1], True)
    assert cut(agents[:1], 5) == (agents[:1], False)
