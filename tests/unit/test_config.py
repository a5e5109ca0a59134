"""The configuration: which source wins, where each value came from, and what is refused."""

import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agentd.agent.budget import Budget, Prices
from agentd.config import SYSTEM_SOCKET, Config, default_toml, load
from agentd.config.sources import literal
from agentd.config.supervisor import Supervisor
from agentd.config.toml_lines import key_lines
from agentd.errors import InvalidRequest, Reason


class Files:
    """A system file and a user file, neither of which need exist."""

    def __init__(self, directory: Path) -> None:
        self.system = directory / "etc.toml"
        self.user = directory / "config/agentd/agentd.toml"
        self.user.parent.mkdir(parents=True)
        self.environ = {
            "HOME": str(directory / "home"),
            "XDG_CONFIG_HOME": str(directory / "config"),
            "XDG_RUNTIME_DIR": "/run/user/7",
        }

    def load(
        self, flags: Mapping[str, str] | None = None, environ: Mapping[str, str] | None = None
    ) -> Config:
        return load(flags, {**self.environ, **(environ or {})}, system_file=self.system)

    def refusal(self, text: str) -> str:
        """Why the text is refused as the user's file, after the file's name."""
        self.user.write_text(text)
        with pytest.raises(InvalidRequest) as caught:
            self.load()
        assert caught.value.reason is Reason.INVALID_CONFIG
        assert caught.value.message.startswith(str(self.user))
        return caught.value.message.removeprefix(str(self.user))


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def test_the_nearer_source_wins_and_is_named(files: Files) -> None:
    name = "runs.max_parallel_calls"
    config = files.load()
    assert (config.runs.max_parallel_calls, str(config.origin(name))) == (8, "default")
    files.system.write_text("[runs]\n# more\nmax_parallel_calls = 1\nlease_s = 5\n")
    config = files.load()
    assert (config.runs.max_parallel_calls, config.runs.lease_s) == (1, 5.0)
    assert str(config.origin(name)) == f"file {files.system}:3"
    files.user.write_text("runs.max_parallel_calls = 2\n")
    config = files.load()
    assert (config.runs.max_parallel_calls, config.runs.lease_s) == (2, 5.0)
    assert str(config.origin(name)) == f"file {files.user}:1"
    environ = {"AGENTD_RUNS_MAX_PARALLEL_CALLS": "3"}
    config = files.load(environ=environ)
    assert config.runs.max_parallel_calls == 3
    assert str(config.origin(name)) == "environment AGENTD_RUNS_MAX_PARALLEL_CALLS"
    config = files.load({name: "4"}, environ)
    assert config.runs.max_parallel_calls == 4
    assert str(config.origin(name)) == "flag --runs-max-parallel-calls"


def test_places_depend_on_the_user(files: Files) -> None:
    config = files.load()
    assert config.server.socket == Path("/run/user/7/agentd/agentd.sock")
    assert str(config.origin("server.socket")) == "default below $XDG_RUNTIME_DIR"
    home = Path(files.environ["HOME"])
    assert config.state.directory == home / ".local/state/agentd"
    assert config.state.models_directory == home / ".local/share/agentd/models"
    del files.environ["XDG_RUNTIME_DIR"]
    own = Path(f"/run/user/{os.getuid()}")
    expected = own / "agentd/agentd.sock" if own.is_dir() else home / ".local/state/agentd.sock"
    assert files.load().server.socket == (expected if os.getuid() else SYSTEM_SOCKET)
    config = files.load(environ={"XDG_STATE_HOME": "/var/lib", "XDG_DATA_HOME": "relative"})
    assert config.state.directory == Path("/var/lib/agentd")
    assert config.state.models_directory == home / ".local/share/agentd/models"


