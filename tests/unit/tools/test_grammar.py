"""Permissions are read in one way only, and a pattern never covers more than what it matches."""

import pytest

from agentd.errors import InvalidRequest, Reason
from agentd.tools.grammar import Hosts, Names, Paths, check, meets, parse

ACCEPTED = [
    "fs.read:/",
    "fs.read:**",
    "fs.read:**/.env",
    "fs.read:/srv/a b/ü.txt",
    "fs.write:$workspace",
    "fs.write:$workspace/**/*.py",
    "net.connect:*",
    "net.connect:*:443",
    "net.connect:*.example.com:443",
    "net.connect:_dmarc.example.com",
    "net.connect:192.0.2.1",
    "net.connect:[2001:db8::1]:8080",
    "process.exec:*",
    "process.exec:git",
    "process.exec:/usr/bin/*",
    "secret.use:github-token",
    "agent.spawn:review-*",
    "memory.read:user:alice@example.com/notes",
    "memory.write:*",
    "tool.use:*",
    "tool.use:files/*",
    "tool.use:mcp-github/get_issue",
]

REFUSED = [
    ("", "there is no permission ''; there are: fs.read, "),
    ("fs.raed:/a", "there is no permission 'fs.raed'; did you mean 'fs.read'?"),
    ("FS.WRITE:/a", "there is no permission 'FS.WRITE'; did you mean 'fs.write'?"),
    ("network:a.org", "did you mean 'net.connect'?"),
    ("zzz:a", "there are: fs.read, fs.write, net.connect, "),
    ("fs.read", "fs.read needs a value, such as 'fs.read:/srv/data/**'"),
    ("secret.use:", "secret.use needs a value, such as 'secret.use:github-token'"),
    ("fs.read:a.txt", "'a.txt' is not an absolute path"),
    ("fs.read:$workspaces/a", "'$workspaces/a' is not an absolute path"),
    ("fs.read:~/a", "is not an absolute path"),
    ("fs.read:/srv/../etc", "is not normalised: leave out '..'"),
    ("fs.read:$workspace/../etc", "is not normalised: leave out '..'"),
    ("fs.read:/srv/./a", "is not normalised: leave out '.'"),
    ("fs.read://srv", "'//srv' has a '/' too many"),
    ("fs.read:/srv/", "'/srv/' has a '/' too many"),
    ("fs.read:/srv/a**", "'**' stands alone between two '/'"),
    ("fs.read:/" + "a" * 256, "a name has at most 255 characters"),
    ("fs.read:/" + "a/" * 2200, "has 4409 characters, and at most 4200 may be"),
    ("fs.read:/a\nb", r"'fs.read:/a\nb' has a control character"),
    ("fs.read:/a\x00", "has a control character"),
    ("fs.read:/a\udc80", "has a control character"),
    ("net.connect:", "net.connect needs a value"),
    ("net.connect::443", "':443' has no valid host"),
    ("net.connect:a.org:", "'a.org:' lacks the port after ':'"),
    ("net.connect:a.org:0", "'0' is not a port: a number from 1 to 65535"),
    ("net.connect:a.org:65536", "'65536' is not a port"),
    ("net.connect:a.org:0443", "'0443' is not a port"),
    ("net.connect:a.org:\u0664", "is not a port"),
    ("net.connect:a.org:*", "'*' is not a port"),
    ("net.connect:::1", "an IPv6 address stands in brackets, as in '[::1]'"),
    ("net.connect:[::1", "must have the form '[ADDRESS]' or '[ADDRESS]:PORT'"),
    ("net.connect:[::1]443", "must have the form '[ADDRESS]' or '[ADDRESS]:PORT'"),
    ("net.connect:[::1]:", "must have the form '[ADDRESS]' or '[ADDRESS]:PORT'"),
    ("net.connect:[a.org]", "has no IPv6 address in its brackets"),
    ("net.connect:[fe80::1%eth0]", "an address with a zone cannot be granted"),
    ("net.connect:127.1", "is not an IPv4 address of the form '192.0.2.1'"),
    ("net.connect:0x7f.0.0.1", "is not an IPv4 address"),
    ("net.connect:0177.0.0.1", "is not an IPv4 address"),
    ("net.connect:2130706433", "is not an IPv4 address"),
    ("net.connect:*.0.0.1", "is not an IPv4 address"),
    ("net.connect:a.*.org", "'*' may only be the whole first label, as in '*.a.org'"),
    ("net.connect:a*.org", "'*' may only be the whole first label"),
    ("net.connect:\uff0a.org", "'*' may only be the whole first label"),
    ("net.connect:*.", "has no valid host"),
    ("net.connect:a..org", "has no valid host"),
    ("net.connect:-a.org", "has no valid host"),
    ("net.connect:user@a.org", "has no valid host"),
    ("net.connect:a.org/x", "has no valid host"),
    ("net.connect:ü..org", "has no valid host"),
    ("net.connect:" + "a." * 127 + "org", "the host has 257 characters"),
    ("net.connect:stra\u00dfe.de", "can be read as two hosts: write it as 'xn--…'"),
    ("process.exec:./run", "is neither the name of a program nor an absolute path"),
    ("process.exec:..", "is neither the name of a program nor an absolute path"),
    ("process.exec:/usr/../bin/sh", "is not normalised"),
    ("secret.use:a b", "'a b' is not a name"),
    ("agent.spawn:a/b", "'a/b' is not a name"),
    ("memory.read:a b", "'a b' is not a scope"),
    ("tool.use:files", "must have the form 'toolset/tool'"),
    ("tool.use:a/b/c", "must have the form 'toolset/tool'"),
    ("tool.use:files/", "must have the form 'toolset/tool'"),
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_accepts(text: str) -> None:
    assert check(text, "permission").kind.value == text.partition(":")[0]


@pytest.mark.parametrize(("text", "sentence"), REFUSED)
def test_refuses_with_the_field_and_a_sentence(text: str, sentence: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        check(text, "tools[0].permissions[2]")
    assert caught.value.reason is Reason.INVALID_FIELD
    assert caught.value.faults[0].field == "tools[0].permissions[2]"
    assert sentence in caught.value.faults[0].description
    assert len(caught.value.message) < 250


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [
        ("EXAMPLE.Com.:443", "example.com", 443),
        ("*.EXAMPLE.com", "*.example.com", 0),
        ("bücher.example", "xn--bcher-kva.example", 0),
        ("BÜCHER.example", "xn--bcher-kva.example", 0),
        ("a。example", "a.example", 0),
        ("\uff11\uff12\uff17.0.0.1", "127.0.0.1", 0),
        ("[2001:DB8:0:0::1]:80", "[2001:db8::1]", 80),
        ("[::ffff:192.0.2.1]", "192.0.2.1", 0),
        ("[::ffff:c000:201]:80", "192.0.2.1", 80),
    ],
)
def test_a_host_has_one_form(text: str, host: str, port: int) -> None:
    assert parse(f"net.connect:{text}").value == Hosts(host, port)


def test_every_program_has_one_form() -> None:
    assert parse("process.exec:**").value == parse("process.exec:*").value == Names("*")
    assert isinstance(parse("process.exec:**/rm").value, Paths)


@pytest.mark.parametrize(
    ("rule", "need", "expected"),
    [
        ("fs.read:/a/*.txt", "fs.read:/a/b*", True),
        ("fs.read:/a/*.txt", "fs.read:/a/*.py", False),
        ("fs.read:**/.env", "fs.read:/srv/**", True),
        ("fs.read:/a/**/z", "fs.read:/*/b", False),
        ("fs.read:/a/**", "fs.read:/b/**", False),
        ("fs.read:/*a*b*", "fs.read:/*b*a", True),
        ("net.connect:a.org:443", "net.connect:*.org", True),
        ("net.connect:*.a.org", "net.connect:*.b.a.org:1", True),
        ("net.connect:a.org:443", "net.connect:a.org:80", False),
        ("process.exec:rm", "process.exec:/bin/rm", True),
        ("process.exec:r*", "process.exec:/opt/**", True),
        ("process.exec:rm", "process.exec:/bin/ls", False),
        ("process.exec:/bin/rm", "process.exec:rm", False),
        ("process.exec:/bin/rm", "process.exec:*", True),
        ("process.exec:rm", "process.exec:/", False),
        ("tool.use:a/*", "tool.use:*/b", True),
        ("tool.use:a/*", "tool.use:b/*", False),
    ],
)
def test_what_a_rule_stops_of_a_pattern(rule: str, need: str, *, expected: bool) -> None:
    assert meets(parse(rule).value, parse(need).value) is expected


def test_a_pattern_full_of_stars_is_matched_at_once() -> None:
    # A matcher that tries every split would take until the end of time.
    rule, need = parse("fs.read:/" + "*a" * 100 + "*b"), parse("fs.read:/" + "a" * 250)
    assert not meets(rule.value, need.value)
    deep = parse("fs.read:" + "/**/a" * 100 + "/b")
    assert not meets(deep.value, parse("fs.read:" + "/a" * 1000).value)
    assert not meets(deep.value, parse("fs.read:" + "/**/a" * 100 + "/c").value)
