import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A certificate for `localhost` that signs itself, and the file it is in for `NODE_EXTRA_CA_CERTS`. */
export interface TestCertificate {
  readonly key: string
  readonly cert: string
  readonly file: string
  remove(): void
}

interface SelfSigned {
  generate(attributes: unknown, options: unknown): Promise<{ private: string; cert: string }>
}

/** Makes a certificate that is good for a day. */
export async function makeCertificate(): Promise<TestCertificate> {
  // Installed here alone, so the compiler, which sees the whole tree, must not look for it.
  const name: string = 'selfsigned'
  const { default: selfsigned } = (await import(name)) as { default: SelfSigned }
  const { private: key, cert } = await selfsigned.generate([{ name: 'commonName', value: 'localhost' }], {
    keyType: 'ec',
    algorithm: 'sha256',
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'subjectAltName', altNames: [{ type: 2, value: 'localhost' }] },
    ],
  })
  const folder = mkdtempSync(join(tmpdir(), 'gatewatch-clients-'))
  const file = join(folder, 'ca.pem')
  writeFileSync(file, cert)
  return { key, cert, file, remove: () => rmSync(folder, { recursive: true, force: true }) }
}