def test_a_root_daemon_keeps_workspaces_where_its_commands_can_reach(
    files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Commands run as another user there, and nobody else may enter the home of root."""
    home = Path(files.environ["HOME"])
    monkeypatch.setattr(os, "getuid", lambda: 1000)
    assert files.load().state.workspaces_directory == home / ".local/share/agentd/workspaces"
    monkeypatch.setattr(os, "getuid", lambda: 0)
    assert files.load().state.workspaces_directory == Path("/var/lib/agentd/workspaces")
    named = files.load(environ={"XDG_DATA_HOME": "/srv"}).state.workspaces_directory
    assert named == Path("/srv/agentd/workspaces")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[server]\nsocket = '/s'\nsoket = '/s'",
            ":3: there is no key 'server.soket'; did you mean 'server.socket'?",
        ),
        ("[sever]\nsocket = '/s'", ":1: there is no key 'sever'; did you mean 'server'?"),
        (
            "[models.providers.x]\nbase_ulr = ''",
            (
                ":2: there is no key 'models.providers.x.base_ulr'; "
                "did you mean 'models.providers.x.base_url'?"
            ),
        ),
        (
            "[log]\nzzz = 1",
            ":2: there is no key 'log.zzz'; there are: log.format, log.level",
        ),
        (
            "[runs]\nlease_s = 'soon'",
            ':2: runs.lease_s must be a number of seconds from 1 to 3,600, not "soon"',
        ),
        (
            "[runs.budget]\n\nmax_turns = true",
            ":3: runs.budget.max_turns must be a whole number from 0 to 1,000,000, not true",
        ),
        (
            "runs.model_attempts = 0",
            ":1: runs.model_attempts must be a whole number from 1 to 100, not 0",
        ),
        ("server = 3", ":1: server must be a table"),
        (
            "[server]\nsocket = 'here'",
            ':2: server.socket must be an absolute path, not "here"',
        ),
        (
            "[server]\ntcp = '0.0.0.0:80'",
            ':2: server.tcp must be HOST:PORT with a loopback host, or empty, not "0.0.0.0:80"',
        ),
        (
            "[server]\n\ntcp = '127.0.0.1:80'",
            (":3: server.tcp needs server.token_file: over TCP the kernel does not say who calls"),
        ),
        (
            "[server]\n\nhttp = '127.0.0.1:80'",
            ":3: server.http needs server.token_file: over TCP the kernel does not say who calls",
        ),
        (
            "[models.providers.'a/b']\nkind = 'openai'",
            ":2: models.providers.\"a/b\": a provider's name has no '/'",
        ),
        (
            "[models.providers]\na = {kind = 'opeanai'}",
            (
                ":2: models.providers.a.kind must be one of anthropic, openai, local, scripted, "
                'not "opeanai"'
            ),
        ),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(
    files: Files, text: str, message: str
) -> None:
    assert files.refusal(text) == message


def test_a_file_that_is_no_toml_is_refused(files: Files) -> None:
    assert files.refusal("[server]\nsocket /s\n").startswith(":2: this is not TOML: Expected '='")
    files.user.write_bytes(b"\xff")
    with pytest.raises(InvalidRequest, match="cannot be read"):
        files.load()


def test_flags_and_variables_are_checked_alike(files: Files) -> None:
    with pytest.raises(InvalidRequest, match=r"^--runs-lease-s: runs.lease_s must be a number"):
        files.load({"runs.lease_s": "x"})
    with pytest.raises(InvalidRequest, match=r"^--server-port: there is no key 'server.port'"):
        files.load({"server.port": "1"})
    with pytest.raises(InvalidRequest, match=r"^AGENTD_RUNS_LEASE_S: runs.lease_s must be"):
        files.load(environ={"AGENTD_RUNS_LEASE_S": "-1"})
    with pytest.raises(InvalidRequest, match=r"did you mean AGENTD_SERVER_SOCKET\?"):
        files.load(environ={"AGENTD_SERVER_SOKET": "/s"})


def test_variables_that_are_not_agentds_are_left_alone(files: Files) -> None:
    files.load(
        environ={
            "AGENTD_PORT": "tcp://10.0.0.1:80",
            "AGENTD_SERVICE_HOST": "10.0.0.1",
            "AGENTD_SERVER_SERVICE_HOST": "10.0.0.1",
            "AGENTD_SERVER_PORT": "tcp://10.0.0.1:80",
            "SERVER_SOKET": "x",
        }
    )


def test_a_provider_is_set_by_file_and_variable(files: Files) -> None:
    files.user.write_text(
        """
[models]
default = "near/small"
[models.providers.near]
base_url = "http://localhost:11434/v1"
models = ["small", "large"]
[models.prices."near/small"]
input = 3
output = 15.5
[models.details."near/small"]
context_tokens = 32_000
"""
    )
    models = files.load(
        environ={
            "AGENTD_MODELS_PROVIDERS_NEAR_BASE_URL": "http://localhost:1/v1",
            "AGENTD_MODELS_PROVIDERS_NEAR_MODELS": "small, tiny",
        }
    ).models
    assert list(models.providers) == ["anthropic", "openai", "local", "near"]
    near = models.providers["near"]
    assert (near.kind, near.base_url) == ("openai", "http://localhost:1/v1")
    assert near.models == ("small", "tiny")
    assert models.prices["near/small"].nanos() == Prices(3000, 15_500, 0, 0)
    assert models.details["near/small"].context_tokens == 32_000


def test_a_budget_is_in_the_units_of_the_engine(files: Files) -> None:
    files.user.write_text("[runs.budget]\nmax_cost_usd = 0.25\nmax_wall_time_s = 1.5\n")
    assert files.load().runs.budget.limits() == Budget(100, 0, 250_000_000, 0, 1500)


def test_secrets_are_never_shown(files: Files, tmp_path: Path) -> None:
    (tmp_path / "key").write_text("canary-file\n")
    (tmp_path / "key").chmod(0o600)
    files.user.write_text(f"models.providers.openai.api_key_file = '{tmp_path}/key'\n")
    config = files.load(environ={"ANTHROPIC_API_KEY": "canary-one", "OPENAI_API_KEY": "canary-two"})
    anthropic = config.models.providers["anthropic"].key()
    assert anthropic is not None
    assert anthropic.reveal() == "canary-one"
    assert str(anthropic.origin) == "environment ANTHROPIC_API_KEY"
    openai = config.models.providers["openai"].key()
    assert openai is not None
    assert openai.reveal() == "canary-file"
    assert config.models.providers["local"].key() is None
    for shown in (repr(config), str(config.describe()), repr(openai), f"{anthropic}"):
        assert "canary" not in shown


def test_a_token_file_is_checked(files: Files, tmp_path: Path) -> None:
    path = tmp_path / "token"
    files.user.write_text(f"[server]\ntcp = '[::1]:0'\ntoken_file = '{path}'\n")
    where = re.escape(f"{files.user}:3: server.token_file: ")
    with pytest.raises(InvalidRequest, match=where + "cannot read"):
        files.load().token()
    path.write_text("\n")
    path.chmod(0o600)
    with pytest.raises(InvalidRequest, match=where + ".* is empty"):
        files.load().token()
    path.write_text("secret\n")
    path.chmod(0o644)
    with pytest.raises(InvalidRequest, match=where + "everybody may read"):
        files.load().token()
    path.chmod(0o600)
    token = files.load().token()
    assert token is not None
    assert token.reveal() == "secret"


def test_what_systemd_says_is_for_one_process(files: Files) -> None:
    own, other = str(os.getpid()), str(os.getpid() + 1)
    said = {"NOTIFY_SOCKET": "@n", "WATCHDOG_USEC": "2000000", "LISTEN_FDS": "1"}
    supervisor = files.load(environ={**said, "WATCHDOG_PID": own, "LISTEN_PID": own}).supervisor
    assert (supervisor.notify_socket, supervisor.watchdog_s, supervisor.socket_count) == (
        "@n",
        2,
        1,
    )
    supervisor = files.load(environ={**said, "WATCHDOG_PID": other, "LISTEN_PID": other}).supervisor
    assert supervisor == Supervisor("@n")


def test_every_key_is_described(files: Files) -> None:
    rows = {key: (value, str(origin)) for key, value, origin in files.load().describe()}
    assert rows["server.max_message_bytes"] == ("4194304", "default")
    assert rows["server.socket"][1] == "default below $XDG_RUNTIME_DIR"
    assert rows["models.providers.anthropic.kind"] == ("anthropic", "default")


def test_the_sample_is_every_key_at_its_default(files: Files) -> None:
    text = default_toml()
    assert tomllib.loads(text).keys() == {
        "client", "journal", "log", "memory", "models", "runs", "sandbox", "server", "state",
        "tools", "watch",
    }  # fmt: skip
    files.system.write_text(text)
    assert files.load() == load({}, files.environ, system_file=files.user)
    live = re.sub(r"^# ([a-z_]+ = |\[)", r"\1", text, flags=re.MULTILINE)
    live = live.replace('"PROVIDER/MODEL"', '"x/y"')
    files.system.write_text(live)
    config, plain = files.load({"server.socket": "/s"}), Config()
    for key, value, origin in config.describe():
        if key.startswith(("models.providers.anth", "models.providers.open", "models.providers.l")):
            continue
        assert str(origin).startswith(("file", "flag")), key
        if "NAME" not in key and "x/y" not in key and key != "server.socket":
            assert (key, value) in {(row[0], row[1]) for row in plain.describe()}


@given(
    st.recursive(
        st.text() | st.integers(-(2**40), 2**40) | st.booleans(),
        lambda inner: (
            st.lists(inner, max_size=3).map(tuple)
            | st.dictionaries(st.text(min_size=1), inner, max_size=3)
        ),
        max_leaves=10,
    ).filter(lambda value: isinstance(value, dict))
)
def test_each_key_is_found_on_its_line(document: dict[str, object]) -> None:
    """Against a writer that puts each key on a line that it knows."""
    lines: list[str] = []
    expected: dict[tuple[str, ...], int] = {}
    write_table(document, (), lines, expected)
    text = "\n".join(lines) + "\n"
    tomllib.loads(text)
    assert key_lines(text) == expected


def test_an_array_of_arrays_is_not_taken_for_headers() -> None:
    text = "x = [\n  ['a'],\n  ['b']\n]\ny = 1\n[[t]]\nz = {a = [\n['c']\n]}\n[[t]]\nw = ''\n"
    tomllib.loads(text)
    assert key_lines(text) == {("x",): 1, ("y",): 5, ("t",): 6, ("t", "z"): 7, ("t", "w"): 11}


def write_table(
    table: dict[str, object],
    path: tuple[str, ...],
    lines: list[str],
    expected: dict[tuple[str, ...], int],
) -> None:
    for name, value in table.items():
        if not isinstance(value, dict):
            lines.append(f"{quoted(name)} = {spread(value)}  # a = 1")
            expected[*path, name] = "\n".join(lines[:-1]).count("\n") + bool(lines[:-1]) + 1
    for name, value in table.items():
        if isinstance(value, dict):
            lines.append(f"  [ {'.'.join(quoted(part) for part in (*path, name))} ]")
            expected[*path, name] = "\n".join(lines).count("\n") + 1
            write_table(value, (*path, name), lines, expected)


def quoted(name: str) -> str:
    return literal(name).replace("\x7f", "\\u007f")


def spread(value: object) -> str:
    """A value that takes several lines, with what looks like keys in it."""
    match value:
        case tuple():
            items = ",\n  ".join(spread(item) for item in value)
            return f"[ # b = 2\n  {items}\n]"
        case dict():
            pairs = ", ".join(f"{quoted(name)} = {spread(item)}" for name, item in value.items())
            return f"{{ {pairs} }}"
        case str():
            body = quoted(value)[1:-1]
            return f'"""\n[c]\nd = 3 \'"\n{body}"""'
        case _:
            return literal(value)


def test_servers_secrets_and_skills(files: Files) -> None:
    files.user.write_text(
        """
        tools.skills = ["/srv/skills"]
        [tools.mcp.git]
        command = ["mcp-server-git"]
        environment = ["TOKEN=${secret:forge}"]
        trusted = true
        [secrets.forge]
        variable = "FORGE_TOKEN"
        """
    )
    config = files.load(environ={"FORGE_TOKEN": "hush-hush"})
    assert config.tools.skills == (Path("/srv/skills"),)
    assert config.tools.mcp["git"].command == ("mcp-server-git",)
    assert config.tools.mcp["git"].trusted
    value = config.secrets["forge"].environment_value
    assert value is not None
    assert value.reveal() == "hush-hush"
    assert "hush-hush" not in repr(config)


def test_a_secret_is_in_one_place(files: Files) -> None:
    text = '[secrets.forge]\nvariable = "A"\nfile = "/a"\n'
    assert "more than one place" in files.refusal(text)


def test_a_flag_is_true_or_false(files: Files) -> None:
    assert files.load(environ={"AGENTD_TOOLS_BUILTIN": "false"}).tools.builtin is False
    assert files.load({"tools.builtin": "true"}).tools.builtin is True
    with pytest.raises(InvalidRequest, match="true or false"):
        files.load({"tools.builtin": "yes"})
    assert "true or false" in files.refusal("tools.builtin = 1\n")
