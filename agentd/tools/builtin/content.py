"""Turn what a server sent into text: decompress it within bounds, decode it, make it readable."""

import asyncio
import json
import sys
import zlib
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from importlib.util import find_spec

import msgspec

from agentd.tools.builtin.frame import Refused

MAX_BODY_BYTES = 2 * 1024 * 1024
"""The most of a page that is kept, after decompression; the rest is left out."""
MAX_TEXT_CHARACTERS = 100_000
"""The longest text that a model is given; some 25,000 tokens."""
READABLE_S = 15.0
"""How long a page may take to become readable."""
READABLE = "agentd.tools.builtin.readable"
"""The script that does it. It is run by its path, since `-I` leaves out where we are found."""

_HTML = frozenset({"text/html", "application/xhtml+xml"})
_TEXT = frozenset(
    {
        "",  # A server that does not say: what is not text is noticed later.
        "application/ecmascript",
        "application/javascript",
        "application/json",
        "application/sql",
        "application/toml",
        "application/x-ndjson",
        "application/x-sh",
        "application/x-yaml",
        "application/xml",
        "application/yaml",
    }
)
_CHARSETS = frozenset(
    {
        *(f"iso-8859-{part}" for part in range(1, 17)),
        *(f"windows-{page}" for page in (874, *range(1250, 1259))),
        *("us-ascii", "latin1", "utf-8", "utf8", "utf-16", "utf-16le", "utf-16be"),
        *("big5", "euc-jp", "euc-kr", "gb18030", "gb2312", "gbk", "koi8-r", "koi8-u", "shift_jis"),
    }
)
"""Those that pages are written in. Python knows others, some of which take quadratic time."""


class MediaType(msgspec.Struct, frozen=True):
    """What a server says that it sends."""

    name: str
    """In lower case, such as `text/html`; empty if it does not say."""
    charset: str
    """One of those that pages are written in; empty if it does not say one."""

    @property
    def is_html(self) -> bool:
        """Whether it is to be made readable."""
        return self.name in _HTML

    @property
    def is_text(self) -> bool:
        """Whether a model can read it."""
        return (
            self.is_html
            or self.name in _TEXT
            or self.name.startswith("text/")
            or self.name.endswith(("+json", "+xml"))
        )


class Text(msgspec.Struct, frozen=True):
    """What a model is given of a page."""

    title: str
    text: str
    truncated: bool


def read_type(header: str) -> MediaType:
    """Return what a Content-Type header says."""
    name, *parameters = header.lower().split(";")
    charset = ""
    for parameter in parameters:
        key, _, value = parameter.partition("=")
        if key.strip() == "charset" and value.strip("\"' ") in _CHARSETS:
            charset = value.strip("\"' ")
    return MediaType(name.strip(), charset)


async def read_body(chunks: AsyncIterator[bytes], encoding: str) -> tuple[bytes, bool]:
    """Return what a server sent, decompressed, and whether something was left out of it.

    Never holds more than MAX_BODY_BYTES and one chunk, whatever a chunk expands to. Raises Refused
    for an encoding that was not asked for, and for data that is not of it.
    """
    if encoding not in {"", "identity", "gzip"}:
        raise Refused(f"the server sent {encoding!r} data, which was not asked for")
    # 16: gzip, and not zlib.
    inflate = zlib.decompressobj(wbits=zlib.MAX_WBITS | 16) if encoding == "gzip" else None
    body = bytearray()
    async for chunk in chunks:
        room = MAX_BODY_BYTES + 1 - len(body)
        try:
            body += inflate.decompress(chunk, room) if inflate else chunk[:room]
        except zlib.error:
            raise Refused(f"the server sent data that is not {encoding!r}") from None
        if len(body) > MAX_BODY_BYTES:
            return bytes(body[:MAX_BODY_BYTES]), True
    return bytes(body), False


async def read_text(body: bytes, kind: MediaType, *, raw: bool) -> Text:
    """Return the text of a page. Raises Refused for what is none after all."""
    if kind.is_html and not raw:
        return await _readable(body, kind.charset)
    if b"\0" in body and not kind.charset.startswith("utf-16"):
        raise Refused(f"it is not text, though it is said to be {kind.name or 'nothing'!r}")
    text = body.decode(kind.charset or "utf-8", "replace")
    return Text("", text[:MAX_TEXT_CHARACTERS], len(text) > MAX_TEXT_CHARACTERS)


async def _readable(body: bytes, charset: str) -> Text:
    """Convert a page in a process of its own."""
    script = find_spec(READABLE)
    assert script is not None
    assert script.origin is not None
    argv = (sys.executable, "-I", script.origin, charset, str(MAX_TEXT_CHARACTERS))
    try:
        async with asyncio.timeout(READABLE_S):
            code, output = await _run(argv, body)
    except TimeoutError:
        code, output = -1, b""
    if code:
        raise Refused("the page could not be made readable in time; set 'raw' to get its HTML")
    return msgspec.convert(json.loads(output), Text)


async def _run(argv: Sequence[str], stdin: bytes) -> tuple[int, bytes]:
    """Run a program to its end, or kill it when cancelled."""
    process = await asyncio.create_subprocess_exec(
        *argv, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env={}, start_new_session=True
    )
    try:
        output, _ = await process.communicate(stdin)
    except BaseException:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        raise
    return process.returncode or 0, output
