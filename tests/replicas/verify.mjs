// Verifies access tokens with jose and nothing but the published keys: a token a line in, a verdict a line out.
import { createInterface } from 'node:readline';
import { createRemoteJWKSet, jwtVerify } from 'jose';

const { jwks, timeout, maxAge, cooldown, issuer, audience, leeway, algorithms, required } = JSON.parse(process.argv[2]);
const keys = createRemoteJWKSet(new URL(jwks), {
  timeoutDuration: timeout * 1000,
  cacheMaxAge: maxAge * 1000,
  cooldownDuration: cooldown * 1000,
});
const expected = { issuer, audience, typ: 'at+jwt', clockTolerance: leeway, algorithms, requiredClaims: required };

for await (const token of createInterface({ input: process.stdin })) {
  const verdict = await jwtVerify(token, keys, expected).then(
    () => 'ok',
    (error) => `${error.code ?? error.name} ${error.message}`,
  );
  console.log(verdict);
}
