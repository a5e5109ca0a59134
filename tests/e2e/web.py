"""A daemon's HTTP address, for tests that speak it."""

import socket

from tests.e2e.daemon import Home
from tests.fakes.web import Web

TOKEN = "open-sesame"


def over_http(home: Home, *, more: str = "") -> Web:
    """Have the home's daemon serve HTTP; return a client. `more` is further keys of `server`."""
    token = home.path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    address = free_address()
    keys = f'[server]\nhttp = "{address}"\ntoken_file = "{token}"\n{more}'
    home.configure(home.config.read_text() + keys)
    return Web(address, TOKEN)


def free_address() -> str:
    """Return an address of this machine that nobody serves."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return f"127.0.0.1:{probe.getsockname()[1]}"
