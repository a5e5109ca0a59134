"""Which models there are, which one is taken by default, and what is said when there is none."""

import subprocess
import sys
from pathlib import Path

import pytest

from agentd.agent.budget import FREE, Prices
from agentd.agent.message import ModelError, ModelErrorKind, ModelReply, ModelRequest, UserMessage
from agentd.context.models.catalogue import Catalogue
from agentd.context.models.settings import (
    Adapter,
    ModelSettings,
    ModelsSettings,
    ProviderSettings,
)
from agentd.errors import Conflict, NotFound, Reason
from tests.providers.server import KEY, FakeProvider


def standard(
    anthropic: str = "", openai: str = "", directory: Path | None = None, default: str = ""
) -> Catalogue:
    return Catalogue(ModelsSettings(standard_providers(anthropic, openai, directory), default))


def standard_providers(
    anthropic: str, openai: str, directory: Path | None
) -> tuple[ProviderSettings, ...]:
    """Return the providers that a configuration without any has, in its order."""
    return (
        ProviderSettings(
            "anthropic", Adapter.ANTHROPIC, key=anthropic, key_variable="ANTHROPIC_API_KEY"
        ),
        ProviderSettings("openai", Adapter.OPENAI, key=openai, key_variable="OPENAI_API_KEY"),
        ProviderSettings("local", Adapter.LOCAL, directory=directory),
    )


def put_model(directory: Path, name: str = "smollm2") -> Path:
    path = directory / f"{name}.gguf"
    path.write_bytes(b"GGUF")
    return path


def test_the_default_is_anthropics_then_openais_then_the_local_one(tmp_path: Path) -> None:
    put_model(tmp_path)
    assert standard("k", "k", tmp_path).resolve("").name.startswith("anthropic/claude")
    assert standard("", "k", tmp_path).resolve("").name.startswith("openai/gpt")
    assert standard("", "", tmp_path).resolve("").name == "local/smollm2"


def test_without_any_model_one_sentence_names_the_three_ways_on(tmp_path: Path) -> None:
    with pytest.raises(Conflict) as nothing:
        standard("", "", tmp_path).resolve("")
    assert nothing.value.reason is Reason.NO_MODEL
    message = nothing.value.message
    for way in ("ANTHROPIC_API_KEY", "OPENAI_API_KEY", "`agentd models pull smollm2`"):
        assert way in message
    assert "\n" not in message
    assert ". " not in message


def test_the_configured_default_is_taken_even_when_others_are_ready(tmp_path: Path) -> None:
    put_model(tmp_path)
    assert standard("k", "", tmp_path, "local/smollm2").resolve("").name == "local/smollm2"


def test_a_configured_default_that_is_not_ready_is_not_replaced_silently(tmp_path: Path) -> None:
    with pytest.raises(Conflict, match="OPENAI_API_KEY") as nothing:
        standard("k", "", tmp_path, "openai/gpt-6-sol").resolve("")
    assert nothing.value.reason is Reason.NO_MODEL


def test_any_name_is_taken_under_a_provider_on_the_network() -> None:
    info = standard("k").resolve("openai/foo")
    assert info.name == "openai/foo"
    assert info.prices == FREE
    assert info.max_output_tokens > 0
    assert not info.ready
    assert info.detail == "set OPENAI_API_KEY"


@pytest.mark.parametrize(
    "name", ["nobody/x", "nothing", "local/nothing", "local/../smollm2", "local/", "openai/", "/"]
)
def test_an_unknown_name_is_not_found_and_the_known_ones_are_named(
    tmp_path: Path, name: str
) -> None:
    put_model(tmp_path)
    with pytest.raises(NotFound) as unknown:
        standard("k", "k", tmp_path / "sub").resolve(name)
    assert unknown.value.reason is Reason.MODEL_NOT_FOUND
    assert "anthropic/claude" in unknown.value.message


def test_a_bare_name_is_found_where_it_is_listed() -> None:
    assert standard("k").resolve("gpt-5").name == "openai/gpt-5"
    assert standard("k").resolve("smollm2").name == "local/smollm2"


