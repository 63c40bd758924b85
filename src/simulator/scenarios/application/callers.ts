import { answerUser } from './agent-turn.ts'
import type { ClientTask } from './client-task.ts'
import { answerCodex } from './codex-callback.ts'
import { labelConversation } from './conversation-label.ts'
import { resumeSession } from './session-restore.ts'
import { showStatus } from './status-bar.ts'
import { keepTokenWarm } from './token-warmer.ts'
import { pollUsage } from './usage-poller.ts'

/** The parts of the application, each in a file of its own: telemetry must distinguish them. */
export const CALLERS = {
  agent_turn: answerUser,
  conversation_label: labelConversation,
  usage_poller: pollUsage,
  token_warmer: keepTokenWarm,
  status_bar: showStatus,
  session_restore: resumeSession,
  codex_callback: answerCodex,
} as const satisfies Record<string, (task: ClientTask) => Promise<void>>

/** `chat_page` is no code of the process: it calls over HTTP. */
export type CallerName = keyof typeof CALLERS | 'chat_page'
