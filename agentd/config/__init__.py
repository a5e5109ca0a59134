"""The configuration: one frozen tree, and the only code that reads the environment.

A value comes from a flag, else an `AGENTD_*` variable, else the user's file, else the system's
file, else a default; each knows which. What does not exist or does not fit is refused with the
place where it stands.
"""

import os
import pwd
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from agentd.agent.budget import Budget, Prices
from agentd.config.keys import (
    DEFAULT,
    LOOPBACK,
    MODE,
    OPTIONAL_PATH,
    PATH,
    TEXT,
    TEXTS,
    Origin,
    Secret,
    choice,
    integer,
    invalid_config,
    key,
    number,
    read_secret,
    section,
    table,
)
from agentd.config.sources import (
    Schema,
    Values,
    build,
    dotted,
    read_file,
    read_flags,
    read_variables,
    rows,
    sample,
)
from agentd.config.tools import Sandbox, SecretSection, Tools

SYSTEM_FILE = Path("/etc/agentd/agentd.toml")
SYSTEM_SOCKET = Path("/run/agentd/agentd.sock")
"""Where a client finds the system's daemon when the user has none."""


@dataclass(frozen=True, slots=True)
class Server:
    """How clients reach the daemon."""

    socket: Path = key(SYSTEM_SOCKET, PATH, "The Unix socket. A user's daemon has its own.")
    socket_mode: str = key(
        "0600", MODE, "Who may connect: 0600 the daemon's user, 0660 its group too."
    )
    tcp: str = key("", LOOPBACK, "A TCP address to serve as well, such as 127.0.0.1:7431.")
    token_file: Path | None = key(
        None, OPTIONAL_PATH, "The file with the token that TCP clients bring; needed for tcp."
    )
    max_message_bytes: int = key(
        4 << 20, integer(64 << 10, 256 << 20, "bytes"), "The largest request."
    )
    write_timeout_s: float = key(
        30.0, number(0.1, 3600, "seconds"), "How long a stream waits for a reader that stalls."
    )
    drain_timeout_s: float = key(
        30.0, number(0, 3600, "seconds"), "How long effects in progress may take at a stop."
    )


@dataclass(frozen=True, slots=True)
class State:
    """Where the daemon keeps what must last."""

    directory: Path = key(Path("/var/lib/agentd"), PATH, "The journal and the memories.")
    models_directory: Path = key(Path("/var/lib/agentd/models"), PATH, "The files of local models.")
    workspaces_directory: Path = key(
        Path("/var/lib/agentd/workspaces"), PATH, "The folders that runs work in."
    )


@dataclass(frozen=True, slots=True)
class JournalSection:
    """How far back the journal reaches. Events of unfinished runs are always kept."""

    retention_days: int = key(0, integer(0, 36_500, "days"), "Older events go. 0 keeps all.")


@dataclass(frozen=True, slots=True)
class RunBudget:
    """What a run may spend when neither it nor its agent says. 0 means without limit."""

    max_turns: int = key(100, integer(0, 10**6), "Model turns.")
    max_tokens: int = key(0, integer(0, 10**12), "Input and output tokens together.")
    max_cost_usd: float = key(0.0, number(0, 10**6, "US dollars"), "The cost.")
    max_tool_calls: int = key(0, integer(0, 10**6), "Tool calls.")
    max_wall_time_s: float = key(0.0, number(0, 10**8, "seconds"), "The time since its start.")

    def limits(self) -> Budget:
        """Return it in the units of the engine."""
        return Budget(
            self.max_turns,
            self.max_tokens,
            round(self.max_cost_usd * 10**9),
            self.max_tool_calls,
            round(self.max_wall_time_s * 1000),
        )


@dataclass(frozen=True, slots=True)
class Runs:
    """How runs are executed."""

    max_parallel_calls: int = key(8, integer(1, 1000), "Tool calls of one run at a time.")
    max_active_runs: int = key(10_000, integer(1, 10**6), "Unfinished runs in memory.")
    model_attempts: int = key(5, integer(1, 100), "Attempts of one model request.")
    call_attempts: int = key(3, integer(1, 100), "Attempts of one repeatable tool call.")
    lease_s: float = key(
        30.0, number(1, 3600, "seconds"), "How long a tool host may be silent about a call."
    )
    idle_eviction_s: float = key(
        60.0, number(0, 86_400, "seconds"), "After this a waiting run leaves memory."
    )
    budget: RunBudget = section(RunBudget)


