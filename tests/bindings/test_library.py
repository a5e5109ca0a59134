"""The C library as programs meet it: what it exports, what it needs, and how it fails."""

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agentd import __version__
from tests.bindings.kit import (
    EXAMPLES,
    PROGRAMS,
    C,
    Kit,
    environment,
    execute,
    need,
    said,
    tree_paths,
)
from tests.e2e.daemon import Home, daemon
from tests.tidy.test_readme import marked
from tests.tidy.tree import ROOT

MEMORY_GROWTH_KIB = 8 * 1024
"""What 900 openings may leave: measured 2 MiB, of which a leak of 10 KiB each would make 11."""
OURS = re.compile(r"\b(agentd_copy|keep|grow)\b")
"""The functions of the library that allocate."""
LISTED = re.compile(
    r"^    #1 .*|^==\d+==    (?:at|by) 0x\w+: (?!malloc|calloc|realloc).*", re.MULTILINE
)


def declared() -> set[str]:
    """Return the functions of the header."""
    text = re.sub(r"/\*.*?\*/", "", (C / "agentd.h").read_text("utf-8"), flags=re.DOTALL)
    return set(re.findall(r"\b(agentd_\w+)\(", text))


def test_it_exports_the_functions_of_its_header_and_nothing_else(kit: Kit) -> None:
    need("nm", "binutils")
    listed = subprocess.run(
        ["nm", "-D", "--defined-only", kit.library], capture_output=True, text=True, check=True
    ).stdout
    exported = set(re.findall(r" T (\w+)@@agentd_1$", listed, re.MULTILINE))
    assert exported == declared()
    assert len(re.findall(r" [A-Z] ", listed)) == len(exported) + 1  # and the version itself


def test_the_header_has_the_version_of_the_package() -> None:
    [digits] = re.findall(r"VERSION_NUMBER (\d+)", (C / "agentd.h").read_text("utf-8"))
    number = int(digits)
    assert f"{number // 10_000}.{number // 100 % 100}.{number % 100}" == __version__


