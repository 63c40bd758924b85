import { LABEL_CALLER, LABEL_PROVIDER, LABEL_VIA } from '../../otel/semconv.ts'
import { nodeGraph } from '../panel-kinds.ts'
import { grown, observations, relabel, selected, sumBy, WHOLE_RANGE } from '../query.ts'

const refreshes = grown(observations('refreshDuration', selected('refreshDuration')), WHOLE_RANGE)

/** A word may be a caller and a provider at once; the prefix keeps the two apart. */
function nodesOf(label: string): string {
  return relabel(relabel(sumBy([label], refreshes), 'id', `${label}:$1`, label), 'title', '$1', label)
}

function edgesFrom(source: string, target: string): string {
  const ends = relabel(relabel(sumBy([source, target], refreshes), 'source', `${source}:$1`, source), 'target', `${target}:$1`, target)
  return `label_join(${ends}, "id", " > ", "source", "target")`
}

export const whichWayDoRefreshesTake = nodeGraph({
  title: 'Caller, gate or bypass, provider',
  question: 'Which way do refreshes take from their callers to the providers?',
  nodes: sumBy(['id', 'title'], [LABEL_CALLER, LABEL_VIA, LABEL_PROVIDER].map(nodesOf).join(' or ')),
  edges: sumBy(['id', 'source', 'target'], `${edgesFrom(LABEL_CALLER, LABEL_VIA)} or ${edgesFrom(LABEL_VIA, LABEL_PROVIDER)}`),
})