@dataclass(frozen=True, slots=True)
class Watch:
    """How events are streamed."""

    page_events: int = key(
        1_024, integer(1, 100_000), "Events read at a time while a watcher catches up."
    )
    backlog_events: int = key(
        65_536, integer(16, 10**7), "Events that may wait for a watcher before it is cut."
    )
    coalesce_ms: float = key(
        5.0, number(0, 1000, "milliseconds"), "How long a busy stream gathers one message."
    )


@dataclass(frozen=True, slots=True)
class Provider:
    """A provider of models."""

    kind: str = key(
        "openai",
        choice("anthropic", "openai", "local", "scripted"),
        "Its protocol; openai also speaks to compatible servers.",
    )
    api_key_file: Path | None = key(None, OPTIONAL_PATH, "The file with its key.")
    base_url: str = key("", TEXT, "The address of a compatible server. Empty means its own.")
    models: tuple[str, ...] = key((), TEXTS, "Models to list besides those that are known.")
    default_model: str = key("", TEXT, "The model to use when only the provider is chosen.")
    idle_timeout_s: float = key(
        300.0, number(1, 3600, "seconds"), "How long an answer may pause before it is given up."
    )
    concurrency: int = key(1, integer(1, 1000), "Requests at a time, of a local model.")
    threads: int = key(
        0, integer(0, 1024), "Threads of a local model. 0 means the physical cores but one."
    )
    environment_key: Secret | None = None
    """The key from the provider's own variable, which is used when there is no file."""

    def key(self) -> Secret | None:
        """Return its key. Raises InvalidRequest (INVALID_CONFIG) for a file that has none."""
        if self.api_key_file is None:
            return self.environment_key
        return read_secret(self.api_key_file, DEFAULT, "api_key_file")


@dataclass(frozen=True, slots=True)
class ModelDetails:
    """What is not known of a model, or known otherwise. 0 and empty mean: as known."""

    context_tokens: int = key(0, integer(0, 10**9, "tokens"), "The size of its context.")
    max_output_tokens: int = key(0, integer(0, 10**9, "tokens"), "The longest answer.")
    effort: str = key("", TEXT, "The reasoning effort to ask for.")
    path: Path | None = key(None, OPTIONAL_PATH, "The GGUF file of a local model.")


@dataclass(frozen=True, slots=True)
class ModelPrices:
    """US dollars per million tokens."""

    input: float = key(0.0, number(0, 10**6, "US dollars"), "Input.")
    output: float = key(0.0, number(0, 10**6, "US dollars"), "Output.")
    cache_read: float = key(0.0, number(0, 10**6, "US dollars"), "Input read from its cache.")
    cache_write: float = key(0.0, number(0, 10**6, "US dollars"), "Input written to its cache.")

    def nanos(self) -> Prices:
        """Return billionths of a dollar per token: $3 per million tokens is 3,000."""
        return Prices(
            round(self.input * 1000),
            round(self.output * 1000),
            round(self.cache_read * 1000),
            round(self.cache_write * 1000),
        )


@dataclass(frozen=True, slots=True)
class Scripted:
    """A model that answers from a file, for tests and demonstrations."""

    file: Path | None = key(
        None, OPTIONAL_PATH, "The script, offered as scripted/NAME after the file. Empty: none."
    )


@dataclass(frozen=True, slots=True)
class Models:
    """Which models there are."""

    default: str = key("", TEXT, "provider/model. Empty means the first that is ready.")
    scripted: Scripted = section(Scripted)
    providers: Mapping[str, Provider] = table(Provider, "NAME")
    details: Mapping[str, ModelDetails] = table(ModelDetails, "PROVIDER/MODEL")
    prices: Mapping[str, ModelPrices] = table(ModelPrices, "PROVIDER/MODEL")


@dataclass(frozen=True, slots=True)
class Log:
    """What the daemon writes to stderr."""

    level: str = key(
        "info", choice("debug", "info", "warning", "error"), "The least that is logged."
    )
    format: str = key(
        "auto", choice("auto", "json", "console"), "auto: console at a terminal, json elsewhere."
    )


@dataclass(frozen=True, slots=True)
class Client:
    """How commands reach a daemon."""

    address: str = key(
        "",
        TEXT,
        "unix:/PATH or HOST:PORT. Empty means server.socket, else the system's daemon.",
        variable="AGENTD_ADDRESS",
    )
    namespace: str = key("default", TEXT, "The namespace to work in.", variable="AGENTD_NAMESPACE")
    token_file: Path | None = key(
        None, OPTIONAL_PATH, "The file with the token, for TCP.", variable="AGENTD_TOKEN_FILE"
    )


