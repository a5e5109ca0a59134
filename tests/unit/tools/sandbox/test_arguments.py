"""The argument vector is the policy: word by word, so that no change of it goes unseen."""

from pathlib import Path

from agentd.tools.sandbox.arguments import (
    BRIDGE_PATH,
    Descriptors,
    System,
    build_arguments,
    find_system,
)
from agentd.tools.sandbox.profile import MIB, Command, Limits, Profile

SYSTEM = System(
    folders=("/usr", "/etc/alternatives"),
    links=(("/bin", "usr/bin"), ("/lib", "usr/lib")),
    certificates=("/etc/ssl",),
)


def words(text: str) -> list[str]:
    """Split a text at its spaces."""
    return text.split()


ISOLATION = words("""
--unshare-user --unshare-pid --unshare-net --unshare-ipc --unshare-uts --unshare-cgroup-try
--hostname sandbox --uid 65534 --gid 65534 --disable-userns --assert-userns-disabled
--cap-drop ALL --new-session --die-with-parent --seccomp 11 --json-status-fd 10 --block-fd 12
""")
SMALL = Limits(memory_bytes=1000, file_bytes=2000, processes=3, open_files=4)


def test_the_least_profile() -> None:
    profile = Profile(workspace="/ws", limits=SMALL)
    files = {"/etc/passwd": 13}
    descriptors = Descriptors(10, 11, 12, files=files, readable={}, writable={"/ws": 14})
    vector = build_arguments(profile, Command(("cat", "-")), SYSTEM, descriptors)
    assert list(vector.options) == [
        *ISOLATION,
        *words("--ro-bind /usr /usr --ro-bind /etc/alternatives /etc/alternatives"),
        *words("--symlink usr/bin /bin --symlink usr/lib /lib --proc /proc --dev /dev"),
        *words("--perms 1777 --size 2000 --tmpfs /tmp"),
        *words("--perms 1777 --size 2000 --tmpfs /dev/shm"),
        *words("--perms 0444 --file 13 /etc/passwd"),
        *words("--bind-fd 14 /ws --remount-ro /dev --remount-ro / --chdir /ws --clearenv"),
        *words("--setenv HOME /ws --setenv LANG C.UTF-8"),
        *words("--setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
    ]
    assert list(vector.program) == [
        *words("/usr/bin/prlimit --as=1000 --fsize=2000 --nofile=4 --nproc=3 --core=0 -- cat -")
    ]


def test_everything_granted() -> None:
    profile = Profile(
        workspace="/ws/deep",
        network=("localhost:80", "example.com:443"),
        environment={"A": "b c", "HOME": "/elsewhere"},
        terminal=True,
    )
    descriptors = Descriptors(
        status=10,
        seccomp=11,
        gate=12,
        files={BRIDGE_PATH: 13},
        readable={"/ws": 20, "/ws/deep/er": 21},
        writable={"/ws/deep": 22},
        proxy=23,
    )
    vector = build_arguments(profile, Command(("env",)), SYSTEM, descriptors)
    options = list(vector.options)
    assert options[: len(ISOLATION)] == ISOLATION
    assert "--ro-bind /etc/ssl /etc/ssl" in " ".join(options)
    assert f"--size {256 * MIB} --tmpfs /tmp" in " ".join(options)
    assert options[options.index("--file") :] == [
        *words("--file 13 /run/agentd/bridge.py --ro-bind-fd 20 /ws --bind-fd 22 /ws/deep"),
        *words("--ro-bind-fd 21 /ws/deep/er --bind-fd 23 /run/agentd/proxy"),
        *words("--remount-ro /dev --remount-ro / --chdir /ws/deep --clearenv"),
        *("--setenv", "A", "b c"),
        *words("--setenv ALL_PROXY http://127.0.0.1:3128 --setenv HOME /elsewhere"),
        *words("--setenv HTTPS_PROXY http://127.0.0.1:3128"),
        *words("--setenv HTTP_PROXY http://127.0.0.1:3128 --setenv LANG C.UTF-8"),
        *words("--setenv NO_PROXY 127.0.0.1,::1"),
        *words("--setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"),
        *words("--setenv TERM xterm --setenv all_proxy http://127.0.0.1:3128"),
        *words("--setenv http_proxy http://127.0.0.1:3128"),
        *words("--setenv https_proxy http://127.0.0.1:3128 --setenv no_proxy 127.0.0.1,::1"),
    ]
    assert list(vector.program[-5:]) == ["/usr/bin/python3", "-I", "-S", BRIDGE_PATH, "env"]


def test_the_layout_of_the_host_is_repeated(tmp_path: Path) -> None:
    for folder in ("usr/bin", "lib64", "etc/ssl", "etc/alternatives", "home"):
        (tmp_path / folder).mkdir(parents=True)
    (tmp_path / "bin").symlink_to("usr/bin")
    assert find_system(tmp_path) == System(
        folders=("/usr", "/lib64", "/etc/alternatives"),
        links=(("/bin", "usr/bin"),),
        certificates=("/etc/ssl",),
    )
