// oauth4webapi, the strictest of the clients: it reads every answer as the RFCs have it.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import { billing, gate, issuer, keys, orders, says, shop } from './common.mjs'

const say = says('oauth4webapi')
const found = {}
for (const algorithm of ['oauth2', 'oidc']) {
  found[algorithm] = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm }))
}
const server = found.oauth2
assert.equal(server.token_endpoint, found.oidc.token_endpoint)
say('discovery by oauth-authorization-server and openid-configuration')

async function issue(client_id, authentication, parameters = {}) {
  const client = { client_id }
  const response = await oauth.clientCredentialsGrantRequest(server, client, authentication, parameters)
  return oauth.processClientCredentialsResponse(server, client, response)
}
async function refresh(client_id, authentication, token, additionalParameters) {
  const client = { client_id }
  const response = await oauth.refreshTokenGrantRequest(server, client, authentication, token, { additionalParameters })
  return oauth.processRefreshTokenResponse(server, client, response)
}
async function introspect(client_id, authentication, token) {
  const client = { client_id }
  const response = await oauth.introspectionRequest(server, client, authentication, token)
  return oauth.processIntrospectionResponse(server, client, response)
}

// name, client, how it authenticates
const methods = [
  ['client_secret_basic', 'shop', oauth.ClientSecretBasic(shop)],
  ['client_secret_post', 'shop', oauth.ClientSecretPost(shop)],
  ...keys.map(({ kid, algorithm, key }) => [`private_key_jwt ${algorithm}`, 'signer', oauth.PrivateKeyJwt({ key, kid })]),
]
for (const [name, id, authentication] of methods) {
  assert.ok(server.token_endpoint_auth_methods_supported.includes(name.split(' ')[0]))
  const whole = await issue(id, authentication)
  assert.deepEqual([whole.token_type, whole.scope], ['bearer', 'orders:read orders:write'])
  assert.ok(whole.expires_in > 0 && whole.expires_in <= 600)
  const narrow = await issue(id, authentication, { scope: 'orders:read', resource: orders })
  assert.equal(narrow.scope, 'orders:read')
  const again = await refresh(id, authentication, whole.refresh_token, { scope: 'orders:write' })
  assert.equal(again.scope, 'orders:write')
  assert.equal((await refresh(id, authentication, again.refresh_token)).scope, 'orders:read orders:write')
  const told = await introspect(id, authentication, narrow.access_token)
  assert.deepEqual([told.active, told.scope, told.client_id, told.aud, told.iss],
    [true, 'orders:read', id, orders, server.issuer])
  say(`${name}: a token, scope and resource narrowed, refresh, introspection`)
}

// The challenge that answers Basic hides the error's code (RFC 6749 §5.2 wants one); elsewhere the code is there.
await assert.rejects(issue('shop', oauth.ClientSecretBasic('wrong')),
  (error) => error instanceof oauth.WWWAuthenticateChallengeError && error.cause[0].scheme === 'basic')
for (const wrong of [
  () => issue('shop', oauth.ClientSecretPost('wrong')),
  () => issue('nobody', oauth.PrivateKeyJwt(keys[0])),
  () => issue('shop', oauth.None()),
]) {
  await assert.rejects(wrong,
    (error) => error instanceof oauth.ResponseBodyError && error.error === 'invalid_client' && error.status === 401)
}
say('invalid_client for a wrong secret, an unknown client and no credentials')

const good = oauth.ClientSecretBasic(shop)
const pair = await issue('shop', good)
for (const [wrong, code] of [
  [() => issue('shop', good, { scope: 'other' }), 'invalid_scope'],
  [() => issue('shop', good, { resource: 'https://other.example.com' }), 'invalid_target'],
  [() => refresh('shop', good, pair.access_token), 'invalid_grant'],
  [() => refresh('signer', oauth.PrivateKeyJwt(keys[0]), pair.refresh_token), 'invalid_grant'],
  [() => refresh('gate', oauth.ClientSecretPost(gate), pair.refresh_token), 'unauthorized_client'],
]) {
  await assert.rejects(wrong,
    (error) => error instanceof oauth.ResponseBodyError && error.error === code && error.status === 400)
}
say('invalid_scope, invalid_target, invalid_grant, unauthorized_client')

const gateway = oauth.ClientSecretPost(gate)
const forOrders = await issue('shop', good, { audience: orders })
assert.equal((await introspect('gate', gateway, forOrders.access_token)).client_id, 'shop')
const forBilling = await issue('shop', good, { audience: billing })
for (const token of [forBilling.access_token, forOrders.refresh_token, 'x']) {
  assert.deepEqual(await introspect('gate', gateway, token), { active: false })
}
say('introspection by the API that accepts the audience, and inactive for all else')

// A resource server that finds the keys by discovery and reads the token as RFC 9068 has it.
const request = (token) => new Request('https://orders.example.com/', { headers: { authorization: `Bearer ${token}` } })
const claims = await oauth.validateJwtAccessToken(server, request(forOrders.access_token), orders)
assert.deepEqual([claims.sub, claims.client_id, claims.scope], ['shop', 'shop', 'orders:read orders:write'])
for (const token of [forBilling.access_token, forOrders.refresh_token]) {
  await assert.rejects(oauth.validateJwtAccessToken(server, request(token), orders))
}
say('validateJwtAccessToken takes an access token, and neither one for another audience nor a refresh token')
