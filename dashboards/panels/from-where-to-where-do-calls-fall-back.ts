import { LABEL_FROM, LABEL_REASON, LABEL_TO } from '../../otel/semconv.ts'
import { nodeGraph } from '../panel-kinds.ts'
import { grown, relabel, selected, series, sumBy, WHOLE_RANGE } from '../query.ts'

const fallbacks = grown(series('fallbacks', selected('fallbacks')), WHOLE_RANGE)

function nodesOf(label: string): string {
  return relabel(relabel(sumBy([label], fallbacks), 'id', '$1', label), 'title', '$1', label)
}

const ends = relabel(relabel(sumBy([LABEL_FROM, LABEL_TO, LABEL_REASON], fallbacks), 'source', '$1', LABEL_FROM), 'target', '$1', LABEL_TO)

export const fromWhereToWhereDoCallsFallBack = nodeGraph({
  title: 'From profile to profile',
  question: 'From which profile to which do calls fall back, and for which reason?',
  nodes: `max by (id, title) (${nodesOf(LABEL_FROM)} or ${nodesOf(LABEL_TO)})`,
  edges: sumBy(['id', 'source', 'target'], `label_join(${ends}, "id", " > ", "source", "target", "${LABEL_REASON}")`),
})
