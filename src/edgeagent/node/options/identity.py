"""What says who the node is, as options: variables, flags and ``config.json``, never ``config.toml``.  Pure.

Apart from ``settings`` because this is read after the sandbox was started, and because the token is secret.
"""

from __future__ import annotations

from edgeagent.node.options.declare import Option
from edgeagent.node.options.kinds import Maybe, Text

#: The file is the one that ``edgeagent register`` writes.
OPTIONS = (
    Option(
        key="gateway_url",
        field="gateway",
        kind=Maybe(Text(), "unset"),
        default=None,
        help="The gateway's address, https:// or wss://.",
        env="GATEWAY_URL",
        flag="--gateway-url",
        default_said="from registration",
    ),
    Option(
        key="node_id",
        field="node_id",
        kind=Maybe(Text(), "unset"),
        default=None,
        help="The node's id, to make sure that the token is this node's.",
        env="NODE_ID",
        flag="--node-id",
        default_said="the token's",
    ),
    Option(
        key="jwt_token",
        field="token",
        kind=Maybe(Text(), "unset"),
        default=None,
        help="The node's token.",
        env="NODE_JWT",
        flag=None,
        default_said="from registration",
        secret=True,
    ),
)
