"""URLs are read in one way only."""

import pytest

from agentd.tools.builtin.frame import Refused
from agentd.tools.builtin.urls import MAX_URL, parse_url, redirected


@pytest.mark.parametrize(
    ("text", "url", "need"),
    [
        ("https://example.com", "https://example.com/", "example.com:443"),
        ("HTTP://Example.COM./a?b#c", "http://example.com/a?b", "example.com:80"),
        ("https://a.b:8443/x y".replace(" ", "%20"), "https://a.b:8443/x%20y", "a.b:8443"),
        ("http://a.b:80/", "http://a.b/", "a.b:80"),
        ("https://a.b?q=1", "https://a.b/?q=1", "a.b:443"),
        ("https://a.b/ä?ö=%e4", "https://a.b/%C3%A4?%C3%B6=%e4", "a.b:443"),
        ("http://192.0.2.1/", "http://192.0.2.1/", "192.0.2.1:80"),
        ("http://[2001:DB8:0::1]:81/", "http://[2001:db8::1]:81/", "[2001:db8::1]:81"),
        ("http://[::ffff:192.0.2.1]/", "http://192.0.2.1/", "192.0.2.1:80"),
        ("https://xn--bcher-kva.example/", "https://xn--bcher-kva.example/", None),
        ("https://a_b.example/", "https://a_b.example/", None),
    ],
)
def test_a_url_has_one_form(text: str, url: str, need: str | None) -> None:
    target = parse_url(text)
    assert target.url == url
    if need:
        assert target.need == f"net.connect:{need}"
    assert parse_url(target.url) == target


@pytest.mark.parametrize(
    "text",
    [
        "",
        "example.com",
        "//example.com/",
        "ftp://example.com/",
        "file:///etc/passwd",
        "gopher://a.b/",
        "javascript:alert(1)",
        "https:///path",
        "https://",
        "https:/example.com",
        "https:example.com",
        "http://user@a.b/",
        "http://user:password@a.b/",
        "http://127.1/",
        "http://2130706433/",
        "http://0x7f.0.0.1/",
        "http://0177.0.0.1/",
        "http://1.2.3.4.5/",
        "http://a.b:0/",
        "http://a.b:65536/",
        "http://a.b:/",
        "http://a.b:080/",
        "http://a.b:+80/",
        "http://a.b:٨٠/",
        "http://a..b/",
        "http://.a.b/",
        "http://-a.b/",
        "http://a.b../",
        "http://a b/",
        "http://a.b/x y",
        "http://a.b/\r\nX: y",
        "http://a.b\\c/",
        "http://a.b/\x7f",
        "http://[::1/",
        "http://::1/",
        "http://[fe80::1%25eth0]/",
        "http://[::1]x/",
        "http://[]/",
        "http://bücher.example/",
        "http://%31%32%37.0.0.1/",
        f"http://{'a' * 64}.b/",
        f"http://{'a.' * 130}b/",
        f"http://a.b/{'c' * MAX_URL}",
        "http://a.b/\ud800",
    ],
)
def test_what_is_no_clear_url_is_refused(text: str) -> None:
    with pytest.raises(Refused):
        parse_url(text)


@pytest.mark.parametrize("text", ["http://a@b.c/", "http://a:d@b.c/", "http://@b.c/"])
def test_credentials_are_named_as_the_reason(text: str) -> None:
    with pytest.raises(Refused, match="a user or a password"):
        parse_url(text)


@pytest.mark.parametrize(
    ("location", "url"),
    [
        ("/x", "https://a.b/x"),
        ("x", "https://a.b/c/x"),
        ("?q", "https://a.b/c/d?q"),
        ("//c.d/x", "https://c.d/x"),
        ("http://c.d", "http://c.d/"),
        ("", "https://a.b/c/d"),
    ],
)
def test_a_redirect_is_read_against_its_source(location: str, url: str) -> None:
    assert redirected(parse_url("https://a.b/c/d"), location).url == url


@pytest.mark.parametrize("location", ["http://u@c.d/", "http://[::1", "file:///x", "/\\c.d/"])
def test_a_redirect_is_read_as_strictly(location: str) -> None:
    with pytest.raises(Refused):
        redirected(parse_url("https://a.b/"), location)
