// Gets a token that is bound to a key (DPoP, RFC 9449), and calls an API that wants a proof beside it.
//
//   npm ci && CLIENT_ID=shop CLIENT_SECRET=lps_… npx tsx dpop.ts
//
// A stolen token is worth nothing without the key. ISSUER is what tokens say in `iss`, and what proofs are for;
// TOKENS_URL is where lingpai is reached, if not there.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import * as oauth from "oauth4webapi";

const ISSUER = process.env.ISSUER ?? "http://127.0.0.1:8080";
const TOKENS_URL = process.env.TOKENS_URL ?? ISSUER;
const AUDIENCE = "https://orders.example.com";
const SCOPE = "orders:read";
/** Seconds for which a proof that has been used must be remembered. */
const WINDOW = 120;

/** Reaches lingpai at TOKENS_URL. */
const reach = {
  [oauth.customFetch]: (url: string, options: RequestInit) => fetch(url.replace(ISSUER, TOKENS_URL), options),
  [oauth.allowInsecureRequests]: ISSUER.startsWith("http://"),
};
const issuer = new URL(ISSUER);
const server = await oauth.processDiscoveryResponse(
  issuer,
  await oauth.discoveryRequest(issuer, { algorithm: "oauth2", ...reach }),
);

// ---- The client

const client: oauth.Client = { client_id: process.env.CLIENT_ID ?? "shop" };
const secret = oauth.ClientSecretBasic(process.env.CLIENT_SECRET ?? "");

/** A key, and the proofs that it makes. The key may live as long as the process does. */
const prover = async () => oauth.DPoP(client, await oauth.generateKeyPair("ES256"));

async function boundToken(DPoP: oauth.DPoPHandle): Promise<string> {
  const ask = async () => {
    const wanted = { scope: SCOPE, audience: AUDIENCE };
    const answer = await oauth.clientCredentialsGrantRequest(server, client, secret, wanted, { DPoP, ...reach });
    console.log(`POST /oauth2/token: ${answer.status}`);
    return oauth.processClientCredentialsResponse(server, client, answer);
  };
  // Once more if it wants a nonce, which the library has learnt then.
  const token = await ask().catch((error: unknown) => {
    if (oauth.isDPoPNonceError(error)) return ask();
    throw error;
  });
  if (token.token_type !== "dpop") throw new Error("the server binds no tokens");
  return token.access_token;
}

// ---- The API

/** Ids of proofs that may come no second time, and are forgotten when they could not. */
const seen = new Map<string, number>();
const MOST_SEEN = 100_000;

function enter(proof: string): boolean {
  const [, claims = ""] = proof.split(".");
  const { jti } = JSON.parse(Buffer.from(claims, "base64url").toString()) as { jti: string };
  const now = Date.now();
  if (seen.size >= MOST_SEEN) for (const [id, until] of seen) if (until <= now) seen.delete(id);
  if (seen.size >= MOST_SEEN || (seen.get(jti) ?? 0) > now) return false;
  seen.set(jti, now + WINDOW * 1_000);
  return true;
}

/** The status and, where it is not 200, the challenge (RFC 9449 §7.1). */
async function authorize(request: Request): Promise<[number, string?]> {
  const challenge = (error: string) => `DPoP error="${error}", algs="ES256"`;
  try {
    const claims = await oauth.validateJwtAccessToken(server, request, AUDIENCE, {
      requireDPoP: true,
      signingAlgorithms: ["ES256"], // of the proof; never what the proof says
      ...reach,
    });
    if (!enter(request.headers.get("dpop") ?? "")) return [401, challenge("invalid_dpop_proof")];
    const granted = claims.scope?.split(" ") ?? [];
    return granted.includes(SCOPE) ? [200] : [403, challenge("insufficient_scope")];
  } catch (error) {
    // Without keys nothing can be said about the token.
    const isFetch = error instanceof TypeError || (error instanceof Error && error.name === "TimeoutError");
    return isFetch ? [503] : [401, challenge("invalid_token")];
  }
}

const api = createServer(async (request, response) => {
  // Its own name, and not what the caller says in Host.
  const asked = new Request(new URL(request.url ?? "/", own), {
    method: request.method,
    // Several fields of one name are joined, so that two proofs are none.
    headers: Object.entries(request.headersDistinct).map(([name, values]) => [name, values?.join(", ") ?? ""]),
  });
  const [status, challenge] = await authorize(asked);
  if (challenge) response.setHeader("WWW-Authenticate", challenge);
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(status === 200 ? { orders: ["tea"] } : {}));
});
await new Promise<void>((ready) => api.listen(Number(process.env.PORT ?? 0), "127.0.0.1", ready));
const own = `http://127.0.0.1:${(api.address() as AddressInfo).port}`;

// ---- Both

const [owner, thief] = [await prover(), await prover()];
const token = await boundToken(owner);

/** The header of a proof for this request, caught on its way. */
async function proof(DPoP: oauth.DPoPHandle, method: string, path: string): Promise<string> {
  let header = "";
  await oauth.protectedResourceRequest(token, method, new URL(path, own), undefined, undefined, {
    DPoP,
    [oauth.allowInsecureRequests]: true,
    [oauth.customFetch]: async (_, { headers }) => {
      header = new Headers(headers).get("dpop") ?? "";
      return new Response();
    },
  });
  return header;
}

async function call(what: string, dpop: string, scheme = "DPoP"): Promise<void> {
  const response = await fetch(`${own}/orders?page=2`, { headers: { authorization: `${scheme} ${token}`, dpop } });
  await response.body?.cancel();
  console.log(`${what}: ${response.status}`);
}

const good = await proof(owner, "GET", "/orders");
await call("the token and a proof", good);
await call("the same proof again", good);
await call("a proof for another method", await proof(owner, "POST", "/orders"));
await call("a proof for another path", await proof(owner, "GET", "/orders/7"));
await call("a proof by another key", await proof(thief, "GET", "/orders"));
await call("as a bearer's token", await proof(owner, "GET", "/orders"), "Bearer");
api.close();
api.closeAllConnections();
