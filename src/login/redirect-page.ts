import type { ServerResponse } from 'node:http'

/** What a browser that comes back may be shown. */
export type RedirectWord = 'on_its_way' | 'signed_in' | 'failed' | 'unknown_login' | 'elsewhere'

const PAGES: Readonly<Record<RedirectWord, { status: number; title: string; text: string }>> = {
  on_its_way: { status: 303, title: 'One moment', text: 'The login is being finished.' },
  signed_in: { status: 200, title: 'Back to the terminal', text: 'It says how the login ended. You can close this window.' },
  failed: { status: 200, title: 'The login did not succeed', text: 'The terminal says why. You can close this window.' },
  unknown_login: {
    status: 400,
    title: 'Not this login',
    text: 'This page does not belong to the login that is under way. Begin again in the terminal.',
  },
  elsewhere: { status: 404, title: 'Nothing here', text: 'A login is awaited at another address.' },
}

/**
 * Answers a browser that comes back from signing in. Fixed texts alone: nothing of the request is in the page, nothing of
 * it is kept or sent on by the browser.
 *
 * @param location Where the browser goes next.
 */
export function redirectPage(response: ServerResponse, word: RedirectWord, location?: string): void {
  const { status, title, text } = PAGES[word]
  const body = `<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>Gatewatch</title>\n<h1>${title}</h1>\n<p>${text}</p>\n</html>\n`
  response.writeHead(status, {
    'content-type': 'text/html; charset=utf-8',
    'content-length': Buffer.byteLength(body),
    'cache-control': 'no-store',
    'referrer-policy': 'no-referrer',
    'content-security-policy': "default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    'x-content-type-options': 'nosniff',
    connection: 'close',
    ...(location !== undefined && { location }),
  })
  response.end(body)
}
