// The rival: /token as a Node developer would write it, on fastify and fast-jwt, with the same answers, claims and
// algorithms as lingpai's, each set up as its documentation says for speed. It has no log and no metrics.
//
// node fastify.mjs SETTINGS: a JSON file with issuer, kid, pem, client, secret_sha256, scope, the lifetimes in seconds,
// and the entries of the cache. Prints where it listens.
import { createHash, createPrivateKey, createPublicKey, hkdfSync, randomBytes, timingSafeEqual } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { createSigner, createVerifier } from 'fast-jwt';
import Fastify from 'fastify';

const settings = JSON.parse(readFileSync(process.argv[2]));
const { issuer, kid, pem, cache } = settings;
const privateKey = createPrivateKey(pem);
const publicPem = createPublicKey(privateKey).export({ type: 'spki', format: 'pem' });
// lingpai's own derivation, so that each reads the refresh tokens that the other was given.
const scalar = Buffer.from(privateKey.export({ format: 'jwk' }).d, 'base64url');
const refreshSecret = Buffer.from(hkdfSync('sha256', scalar, '', `lingpai refresh v1\0${kid}`, 32));
const clients = new Map([
  [settings.client, { id: settings.client, secret: Buffer.from(settings.secret_sha256, 'hex'), scope: settings.scope }],
]);

const signAccess = createSigner({ key: pem, algorithm: 'ES256', kid, header: { typ: 'at+jwt' } });
const signRefresh = createSigner({ key: refreshSecret, algorithm: 'HS256', kid, header: { typ: 'rt+jwt' } });
const checks = {
  allowedIss: issuer, clockTolerance: 5000, requiredClaims: ['iss', 'sub', 'aud', 'exp', 'iat', 'jti', 'client_id'],
};
const verifyAccess = createVerifier({
  ...checks, key: publicPem, algorithms: ['ES256'], checkTyp: 'at+jwt',
  // The documentation's advice for speed: the token itself is the key, not its hash.
  cache, cacheTTL: Infinity, cacheKeyBuilder: (token) => token,
});
// A refresh token comes once: nothing to remember.
const verifyRefresh = createVerifier({ ...checks, key: refreshSecret, algorithms: ['HS256'], checkTyp: 'rt+jwt' });

const jti = () => randomBytes(16).toString('base64url');
const iso = (seconds) => new Date(seconds * 1000).toISOString();

function issue(session, scope) {
  const now = Math.floor(Date.now() / 1000);
  const { sub, aud, client_id, session_start = now, session_end = now + settings.session_lifetime } = session;
  const exp = Math.min(now + settings.access_lifetime, session_end);
  return {
    value: signAccess({ iss: issuer, sub, aud, exp, iat: now, jti: jti(), client_id, scope }),
    refresh: signRefresh({
      v: 1, dialect: 'native', iss: issuer, sub, aud, exp: Math.min(now + settings.refresh_lifetime, session_end),
      iat: now, jti: jti(), client_id, scope: session.scope, session_start, session_end,
    }),
    expire: iso(exp),
  };
}

function authenticate(header) {
  if (!header?.startsWith('Basic ')) return undefined;
  const text = Buffer.from(header.slice(6), 'base64').toString();
  const colon = text.indexOf(':');
  const client = clients.get(text.slice(0, colon));
  const digest = createHash('sha256').update(text.slice(colon + 1)).digest();
  return client && timingSafeEqual(digest, client.secret) ? client : undefined;
}

function presented(header, verify) {
  const [scheme, token] = header?.split(' ') ?? [];
  if (scheme !== 'Token' && scheme !== 'Bearer') return undefined;
  try {
    return verify(token);
  } catch {
    return undefined;
  }
}

const text = { type: 'string' };
const texts = { type: 'array', items: text };
const answer = (properties) => ({ schema: { response: { 200: { type: 'object', properties } } } });
const pair = answer({ value: text, refresh: text, expire: text });
const info = answer({
  expire: text, scope: texts, subject: text, client: text, audience: texts, issued: text, id: text,
  claims: { type: 'object', additionalProperties: true },
});

const app = Fastify({ logger: false });
const send = (reply) => reply.header('content-type', 'application/json').header('cache-control', 'no-store');
const refuse = (reply) =>
  send(reply.code(401)).send({ name: 'Unauthorized', message: 'authentication failed', stack: [] });

app.post('/token', pair, (request, reply) => {
  const client = authenticate(request.headers.authorization);
  if (!client) return refuse(reply);
  const session = { sub: client.id, aud: issuer, client_id: client.id, scope: client.scope };
  send(reply).send(issue(session, client.scope));
});

app.get('/token', info, (request, reply) => {
  const claims = presented(request.headers.authorization, verifyAccess);
  if (!claims) return refuse(reply);
  const { sub, aud, exp, iat, client_id, scope = '' } = claims;
  send(reply)
    .header('x-token-subject', sub).header('x-token-client', client_id).header('x-token-scope', scope)
    .send({
      expire: iso(exp), scope: scope ? scope.split(' ') : [], subject: sub, client: client_id,
      audience: Array.isArray(aud) ? aud : [aud], issued: iso(iat), id: claims.jti, claims: {},
    });
});

app.put('/token', pair, (request, reply) => {
  const session = presented(request.headers.authorization, verifyRefresh);
  const client = session && clients.get(session.client_id);
  if (!client || session.session_end <= Date.now() / 1000) return refuse(reply);
  const allowed = client.scope.split(' ');
  send(reply).send(issue(session, session.scope.split(' ').filter((scope) => allowed.includes(scope)).join(' ')));
});

console.log(`fastify at ${await app.listen({ host: '127.0.0.1', port: 0 })}`);
