"""Pages of lists, as AIP-158 has them: opaque tokens that fit one list and one filter only."""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import msgspec
from google.protobuf.message import Message

from agentd.errors import invalid_field
from agentd.services import checks

DEFAULT_SIZE = 100
MAX_SIZE = 1000
MAX_PAGE_BYTES = 1024 * 1024
"""A page ends early beyond this: unless told otherwise, gRPC clients refuse more than 4 MiB."""
_MAX_TOKEN = 1024

P = TypeVar("P")
M = TypeVar("M", bound=Message)


class PagedRequest(Protocol):
    """The fields that every request for a list has."""

    page_size: int
    page_token: str


@dataclass(frozen=True, slots=True)
class Page(Generic[P]):
    """Which page is asked for."""

    size: int
    position: P | None
    """What the token of the page before was made of; None for the first page."""
    tag: bytes

    def token(self, position: P) -> str:
        """Return the token of the page that follows a position."""
        return base64.urlsafe_b64encode(msgspec.msgpack.encode((self.tag, position))).decode()


def parse_page(request: PagedRequest, kind: type[P], *scope: str) -> Page[P]:
    """Return the page asked for. The scope is everything that makes this list another one: its
    method, the namespace, the filter.

    Raises InvalidRequest (INVALID_FIELD) for a negative size and for a token that is not this
    list's.
    """
    checks.number(request.page_size, "page_size")
    size = min(request.page_size or DEFAULT_SIZE, MAX_SIZE)
    tag = hashlib.sha256("\0".join(scope).encode()).digest()[:8]
    if not request.page_token:
        return Page(size, None, tag)
    return Page(size, _parse_token(request.page_token, kind, tag), tag)


def cut(messages: Sequence[M], size: int) -> tuple[Sequence[M], bool]:
    """Return the messages that fit a page, one at least, and whether some are left over."""
    total = 0
    for index, message in enumerate(messages):
        total += message.ByteSize()
        if index == size or (index and total > MAX_PAGE_BYTES):
            return messages[:index], True
    return messages, False


def _parse_token(token: str, kind: type[P], tag: bytes) -> P:
    fault = invalid_field("page_token", "is not a token that this list has given")
    if len(token) > _MAX_TOKEN:
        raise fault
    try:
        packed = base64.b64decode(token, altchars=b"-_", validate=True)
        found: tuple[bytes, P] = msgspec.msgpack.decode(packed, type=tuple[bytes, kind])  # type: ignore[valid-type]
    except (ValueError, binascii.Error, msgspec.MsgspecError):
        raise fault from None
    if found[0] != tag:
        raise fault
    return found[1]
