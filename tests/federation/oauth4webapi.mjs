// oauth4webapi, with the same identity through each door.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import * as oauth from 'oauth4webapi'

const { version } = JSON.parse(readFileSync(new URL('node_modules/oauth4webapi/package.json', import.meta.url)))
const issuer = new URL(process.env.ISSUER)
const token = process.env.TOKEN
const orders = 'https://orders.example.com'
const client = { client_id: 'checkout' }
const urn = (name) => `urn:ietf:params:oauth:${name}`
const discovered = await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' })
const server = await oauth.processDiscoveryResponse(issuer, discovered)

// Client authentication by an assertion that another has signed.
const vouched = (assertion) => (_, { client_id }, body) => {
  body.set('client_id', client_id)
  body.set('client_assertion_type', urn('client-assertion-type:jwt-bearer'))
  body.set('client_assertion', assertion)
}
async function authenticated(assertion, parameters = {}) {
  const response = await oauth.clientCredentialsGrantRequest(server, client, vouched(assertion), parameters)
  return oauth.processClientCredentialsResponse(server, client, response)
}
async function granted(type, parameters) {
  const response = await oauth.genericTokenEndpointRequest(server, client, oauth.None(), urn(type), parameters)
  return oauth.processGenericTokenEndpointResponse(server, client, response)
}
const doors = [
  ['client_credentials', 'invalid_client', (token) => authenticated(token, { scope: 'orders:read' })],
  ['jwt-bearer', 'invalid_grant', (assertion) => granted('grant-type:jwt-bearer', { assertion, scope: 'orders:read' })],
  ['token-exchange', 'invalid_request', (subject_token) => granted('grant-type:token-exchange',
    { subject_token, subject_token_type: urn('token-type:jwt'), scope: 'orders:read' })],
]
for (const [name, code, door] of doors) {
  assert.ok(server.grant_types_supported.some((type) => type.endsWith(name)), name)
  const { access_token, scope, refresh_token } = await door(token)
  assert.deepEqual([scope, refresh_token], ['orders:read', undefined])
  const request = new Request(orders, { headers: { authorization: `Bearer ${access_token}` } })
  const claims = await oauth.validateJwtAccessToken(server, request, orders)
  assert.deepEqual([claims.sub, claims.client_id, claims.scope], ['checkout', 'checkout', 'orders:read'])
  const [header, payload] = token.split('.')
  await assert.rejects(door(`${header}.${payload}.AAAA`),
    (error) => error instanceof oauth.ResponseBodyError && error.error === code)
}
const names = doors.map(([name]) => name).join(', ')
console.log(`ok: oauth4webapi ${version}: the same identity by ${names}; every refusal as its error`)
