// Checks access tokens with Node's own crypto: node verify.mjs JWKS ISSUER FILE…, where FILE has an answer a line.
// Exit code 1 if one is not good, two are the same, or there is none.
import { createPublicKey, verify } from 'node:crypto';
import { readFileSync } from 'node:fs';

const [jwks, issuer, ...files] = process.argv.slice(2);
const published = JSON.parse(readFileSync(jwks)).keys;
const keys = new Map(published.map((jwk) => [jwk.kid, createPublicKey({ key: jwk, format: 'jwk' })]));
const decoded = (segment) => JSON.parse(Buffer.from(segment, 'base64url'));

function check(token) {
  const [header, payload, signature] = token.split('.');
  const { alg, kid, typ } = decoded(header);
  const { iss, exp, jti } = decoded(payload);
  const key = { key: keys.get(kid), dsaEncoding: 'ieee-p1363' };
  const good = alg === 'ES256' && typ === 'at+jwt' && iss === issuer && exp > Date.now() / 1000 && key.key &&
    verify('sha256', Buffer.from(`${header}.${payload}`), key, Buffer.from(signature, 'base64url'));
  if (!good) throw new Error(`not a good token: ${token}`);
  return jti;
}

for (const file of files) {
  const answers = readFileSync(file, 'utf8').trim().split('\n').map((line) => JSON.parse(line));
  const ids = new Set(answers.map(({ value, access_token }) => check(value ?? access_token)));
  if (ids.size !== answers.length) throw new Error(`${file}: a token was given twice`);
}
