"""The port `Models` over scripts, without a configuration."""

from collections.abc import Mapping, Sequence

from agentd.agent.budget import FREE, Prices
from agentd.agent.message import ModelInfo
from agentd.context.models.script import Script
from agentd.context.models.scripted import CONTEXT_TOKENS, ScriptedModel
from agentd.errors import NotFound, Reason


class ScriptedModels:
    """The port `Models` over scripts in memory, as `scripted/NAME`."""

    def __init__(self, scripts: Mapping[str, Script], prices: Prices = FREE) -> None:
        self._models = {f"scripted/{key}": ScriptedModel(scripts[key], prices) for key in scripts}
        self._infos = {
            name: ModelInfo(name, context_tokens=CONTEXT_TOKENS, prices=prices)
            for name in sorted(self._models)
        }

    def resolve(self, name: str) -> ModelInfo:
        """Return a script by its name, the first one for an empty name. Raises NotFound."""
        full = name or next(iter(self._infos), "")
        info = self._infos.get(full) or self._infos.get(f"scripted/{full}")
        if info is None:
            known = ", ".join(self._infos)
            raise NotFound(
                Reason.MODEL_NOT_FOUND, f"there is no model {name!r}; there are: {known}"
            )
        return info

    async def open(self, name: str) -> ScriptedModel:
        """Return the model of a script. Raises NotFound."""
        return self._models[self.resolve(name).name]

    def list(self) -> Sequence[ModelInfo]:
        """Return every script, ordered by name."""
        return tuple(self._infos.values())

    async def close(self) -> None:
        """Do nothing: a script holds nothing open."""
