"""What an answer is written as is what its reader likes best."""

import pytest

from agentd.carriers.http_accept import choose
from agentd.carriers.http_errors import Refused

OFFERED = ("text/event-stream", "application/x-ndjson")


@pytest.mark.parametrize(
    ("accept", "chosen"),
    [
        ("", 0),
        ("*/*", 0),
        ("text/*, application/*;q=0.9", 0),
        ("application/x-ndjson", 1),
        ("Application/X-NDJSON; q=0.5, text/event-stream;q=0.4", 1),
        ("text/event-stream;q=0, */*", 1),
        ("application/x-ndjson;q=nonsense, text/html", 1),
        ("application/x-ndjson;charset=utf-8", 1),
    ],
)
def test_the_best_is_chosen(accept: str, chosen: int) -> None:
    assert choose(accept, OFFERED) == OFFERED[chosen]


@pytest.mark.parametrize("accept", ["text/html", "*/*;q=0", "text/event-stream;q=0, text/*;q=0"])
def test_what_cannot_be_written_is_refused(accept: str) -> None:
    with pytest.raises(Refused) as error:
        choose(accept, OFFERED)
    assert error.value.code == 406
