// Prints the JWKS of the private keys in the given files of PEM. A key's id is its file's name; the RSA key has no `alg`,
// because it signs as PS256 and RS256.
import { createPublicKey } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { basename } from 'node:path'

const algorithms = { es256: 'ES256', ed25519: 'EdDSA' }
const keys = process.argv.slice(2).map((file) => {
  const kid = basename(file, '.pem')
  return { ...createPublicKey(readFileSync(file)).export({ format: 'jwk' }), kid, alg: algorithms[kid], use: 'sig' }
})
console.log(JSON.stringify({ keys }, null, 2))
