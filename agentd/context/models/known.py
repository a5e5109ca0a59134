"""What is known of models without asking anybody: sizes, prices, defaults.

Sizes and prices are from the providers' public model pages and price lists (standard rates, cache
writes that live five minutes), as of November 2026. They age: the configuration overrides each of
them. A price that could not be confirmed is left out, and then nothing is charged.
"""

from agentd.agent.budget import Prices
from agentd.context.models.settings import Adapter, ModelSettings

OUTPUT_TOKENS = 32_000
"""Asked for at most, although the newest models can give more: OpenAI counts what is asked for
against its rate limits, and a budget has to reserve it."""

UNKNOWN_OUTPUT_TOKENS = 4_096
"""For a model of which nothing is known: the smallest limit among those in use."""

_CLAUDE_CONTEXT = 1_000_000
_GPT_CONTEXT = 272_000
"""Beyond this the whole request costs about double, which `Prices` cannot say."""

DEFAULT_MODELS = {
    Adapter.ANTHROPIC: "claude-sonnet-5-5",
    Adapter.OPENAI: "gpt-6-sol",
    Adapter.LOCAL: "smollm2",
}


def _claude(
    name: str, prices: Prices | None = None, context: int = _CLAUDE_CONTEXT
) -> ModelSettings:
    return ModelSettings(name, context, OUTPUT_TOKENS, prices)


def _gpt(
    name: str, prices: Prices | None = None, context: int = _GPT_CONTEXT, *, effort: str = ""
) -> ModelSettings:
    return ModelSettings(name, context, min(OUTPUT_TOKENS, context // 4), prices, effort)


KNOWN_MODELS: dict[Adapter, tuple[ModelSettings, ...]] = {
    Adapter.ANTHROPIC: (
        _claude("claude-fable-5-1"),
        _claude("claude-haiku-5-5"),
        _claude("claude-opus-5-5", Prices(4_000, 20_000, 200, 5_000)),
        _claude("claude-opus-5", Prices(5_000, 25_000, 500, 6_250)),
        # Of its cache reads the provider's pages say both 0.10 and 0.20 dollars: the higher one.
        _claude("claude-sonnet-5-5", Prices(2_000, 10_000, 200, 2_500)),
        _claude("claude-sonnet-5", Prices(2_000, 10_000, 200, 2_500)),
        _claude("claude-haiku-4-5", Prices(1_000, 5_000, 100, 1_250), 200_000),
        _claude("claude-opus-4-5", Prices(5_000, 25_000, 500, 6_250), 200_000),
        _claude("claude-sonnet-4-5", Prices(3_000, 15_000, 300, 3_750), 200_000),
    ),
    # From gpt-5.6 on, Chat Completions refuses tools unless the effort is "none"; gpt-6.1-sol and
    # gpt-6-astra do not know "none", so they can use tools only through another API.
    Adapter.OPENAI: (
        _gpt("gpt-6-sol", effort="none"),
        _gpt("gpt-6-luna", effort="none"),
        _gpt("gpt-5.6-sol", effort="none"),
        _gpt("gpt-5.6-luna", effort="none"),
        _gpt("gpt-5.1", Prices(1_250, 10_000, 125, 1_250)),
        _gpt("gpt-5", Prices(1_250, 10_000, 125, 1_250)),
        _gpt("gpt-5-mini", Prices(250, 2_000, 25, 250)),
        _gpt("gpt-5-nano", Prices(50, 400, 5, 50)),
        _gpt("gpt-4.1", Prices(2_000, 8_000, 500, 2_000), 1_000_000),
        _gpt("gpt-4.1-mini", Prices(400, 1_600, 100, 400), 1_000_000),
        _gpt("gpt-4.1-nano", Prices(100, 400, 25, 100), 1_000_000),
        _gpt("gpt-4o", Prices(2_500, 10_000, 1_250, 2_500), 128_000),
        _gpt("gpt-4o-mini", Prices(150, 600, 75, 150), 128_000),
    ),
    Adapter.LOCAL: (
        ModelSettings("qwen-coder-1.5b", 8_192, 1_024),
        ModelSettings("smollm2", 8_192, 512),
    ),
    Adapter.SCRIPTED: (),
}
