"""What servers send becomes text, within bounds."""

import asyncio
import gzip
import os
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from agentd.tools.builtin import content
from agentd.tools.builtin.content import (
    MAX_BODY_BYTES,
    MAX_TEXT_CHARACTERS,
    read_body,
    read_text,
    read_type,
)
from agentd.tools.builtin.frame import Refused
from tests.unit.tools.builtin.calls import is_running


async def chunks(data: bytes, size: int = 65536) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


@pytest.mark.parametrize(
    ("header", "name", "charset", "is_text"),
    [
        ("text/html; charset=UTF-8", "text/html", "utf-8", True),
        ('text/plain;x=y; charset="Latin1"', "text/plain", "latin1", True),
        ("application/problem+json", "application/problem+json", "", True),
        ("image/svg+xml", "image/svg+xml", "", True),
        ("", "", "", True),
        ("text/plain; charset=punycode", "text/plain", "", True),
        ("text/plain; charset=unicode_escape", "text/plain", "", True),
        ("application/pdf", "application/pdf", "", False),
        ("image/png", "image/png", "", False),
        ("application/octet-stream", "application/octet-stream", "", False),
    ],
)
def test_types(header: str, name: str, charset: str, is_text: bool) -> None:
    kind = read_type(header)
    assert (kind.name, kind.charset, kind.is_text) == (name, charset, is_text)


@pytest.mark.parametrize("encoding", ["gzip", "", "identity"])
async def test_bodies_are_decompressed(encoding: str) -> None:
    data = gzip.compress(b"hello") if encoding == "gzip" else b"hello"
    assert await read_body(chunks(data, 3), encoding) == (b"hello", False)


async def test_a_bomb_is_let_off_no_further_than_the_limit() -> None:
    bomb = gzip.compress(b"\0" * 200 * 1024 * 1024, 9)
    body, cut = await read_body(chunks(bomb), "gzip")
    assert (len(body), cut) == (MAX_BODY_BYTES, True)
    body, cut = await read_body(chunks(b"x" * (MAX_BODY_BYTES + 1)), "")
    assert (len(body), cut) == (MAX_BODY_BYTES, True)
    body, cut = await read_body(chunks(b"x" * MAX_BODY_BYTES), "")
    assert (len(body), cut) == (MAX_BODY_BYTES, False)


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "gzip, gzip"])
async def test_other_encodings_are_refused(encoding: str) -> None:
    with pytest.raises(Refused, match="not asked for"):
        await read_body(chunks(b""), encoding)
    with pytest.raises(Refused, match="is not 'gzip'"):
        await read_body(chunks(b"plain"), "gzip")


async def test_html_becomes_readable() -> None:
    page = (
        "<!doctype html><title>Tea &amp; cake</title><style>p{}</style>"
        "<h1>Menu</h1><p onclick=x>A <b>bold</b> <a href='/order'>order</a>"
        "<script>alert('x')</script><ul><li>tea<li>cake</ul>ä</p>"
    ).encode("windows-1252")
    text = await read_text(page, read_type("text/html; charset=windows-1252"), raw=False)
    assert text.title == "Tea & cake"
    assert text.text == "# Menu\n\nA **bold** [order](/order)\n\n- tea\n- cake\n\nä"
    assert not text.truncated
    raw = await read_text(page, read_type("text/html; charset=windows-1252"), raw=True)
    assert raw.text.startswith("<!doctype html>")


@pytest.mark.parametrize(
    "page",
    ["<div>" * 50_000, "<a><b><div>" * 20_000, "<" * 200_000, "", "\0<p>x", "<table>" * 9999],
)
async def test_hostile_html_ends(page: str) -> None:
    text = await read_text(page.encode(), read_type("text/html"), raw=False)
    assert len(text.text) <= MAX_TEXT_CHARACTERS


async def test_text_is_decoded_and_cut() -> None:
    assert (await read_text(b"\xe4\xff", read_type("text/plain"), raw=False)).text == "\ufffd\ufffd"
    text = await read_text(b"x" * (MAX_TEXT_CHARACTERS + 1), read_type("text/css"), raw=False)
    assert (len(text.text), text.truncated) == (MAX_TEXT_CHARACTERS, True)
    with pytest.raises(Refused, match="not text"):
        await read_text(b"PNG\0", read_type(""), raw=False)


@pytest.fixture
def converter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a script in the place of the converter that says when it runs, and does not end."""
    script = tmp_path / "converter.py"
    script.write_text(
        "import pathlib, time\n"
        "pathlib.Path(f'{__file__}.runs').write_text('now')\n"
        "time.sleep(100)\n"
    )
    os.mkfifo(f"{script}.runs")
    monkeypatch.setattr(content, "READABLE", "converter")
    monkeypatch.syspath_prepend(tmp_path)
    return script


async def convert() -> None:
    await read_text(b"<p>", read_type("text/html"), raw=False)


async def test_a_conversion_that_takes_too_long_is_killed(
    converter: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "READABLE_S", 0.3)
    with pytest.raises(Refused, match="in time"):
        await convert()
    assert not is_running(str(converter))


async def test_a_cancelled_conversion_is_killed(converter: Path) -> None:
    async with asyncio.TaskGroup() as group:
        task = group.create_task(convert())
        await asyncio.to_thread(Path(f"{converter}.runs").read_text)
        assert is_running(str(converter))
        task.cancel()
    assert not is_running(str(converter))
