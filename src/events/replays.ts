import { replaysAmongSends, type TokenReplay, type TokenReplayRange } from './queries/token-replays.ts'
import type { RecordedSpans } from './recorded-spans.ts'

/** The replays among what a recorder holds, the newest first. */
export function replays(recorder: RecordedSpans, range: TokenReplayRange = {}): TokenReplay[] {
  return replaysAmongSends(recorder.repeatedSends(), range)
}
