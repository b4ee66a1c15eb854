// What the programs beside it share: the service, its clients and their keys, as ../run made them.
import { readFileSync } from 'node:fs'
import { importPKCS8 } from 'jose'

const environment = (name) => process.env[name] ?? (() => { throw new Error(`no ${name}`) })()

export const issuer = new URL(environment('ISSUER'))
export const orders = 'https://orders.example.com'
export const billing = 'https://billing.example.com'

// `shop` and `gate` have secrets, `signer` has keys.
export const shop = environment('SHOP_SECRET')
export const gate = environment('GATE_SECRET')

// The private key of `signer` for each algorithm: the key's id is the file's name.
export const keys = await Promise.all(
  [['es256', 'ES256'], ['ed25519', 'Ed25519'], ['rsa', 'PS256'], ['rsa', 'RS256']].map(async ([kid, algorithm]) => ({
    kid,
    algorithm,
    key: await importPKCS8(readFileSync(`${environment('KEYS')}/${kid}.pem`, 'utf8'), algorithm, { extractable: true }),
  })),
)

// says LIBRARY: prints a line for each thing that it did.
export function says(library) {
  const { version } = JSON.parse(readFileSync(new URL(`node_modules/${library}/package.json`, import.meta.url)))
  return (what) => console.log(`ok: ${library} ${version}: ${what}`)
}
