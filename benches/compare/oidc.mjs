// The other rival: oidc-provider with the client_credentials grant. A resource server that takes JWTs has it sign
// each access token with ES256 and store none; clients are static, its adapter is the one in memory.
//
// node oidc.mjs SETTINGS: the file that fastify.mjs reads, and the client's secret. Prints where it listens.
import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import Provider from 'oidc-provider';

const { issuer, kid, pem, client, secret, scope, access_lifetime } = JSON.parse(readFileSync(process.argv[2]));
const provider = new Provider(issuer, {
  jwks: { keys: [{ ...createPrivateKey(pem).export({ format: 'jwk' }), kid, alg: 'ES256', use: 'sig' }] },
  clients: [{
    client_id: client, client_secret: secret, grant_types: ['client_credentials'], response_types: [],
    redirect_uris: [], scope, id_token_signed_response_alg: 'ES256',
  }],
  scopes: scope.split(' '),
  features: {
    devInteractions: { enabled: false },
    clientCredentials: { enabled: true },
    resourceIndicators: {
      enabled: true,
      defaultResource: () => issuer,
      getResourceServerInfo: () => ({
        scope, audience: issuer, accessTokenTTL: access_lifetime,
        accessTokenFormat: 'jwt', jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
});

const server = provider.listen(0, '127.0.0.1', () => {
  console.log(`oidc-provider at http://127.0.0.1:${server.address().port}`);
});