@dataclass(frozen=True, slots=True)
class Supervisor:
    """What systemd tells the process, which no key sets."""

    notify_socket: str = ""
    """Where to say that the daemon is ready. Empty means that nobody listens."""
    watchdog_s: float = 0.0
    """How soon a silent daemon is given up. 0 means never."""
    socket_count: int = 0
    """How many listening sockets were passed, from file descriptor 3 on."""
    credentials: str = ""
    """The folder of the unit's credentials. Empty means that it has none."""


@dataclass(frozen=True, slots=True)
class Config:
    """The whole configuration."""

    server: Server = section(Server)
    state: State = section(State)
    journal: JournalSection = section(JournalSection)
    runs: Runs = section(Runs)
    watch: Watch = section(Watch)
    models: Models = section(Models)
    tools: Tools = section(Tools)
    sandbox: Sandbox = section(Sandbox)
    secrets: Mapping[str, SecretSection] = table(SecretSection, "NAME")
    log: Log = section(Log)
    client: Client = section(Client)
    supervisor: Supervisor = Supervisor()
    origins: Mapping[str, Origin] = field(default_factory=dict)
    """Where each value came from that is not a plain default, by key."""

    def origin(self, key: str) -> Origin:
        """Return where the value of `section.key` came from."""
        return self.origins.get(key, DEFAULT)

    def token(self) -> Secret | None:
        """Return the token of TCP clients.

        Raises InvalidRequest (INVALID_CONFIG) for a file that has none.
        """
        path = self.server.token_file
        name = "server.token_file"
        return None if path is None else read_secret(path, self.origin(name), name)

    def describe(self) -> Sequence[tuple[str, str, Origin]]:
        """Return each key, its value for people, and where it came from. Secrets are hidden."""
        return [
            (dotted(parts), _shown(value), self.origin(dotted(parts)))
            for parts, value in rows(self)
        ]


STANDARD_PROVIDERS = ("anthropic", "openai", "local")
"""The providers that exist without any configuration, in the order of preference. Each has the
kind of its name."""
KEY_VARIABLES = {"anthropic": "ANTHROPIC_API_KEY", "openai": "OPENAI_API_KEY"}


def load(
    flags: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    *,
    system_file: Path = SYSTEM_FILE,
) -> Config:
    """Return the configuration of this process.

    `flags` holds texts by key, such as `server.socket`. `environ` is the process's environment if
    not given. Raises InvalidRequest (INVALID_CONFIG), naming file and line, variable or flag.
    """
    variables = os.environ if environ is None else environ
    schema = Schema(Config)
    values: Values = {
        ("models", "providers", name, "kind"): (name, DEFAULT) for name in STANDARD_PROVIDERS
    }
    values |= _places(variables)
    values |= read_file(schema, system_file)
    values |= read_file(schema, user_file(variables))
    values |= read_variables(schema, variables, _provider_keys(schema, values))
    values |= read_flags(schema, flags or {})
    config: Config = build(Config, (), values)
    origins = {dotted(parts): origin for parts, (_, origin) in values.items()}
    models = replace(config.models, providers=_with_keys(config.models.providers, variables))
    config = replace(
        config,
        models=models,
        secrets=_with_values(config.secrets, variables),
        supervisor=_supervisor(variables),
        origins=origins,
    )
    _check(config)
    return config


def user_file(environ: Mapping[str, str]) -> Path:
    """Return where the user's file is read."""
    return _home(environ, "XDG_CONFIG_HOME", ".config")[0] / "agentd" / "agentd.toml"


def default_toml() -> str:
    """Return a file with every key at its default, each as a comment."""
    lines = [
        "# The configuration of agentd. Each key is shown, as a comment, with its default.",
        "# `agentd config show --origin` prints each value and where it came from.",
        *sample(Config),
    ]
    return "\n".join(lines) + "\n"


def _home(environ: Mapping[str, str], variable: str, default: str) -> tuple[Path, Origin]:
    """Return one of the directories of the XDG specification, which ignores relative paths."""
    if environ.get(variable, "").startswith("/"):
        return Path(environ[variable]), Origin("default", f"below ${variable}")
    home = environ.get("HOME", "")
    if not home.startswith("/"):
        home = pwd.getpwuid(os.getuid()).pw_dir
    return Path(home) / default, DEFAULT