def test_pkg_config_knows_how_to_use_it(kit: Kit, embedded: str) -> None:
    need("pkg-config", "pkg-config")
    need("readelf", "binutils")
    flags = subprocess.run(
        ["pkg-config", "--cflags", "--libs", "agentd"],
        env={**os.environ, "PKG_CONFIG_PATH": str(kit.prefix / "lib" / "pkgconfig")},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.split()
    program = kit.prefix / "bin" / "by-pkg-config"
    subprocess.run(["cc", PROGRAMS / "probe.c", "-o", program, *flags], check=True)
    said(execute([str(program), embedded], {}), "answered: {")
    needed = subprocess.run(
        ["readelf", "-d", program], capture_output=True, text=True, check=True
    ).stdout
    assert "[libagentd.so.1]" in needed


def test_a_tour_in_c99_from_an_empty_environment(kit: Kit, embedded: str) -> None:
    said(kit.run("tour", embedded, env={}), "toured")


def test_the_header_is_cpp_too(kit: Kit, embedded: str) -> None:
    need("g++", "g++")
    program = kit.compile(PROGRAMS / "tour.c", "-x", "c++", "-std=c++17", compiler="g++")
    said(execute([str(program), embedded], {"HOME": str(kit.prefix)}), "toured")


async def test_the_same_tour_at_a_daemon_of_another_process(kit: Kit) -> None:
    with Home() as home:
        token = home.path / "token"
        token.touch(0o600)
        token.write_text("a-token-of-some-length", "ascii")
        home.configure(f'[server]\ntcp = "127.0.0.1:0"\ntoken_file = "{token}"\n')
        async with daemon(home) as served:
            said(kit.run("tour", home.address), "toured")
            [port] = re.findall(r"127\.0\.0\.1:(\d+)", served.log)[-1:]
            said(kit.run("tour", f"127.0.0.1:{port}", str(token)), "toured")
        result = kit.run("probe", home.address)
        assert result.returncode == 3
        assert f"UNREACHABLE: no answer from unix:{home.socket}" in result.stdout


def ours(log: str) -> list[str]:
    """Return who allocated what is listed as lost or still held, where that was the library."""
    return [line for line in LISTED.findall(log) if OURS.search(line)]


@pytest.mark.timeout(120)
@pytest.mark.parametrize("program", ["tour", "threads"])
def test_with_address_sanitizer(sanitized: Kit, embedded: str, program: str) -> None:
    """CPython keeps its objects to the end, so what it allocated itself is no leak of ours."""
    options = "exitcode=0:malloc_context_size=2:fast_unwind_on_malloc=1"
    env = {"HOME": str(sanitized.prefix), "ASAN_OPTIONS": options}
    result = sanitized.run(program, embedded, env=env, timeout_s=100)
    said(result, {"tour": "toured", "threads": "8000 calls"}[program])
    assert "runtime error" not in result.stderr
    found = set(re.findall(r"ERROR: (.*)", result.stderr))
    assert found <= {"LeakSanitizer: detected memory leaks"}
    assert ours(result.stderr) == []


@pytest.mark.timeout(240)
def test_with_valgrind(kit: Kit, embedded: str, tmp_path: Path) -> None:
    """Whatever is read or written wrongly fails, in CPython too; whatever the library allocated is
    freed at the end, but for the table of handles."""
    need("valgrind", "valgrind")
    program, log = kit.compile(PROGRAMS / "tour.c"), tmp_path / "log"
    command = ["valgrind", "--error-exitcode=9", f"--log-file={log}", "--num-callers=4"]
    command += ["--leak-check=full", "--show-leak-kinds=all", "--errors-for-leak-kinds=definite"]
    command += [f"--suppressions={Path(__file__).parent / 'valgrind.supp'}"]
    env = {"HOME": str(kit.prefix), "PATH": os.defpath}
    result = execute([*command, str(program), embedded], env, timeout_s=220)
    assert result.returncode == 0, log.read_text("utf-8")[-4000:]
    assert {line.rpartition(": ")[2].split()[0] for line in ours(log.read_text())} <= {"grow"}


def test_eight_threads_with_a_thousand_calls_each(kit: Kit, embedded: str) -> None:
    said(kit.run("threads", embedded), "8000 calls")


async def test_eight_threads_at_a_daemon_of_another_process(kit: Kit) -> None:
    with Home() as home:
        async with daemon(home):
            said(kit.run("threads", home.address), "8000 calls")


@pytest.mark.timeout(150)
def test_opening_a_thousand_times_leaves_no_memory_behind(kit: Kit, embedded: str) -> None:
    result = kit.run("cycles", embedded, timeout_s=140)
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) < MEMORY_GROWTH_KIB


def test_a_run_goes_on_after_its_host_was_killed(kit: Kit, embedded: str, settings: str) -> None:
    killed = kit.run("host_death", embedded, settings, "create")
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    said(kit.run("host_death", embedded, settings, "await"), '"output":"I lived"')


def test_a_host_may_forget_to_close(kit: Kit, embedded: str) -> None:
    """It ends as it would have, and the directory is free."""
    for _ in range(5):
        said(kit.run("probe", embedded, "forget"), "answered: {")


def test_a_directory_in_use_names_its_holder(kit: Kit, embedded: str) -> None:
    directory = embedded.removeprefix("embedded:")
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, directory], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        result = kit.run("probe", embedded)
        holder.kill()
    assert result.returncode == 3
    assert (
        f"-1 14 UNREACHABLE: the journal in {directory} is in use by the process {holder.pid}"
        in (result.stdout)
    )


HOLD = """
import sys, pathlib
from agentd.runtime.journal.schema import lock_directory
lock = lock_directory(pathlib.Path(sys.argv[1]))
print("held", flush=True)
sys.stdin.read()
"""


def test_a_host_that_loads_it_for_itself_alone(kit: Kit, embedded: str) -> None:
    said(kit.run("local", str(kit.library), embedded), '{"version":"')


