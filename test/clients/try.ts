import { makeCertificate } from './certificate.ts'
import { isCallerFound, isHeldBack, isShapeRead, runTrial } from './trial.ts'

const c = await makeCertificate()
const [major, policy] = process.argv.slice(2)
const t = await runTrial(Number(major), policy!, c)
for (const r of t.rows)
  process.stdout.write(
    [
      r.client.padEnd(32),
      r.seen.length,
      r.arrived,
      isCallerFound(r) ? 'caller' : '-     ',
      isShapeRead(r) ? 'shape' : '-',
      policy === 'enforce' ? (isHeldBack(r) ? 'held' : 'NOT HELD') : '',
      r.status ?? '',
      r.error?.join('<') ?? '',
      isCallerFound(r) ? '' : r.seen.map(s => s['gatewatch.caller']).join(),
    ].join(' ') + '\n',
  )
process.stdout.write(`faults ${JSON.stringify(t.faults)} exit ${t.exit}\n${t.complaints.slice(0, 1500)}\n`)
process.stdout.write(
  `${major} ${policy}: rows ${t.rows.length} caller ${t.rows.filter(isCallerFound).length} shape ${t.rows.filter(isShapeRead).length} seen ${t.rows.filter(r => r.seen.length > 0).length} held ${t.rows.filter(isHeldBack).length}\n`,
)
c.remove()
