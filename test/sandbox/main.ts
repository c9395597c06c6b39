import { parseArgs } from 'node:util'
import { startSandbox } from './sandbox.ts'

const { values } = parseArgs({
  options: { speed: { type: 'string', default: '1' }, help: { type: 'boolean', default: false } },
})
if (values.help) {
  console.log('Runs a simulated cluster until interrupted.\n\n  --speed N   divide probe periods and back-offs by N')
  process.exit(0)
}
const sandbox = await startSandbox({ speed: Number(values.speed) })
console.log(`export KUBECONFIG=${sandbox.kubeconfigFile}`)
console.error(`simulated cluster at ${sandbox.api.url}; Ctrl-C ends it and everything in it`)
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void sandbox.close().then(() => process.exit(0)))
