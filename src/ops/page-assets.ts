import { createHash } from 'node:crypto'
import { readdir, readFile } from 'node:fs/promises'
import { extname, join } from 'node:path'
import { promisify } from 'node:util'
import { brotliCompress, constants, gzip } from 'node:zlib'
import type { Request, Response } from 'express'
import { PACKAGE_FOLDER } from '../tools/own-package.ts'

/** Where the parts of the page are asked for; followed by the build they belong to. */
export const ASSETS_PATH = '/ops/assets'

/** One file of the page as it goes to a browser. */
interface Asset {
  readonly name: string
  readonly type: string
  readonly body: Buffer
  readonly tag: string
  /** The address names the content: it never changes. */
  readonly isLasting: boolean
  packed?: Promise<{ readonly br: Buffer; readonly gzip: Buffer }>
}

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
}
const BUILD_LENGTH = 12
const REFUSAL = `<p class="notice bad" role="alert">That is none of the gateway's keys.</p>`

const brotli = promisify(brotliCompress)
const gzipped = promisify(gzip)

/** The files of the page. */
class PageAssets {
  readonly #assets: ReadonlyMap<string, Asset>
  readonly #build: string

  constructor(files: ReadonlyMap<string, string>) {
    const lasting = [...files].filter(([name]) => extname(name) !== '.html')
    this.#build = digest(lasting.map(([name, text]) => `${name}\n${text}`).join('\n')).slice(0, BUILD_LENGTH)
    // Relative to the page, which may be mounted anywhere; the form that asks for a key answers below `/ops` too.
    const base = (name: string) => `${name === 'page.html' ? ASSETS_PATH.slice(1) : ASSETS_PATH}/${this.#build}`
    this.#assets = new Map(
      [...files].flatMap(withRefusal).map(([name, text]) => {
        const isLasting = extname(name) !== '.html'
        const body = Buffer.from(isLasting ? text : text.replaceAll('{{assets}}', base(name)))
        return [name, { name, type: TYPES[extname(name)] ?? 'text/plain', body, tag: `"${digest(body).slice(0, 22)}"`, isLasting }]
      }),
    )
  }

  /** A file; one with an address that lasts only for the build it belongs to. */
  find(name: string, build?: string): Asset | undefined {
    const asset = this.#assets.get(name)
    return asset && asset.isLasting === (build !== undefined) && (build === undefined || build === this.#build) ? asset : undefined
  }

  names(): string[] {
    return [...this.#assets.keys()]
  }
}

/** The sign-in page has two versions: the first one, and one for a request whose key was wrong. */
function withRefusal([name, text]: readonly [string, string]): (readonly [string, string])[] {
  if (name !== 'sign-in.html') return [[name, text]]
  return [
    [name, text.replace('{{refusal}}', '')],
    ['sign-in-refused.html', text.replace('{{refusal}}', REFUSAL)],
  ]
}

let loaded: Promise<PageAssets> | undefined

/** The page's files, read once: as they were built, or from the sources in a checkout. */
export function pageAssets(): Promise<PageAssets> {
  const isSource = extname(import.meta.filename) === '.ts'
  loaded ??= (isSource ? bundledFiles() : builtFiles()).then(files => new PageAssets(files))
  return loaded
}

async function bundledFiles(): Promise<ReadonlyMap<string, string>> {
  // An address that no bundler follows: what the package ships has no esbuild.
  const { bundlePage } = (await import(new URL('./bundle-page.ts', import.meta.url).href)) as typeof import('./bundle-page.ts')
  return (await bundlePage()).files
}

async function builtFiles(): Promise<ReadonlyMap<string, string>> {
  const folder = join(PACKAGE_FOLDER ?? '', 'dist/page')
  const names = await readdir(folder)
  return new Map(await Promise.all(names.sort().map(async name => [name, await readFile(join(folder, name), 'utf8')] as const)))
}

/** Answers with a file, packed as the browser likes it; or that there is none. */
export function sendAsset(request: Request, response: Response, asset: Asset | undefined): void {
  if (!asset) {
    response.status(404).type('text/plain').send('there is no such file; reload the page')
    return
  }
  response.setHeader('cache-control', asset.isLasting ? 'public, max-age=31536000, immutable' : 'no-cache')
  response.setHeader('etag', asset.tag)
  response.vary('accept-encoding')
  if (request.headers['if-none-match'] === asset.tag) {
    response.status(304).end()
    return
  }
  response.setHeader('content-type', asset.type)
  const encoding = request.acceptsEncodings('br', 'gzip')
  if (encoding !== 'br' && encoding !== 'gzip') {
    response.end(asset.body)
    return
  }
  asset.packed ??= pack(asset.body)
  asset.packed.then(
    packed => {
      response.setHeader('content-encoding', encoding)
      response.setHeader('content-length', packed[encoding].length)
      response.end(packed[encoding])
    },
    () => response.end(asset.body),
  )
}

async function pack(body: Buffer): Promise<{ br: Buffer; gzip: Buffer }> {
  const quality = { params: { [constants.BROTLI_PARAM_QUALITY]: 9 } }
  const [br, packed] = await Promise.all([brotli(body, quality), gzipped(body)])
  return { br, gzip: packed }
}

function digest(content: string | Buffer): string {
  return createHash('sha256').update(content).digest('base64url')
}
