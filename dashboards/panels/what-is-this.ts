import { BOARD_UIDS } from '../links.ts'
import { text } from '../panel-kinds.ts'

export const whatIsThis = text({
  title: 'What is this?',
  question: 'What does this board show, and where do I look next?',
  markdown: `**Who refreshed the token, why, and did they go through the gate?** This page shows whether all is well; each row leads on.

- Somebody refreshes too much, or past the gate: [Who refreshes](/d/${BOARD_UIDS.whoRefreshes})
- The wrong profile serves, or the bill grows: [Profile fallback](/d/${BOARD_UIDS.profileFallback})
- Calls fail or are slow: [Provider calls](/d/${BOARD_UIDS.providerCalls})
- Locks, store, telemetry itself: [Inside](/d/${BOARD_UIDS.inside})`,
})
