"""An MCP server that asks again who calls: `deploy` to production is for the group `ops`, whatever let the call in.

Run it behind Cardea. It believes nobody but the proxy of its own pod, whose signed word comes with every request.
"""

import os
from dataclasses import dataclass
from typing import Literal

import anyio.to_thread
import jwt
from mcp.server.mcpserver import Context, MCPServer
from mcp.server.mcpserver.exceptions import ToolError

# This server's URL, as `status.address.url` of its McpServer has it: an identity made for another server is worth nothing here.
AUDIENCE = os.environ["CARDEA_AUDIENCE"]
KEYS = jwt.PyJWKClient(os.environ.get("CARDEA_IDENTITY_KEYS", "http://127.0.0.1:9090/identity/jwks.json"), timeout=5)


@dataclass(frozen=True)
class Caller:
    subject: str
    issuer: str
    groups: frozenset[str]


def verified(token: str) -> Caller:
    key = KEYS.get_signing_key_from_jwt(token)
    claims = jwt.decode(
        token,
        key,
        algorithms=["ES256"],
        audience=AUDIENCE,
        issuer="cardea-proxy",
        options={"require": ["aud", "exp", "iss", "sub"]},
        leeway=5,
    )
    return Caller(claims["sub"], claims["issuer"], frozenset(claims["groups"]))


async def who_calls(ctx: Context) -> Caller:
    token = (ctx.headers or {}).get("x-cardea-identity")
    if token is None:
        raise ToolError("who calls is not known")
    try:
        # The first call, and one after the proxy has restarted, fetches the keys.
        return await anyio.to_thread.run_sync(verified, token)
    except jwt.PyJWTError as problem:
        raise ToolError("who calls is not known") from problem


server = MCPServer("deploys")


@server.tool()
async def deploy(env: Literal["staging", "production"], ctx: Context) -> str:
    """Deploys to an environment. Production needs the group ops."""
    caller = await who_calls(ctx)
    if env == "production" and "ops" not in caller.groups:
        raise ToolError("a deployment to production needs the group ops")
    return f"{caller.subject} deployed to {env}"


if __name__ == "__main__":
    # Loopback: the proxy is in the same pod, and nobody else shall reach this. Without sessions each call stands for itself.
    port = int(os.environ.get("PORT", "8080"))
    server.run("streamable-http", host="127.0.0.1", port=port, stateless_http=True)
