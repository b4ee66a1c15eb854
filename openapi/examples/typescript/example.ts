// Gets a token from lingpai, keeps it fresh, and calls an API that verifies it offline with the published keys.
//
//   npm ci && CLIENT_ID=shop CLIENT_SECRET=lps_… npx tsx example.ts
//
// `npx tsx example.ts api` only serves the API, and needs no secret. ISSUER is what tokens say in `iss`; TOKENS_URL is
// where lingpai is reached, if not there; PORT is the API's.

import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { createLocalJWKSet, errors, jwtVerify } from "jose";
import type { JSONWebKeySet, JWTHeaderParameters, JWTVerifyOptions } from "jose";

const ISSUER = process.env.ISSUER ?? "http://127.0.0.1:8080";
const TOKENS_URL = process.env.TOKENS_URL ?? ISSUER;
const AUDIENCE = "https://orders.example.com";
const SCOPE = "orders:read";

// ---- The client

interface TokenPair {
  value: string;
  refresh: string;
  expire: string;
}

/** An access token for one audience that is always fresh. */
class Tokens {
  readonly #audience: string;
  #pair?: TokenPair;
  #renewAt = 0;
  #renewal?: Promise<string>;

  constructor(audience: string) {
    this.#audience = audience;
  }

  /** Callers that come while a token is on its way wait for that one. */
  async get(): Promise<string> {
    if (this.#pair && Date.now() < this.#renewAt) return this.#pair.value;
    this.#renewal ??= this.#renew().finally(() => (this.#renewal = undefined));
    return this.#renewal;
  }

  async #renew(): Promise<string> {
    let answer = this.#pair && (await request("PUT", `Token ${this.#pair.refresh}`));
    // A refused refresh token only says that the session has ended: begin another.
    if (!answer || answer.status === 401) {
      const secret = btoa(`${process.env.CLIENT_ID}:${process.env.CLIENT_SECRET}`);
      answer = await request("POST", `Basic ${secret}`, { audience: [this.#audience], scope: [SCOPE] });
    }
    if (answer.status !== 200) throw new Error(`no token: ${answer.status} ${answer.text}`);
    const pair: TokenPair = JSON.parse(answer.text);
    // Half a minute early, so that no request carries a token that ends on its way.
    const left = Date.parse(pair.expire) - Date.now();
    this.#renewAt = Date.now() + left - Math.min(30_000, left / 2);
    this.#pair = pair;
    return pair.value;
  }
}

async function request(method: string, authorization: string, body?: object) {
  const response = await fetch(`${TOKENS_URL}/token`, {
    method,
    headers: { authorization, ...(body && { "content-type": "application/json" }) },
    body: body && JSON.stringify(body),
    signal: AbortSignal.timeout(10_000),
  });
  console.log(`${method} /token: ${response.status}`);
  return { status: response.status, text: await response.text() };
}

// ---- The API

/** Milliseconds, at least, between two fetches of the same. */
const PAUSE = 5_000;

/** lingpai's public keys, for as long as its Cache-Control says. */
class Keys {
  #known = new Set<string>();
  #find = createLocalJWKSet({ keys: [] });
  #staleAt = 0;
  #fetchAt = 0;
  #fetching?: Promise<void>;

  readonly key = async (header: JWTHeaderParameters) => {
    const id = header.kid ?? "";
    const now = performance.now();
    // An unknown key may be a new one, but made-up ids must not cause a fetch each time.
    if ((now >= this.#staleAt || !this.#known.has(id)) && now >= this.#fetchAt) {
      this.#fetchAt = now + PAUSE;
      this.#fetching = this.#fetch().finally(() => (this.#fetching = undefined));
    }
    await this.#fetching;
    if (performance.now() >= this.#staleAt) throw new Error("the keys cannot be fetched");
    if (!this.#known.has(id)) throw new errors.JWKSNoMatchingKey();
    return this.#find(header);
  };

  async #fetch(): Promise<void> {
    const response = await fetch(`${TOKENS_URL}/.well-known/jwks.json`, { signal: AbortSignal.timeout(5_000) });
    if (!response.ok) throw new Error(`no keys: ${response.status}`);
    const set = (await response.json()) as JSONWebKeySet;
    this.#find = createLocalJWKSet(set);
    this.#known = new Set(set.keys.flatMap((key) => key.kid ?? []));
    this.#staleAt = performance.now() + freshFor(response);
  }
}

const keys = new Keys();

/** The milliseconds for which an answer may be kept. */
function freshFor(response: Response): number {
  const age = /max-age=(\d+)/.exec(response.headers.get("cache-control") ?? "")?.[1] ?? 0;
  return Math.max(Number(age) * 1_000, PAUSE);
}

/** The claims of a JWT of this type that lingpai signed. */
async function decode<Claims>(token: string, typ: string, options: JWTVerifyOptions) {
  const { payload } = await jwtVerify<Claims>(token, keys.key, {
    algorithms: ["ES256"], // what this service was told to expect; never what the token says
    typ, // otherwise other tokens of the same issuer would do
    issuer: ISSUER,
    requiredClaims: ["exp"],
    clockTolerance: 5,
    ...options,
  });
  return payload;
}

interface Actor {
  sub: string;
  act?: Actor;
}

interface Access extends Actor {
  iat: number;
  jti: string;
  client_id: string;
  scope?: string;
  sid?: string;
}

interface Revoked {
  jti: string[];
  session: string[];
  client: Record<string, number>;
  subject: Record<string, number>;
}

/** What lingpai has revoked, where it publishes a list. It is kept fresh beside the requests, so that none waits. */
class Revocations {
  #ids = new Set<string>();
  #before: Map<string, number>[] = [];
  #expires = 0;

  async follow(pause: number): Promise<never> {
    for (;;) {
      await sleep(pause, undefined, { ref: false });
      pause = await this.renew();
    }
  }

  /** Fetches the list, and says after how many milliseconds to do so again. */
  async renew(): Promise<number> {
    try {
      const signal = AbortSignal.timeout(5_000);
      const response = await fetch(`${TOKENS_URL}/.well-known/revocations`, { signal });
      const text = await response.text();
      if (response.status === 404) {
        [this.#ids, this.#before, this.#expires] = [new Set(), [], Infinity]; // none is published
        return 60_000;
      }
      if (!response.ok) throw new Error(`${response.status}`);
      const claims = await decode<{ exp: number; revoked: Revoked }>(text, "revocations+jwt", {});
      const { jti, session, client, subject } = claims.revoked;
      this.#ids = new Set([...jti, ...session]);
      this.#before = [client, subject].map((each) => new Map(Object.entries(each)));
      this.#expires = claims.exp;
      return Math.min(freshFor(response), 60_000);
    } catch (error) {
      console.error(`no revocations: ${error}`); // the list at hand is good until its `exp`
      return PAUSE;
    }
  }

  /** Whether they end this token. */
  end(token: Access): boolean {
    if (Date.now() / 1_000 >= this.#expires) throw new Error("the revocations cannot be fetched");
    // `sid` is the second in which the session began, a dot and an id. A refresh makes no token older.
    const began = token.sid ? parseInt(token.sid) : token.iat;
    const names = [token.client_id];
    for (let actor: Actor | undefined = token; actor; actor = actor.act) names.push(actor.sub);
    const early = names.some((name) => this.#before.some((before) => !(began >= (before.get(name) ?? 0))));
    return this.#ids.has(token.jti) || this.#ids.has(token.sid ?? "") || early;
  }
}

const revocations = new Revocations();

/** The status and, where it is not 200, the challenge (RFC 6750 §3). */
async function authorize(authorization = ""): Promise<[number, string?]> {
  const token = /^Bearer ([^ ]+)$/i.exec(authorization)?.[1];
  if (!token) return [401, "Bearer"];
  try {
    const requiredClaims = ["exp", "iat", "jti", "sub", "client_id"];
    const access = await decode<Access>(token, "at+jwt", { audience: AUDIENCE, requiredClaims });
    if (revocations.end(access)) throw new errors.JWTInvalid("revoked");
    const granted = access.scope?.split(" ") ?? [];
    return granted.includes(SCOPE) ? [200] : [403, 'Bearer error="insufficient_scope"'];
  } catch (error) {
    if (error instanceof errors.JOSEError) return [401, 'Bearer error="invalid_token"'];
    return [503]; // without keys, or a list that there should be, nothing can be said about the token
  }
}

const api = createServer(async (request, response) => {
  const [status, challenge] = await authorize(request.headers.authorization);
  if (challenge) response.setHeader("WWW-Authenticate", challenge);
  response.writeHead(status, { "Content-Type": "application/json" });
  response.end(JSON.stringify(status === 200 ? { orders: ["tea"] } : {}));
});

// ---- Both

void revocations.follow(await revocations.renew());
await new Promise<void>((ready) => api.listen(Number(process.env.PORT ?? 0), "127.0.0.1", ready));
const url = `http://127.0.0.1:${(api.address() as AddressInfo).port}/orders`;
console.log(`API at ${url}`);

async function call(tokens: Tokens): Promise<number> {
  const response = await fetch(url, { headers: { authorization: `Bearer ${await tokens.get()}` } });
  await response.body?.cancel();
  return response.status;
}

if (process.argv[2] !== "api") {
  const tokens = new Tokens(AUDIENCE);
  for (let round = 0; round < 3; round++) {
    if (round > 0) await sleep(2_500);
    const statuses = await Promise.all([call(tokens), call(tokens)]);
    console.log(`two callers at once: ${statuses.join(" ")}`);
  }
  console.log(`a token for another API: ${await call(new Tokens("https://billing.example.com"))}`);
  api.close();
  api.closeAllConnections();
}
