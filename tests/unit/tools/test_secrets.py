"""Secrets are read when they are needed, from where only the daemon can read, and never shown."""

import os
from pathlib import Path

import pytest

from agentd.errors import InvalidRequest, Reason
from agentd.tools.secrets import CredentialSource, FileSource, Secrets, Source, VariableSource

VALUE = "ghp_7Qx2mVb9Kd4L"
OTHER = "glpat-Xy12Zt88"


def secret_file(folder: Path, name: str = "token", text: str = VALUE, mode: int = 0o600) -> Path:
    path = folder / name
    path.write_bytes(text.encode())
    path.chmod(mode)
    return path


def refusal(secrets: Secrets, name: str = "token") -> str:
    """Return the sentence with which a secret is refused, once it is known to show no value."""
    with pytest.raises(InvalidRequest) as caught:
        secrets.reveal(name)
    assert caught.value.reason is Reason.INVALID_CONFIG
    assert caught.value.faults[0].field == f"secrets.{name}"
    for value in (VALUE, OTHER):
        assert value not in repr(caught.value) + str(caught.value.metadata)
    return caught.value.faults[0].description


def test_reads_each_source(tmp_path: Path) -> None:
    secret_file(tmp_path, "db", OTHER, 0o440)
    sources: dict[str, Source] = {
        "file": FileSource(str(secret_file(tmp_path))),
        "variable": VariableSource("TOKEN"),
        "credential": CredentialSource("db"),
    }
    secrets = Secrets(sources, environment={"TOKEN": "from-environment"}, credentials=str(tmp_path))
    assert secrets.names == ("file", "variable", "credential")
    assert secrets.reveal("file") == VALUE
    assert secrets.reveal("variable") == "from-environment"
    assert secrets.reveal("credential") == OTHER
    assert secrets.check() == ()


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_a_line_break_at_the_end_belongs_to_the_file(tmp_path: Path, end: str) -> None:
    path = secret_file(tmp_path, text=f"{VALUE} {end}")
    assert Secrets({"token": FileSource(str(path))}).reveal("token") == f"{VALUE} "


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o666, 0o601])
def test_a_file_that_others_may_open_is_refused(tmp_path: Path, mode: int) -> None:
    path = secret_file(tmp_path, mode=mode)
    sentence = refusal(Secrets({"token": FileSource(str(path))}))
    assert sentence == f"{path} is open to other users (mode {mode:03o}): chmod 600"


def test_a_credential_may_show_the_bits_of_its_access_list_only(tmp_path: Path) -> None:
    secret_file(tmp_path, mode=0o444)
    secrets = Secrets({"token": CredentialSource("token")}, credentials=str(tmp_path))
    assert "is open to other users (mode 444)" in refusal(secrets)


def test_a_source_that_cannot_be_used_says_why(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo, 0o600)
    binary = secret_file(tmp_path, "binary")
    binary.write_bytes(b"\xff\xfe" * 8)
    missing = tmp_path / "missing"
    cases: dict[str, tuple[Source, str]] = {
        "fifo": (FileSource(str(fifo)), f"{fifo} is not a regular file"),
        "folder": (FileSource(str(tmp_path)), f"cannot read {tmp_path}: Is a directory"),
        "binary": (FileSource(str(binary)), f"{binary} is not UTF-8 text"),
        "missing": (FileSource(str(missing)), f"cannot read {missing}: No such file or directory"),
        "unset": (VariableSource("NONE"), "the variable NONE is not set"),
        "outside": (CredentialSource("../token"), "'../token' is not the name of a credential"),
    }
    secrets = Secrets(
        {name: source for name, (source, _) in cases.items()}, credentials=str(tmp_path)
    )
    for name, (_, sentence) in cases.items():
        assert refusal(secrets, name) == sentence
    assert [fault.field for fault in secrets.check()] == [f"secrets.{name}" for name in cases]
    assert "systemd gave no credentials" in refusal(Secrets({"token": CredentialSource("token")}))
    assert refusal(secrets, "tokn").startswith("is not declared; there are: fifo, folder, ")


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        ("1234567", "its value has 7 characters: one of less than 8"),
        ("", "its value has 0 characters"),
        ("x" * 16385, "its value is longer than 16384 bytes"),
        ("abcdefgh\udc80", "its value is not UTF-8 text"),
        ('"quoted-value"', "begins or ends with a quotation mark or a backslash"),
        ("a-long-value\\", "begins or ends with a quotation mark or a backslash"),
    ],
)
def test_a_value_that_could_not_be_redacted_is_refused(value: str, sentence: str) -> None:
    secrets = Secrets({"token": VariableSource("TOKEN")}, environment={"TOKEN": value})
    assert sentence in refusal(secrets)
    with pytest.raises(InvalidRequest):
        secrets.conceal("other", value)
    assert secrets.redact("1234567 and so on") == "1234567 and so on"


def test_nothing_is_read_before_it_is_needed(tmp_path: Path) -> None:
    path = tmp_path / "token"
    secrets = Secrets({"token": FileSource(str(path))})
    secret_file(tmp_path)
    assert secrets.redact(f"<{VALUE}>") == "<[secret token]>"


def test_a_secret_that_appears_or_changes_is_redacted_once_it_was_given(tmp_path: Path) -> None:
    secrets = Secrets({"token": FileSource(str(tmp_path / "token"))})
    assert secrets.redact(VALUE) == VALUE  # There is none yet.
    secret_file(tmp_path)
    assert secrets.reveal("token") == VALUE
    secret_file(tmp_path, text=OTHER)
    assert secrets.reveal("token") == OTHER
    assert secrets.redact(f"{VALUE} {OTHER}") == "[secret token] [secret token]"
    assert secrets.redact_bytes(OTHER.encode()) == b"[secret token]"


def test_of_many_values_the_last_ones_are_kept() -> None:
    environment: dict[str, str] = {}
    secrets = Secrets({"token": VariableSource("TOKEN")}, environment=environment)
    for number in range(6):
        environment["TOKEN"] = f"the-value-{number}"
        secrets.reveal("token")
    shown = [secrets.redact(f"the-value-{number}") for number in range(6)]
    assert shown == ["the-value-0", "the-value-1", *["[secret token]"] * 4]


def test_a_value_from_elsewhere_is_redacted() -> None:
    secrets = Secrets({})
    secrets.redact("")
    secrets.conceal("anthropic-key", OTHER)
    assert secrets.redact(OTHER) == "[secret anthropic-key]"
    assert secrets.names == ()


def test_names_are_those_that_a_permission_can_have() -> None:
    for name in ("", "a b", "a*", "-a", "a" * 129, "a\n"):
        with pytest.raises(InvalidRequest, match="is not a name for a secret"):
            Secrets({name: VariableSource("TOKEN")})
    with pytest.raises(InvalidRequest, match="there are 257 secrets, and at most 256 may be"):
        Secrets({f"s{number}": VariableSource("TOKEN") for number in range(257)})


def test_no_representation_shows_a_value() -> None:
    secrets = Secrets({"token": VariableSource("TOKEN")}, environment={"TOKEN": VALUE})
    secrets.reveal("token")
    assert VALUE not in f"{secrets!r} {secrets} {secrets.names}"
