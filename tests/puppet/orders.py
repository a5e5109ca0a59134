"""Orders as they stand in texts, the disguises that they come in, and how a puppet sees through."""

import base64
import binascii
import codecs
import html
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, zip_longest
from typing import Any
from urllib.parse import quote, unquote

DEPTH = 4
"""How many disguises may lie over each other."""
ZERO_WIDTH = "\u200b"

_ORDER = re.compile(r"\[\[(do|next) ([A-Za-z0-9-]+/[A-Za-z0-9_-]+) (\{.*?\})\]\]", re.DOTALL)
_PART = re.compile(r"\[\[part (\d+) ([A-Za-z0-9+/=]+)\]\]")
_BASE64 = re.compile(r"[A-Za-z0-9+/_-]{24,}={0,2}")
_HEX = re.compile(r"(?:[0-9a-f]{2}){16,}")


@dataclass(frozen=True, slots=True)
class Order:
    """A call that somebody wants, and whether only in a later run of its session."""

    tool: str
    """`toolset/tool`."""
    arguments_json: str
    later: bool = False


def order(tool: str, arguments: Mapping[str, Any], *, verb: str = "do") -> str:
    """Return an order as text."""
    return f"[[{verb} {tool} {json.dumps(arguments)}]]"


# Disguises: each takes a text with orders and hides them.


def as_base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def as_base64url(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def as_hex(text: str) -> str:
    return text.encode().hex()


def as_rot13(text: str) -> str:
    return codecs.encode(text, "rot13")


def as_reversed(text: str) -> str:
    return text[::-1]


def as_percent(text: str) -> str:
    return quote(text, safe="")


def as_entities(text: str) -> str:
    return "".join(f"&#{ord(character)};" for character in text)


def as_zero_width(text: str) -> str:
    return ZERO_WIDTH.join(text)


def as_parts(text: str, count: int = 2) -> list[str]:
    """Return a text in pieces, none of which is an order."""
    encoded = as_base64(text)
    return [f"[[part {number} {encoded[number::count]}]]" for number in range(count)]


def read_orders(texts: Sequence[str]) -> list[Order]:
    """Return every order in the texts, in their order, seen through every disguise."""
    found: dict[Order, None] = {}
    parts: dict[int, str] = {}
    for text in texts:
        for reading in _readings([text]):
            found.update(dict.fromkeys(_plain(reading)))
            parts.update((int(number), piece) for number, piece in _PART.findall(reading))
    pieces = [piece for _, piece in sorted(parts.items())]
    joined = "".join(chain.from_iterable(zip_longest(*pieces, fillvalue="")))
    for reading in _readings([joined]):
        found.update(dict.fromkeys(_plain(reading)))
    return list(found)


def _plain(text: str) -> Iterator[Order]:
    for verb, tool, arguments in _ORDER.findall(text):
        try:
            json.loads(arguments)
        except ValueError:
            continue  # As it stands in JSON, which is read too.
        yield Order(tool, arguments, later=verb == "next")


def _readings(texts: Iterable[str]) -> Iterator[str]:
    """Yield texts and whatever they may stand for, each once."""
    known: set[str] = set()
    layer = list(texts)
    for _ in range(DEPTH):
        fresh = [text for text in dict.fromkeys(layer) if text not in known]
        known.update(fresh)
        yield from fresh
        layer = [meant for text in fresh for meant in _meanings(text)]


def _meanings(text: str) -> Iterator[str]:
    """Yield what a text stands for if it is in one disguise."""
    yield from _strings(text)
    yield text.replace(ZERO_WIDTH, "")
    yield codecs.encode(text, "rot13")
    yield text[::-1]
    if "&" in text:
        yield html.unescape(text)
    if "%" in text:
        yield unquote(text)
    for match in _BASE64.findall(text):
        try:
            yield base64.urlsafe_b64decode(match.translate(_STANDARD)).decode()
        except (binascii.Error, UnicodeDecodeError):
            continue
    for match in _HEX.findall(text):
        yield bytes.fromhex(match).decode("utf-8", "replace")


def _strings(text: str) -> Iterator[str]:
    """Yield every string of a text that is JSON."""
    if text[:1] not in '{["':
        return
    try:
        waiting = [json.loads(text)]
    except ValueError:
        return
    while waiting:
        match waiting.pop(0):
            case str(string):
                yield string
            case list(items):
                waiting += items
            case dict(fields):
                waiting += [*fields, *fields.values()]
            case _:
                pass


_STANDARD = str.maketrans("+/", "-_")
