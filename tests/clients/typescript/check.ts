// What every client must do, whatever made it: the calls against the service, then strange answers of a stub.
import assert from 'node:assert/strict';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';

// The types that a generator made must fit these.
export interface TokenPair { value: string; refresh: string; expire: string }
export interface TokenInfo {
  expire: string; scope: string[]; subject: string; client: string; audience: string[]; issued: string; id: string;
  claims: { [name: string]: unknown };
}
export interface ApiError { name: string; message: string; stack: string[] }
export interface Order { scope?: string[]; subject?: string; claims?: { [name: string]: unknown } }
export interface Answer<T> { response: Response; value?: T; error?: ApiError }

export interface Client {
  create(order: Order, id?: string, secret?: string): Promise<Answer<TokenPair>>;
  inspect(token: string, scope?: string[]): Promise<Answer<TokenInfo>>;
  refresh(token: string, scope?: string[]): Promise<Answer<TokenPair>>;
}

/** Runs `connect(address)` through it all, and says so under `name`. */
export async function check(name: string, connect: (address: string) => Client): Promise<void> {
  await calls(connect(process.env['SERVICE']!), process.env['SECRET']!);
  await strangeAnswers(connect);
  console.log(`ok: ${name}: create, inspect, refresh, 401, 403; 429, 503, empty and HTML answers`);
}

async function calls(client: Client, secret: string): Promise<void> {
  const claims = { tenant: ['acme', 7, true] };
  const created = await client.create({ scope: ['demo:read', 'demo:write'], subject: 'user:7', claims }, 'demo', secret);
  assert.equal(created.response.status, 200, created.error?.message);
  assert.match(created.value!.expire, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.000Z$/);

  const { value: info } = await client.inspect(created.value!.value, ['demo:read', 'demo:write']);
  assert.deepEqual([info?.subject, info?.client, info?.scope], ['user:7', 'demo', ['demo:read', 'demo:write']]);
  assert.deepEqual(info?.claims, claims);

  const { value: pair } = await client.refresh(created.value!.refresh, ['demo:read']);
  assert.deepEqual((await client.inspect(pair!.value)).value?.scope, ['demo:read']);

  // Without credentials and without a scope: an anonymous one.
  const anonymous = await client.create({});
  assert.equal((await client.inspect(anonymous.value!.value)).value?.subject, 'anonymous');

  const unauthorized = { name: 'Unauthorized', message: 'authentication failed', stack: [] };
  await refused(client.create({}, 'demo', 'wrong'), 401, unauthorized);
  await refused(client.inspect(created.value!.refresh), 401, unauthorized);
  await refused(client.refresh(created.value!.value), 401, unauthorized);
  const forbidden = (message: string) => ({ name: 'Forbidden', message, stack: [] });
  await refused(client.create({ scope: ['other'] }, 'demo', secret), 403, forbidden('the scope other is not allowed'));
  await refused(client.inspect(pair!.value, ['demo:write']), 403,
    forbidden('the token does not have the scope demo:write'));
}

async function refused<T>(answer: Promise<Answer<T>>, status: number, error: ApiError): Promise<void> {
  const { response, value, error: got } = await answer;
  assert.deepEqual([response.status, value, got], [status, undefined, error]);
}

async function strangeAnswers(connect: (address: string) => Client): Promise<void> {
  let next: [status: number, headers: Record<string, string>, body: string] = [500, {}, ''];
  const stub = createServer((_, response) => {
    const [status, headers, body] = next;
    response.writeHead(status, { Connection: 'close', ...headers }).end(body);
  });
  await new Promise<void>((listening) => stub.listen(0, '127.0.0.1', listening));
  const client = connect(`http://127.0.0.1:${(stub.address() as AddressInfo).port}`);

  const json = { 'Content-Type': 'application/json' };
  for (const [status, name] of [[429, 'TooManyRequests'], [503, 'ServiceUnavailable']] as const) {
    const error = { name, message: 'later', stack: [] };
    next = [status, { ...json, 'Retry-After': '7' }, JSON.stringify(error)];
    await refused(client.create({}), status, error);
    assert.equal((await client.inspect('token')).response.headers.get('Retry-After'), '7');
  }
  // What a proxy says: the status is there, and nothing that looks like a token.
  for (const body of ['', '<html><h1>502 Bad Gateway</h1></html>']) {
    for (const [name, value] of [['Content-Length', `${body.length}`], ['Transfer-Encoding', 'chunked']] as const) {
      next = [502, { 'Content-Type': 'text/html', [name]: value }, body];
      for (const answer of [client.create({}), client.inspect('token'), client.refresh('token')]) {
        const { response, value, error } = await answer;
        assert.deepEqual([response.status, value, error?.name], [502, undefined, undefined]);
      }
    }
  }
  // 200 without a body: an exception, or a value without a token.
  next = [200, { ...json, 'Content-Length': '0' }, ''];
  const empty = await client.create({}).catch((reason: unknown) => reason);
  assert.ok(empty instanceof Error || (empty as Answer<TokenPair>).value?.value === undefined);
  stub.close();
}
