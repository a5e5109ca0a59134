"""Pages are fetched from addresses that were checked, and nothing else is connected to."""

import asyncio
import contextlib
import http.client
import itertools
import ssl
import subprocess
import sys
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from agentd import __version__
from agentd.agent.permission import Labels
from agentd.errors import Reason, Unavailable
from agentd.tools.addresses import Endpoint, check_address, resolve
from agentd.tools.builtin import fetch as module
from agentd.tools.builtin.fetch import MAX_REDIRECTS, FetchTool
from tests.unit.tools.builtin.calls import failure, invocation, result
from tests.unit.tools.builtin.web import answer, redirect, serving

SAFE = "127.0.0.2"
"""Stands for an address on the public internet."""

HOSTILE = [
    "http://127.0.0.1:{port}/",
    "http://127.0.0.1.:{port}/",
    "http://127.1:{port}/",
    "http://127.0.1:{port}/",
    "http://2130706433:{port}/",
    "http://0x7f000001:{port}/",
    "http://0x7f.0.0.1:{port}/",
    "http://0x7f.1:{port}/",
    "http://017700000001:{port}/",
    "http://0177.0.0.1:{port}/",
    "http://127.0.0.01:{port}/",
    "http://127.000.000.001:{port}/",
    "http://0:{port}/",
    "http://0.0.0.0:{port}/",
    "http://localhost:{port}/",
    "http://LOCALHOST:{port}/",
    "http://localhost.:{port}/",
    "http://localhost.localdomain:{port}/",
    "http://foo.localhost:{port}/",
    "http://ip6-localhost:{port}/",
    "http://[::1]:{port}/",
    "http://[0:0:0:0:0:0:0:1]:{port}/",
    "http://[::]:{port}/",
    "http://[::ffff:127.0.0.1]:{port}/",
    "http://[::ffff:7f00:1]:{port}/",
    "http://[::127.0.0.1]:{port}/",
    "http://[::ffff:0:127.0.0.1]:{port}/",
    "http://[64:ff9b::127.0.0.1]:{port}/",
    "http://[64:ff9b:1::7f00:1]:{port}/",
    "http://[2002:7f00:1::]:{port}/",
    "http://[fe80::1%25lo]:{port}/",
    "http://[::1%25lo]:{port}/",
    "http://example.com@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}@example.com/",
    "http://example.com:80\\@127.0.0.1:{port}/",
    "http://127.0.0.1:{port}\\@example.com/",
    "http://127.0.0.1:{port}#@example.com/",
    "http://127。0。0。1:{port}/",
    "http://１２７.0.0.1:{port}/",  # noqa: RUF001 - it is what is tested
    "http://①②⑦.0.0.1:{port}/",
    "http://loc\u00adalhost:{port}/",
    "http://127.0.0.1\t:{port}/",
    " http://127.0.0.1:{port}/",
    "http://127.0.0.1:{port}/\r\nHost: example.com",
    "http:\\\\127.0.0.1:{port}\\",
    "http:/127.0.0.1:{port}/",
    "http:///127.0.0.1:{port}/",
    "http://%31%32%37.0.0.1:{port}/",
    "http://127.0.0.1%00.example.com:{port}/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[fd00:ec2::254]/latest/meta-data/",
    "http://100.100.100.200/",
    "http://10.0.0.1/",
    "http://172.16.0.1/",
    "http://192.168.0.1/",
    "http://224.0.0.1/",
    "http://255.255.255.255/",
    "http://[ff02::1]/",
    "http://[fc00::1]/",
    "file:///etc/passwd",
    "ftp://127.0.0.1:{port}/",
    "unix:///run/agentd.sock",
]
"""URLs that lead, by one reading or another, to where nobody may go."""

_connects: list[Any] = []


def _note(event: str, arguments: tuple[Any, ...]) -> None:
    # Every connect of the interpreter, whoever makes it.
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        _connects.append(arguments[1])


sys.addaudithook(_note)


@pytest.fixture
def connects() -> Iterator[list[Any]]:
    """Return the list of where this process connects to."""
    _connects.clear()
    yield _connects
    _connects.clear()


def allow_safe(address: str) -> str | None:
    """Check as the daemon does, but let one loopback address pass for public."""
    return None if address == SAFE else check_address(address)