def _places(environ: Mapping[str, str]) -> Values:
    """Return the defaults that depend on whose daemon this is."""
    state, state_origin = _home(environ, "XDG_STATE_HOME", ".local/state")
    data, data_origin = _home(environ, "XDG_DATA_HOME", ".local/share")
    return {
        ("server", "socket"): _default_socket(environ, state / "agentd"),
        ("state", "directory"): (state / "agentd", state_origin),
        ("state", "models_directory"): (data / "agentd" / "models", data_origin),
        ("state", "workspaces_directory"): (data / "agentd" / "workspaces", data_origin),
        ("tools", "folders"): _default_folders(environ),
    }


def _default_folders(environ: Mapping[str, str]) -> tuple[tuple[Path, ...], Origin]:
    """Return where runs may work: in the home of a user; the system's daemon serves several."""
    if os.getuid() == 0:
        return (), DEFAULT
    return (_home(environ, "HOME", "")[0],), Origin("default", "$HOME")


def _default_socket(environ: Mapping[str, str], state: Path) -> tuple[Path, Origin]:
    if environ.get("XDG_RUNTIME_DIR", "").startswith("/"):
        path = Path(environ["XDG_RUNTIME_DIR"])
        return path / "agentd" / "agentd.sock", Origin("default", "below $XDG_RUNTIME_DIR")
    if os.getuid() == 0:
        return SYSTEM_SOCKET, DEFAULT
    runtime = Path(f"/run/user/{os.getuid()}")
    if runtime.is_dir():
        return runtime / "agentd" / "agentd.sock", DEFAULT
    return state / "agentd.sock", DEFAULT


def _provider_keys(schema: Schema, values: Values) -> list[tuple[str, ...]]:
    """Return each key of each provider that is known so far."""
    names = {parts[2] for parts in values if parts[:2] == ("models", "providers")}
    return [
        (*parts[:2], name, parts[3])
        for parts in schema.keys
        if parts[:2] == ("models", "providers")
        for name in names
    ]


def _with_keys(
    providers: Mapping[str, Provider], environ: Mapping[str, str]
) -> dict[str, Provider]:
    """Give providers the keys of their own variables."""
    found = dict(providers)
    for name, variable in KEY_VARIABLES.items():
        if environ.get(variable) and name in found:
            secret = Secret(environ[variable], Origin("environment", variable))
            found[name] = replace(found[name], environment_key=secret)
    return found


def _with_values(
    secrets: Mapping[str, SecretSection], environ: Mapping[str, str]
) -> dict[str, SecretSection]:
    """Give secrets the texts of the variables that they name."""
    return {
        name: replace(
            secret,
            environment_value=Secret(text, Origin("environment", secret.variable))
            if (text := environ.get(secret.variable))
            else None,
        )
        for name, secret in secrets.items()
    }


def _supervisor(environ: Mapping[str, str]) -> Supervisor:
    """Return what is meant for this process, and not for one that it descends from."""
    own = str(os.getpid())
    watched = environ.get("WATCHDOG_PID", own) == own
    return Supervisor(
        notify_socket=environ.get("NOTIFY_SOCKET", ""),
        watchdog_s=int(environ.get("WATCHDOG_USEC", "0")) / 1e6 if watched else 0.0,
        credentials=environ.get("CREDENTIALS_DIRECTORY", ""),
        socket_count=int(environ.get("LISTEN_FDS", "0")) if environ.get("LISTEN_PID") == own else 0,
    )


def _check(config: Config) -> None:
    """Refuse values that do not fit together."""
    if config.server.tcp and config.server.token_file is None:
        raise invalid_config(
            "server.tcp needs server.token_file: over TCP the kernel does not say who calls",
            config.origin("server.tcp"),
            "server.token_file",
        )
    for name, secret in config.secrets.items():
        if sum(map(bool, (secret.file, secret.variable, secret.credential))) > 1:
            at = f"secrets.{dotted((name,))}"
            raise invalid_config(f"{at}: is in more than one place", _first(config, at), at)
    for name in config.models.providers:
        if "/" in name:
            at = f"models.providers.{dotted((name,))}"
            raise invalid_config(f"{at}: a provider's name has no '/'", _first(config, at), at)


def _first(config: Config, at: str) -> Origin:
    """Return where the first key of a table stands."""
    return next(where for key, where in config.origins.items() if key.startswith(at))


def _shown(value: object) -> str:
    match value:
        case None:
            return ""
        case tuple():
            return ", ".join(str(item) for item in value)
        case _:
            return str(value)
