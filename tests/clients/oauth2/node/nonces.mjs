// Nonces over replicas (RFC 9449 §8): three servers take requests in turn, each wants a nonce, and none talks to another. A
// call of a client takes one request, or two where it has no nonce that is valid; HAProxy counts.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { connect } from 'node:net'
import { text } from 'node:stream/consumers'
import { setTimeout } from 'node:timers/promises'
import { decodeProtectedHeader } from 'jose'
import * as oauth from 'oauth4webapi'
import * as openid from 'openid-client'
import { orders, says, shop } from './common.mjs'

const issuer = new URL(process.env.BALANCED)

// servers: what HAProxy says of each of the three.
async function servers() {
  const socket = connect(process.env.BALANCER)
  socket.write('show stat\n')
  const [head, ...rows] = (await text(socket)).replace(/^# /, '').split('\n').map((line) => line.split(','))
  return rows.map((row) => Object.fromEntries(head.map((name, index) => [name, row[index]])))
    .filter(({ pxname, svname }) => pxname === 'lingpai' && svname !== 'BACKEND')
}
while (!(await servers()).every(({ check_status }) => check_status === 'L7OK')) await setTimeout(100)

// requests: how many each server has had.
const requests = async () => (await servers()).map(({ stot }) => Number(stot))
const sum = (numbers) => numbers.reduce((one, other) => one + other)

// trips CALL: its result, and how many requests it took.
async function trips(call) {
  const before = sum(await requests())
  const result = await call()
  return [result, sum(await requests()) - before]
}

async function viaOauth4webapi() {
  const server = await oauth.processDiscoveryResponse(issuer, await oauth.discoveryRequest(issuer, { algorithm: 'oauth2' }))
  const client = { client_id: 'shop' }
  const authentication = oauth.ClientSecretPost(shop)
  const again = async (call) => {
    try {
      return await call()
    } catch (error) {
      if (!oauth.isDPoPNonceError(error)) throw error
      return call()
    }
  }
  return async (algorithm) => {
    const DPoP = oauth.DPoP(client, await oauth.generateKeyPair(algorithm))
    return {
      get: (more = {}) => again(async () => oauth.processClientCredentialsResponse(server, client,
        await oauth.clientCredentialsGrantRequest(server, client, authentication, { resource: orders }, { DPoP, ...more }))),
      refresh: (token) => again(async () => oauth.processRefreshTokenResponse(server, client,
        await oauth.refreshTokenGrantRequest(server, client, authentication, token, { DPoP }))),
      inspect: (token) => again(() =>
        oauth.protectedResourceRequest(token, 'GET', new URL('token', issuer), undefined, undefined, { DPoP })),
    }
  }
}

async function viaOpenidClient() {
  const config = await openid.discovery(issuer, 'shop', undefined, openid.ClientSecretPost(shop), { algorithm: 'oauth2' })
  return async (algorithm) => {
    const DPoP = openid.getDPoPHandle(config, await openid.randomDPoPKeyPair(algorithm))
    return {
      async get({ [oauth.customFetch]: own } = {}) {
        config[openid.customFetch] = own
        const pair = await openid.clientCredentialsGrant(config, { resource: orders }, { DPoP })
        config[openid.customFetch] = undefined
        return pair
      },
      refresh: (token) => openid.refreshTokenGrant(config, token, undefined, { DPoP }),
      inspect: (token) =>
        openid.fetchProtectedResource(config, token, new URL('token', issuer), 'GET', undefined, undefined, { DPoP }),
    }
  }
}

// forgetful: answers arrive with a nonce that was valid once.
const stale = 'A'.repeat(43)
async function forgetful(url, options) {
  const response = await fetch(url, options)
  const headers = new Headers(response.headers)
  headers.set('dpop-nonce', stale)
  return new Response(response.body, { status: response.status, headers })
}

const rounds = 15
for (const [library, start] of [['oauth4webapi', viaOauth4webapi], ['openid-client', viaOpenidClient]]) {
  const begin = await start()
  for (const algorithm of ['ES256', 'Ed25519']) {
    const { get, refresh, inspect } = await begin(algorithm)
    let [pair, took] = await trips(get)
    assert.equal(took, 2, 'the first call learns a nonce')
    const before = await requests()
    for (let round = 0; round < rounds; round += 1) {
      [pair, took] = await trips(() => refresh(pair.refresh_token))
      assert.deepEqual([pair.token_type, took], ['dpop', 1], 'a refresh')
      let answer
      ;[answer, took] = await trips(() => inspect(pair.access_token))
      assert.deepEqual([answer.status, took], [200, 1], 'GET /token')
      ;[pair, took] = await trips(get)
      assert.deepEqual([pair.token_type, took], ['dpop', 1], 'a token')
    }
    const had = await requests()
    assert.deepEqual(had.map((count, index) => count - before[index]), [rounds, rounds, rounds])

    // A nonce that has expired costs one more, once.
    ;[pair, took] = await trips(() => get({ [oauth.customFetch]: forgetful }))
    assert.equal(took, 1)
    for (const expected of [2, 1, 1, 1]) {
      [pair, took] = await trips(() => refresh(pair.refresh_token))
      assert.equal(took, expected, 'a refresh with an expired nonce, then with its successor')
    }
  }
  says(library)(`three replicas in turn: ${rounds * 6} calls take one request each, the first one and an expired nonce one more`)
}

// The replicas load the next key and begin to sign with it each at its own moment: no nonce is lost.
const { get, refresh } = await (await viaOauth4webapi())('ES256')
let [pair, took] = await trips(get)
const kid = () => decodeProtectedHeader(pair.access_token).kid
const old = kid()
execFileSync(process.env.LINGPAI, ['keys', 'rotate', '--in', '4s', '--now', '--config', process.env.BALANCED_CONFIG])
let calls = 0
for (let after = 0; after < 30; calls += 1) {
  [pair, took] = await trips(() => (calls % 2 ? get() : refresh(pair.refresh_token)))
  assert.equal(took, 1, 'while the key changes')
  if (kid() !== old) after += 1
  await setTimeout(20)
}
says('oauth4webapi')(`three replicas in turn, while the key that signs changes: ${calls} calls take one request each`)
