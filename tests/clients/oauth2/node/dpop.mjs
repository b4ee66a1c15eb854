// oauth4webapi and openid-client with DPoP (RFC 9449): tokens that are bound to a key, by a server that wants its nonce.
import assert from 'node:assert/strict'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import { issuer, orders, says, shop } from './common.mjs'

const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }))
const client = { client_id: 'shop' }
const say = says('oauth4webapi')

// again CALL: a client learns the nonce from the refusal, which the library remembers.
async function again(call) {
  try {
    return await call()
  } catch (error) {
    if (!oauth.isDPoPNonceError(error)) throw error
    return call()
  }
}

for (const algorithm of server.dpop_signing_alg_values_supported) {
  const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(algorithm))
  const thumbprint = await DPoP.calculateThumbprint()
  const authentication = oauth.ClientSecretBasic(shop)
  let refusals = 0
  const counting = (call) => again(async () => {
    refusals += 1
    return call()
  })
  const pair = await counting(async () => oauth.processClientCredentialsResponse(server, client,
    await oauth.clientCredentialsGrantRequest(server, client, authentication, { resource: orders }, { DPoP })))
  assert.deepEqual([pair.token_type, refusals], ['dpop', 2])
  const next = await counting(async () => oauth.processRefreshTokenResponse(server, client,
    await oauth.refreshTokenGrantRequest(server, client, authentication, pair.refresh_token, { DPoP })))
  assert.deepEqual([next.token_type, refusals], ['dpop', 3])

  // The API's own question: its URL is this service's here, and the proof is for it.
  const inspect = (token, options) =>
    oauth.protectedResourceRequest(token, 'GET', new URL('token', issuer), undefined, undefined, options)
  for (const { access_token } of [pair, next]) {
    const answer = await again(() => inspect(access_token, { DPoP }))
    assert.deepEqual([answer.status, (await answer.json()).client], [200, 'shop'])
    await assert.rejects(inspect(access_token), (error) => error instanceof oauth.WWWAuthenticateChallengeError
      && error.cause.some(({ scheme, parameters }) => scheme === 'dpop' && parameters.algs.includes('ES256')))
  }
  const told = await oauth.processIntrospectionResponse(server, client,
    await oauth.introspectionRequest(server, client, authentication, next.access_token))
  assert.deepEqual([told.active, told.token_type, told.cnf], [true, 'DPoP', { jkt: thumbprint }])

  // The API checks the proof by itself, with the keys that it finds.
  const url = `${orders}/7`
  const request = async (accessToken) => {
    let sent
    const fetch = async (to, options) => {
      sent = new Request(to, options)
      return new Response('ok')
    }
    await oauth.protectedResourceRequest(accessToken, 'POST', new URL(url), undefined, undefined,
      { DPoP, [oauth.customFetch]: fetch })
    return sent
  }
  const claims = await oauth.validateJwtAccessToken(server, await request(pair.access_token), orders,
    { signingAlgorithms: server.dpop_signing_alg_values_supported })
  assert.equal(claims.cnf.jkt, thumbprint)
  const bearer = new Request(url, { headers: { authorization: `Bearer ${pair.access_token}` } })
  await assert.rejects(oauth.validateJwtAccessToken(server, bearer, orders))
  say(`DPoP ${algorithm}: a nonce learnt, a bound token, refresh, GET /token, introspection, validateJwtAccessToken`)
}

const config = await openid.discovery(issuer, 'shop', undefined, openid.ClientSecretPost(shop), { algorithm: 'oauth2' })
const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair('ES256'))
const pair = await openid.clientCredentialsGrant(config, { resource: orders }, { DPoP })
assert.equal(pair.token_type, 'dpop')
const fetched = await openid.fetchProtectedResource(config, pair.access_token, new URL('token', issuer), 'GET', undefined,
  undefined, { DPoP })
assert.equal(fetched.status, 200)
assert.equal((await openid.refreshTokenGrant(config, pair.refresh_token, undefined, { DPoP })).token_type, 'dpop')
says('openid-client')('DPoP: a nonce learnt by itself, a bound token, GET /token, refresh')
