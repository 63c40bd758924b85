import { ATTR_CALLER, ATTR_CODE_STACK, ATTR_OUTCOME, ATTR_PROVIDER, ATTR_REPLAY, ATTR_VIA } from '../../otel/semconv.ts'
import { attribute } from '../links.ts'
import { spanTable } from '../table.ts'

const columns = [ATTR_CALLER, ATTR_PROVIDER, ATTR_OUTCOME, ATTR_REPLAY, ATTR_CODE_STACK].map(name => `span.${name}`).join(', ')

export const whichTracesWentPastTheGate = spanTable({
  title: 'Traces of bypasses',
  question: 'Which call stacks sent a token request past the gate?',
  traceql: `{ ${attribute(ATTR_VIA, 'bypass')} } | select(${columns})`,
})
