"""Every text of a fact is redacted, and what has nothing to hide is left as it is."""

from agentd.agent.budget import NO_USAGE
from agentd.agent.events import CallEnded, MessagePosted, ModelReplied, RunPaused
from agentd.agent.ids import CallId
from agentd.agent.message import AssistantMessage, StopReason, ToolUse
from agentd.agent.tool import CallError, CallErrorReason, CallState
from agentd.runtime.redacting import redacted


def redact(text: str) -> str:
    return text.replace("hush-hush", "[secret forge]")


def test_texts_at_any_depth() -> None:
    use = ToolUse("ref", "mail", '{"to":"hush-hush"}')
    message = AssistantMessage("It is hush-hush.", (use, use))
    reply = redacted(ModelReplied(1, 1, message, StopReason.TOOL_USE, (), NO_USAGE), redact)
    assert "hush" not in repr(reply)
    assert reply.message.calls[1].arguments_json == '{"to":"[secret forge]"}'
    error = CallError(CallErrorReason.TOOL_FAILED, "no such key: hush-hush")
    ended = redacted(CallEnded(CallId("c1-1"), 1, CallState.FAILED, error=error), redact)
    assert ended.error == CallError(CallErrorReason.TOOL_FAILED, "no such key: [secret forge]")


def test_what_has_no_secret_is_the_same_object() -> None:
    for fact in (MessagePosted("hello"), RunPaused()):
        assert redacted(fact, redact) is fact
