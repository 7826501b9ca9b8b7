// An MCP server that asks again who calls: `deploy` to production is for the group `ops`, whatever let the call in.
//
// Run it behind Cardea. It believes nobody but the proxy of its own pod, whose signed word comes with every request.
import { createServer } from "node:http";

import { toNodeHandler } from "@modelcontextprotocol/node";
import { createMcpHandler, McpServer } from "@modelcontextprotocol/server";
import { createRemoteJWKSet, jwtVerify } from "jose";
import { z } from "zod";

// This server's URL, as `status.address.url` of its McpServer has it: an identity made for another server is worth nothing here.
const audience = process.env.CARDEA_AUDIENCE;
if (!audience) throw new Error("set CARDEA_AUDIENCE to this server's URL");
const keys = createRemoteJWKSet(
  new URL(process.env.CARDEA_IDENTITY_KEYS ?? "http://127.0.0.1:9090/identity/jwks.json"),
);

interface Caller {
  subject: string;
  issuer: string;
  groups: string[];
}

const claims = z.object({ sub: z.string(), issuer: z.string(), groups: z.array(z.string()) });

async function whoCalls(request: Request | undefined): Promise<Caller | undefined> {
  const token = request?.headers.get("x-cardea-identity");
  if (!token) return undefined;
  try {
    const { payload } = await jwtVerify(token, keys, {
      algorithms: ["ES256"],
      audience,
      issuer: "cardea-proxy",
      requiredClaims: ["exp"],
      clockTolerance: 5,
    });
    const { sub, issuer, groups } = claims.parse(payload);
    return { subject: sub, issuer, groups };
  } catch {
    return undefined;
  }
}

const text = (text: string, isError = false) => ({ content: [{ type: "text" as const, text }], isError });

const handler = createMcpHandler(async ({ requestInfo }) => {
  const caller = await whoCalls(requestInfo);
  const server = new McpServer({ name: "deploys", version: "1.0.0" });
  server.registerTool(
    "deploy",
    {
      description: "Deploys to an environment. Production needs the group ops.",
      inputSchema: z.object({ env: z.enum(["staging", "production"]) }),
    },
    async ({ env }) => {
      if (!caller) return text("who calls is not known", true);
      if (env === "production" && !caller.groups.includes("ops")) {
        return text("a deployment to production needs the group ops", true);
      }
      return text(`${caller.subject} deployed to ${env}`);
    },
  );
  return server;
});

// Loopback: the proxy is in the same pod, and nobody else shall reach this.
createServer(toNodeHandler(handler)).listen(Number(process.env.PORT ?? "8080"), "127.0.0.1");
