"""Escapes and leaks: whatever a command tries, it reaches only what was granted."""

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from agentd.tools.sandbox.child import Child
from agentd.tools.sandbox.descriptors import Opened
from agentd.tools.sandbox.drop import choose_owner, drop_prefix
from agentd.tools.sandbox.launch import Streams, Wires
from agentd.tools.sandbox.profile import Command, Profile, Tier
from agentd.tools.sandbox.sandbox import Sandbox
from tests.conformance.sandbox.conftest import python
from tests.conformance.sandbox.corpus.common import ATTACKS, Prey
from tests.conformance.sandbox.corpus.main import CORPUS
from tests.conformance.sandbox.prey import as_json, laid_out

PACKAGE = Path("tests/conformance/sandbox/corpus")
PROGRAM = """
import sys
sys.path.insert(0, ".")
from tests.conformance.sandbox.corpus.main import main
main()
"""
WEAKER = {
    "have_capabilities",  # cannot be told without a look into /proc: it is held by the kernel
    "see_hostname",
    "see_secret",
}
"""What the second tier is declared not to hold: names and metadata, but no content."""
CONTROL = {
    "call_io_uring_setup",
    "clone3",
    "connect_to_abstract_socket",
    "connect_to_loopback",
    "connect_to_socket_file",
    "create_outside",
    "open_fifo_outside",
    "open_outside_for_writing",
    "read_by_dots",
    "read_by_inherited_descriptor",
    "read_by_link",
    "read_cmdline_of_victim",
    "read_environ_of_victim",
    "read_secret",
    "read_shared_memory_file",
    "attach_shared_memory",
    "see_hostname",
    "see_processes",
    "signal_victim",
    "socket_NETLINK_SOCK_RAW",
}
"""Some of what works without a sandbox, one of each kind: the corpus can fail."""


@pytest.fixture
def prey(room: Path, workspace: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Prey]:
    """Lay out the prey; the daemon has a secret in its environment, and one in an open file that
    would be inherited by a careless start."""
    with laid_out(room, workspace, choose_owner()) as prey:
        monkeypatch.setenv("AGENTD_SECRET", prey.canary)
        fd = os.open(prey.secret_path, os.O_RDONLY)
        os.set_inheritable(fd, True)
        yield prey
        os.close(fd)


async def attack(sandbox: Sandbox, profile: Profile, prey: Prey) -> dict[str, str]:
    """Run the corpus; return the attacks that escaped, and how."""
    source = Path(__file__).parents[3] / PACKAGE
    shutil.copytree(source, Path(profile.workspace) / PACKAGE)
    limits = msgspec.structs.replace(profile.limits, memory_bytes=2**31)
    profile = msgspec.structs.replace(profile, limits=limits)
    finished = await sandbox.run(python(PROGRAM, stdin=as_json(prey)), profile)
    assert finished.exit_code == 0, finished.stderr
    verdicts: dict[str, str | None] = json.loads(finished.stdout)
    assert verdicts.keys() == ATTACKS.keys()
    return {name: verdict for name, verdict in verdicts.items() if verdict}


def test_the_corpus_is_large() -> None:
    assert len(CORPUS) == 4
    assert len(ATTACKS) >= 50


@pytest.mark.timeout(60)
async def test_nothing_escapes(sandbox: Sandbox, profile: Profile, prey: Prey) -> None:
    escaped = await attack(sandbox, profile, prey)
    if sandbox.tier is Tier.LANDLOCK:
        escaped = {name: how for name, how in escaped.items() if name not in WEAKER}
    assert escaped == {}


class Unconfined:
    """Starts commands as the unprivileged user, and with nothing else in their way."""

    tier = Tier.LANDLOCK

    def start(
        self, command: Command, profile: Profile, streams: Streams, proxy: int | None
    ) -> Child:
        assert proxy is None
        script = """
cd "$1"; shift; status=$1 gate=$2; shift 2
eval "echo '{\\"child-pid\\": $$}' >&$status"; read -r _ < /dev/fd/$gate
"$@"; eval "echo '{\\"exit-code\\": '$?'}' >&$status"
"""
        with Opened() as opened:
            wires = Wires(opened)
            for fd in range(3, 200):
                try:
                    if os.get_inheritable(fd) and fd not in opened.fds:
                        opened.keep(os.dup(fd))
                except OSError:
                    continue
            numbers = (str(wires.status), str(wires.gate))
            words = [*drop_prefix(choose_owner()), "/bin/bash", "-c", script, "bash"]
            words += [profile.workspace, *numbers, *command.argv]
            return wires.start(words, streams, profile, None)


@pytest.mark.timeout(60)
async def test_the_corpus_escapes_where_there_is_no_sandbox(profile: Profile, prey: Prey) -> None:
    escaped = await attack(Sandbox(Unconfined(), owner=choose_owner()), profile, prey)
    assert set(escaped) >= CONTROL
