// Two resource servers of Express: express-oauth2-jwt-bearer, by discovery from the issuer, and passport-jwt, with keys
// from the JWKS.
import assert from 'node:assert/strict'
import { once } from 'node:events'
import express from 'express'
import { auth, requiredScopes } from 'express-oauth2-jwt-bearer'
import jwksRsa from 'jwks-rsa'
import { clientCredentialsGrant, discovery } from 'openid-client'
import passport from 'passport'
import { ExtractJwt, Strategy } from 'passport-jwt'
import { billing, issuer, orders, says, shop } from './common.mjs'

const config = await discovery(issuer, 'shop', shop)
const name = config.serverMetadata().issuer
const pair = await clientCredentialsGrant(config, { resource: orders })
const forBilling = await clientCredentialsGrant(config, { resource: billing })
const narrow = await clientCredentialsGrant(config, { resource: orders, scope: 'orders:read' })

const app = express()
app.get('/bearer', auth({ issuerBaseURL: name, audience: orders, strict: true }), requiredScopes('orders:write'),
  (request, response) => response.json(request.auth.payload))

passport.use(new Strategy(
  {
    jwtFromRequest: ExtractJwt.fromAuthHeaderAsBearerToken(),
    secretOrKeyProvider: jwksRsa.passportJwtSecret({ jwksUri: config.serverMetadata().jwks_uri, cache: true }),
    issuer: name,
    audience: orders,
    algorithms: ['ES256'],
  },
  (payload, done) => done(null, payload),
))
app.get('/passport', passport.authenticate('jwt', { session: false }), (request, response) => response.json(request.user))

app.use((error, request, response, next) => response.status(error.status ?? 500).set(error.headers ?? {}).end(error.message))
const server = app.listen(0, '127.0.0.1')
await once(server, 'listening')
const ask = (path, token) => fetch(`http://127.0.0.1:${server.address().port}${path}`,
  token === undefined ? {} : { headers: { authorization: `Bearer ${token}` } })

for (const [library, path] of [['express-oauth2-jwt-bearer', '/bearer'], ['passport-jwt', '/passport']]) {
  const answer = await ask(path, pair.access_token)
  assert.equal(answer.status, 200, await answer.clone().text())
  const { sub, client_id, scope } = await answer.json()
  assert.deepEqual([sub, client_id, scope], ['shop', 'shop', 'orders:read orders:write'])
  for (const token of [undefined, 'x', pair.refresh_token, forBilling.access_token]) {
    assert.equal((await ask(path, token)).status, 401)
  }
  says(library)('lets an access token in; none, a refresh token and one for another audience are 401')
}
const answer = await ask('/bearer', narrow.access_token)
assert.equal(answer.status, 403)
assert.match(answer.headers.get('www-authenticate'), /insufficient_scope/)
says('express-oauth2-jwt-bearer')('a token without the scope is 403 insufficient_scope')
server.close()
