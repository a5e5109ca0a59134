"""The rules that runs are held to: the default ones, those of an office, and none."""

from agentd.agent.ids import DEFAULT_AGENT, DEFAULT_NAMESPACE, AgentId
from agentd.agent.permission import Decision, Labels, Layer, Rule
from agentd.agent.spec import Agent

ALLOW, ASK, DENY = Decision.ALLOW, Decision.ASK, Decision.DENY

OFFICE: Layer = (
    Rule(ALLOW, "tool.use:*"),
    Rule(ALLOW, "fs.read:$workspace/**"),
    Rule(ALLOW, "fs.write:$workspace/**"),
    Rule(ALLOW, "process.exec:*"),
    Rule(ALLOW, "net.connect:site.test:80"),
    Rule(ASK, "net.connect:*"),
    # What has private data may not even choose an address.
    Rule(ASK, "net.connect:*", after=Labels(private=True)),
    Rule(ASK, "tool.use:*", outward=True),
    Rule(ASK, "tool.use:bank/*"),
    Rule(DENY, "tool.use:process/run-online"),
)
ANYTHING: Layer = tuple(
    Rule(ALLOW, permission)
    for permission in (
        "tool.use:*",
        "fs.read:**",
        "fs.write:**",
        "process.exec:*",
        "net.connect:*",
        "secret.use:*",
    )
)

AGENTS = {
    "default": DEFAULT_AGENT,
    "office": AgentId("office"),
    "anything": AgentId("anything"),
}
"""The agents by the names of their profiles."""
RULED = (
    Agent(DEFAULT_NAMESPACE, AGENTS["office"], permissions=OFFICE),
    Agent(DEFAULT_NAMESPACE, AGENTS["anything"], permissions=ANYTHING),
)
