import { Child } from './child.ts'
import { builtPackage } from './compiled.ts'
import type { Contestant } from './variants.ts'

/** The same route of an Express application: bare, behind the middleware, and with its provider call wrapped. */
export const EMBED_CONTESTANTS = ['route', 'middleware', 'wrapped'] as const
export type EmbedContestantId = (typeof EMBED_CONTESTANTS)[number]

const APPLICATION = new URL('./processes/embedding.ts', import.meta.url)

/**
 * Who is measured when it is about an application that embeds Gatewatch: each request of theirs makes one provider call.
 *
 * @param root Tree whose package is embedded. @default this one
 */
export function embedContestants(root?: string): Readonly<Record<EmbedContestantId, Contestant>> {
  return {
    route: application(root, 'route', 'Express + undici, below 30 frames'),
    middleware: application(root, 'middleware', 'the same behind requestContext'),
    wrapped: application(root, 'wrapped', 'the same with wrapCall'),
  }
}

function application(root: string | undefined, id: EmbedContestantId, title: string): Contestant {
  return {
    title,
    headers: () => ({}),
    start: async ({ upstreamUrl }) => Child.start({ file: APPLICATION, parameters: [upstreamUrl, id, await builtPackage(root)] }),
  }
}
