"""What of the configuration of tools is refused, and which folders clients may name."""

from pathlib import Path

import pytest

from agentd.config import Config, load
from agentd.errors import AgentdError, Denied, InvalidRequest
from agentd.runtime.system import SystemClock, SystemEntropy
from agentd.settings import mcp_settings, secrets_of
from agentd.toolbox import Toolbox


def config(directory: Path, text: str = "") -> Config:
    system = directory / "etc.toml"
    system.write_text(text)
    return load(environ={"HOME": str(directory)}, system_file=system)


def toolbox(directory: Path, text: str = "") -> Toolbox:
    read = config(directory, text)
    return Toolbox(read, secrets_of(read), SystemEntropy(), SystemClock())


def test_a_folder_that_is_permitted(tmp_path: Path) -> None:
    (tmp_path / "work" / "inner").mkdir(parents=True)
    box = toolbox(tmp_path, f'tools.folders = ["{tmp_path}/work"]\n')
    for folder in ("work", "work/inner"):
        assert box.named(f"{tmp_path}/{folder}") == f"{tmp_path}/{folder}"


def test_folders_that_are_not(tmp_path: Path) -> None:
    for folder in ("work", "workshop", "other"):
        (tmp_path / folder).mkdir()
    (tmp_path / "work" / "link").symlink_to(tmp_path / "other")
    box = toolbox(tmp_path, f'tools.folders = ["{tmp_path}/work"]\n')
    for folder in ("workshop", "other"):
        with pytest.raises(Denied, match=r"tools\.folders permits"):
            box.named(f"{tmp_path}/{folder}")
    for folder in ("work/../other", "work/none", "work/link"):
        with pytest.raises(InvalidRequest, match=r"run\.workspace"):
            box.named(f"{tmp_path}/{folder}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "either a command or a url"),
        ('command = ["a"]\nenvironment = ["TOKEN"]', "'TOKEN' is not NAME=VALUE"),
        ('command = ["a"]\neffects = ["list=HARMLESS"]', "'HARMLESS' is none of READ_ONLY"),
        ('url = "http://example.com"', "tools.mcp.git.url"),
        ('command = ["a"]\npermissions = ["fs.steal:/a"]', "tools.mcp.git.permissions"),
    ],
)
def test_a_server_that_cannot_be_is_refused_at_the_start(
    tmp_path: Path, text: str, why: str
) -> None:
    with pytest.raises(AgentdError) as refused:
        toolbox(tmp_path, f"[tools.mcp.git]\n{text or 'trusted = true'}\n")
    assert why in refused.value.message


def test_a_server_as_it_is_declared(tmp_path: Path) -> None:
    text = """
    [tools.mcp.git]
    url = "https://git.example.com/mcp"
    headers = ["Authorization: Bearer ${secret:forge}"]
    permissions = ["secret.use:forge"]
    timeout_s = 1.5
    """
    [server] = mcp_settings(config(tmp_path, text))
    assert server.headers == {"Authorization": "Bearer ${secret:forge}"}
    assert server.timeout_ms == 1_500


def test_a_secret_without_a_place_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"secrets\.forge: needs one of"):
        secrets_of(config(tmp_path, '[secrets.forge]\nvariable = ""\n'))
