"""Commands that use up all they can get: each ends at its limit, and the machine does not notice.

Every bomb is bounded by itself as well, and runs as an unprivileged user.
"""

import pytest

from agentd.tools.sandbox.profile import MIB, Finished, Limits, Profile, Tier
from agentd.tools.sandbox.sandbox import Sandbox
from tests.conformance.sandbox.conftest import python, shell
from tests.conformance.sandbox.test_sandbox import limited

SMALL = Limits(
    soft_timeout_s=10,
    hard_timeout_s=10.5,
    memory_bytes=256 * MIB,
    processes=24,
    file_bytes=4 * MIB,
    open_files=64,
    output_bytes=4096,
)


async def run(sandbox: Sandbox, profile: Profile, program: str) -> Finished:
    return await sandbox.run(python(program), limited(profile, SMALL))


async def test_forks_are_counted(sandbox: Sandbox, profile: Profile) -> None:
    program = """
import os, time
count = 0
try:
    while count < 200:
        if os.fork() == 0:
            time.sleep(5)
            os._exit(0)
        count += 1
except OSError:
    pass
print(count)
"""
    finished = await run(sandbox, profile, program)
    assert 1 <= int(finished.stdout) <= SMALL.processes


async def test_threads_are_counted(sandbox: Sandbox, profile: Profile) -> None:
    program = """
import threading
threading.stack_size(65536)
stop = threading.Event()
count = 0
try:
    while count < 200:
        threading.Thread(target=stop.wait, args=(5,)).start()
        count += 1
except RuntimeError:
    pass
print(count)
stop.set()
"""
    finished = await run(sandbox, profile, program)
    assert 1 <= int(finished.stdout) <= SMALL.processes


async def test_forks_that_fork_end_with_the_command(sandbox: Sandbox, profile: Profile) -> None:
    program = """
import os, time
end = time.monotonic() + 3
for _ in range(200):
    try:
        if os.fork() == 0 and time.monotonic() > end:
            os._exit(0)
    except OSError:
        time.sleep(0.01)
"""
    limits = Limits(soft_timeout_s=1, hard_timeout_s=1.5, processes=24)
    finished = await sandbox.run(python(program), limited(profile, limits))
    assert finished.tier


@pytest.mark.parametrize("memory", ["bytearray(64 << 20)", "mmap.mmap(-1, 64 << 20)"])
async def test_memory_is_bounded(sandbox: Sandbox, profile: Profile, memory: str) -> None:
    program = f"""
import mmap
held = []
try:
    for _ in range(16):
        held.append({memory})
except (MemoryError, OSError):
    pass
print(len(held))
"""
    finished = await run(sandbox, profile, program)
    assert int(finished.stdout) < 4


async def test_a_file_is_bounded(sandbox: Sandbox, profile: Profile) -> None:
    program = """
import os
with open("large", "wb") as file:
    try:
        for _ in range(64):
            file.write(bytes(1 << 20))
            file.flush()
    except OSError:
        pass
print(os.path.getsize("large"))
"""
    finished = await run(sandbox, profile, program)
    assert int(finished.stdout) == SMALL.file_bytes


@pytest.mark.parametrize("folder", ["/tmp", "/dev/shm"])
async def test_temporary_folders_are_bounded(
    bubblewrapped: Sandbox, profile: Profile, folder: str
) -> None:
    program = f"""
total = 0
try:
    for number in range(64):
        with open(f"{folder}/{{number}}", "wb", buffering=0) as file:
            total += file.write(bytes(1 << 20))
except OSError:
    pass
print(total)
"""
    finished = await run(bubblewrapped, profile, program)
    assert MIB <= int(finished.stdout) <= SMALL.file_bytes


@pytest.mark.parametrize("folder", ["/", "/dev", "/etc", "/usr"])
async def test_other_folders_cannot_be_filled(
    sandbox: Sandbox, profile: Profile, folder: str
) -> None:
    finished = await sandbox.run(shell(f": > {folder}/file"), profile)
    assert finished.exit_code != 0


async def test_open_files_are_counted(sandbox: Sandbox, profile: Profile) -> None:
    program = """
import os
count = 0
try:
    while count < 500:
        os.dup(0)
        count += 1
except OSError:
    pass
print(count)
"""
    finished = await run(sandbox, profile, program)
    assert 1 <= int(finished.stdout) < SMALL.open_files


@pytest.mark.parametrize("stream", [1, 2])
async def test_output_is_bounded_and_both_ends_are_kept(
    sandbox: Sandbox, profile: Profile, stream: int
) -> None:
    program = f"""
import os, sys
write = (sys.stdout if {stream} == 1 else sys.stderr).buffer.write
write(b"head")
for _ in range(128):
    write(b"x" * 65536)
write(b"tail")
"""
    finished = await run(sandbox, profile, program)
    text = finished.stdout if stream == 1 else finished.stderr
    assert finished.exit_code == 0
    assert text.startswith("headxx")
    assert text.endswith("xxtail")
    assert finished.omitted_bytes == 128 * 65536 + 8 - SMALL.output_bytes
    assert len(text) < SMALL.output_bytes + 100


async def test_endless_output_ends_with_the_time(sandbox: Sandbox, profile: Profile) -> None:
    limits = Limits(soft_timeout_s=0.3, hard_timeout_s=0.6, output_bytes=4096)
    finished = await sandbox.run(shell("trap '' TERM; yes"), limited(profile, limits))
    assert finished.timed_out
    assert finished.omitted_bytes > 0


async def test_endless_work_ends_with_the_time(sandbox: Sandbox, profile: Profile) -> None:
    limits = Limits(soft_timeout_s=0.3, hard_timeout_s=0.6)
    finished = await sandbox.run(
        shell("trap '' TERM; while :; do :; done"), limited(profile, limits)
    )
    assert (finished.timed_out, finished.signal) == (True, 9)


async def test_no_core_is_left(sandbox: Sandbox, profile: Profile) -> None:
    finished = await sandbox.run(shell("kill -SEGV $$"), profile)
    assert finished.signal == 11
    listed = await sandbox.run(shell("ls"), profile)
    assert listed.stdout == ""


async def test_terminal_codes_are_removed(sandbox: Sandbox, profile: Profile) -> None:
    output = r"a\033]0;title\007b\033[31mc\033]52;c;aGk=\033\\d\033[6n\033Pq#\033\\e\r\nf\202\000g"
    finished = await sandbox.run(shell(f"printf '{output}'"), profile)
    assert finished.stdout == "abcde\nf\N{REPLACEMENT CHARACTER}g"
    assert sandbox.tier is not Tier.NONE
