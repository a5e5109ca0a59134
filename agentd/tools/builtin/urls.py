"""Read URLs strictly: a text that two programs could read as two hosts is refused.

What is checked here is what is connected to: nothing after this parses the URL again.
"""

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote, urljoin

from agentd.tools.builtin.frame import Refused

MAX_URL = 4096
"""The longest URL, in characters."""
DEFAULT_PORTS = {"http": 80, "https": 443}

_UNFIT = re.compile(r"[\x00-\x20\x7f-\xa0\\\u2028\u2029\ud800-\udfff\ufeff]")
_URL = re.compile(
    r"(?P<scheme>[^:/?#]*)://(?P<authority>[^/?#]*)(?P<rest>[^#]*)(?:#.*)?", re.DOTALL
)
_AUTHORITY = re.compile(r"(?P<host>\[[^\[\]]*\]|[^:\[\]]*)(?::(?P<port>[1-9][0-9]{0,4}))?")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?")
_NUMERIC = re.compile(r"[0-9]+|0x[0-9a-f]*")
_SAFE = "/?:@!$&'()*+,;=-._~%[]|^`{}\"<>"
"""What `quote` leaves as it is, beside letters and digits: all of ASCII that may come here."""


@dataclass(frozen=True, slots=True)
class Target:
    """What a URL asks for, and of whom."""

    scheme: str
    """`http` or `https`."""
    host: str
    """A name in lower case without a last dot, or an address; an IPv6 one without brackets."""
    port: int
    path: str
    """With the query; ASCII."""

    @property
    def authority(self) -> str:
        """Return host and port as a Host header has them."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == DEFAULT_PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Return the URL in its one form."""
        return f"{self.scheme}://{self.authority}{self.path}"

    @property
    def need(self) -> str:
        """Return the permission for it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"net.connect:{host}:{self.port}"


def parse_url(text: str) -> Target:
    """Return what an absolute http or https URL asks for, or raise Refused."""
    if len(text) > MAX_URL:
        raise Refused(f"the URL has {len(text)} characters, and at most {MAX_URL} may be")
    if found := _UNFIT.search(text):
        raise Refused(f"the URL has the character {found.group()!r}, which none may have")
    whole = _URL.fullmatch(text)
    scheme = whole["scheme"].lower() if whole else ""
    if whole is None or scheme not in DEFAULT_PORTS:
        raise Refused(f"{text!r} is not a URL of the form 'https://host/path'")
    if "@" in whole["authority"]:
        raise Refused("a URL may not carry a user or a password")
    parts = _AUTHORITY.fullmatch(whole["authority"])
    port = int((parts and parts["port"]) or DEFAULT_PORTS[scheme])
    if parts is None or port > 65535:
        raise Refused(f"{whole['authority']!r} is not a host with a port from 1 to 65535")
    rest = whole["rest"]
    path = quote(rest if rest.startswith("/") else f"/{rest}", safe=_SAFE)
    return Target(scheme, _host(parts["host"]), port, path)


def redirected(target: Target, location: str) -> Target:
    """Return where a redirect leads from a target, or raise Refused."""
    try:
        return parse_url(urljoin(target.url, location))
    except ValueError:
        raise Refused(f"{target.url} redirects to {location!r}, which is not a URL") from None


def _host(text: str) -> str:
    if text.startswith("["):
        return _ipv6(text[1:-1])
    if not text.isascii():
        raise Refused(f"the host {text!r} must be written in its ASCII form, as in 'xn--…'")
    labels = text.lower().removesuffix(".").split(".")
    host = ".".join(labels)
    if _NUMERIC.fullmatch(labels[-1]):
        # The resolver of some system reads 127.1, 0177.0.0.1 or 0x7f000001 as an address.
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError:
            raise Refused(f"{text!r} is not an address of the form '192.0.2.1'") from None
    if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise Refused(f"{text!r} is not a host")
    return host


def _ipv6(text: str) -> str:
    try:
        address = ipaddress.IPv6Address(text)
    except ValueError:
        raise Refused(f"'[{text}]' is not an IPv6 address") from None
    if address.scope_id is not None:
        raise Refused("an IPv6 address with a zone cannot be fetched from")
    return str(address.ipv4_mapped or address.compressed)
