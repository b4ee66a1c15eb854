// jose: the keys by discovery, as an API of Node checks tokens.
import assert from 'node:assert/strict'
import { createRemoteJWKSet, errors, jwtVerify } from 'jose'
import { clientCredentialsGrant, discovery } from 'openid-client'
import { billing, issuer, orders, says, shop } from './common.mjs'

const say = says('jose')
const metadata = await (await fetch(new URL('/.well-known/oauth-authorization-server', issuer))).json()
const keys = createRemoteJWKSet(new URL(metadata.jwks_uri))
const verify = (token, audience) => jwtVerify(token, keys, { issuer: metadata.issuer, audience, typ: 'at+jwt' })

const config = await discovery(issuer, 'shop', shop)
const pair = await clientCredentialsGrant(config, { resource: orders })
const { payload, protectedHeader } = await verify(pair.access_token, orders)
assert.deepEqual([payload.sub, payload.client_id, payload.scope, protectedHeader.alg],
  ['shop', 'shop', 'orders:read orders:write', 'ES256'])
say('createRemoteJWKSet finds the key of an access token')
await assert.rejects(verify(pair.access_token, billing), errors.JWTClaimValidationFailed)
await assert.rejects(verify(pair.refresh_token, orders), errors.JOSEError)
const [head, body, signature] = pair.access_token.split('.')
const other = (signature[0] === 'A' ? 'B' : 'A') + signature.slice(1)
await assert.rejects(verify([head, body, other].join('.'), orders), errors.JWSSignatureVerificationFailed)
say('another audience, a refresh token and another signature are refused')
