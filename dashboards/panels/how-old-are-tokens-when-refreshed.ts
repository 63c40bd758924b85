import { heatmap } from '../panel-kinds.ts'
import { bucketsOf, selected, sumBy } from '../query.ts'

export const howOldAreTokensWhenRefreshed = heatmap({
  title: 'Age of the token at its refresh',
  question: 'How old are tokens when they are refreshed? Seconds mean a refresh right after a login.',
  query: { expression: sumBy(['le'], `increase(${bucketsOf('tokenAge', selected('tokenAge'))}[$__interval])`), legend: '{{le}}' },
  unit: 'seconds',
})
