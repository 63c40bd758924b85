import { readFile, rename, writeFile } from 'node:fs/promises'

/** The token store of this application: one login, `{ access, refresh, expiresAt, rotations? }`, in a file of JSON. */
export class LoginFile {
  #path

  constructor(path) {
    this.#path = path
  }

  async read() {
    return JSON.parse(await readFile(this.#path, 'utf8'))
  }

  /** Beside its place, and then into it: no half login is ever read. */
  async write(login) {
    await writeFile(`${this.#path}.new`, JSON.stringify(login), { mode: 0o600 })
    await rename(`${this.#path}.new`, this.#path)
  }
}