def test_the_list_is_ordered_and_says_what_is_ready_and_why_not(tmp_path: Path) -> None:
    put_model(tmp_path, "mine")
    infos = standard("k", "", tmp_path).list()
    names = [info.name for info in infos]
    assert names == sorted(names)
    by_name = {info.name: info for info in infos}
    assert by_name["local/mine"].ready
    assert by_name["local/smollm2"].detail == "run `agentd models pull smollm2`"
    assert by_name["anthropic/claude-sonnet-5-5"].ready
    assert not by_name["openai/gpt-6-sol"].ready


def test_the_configuration_overrides_and_extends_what_is_known() -> None:
    models = (
        ModelSettings("gpt-5", context_tokens=7, prices=Prices(1, 2)),
        ModelSettings("mine", max_output_tokens=9),
    )
    provider = ProviderSettings("openai", Adapter.OPENAI, key="k", models=models)
    catalogue = Catalogue(ModelsSettings((provider,)))
    known = catalogue.resolve("openai/gpt-5")
    assert (known.context_tokens, known.prices) == (7, Prices(1, 2))
    assert known.max_output_tokens == 32_000
    assert catalogue.resolve("mine").max_output_tokens == 9


def test_another_server_lists_only_what_is_configured() -> None:
    provider = ProviderSettings(
        "ollama", Adapter.OPENAI, "http://127.0.0.1:9/v1", models=(ModelSettings("llama"),)
    )
    catalogue = Catalogue(ModelsSettings((provider,)))
    assert [info.name for info in catalogue.list()] == ["ollama/llama"]
    assert catalogue.resolve("").name == "ollama/llama"
    assert catalogue.resolve("ollama/qwen3:8b").ready


async def test_what_cannot_be_used_cannot_be_opened(tmp_path: Path) -> None:
    catalogue = standard("", "", tmp_path)
    for name, kind in (
        ("openai/gpt-5", ModelErrorKind.AUTHENTICATION),
        ("local/smollm2", ModelErrorKind.INVALID_REQUEST),
        ("nobody/x", ModelErrorKind.INVALID_REQUEST),
    ):
        with pytest.raises(ModelError) as error:
            await catalogue.open(name)
        assert error.value.kind is kind


async def test_a_file_that_is_no_model_cannot_be_opened(tmp_path: Path) -> None:
    path = put_model(tmp_path)
    for content, word in ((b"GGUF", "cannot be loaded"), (b"<html>", "not a GGUF file")):
        path.write_bytes(content)
        with pytest.raises(ModelError, match=word) as error:
            await standard("", "", tmp_path).open("local/smollm2")
        assert error.value.kind is ModelErrorKind.INVALID_REQUEST


async def test_a_bad_script_cannot_be_opened(tmp_path: Path) -> None:
    path = tmp_path / "demo.json"
    path.write_text("{")
    models = (ModelSettings("demo", path=path),)
    provider = ProviderSettings("scripted", Adapter.SCRIPTED, models=models)
    with pytest.raises(ModelError, match=r"demo\.json"):
        await Catalogue(ModelsSettings((provider,))).open("scripted/demo")


async def test_models_of_one_provider_share_its_connection() -> None:
    async with FakeProvider() as server:
        provider = ProviderSettings("a", Adapter.ANTHROPIC, server.url, KEY)
        catalogue = Catalogue(ModelsSettings((provider,)))
        for name in ("x", "y"):
            model = await catalogue.open(f"a/{name}")
            request = ModelRequest(name, "", (UserMessage("hi"),), (), 10)
            last = [chunk async for chunk in model.stream(request)][-1]
            assert isinstance(last, ModelReply)
        assert [request.body["model"] for request in server.requests] == ["x", "y"]
        await catalogue.close()


def test_keys_are_not_shown() -> None:
    settings = ModelsSettings(standard_providers("sk-1234", "sk-5678", None))
    assert "1234" not in repr(settings)
    assert "5678" not in repr(settings)


def test_importing_it_loads_no_sdk() -> None:
    program = (
        "import sys, agentd.context.models.catalogue\n"
        "heavy = {'anthropic', 'openai', 'httpx2', 'pydantic', 'xllamacpp'}\n"
        "sys.exit(bool(heavy & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