def test_a_fork_is_told(kit: Kit, embedded: str) -> None:
    said(kit.run("forks", embedded), "forked")


def test_the_hosts_signals_stay_its_own(kit: Kit, embedded: str) -> None:
    result = kit.run("interrupted", embedded)
    assert result.returncode == -signal.SIGINT, result.stdout + result.stderr


def test_python_as_a_host(kit: Kit, embedded: str) -> None:
    """The interpreter is already there, and stays the host's."""
    result = execute([sys.executable, "-c", PYTHON_HOST, str(kit.library), embedded], os.environ)
    said(result, "KeyboardInterrupt")


PYTHON_HOST = """
import ctypes, signal, sys
library = ctypes.CDLL(sys.argv[1])
client, reply, error = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
to = ctypes.byref
assert library.agentd_open(sys.argv[2].encode(), None, to(client), to(error)) == 1
info = b"agentd.v1.SystemService/GetInfo"
wait = ctypes.c_int64(9000)
assert library.agentd_call(client, info, b"", ctypes.c_size_t(0), wait, to(reply), to(error)) == 1
library.agentd_close(client)
try:
    signal.raise_signal(signal.SIGINT)
except KeyboardInterrupt:
    print("KeyboardInterrupt")
"""


@pytest.mark.parametrize(
    ("missing", "complaint"),
    [
        ("agentd", "ModuleNotFoundError: No module named 'agentd'"),
        ("everything", "no usable cffi"),
        ("the interpreter", "there is no Python at "),
        ("the standard library", "does not start: "),
    ],
)
def test_what_is_missing_is_said(
    kit: Kit, embedded: str, tmp_path: Path, missing: str, complaint: str
) -> None:
    """The library in an environment that lacks something, under a program that expects nothing."""
    prefix = tmp_path / "environment"
    paths = [] if missing == "everything" else [path for path in tree_paths() if "-pack" in path]
    # An editable install is a line in a .pth file, which is not read again from a .pth file.
    environment(prefix, paths)
    shutil.copy(kit.library, prefix / "lib")
    if missing == "the interpreter":
        for path in (prefix / "bin").glob("python*"):
            path.unlink()
    if missing == "the standard library":
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        landmark = tmp_path / "lib" / version / "os.py"
        landmark.parent.mkdir(parents=True)
        landmark.touch()
        (prefix / "pyvenv.cfg").write_text(f"home = {tmp_path / 'bin'}\n", "utf-8")
    program = kit.compile(PROGRAMS / "probe.c")
    env = {"HOME": str(tmp_path), "LD_LIBRARY_PATH": str(prefix / "lib")}
    result = execute([str(program), embedded], env)
    assert result.returncode == 3, result.stdout + result.stderr
    assert result.stdout.startswith("-1 9 LIBRARY_UNUSABLE: ")
    assert complaint in result.stdout


def test_the_example_in_c(kit: Kit, embedded: str, settings: str) -> None:
    assert len((EXAMPLES / "host.c").read_text("utf-8").splitlines()) < 80
    program = kit.compile(EXAMPLES / "host.c")
    said(execute([str(program), embedded, settings], {}), '"output":"It is 42."')


def test_the_commands_of_the_readme(kit: Kit, embedded: str, settings: str) -> None:
    need("pkg-config", "pkg-config")
    lines = marked("c").replace("$PWD/.venv", ".venv").replace(".venv", str(kit.prefix))
    lines = lines.replace("embedded:state", f"{embedded} '{settings}'")
    shell = execute(["sh", "-euc", f"cd '{ROOT}'\n{lines}"], {"PATH": os.environ["PATH"]})
    said(shell, '"output":"It is 42."')


def test_the_example_in_ruby(kit: Kit, embedded: str, settings: str) -> None:
    need("ruby", "ruby")
    command = ["ruby", str(EXAMPLES / "host.rb"), str(kit.library), embedded, settings]
    said(execute(command, {"PATH": os.environ["PATH"]}), "It is 42.")
