// openid-client, what most of Node's programs use.
import assert from 'node:assert/strict'
import * as client from 'openid-client'
import { billing, gate, issuer, keys, orders, says, shop } from './common.mjs'

const say = says('openid-client')
const find = (id, authentication, algorithm = 'oidc') => client.discovery(issuer, id, undefined, authentication, { algorithm })

// Its default is client_secret_post.
const byDefault = await client.discovery(issuer, 'shop', shop)
assert.equal(byDefault.serverMetadata().issuer, process.env.ISSUER)
assert.equal((await client.clientCredentialsGrant(byDefault)).scope, 'orders:read orders:write')
assert.equal((await find('shop', client.ClientSecretBasic(shop), 'oauth2')).serverMetadata().issuer, process.env.ISSUER)
say('discovery, by its default and as OAuth 2.0, and a token by its default')

for (const [name, id, authentication] of [
  ['client_secret_basic', 'shop', client.ClientSecretBasic(shop)],
  ['client_secret_post', 'shop', client.ClientSecretPost(shop)],
  ...keys.map(({ kid, algorithm, key }) => [`private_key_jwt ${algorithm}`, 'signer', client.PrivateKeyJwt({ key, kid })]),
]) {
  const config = await find(id, authentication)
  const whole = await client.clientCredentialsGrant(config)
  assert.equal(whole.scope, 'orders:read orders:write')
  assert.ok(whole.expiresIn() > 0)
  const narrow = await client.clientCredentialsGrant(config, { scope: 'orders:read', resource: orders })
  assert.equal(narrow.scope, 'orders:read')
  assert.equal((await client.refreshTokenGrant(config, whole.refresh_token, { scope: 'orders:write' })).scope, 'orders:write')
  const told = await client.tokenIntrospection(config, narrow.access_token)
  assert.deepEqual([told.active, told.scope, told.client_id, told.aud], [true, 'orders:read', id, orders])
  say(`${name}: a token, scope and resource narrowed, refresh, introspection`)
}

const wrong = (authentication) => find('shop', authentication).then((config) => client.clientCredentialsGrant(config))
await assert.rejects(wrong(client.ClientSecretPost('wrong')),
  (error) => error instanceof client.ResponseBodyError && error.error === 'invalid_client' && error.status === 401)
await assert.rejects(wrong(client.ClientSecretBasic('wrong')),
  (error) => error instanceof client.WWWAuthenticateChallengeError && error.cause[0].scheme === 'basic')
const refused = client.clientCredentialsGrant(byDefault, { scope: 'other' })
await assert.rejects(refused, (error) => error instanceof client.ResponseBodyError && error.error === 'invalid_scope')
say('a wrong secret is invalid_client (a challenge after Basic), a refused scope invalid_scope')

const gateway = await find('gate', client.ClientSecretBasic(gate))
const issued = async (resource) => (await client.clientCredentialsGrant(byDefault, { resource })).access_token
assert.equal((await client.tokenIntrospection(gateway, await issued(orders))).sub, 'shop')
assert.deepEqual(await client.tokenIntrospection(gateway, await issued(billing)), { active: false })
say('introspection by the API that accepts the audience, and inactive for another audience')