def allow_all(_: str) -> None:
    """Check nothing."""


async def resolve_here(host: str, port: int) -> Sequence[Endpoint]:
    """Ask the system about what it knows by itself; every other name leads to this machine."""
    if host == "localhost" or not host[-1].isalpha():
        return await resolve(host, port)
    return [("127.0.0.1", port)]


class Names:
    """A resolver whose answers change: the next for each question, the last for ever."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.asked: list[tuple[str, int]] = []
        self._answers = answers

    async def __call__(self, host: str, port: int) -> Sequence[Endpoint]:
        """Answer."""
        addresses = self._answers[min(len(self.asked), len(self._answers) - 1)]
        self.asked.append((host, port))
        return [(address, port) for address in addresses]


def tool(*answers: Sequence[str]) -> FetchTool:
    return FetchTool(Names(*(answers or ([SAFE],))), allow_safe)


def test_the_manifest() -> None:
    manifest = FetchTool().manifest
    assert manifest.path == "web/fetch"
    assert manifest.labels == Labels(untrusted=True)


def test_needs_are_of_the_url() -> None:
    needs = FetchTool().needs
    assert needs({"url": "https://Example.com/x"}, "/w") == ("net.connect:example.com:443",)
    assert needs({"url": "http://[::1]:8080/"}, "/w") == ("net.connect:[::1]:8080",)
    assert needs({"url": "http://user@example.com/"}, "/w") == ()


def test_there_are_at_least_42_hostile_forms() -> None:
    assert len(set(HOSTILE)) >= 42


@pytest.mark.parametrize("form", HOSTILE)
async def test_hostile_forms_are_connected_to_nothing(
    tmp_path: Path, form: str, connects: list[Any]
) -> None:
    async with serving({"/": answer(b"secret")}, "127.0.0.1", "::1") as trap:
        url = form.format(port=trap.port)
        assert await failure(FetchTool(resolve_here), tmp_path, {"url": url})
        assert trap.connections == 0
    assert connects == []


async def test_hostile_forms_would_reach_the_trap(tmp_path: Path, connects: list[Any]) -> None:
    def naive(url: str) -> None:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
            opener.open(url, timeout=0.5).close()

    # Without those that this client would take out of the machine.
    abroad = ("example.com", "64:ff9b", "2002:", "local")
    loopback = [
        form for form in HOSTILE if "{port}" in form and not any(part in form for part in abroad)
    ]
    async with serving({"/": answer(b"secret")}, "127.0.0.1", "::1") as trap:
        for form in loopback:
            await asyncio.to_thread(naive, form.format(port=trap.port))
        assert trap.connections >= 10
        assert len(connects) >= trap.connections
        before = trap.connections
        url = f"http://127.0.0.1:{trap.port}/"
        unchecked = FetchTool(check=allow_all)
        assert (await result(unchecked, tmp_path, {"url": url}))["text"] == "secret"
        assert trap.connections == before + 1


@pytest.mark.parametrize(
    "answers",
    [
        ["127.0.0.1"],
        ["::1"],
        [SAFE, "127.0.0.1"],
        ["127.0.0.1", SAFE],
        [SAFE, "::1"],
        [SAFE, "::ffff:127.0.0.1"],
        [SAFE, "64:ff9b::7f00:1"],
        [SAFE, "169.254.169.254"],
        [SAFE, "10.0.0.1"],
        [SAFE, "0.0.0.0"],
        [SAFE, "fe80::1%1"],
        [SAFE, "not an address"],
        [],
    ],
)
async def test_one_bad_answer_spoils_a_name(
    tmp_path: Path, answers: list[str], connects: list[Any]
) -> None:
    async with serving({"/": answer()}, "127.0.0.1", "::1", SAFE) as trap:
        await failure(tool(answers), tmp_path, {"url": f"http://evil.test:{trap.port}/"})
        assert trap.connections == 0
    assert connects == []


BAD = ["127.0.0.1", "::1", "10.0.0.1", "169.254.169.254", "::ffff:127.0.0.1"]
STATUSES = ["301 Moved", "302 Found", "303 Other", "307 Temporary", "308 Permanent"]


@pytest.mark.parametrize(("bad", "status"), list(itertools.product(BAD, STATUSES)))
async def test_a_name_that_changes_is_never_followed_to_its_new_place(
    tmp_path: Path, bad: str, status: str, connects: list[Any]
) -> None:
    pages = {"/": redirect("/next", status), "/next": answer(b"stolen"), "/one": answer(b"fine")}
    async with (
        serving(pages, SAFE) as site,
        serving(pages, "127.0.0.1", "::1", port=site.port) as trap,
    ):
        rebinding = tool([SAFE], [bad])
        url = f"http://evil.test:{site.port}/one"
        assert (await result(rebinding, tmp_path, {"url": url}))["text"] == "fine"
        message = await failure(rebinding, tmp_path, {"url": url})
        assert bad in message
        message = await failure(
            tool([SAFE], [bad]), tmp_path, {"url": f"http://evil.test:{site.port}/"}
        )
        assert bad in message
        assert (site.connections, trap.connections) == (2, 0)
        assert connects == [(SAFE, site.port)] * 2


async def test_rebinding_works_on_a_client_that_resolves_twice() -> None:
    async with serving({"/": answer(b"stolen")}, "127.0.0.1") as trap:
        names = Names([SAFE], ["127.0.0.1"])
        ((checked, _),) = await names("evil.test", trap.port)
        assert allow_safe(checked) is None
        ((used, port),) = await names("evil.test", trap.port)
        _, writer = await asyncio.open_connection(used, port)
        writer.close()
        await asyncio.wait_for(trap.ended.wait(), 5)
        assert trap.connections == 1


async def test_a_page_is_fetched_with_the_name_in_its_request(tmp_path: Path) -> None:
    page = answer(b"<title>T</title><p>Hi", "text/html; charset=utf-8")
    async with serving({"/a?b=1": page}, SAFE) as site:
        url = f"http://Example.test:{site.port}/a?b=1#c"
        assert await result(tool(), tmp_path, {"url": url}) == {
            "url": f"http://example.test:{site.port}/a?b=1",
            "status": 200,
            "content_type": "text/html",
            "size_bytes": 21,
            "title": "T",
            "text": "Hi",
            "truncated": False,
        }
    head = site.requests[0].split("\r\n")
    assert head[0] == "GET /a?b=1 HTTP/1.1"
    assert f"Host: example.test:{site.port}" in head
    assert f"User-Agent: agentd/{__version__}" in head
    assert not any(line.lower().startswith(("cookie", "authorization", "referer")) for line in head)


async def test_head_tells_without_fetching(tmp_path: Path) -> None:
    page = b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 12345\r\n\r\n"
    async with serving({"/": page}, SAFE) as site:
        arguments = {"url": f"http://a.test:{site.port}/", "method": "HEAD"}
        page_result = await result(tool(), tmp_path, arguments)
        assert (page_result["content_type"], page_result["size_bytes"]) == ("image/png", 12345)
        message = await failure(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert "is 'image/png' of 12,345 bytes: only text" in message


@pytest.mark.parametrize("status", ["404 Not Found", "500 Oops", "304 Not Modified"])
async def test_an_error_of_the_server_is_a_result(tmp_path: Path, status: str) -> None:
    async with serving(
        {"/": answer(b"" if "304" in status else b"x", status=status)}, SAFE
    ) as site:
        page = await result(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert page["status"] == int(status[:3])


async def test_redirects_within_the_grant_are_followed(tmp_path: Path) -> None:
    async with serving({"/": redirect("b"), "/b": answer(b"end")}, SAFE) as site:
        page = await result(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert (page["text"], page["url"]) == ("end", f"http://a.test:{site.port}/b")


async def test_redirects_beyond_the_grant_are_named(tmp_path: Path, connects: list[Any]) -> None:
    async with (
        serving({"/": answer(b"other")}, SAFE) as other,
        serving({"/": redirect(f"http://b.test:{other.port}/")}, SAFE) as site,
    ):
        arguments = {"url": f"http://a.test:{site.port}/"}
        message = await failure(tool(), tmp_path, arguments)
        assert f"http://b.test:{other.port}/" in message
        assert f"net.connect:b.test:{other.port}" in message
        assert other.connections == 0
        wide = [f"net.connect:a.test:{site.port}", f"net.connect:b.test:{other.port}"]
        assert (await result(tool(), tmp_path, arguments, granted=wide))["text"] == "other"
        none = await failure(tool(), tmp_path, arguments, granted=[])
        assert "not granted" in none
    assert [port for _, port in connects] == [site.port, site.port, other.port]


@pytest.mark.parametrize("location", ["file:///etc/passwd", "http://u:p@a.test/", "http://127.1/"])
async def test_redirects_are_read_strictly(tmp_path: Path, location: str) -> None:
    async with serving({"/": redirect(location)}, SAFE) as site:
        assert await failure(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert site.connections == 1


async def test_redirects_end(tmp_path: Path) -> None:
    async with serving({"/": redirect("/")}, SAFE) as site:
        message = await failure(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert "more than 5 times" in message
        assert site.connections == MAX_REDIRECTS + 1


async def test_a_second_address_is_tried(tmp_path: Path) -> None:
    async with serving({"/": answer(b"here")}, SAFE) as site:
        allowed = FetchTool(Names(["127.0.0.3", SAFE]), allow_all)
        page = await result(allowed, tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert page["text"] == "here"


async def test_a_silent_server_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.3)
    async with serving({}, SAFE) as site:
        message = await failure(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert "did not answer" in message
        await asyncio.wait_for(site.ended.wait(), 5)


async def test_a_cancelled_fetch_hangs_up(tmp_path: Path) -> None:
    async with serving({}, SAFE) as site:
        made = invocation(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})

        async def fetch() -> None:
            await tool()(made)

        async with asyncio.TaskGroup() as group:
            task = group.create_task(fetch())
            await asyncio.wait_for(site.asked.wait(), 5)
            task.cancel()
        await asyncio.wait_for(site.ended.wait(), 5)


@pytest.mark.parametrize("page", [b"garbage\r\n\r\n", b"", b"HTTP/1.1 200 OK\r\nContent-Length: 9"])
async def test_a_broken_server_is_a_sentence(tmp_path: Path, page: bytes) -> None:
    async with serving({"/": page}, SAFE) as site:
        message = await failure(tool(), tmp_path, {"url": f"http://a.test:{site.port}/"})
        assert "could not be fetched" in message


async def test_names_without_an_address_are_a_sentence(tmp_path: Path) -> None:
    async def fail(host: str, _: int) -> Sequence[Endpoint]:
        raise Unavailable(Reason.UNREACHABLE, f"{host} has no address")

    message = await failure(FetchTool(fail), tmp_path, {"url": "http://none.test/"})
    assert message == "none.test has no address"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a certificate of pinned.test, with its key."""
    folder = tmp_path_factory.mktemp("tls")
    command = (
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=pinned.test -addext subjectAltName=DNS:pinned.test -keyout key -out cert"
    )
    try:
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    (folder / "both").write_bytes((folder / "cert").read_bytes() + (folder / "key").read_bytes())
    return folder / "both"


async def test_the_certificate_is_of_the_name(tmp_path: Path, certificate: Path) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(certificate)
    asked: list[str | None] = []
    server.sni_callback = lambda _, name, __: asked.append(name)
    trusting = tool()
    trusting._tls = ssl.create_default_context(cafile=str(certificate))
    async with serving({"/": answer(b"secure")}, SAFE, tls=server) as site:
        url = f"https://pinned.test:{site.port}/"
        assert (await result(trusting, tmp_path, {"url": url}))["text"] == "secure"
        assert asked == ["pinned.test"]
        assert f"Host: pinned.test:{site.port}\r\n" in site.requests[0]
        wrong = await failure(trusting, tmp_path, {"url": url.replace("pinned", "other")})
        assert "certificate" in wrong
        assert "certificate" in await failure(tool(), tmp_path, {"url": url})


def test_nothing_heavy_is_loaded_before_a_fetch() -> None:
    code = (
        "import sys; import agentd.tools.builtin.catalogue; heavy = "
        "{'httpcore2', 'anyio', 'justhtml', 're2'}; print(sorted(heavy & sys.modules.keys()))"
    )
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=Path.cwd()
    )
    assert found.stdout == "[]\n"
