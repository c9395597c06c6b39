import { parseArgs } from 'node:util'
import { startSandbox } from './sandbox.ts'

const { values } = parseArgs({
  options: {
    speed: { type: 'string', default: '1' },
    wva: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
if (values.help) {
  console.log(`Runs a simulated cluster until interrupted.

  --speed N   divide probe periods and back-offs by N
  --wva       with Prometheus, the WVA controller and prometheus-adapter, at their default intervals`)
  process.exit(0)
}
const sandbox = await startSandbox({ speed: Number(values.speed), ...(values.wva ? { wva: {} } : {}) })
console.log(`export KUBECONFIG=${sandbox.kubeconfigFile}`)
console.error(`simulated cluster at ${sandbox.api.url}; Ctrl-C ends it and everything in it`)
for (const signal of ['SIGINT', 'SIGTERM'] as const)
  process.once(signal, () => void sandbox.close().then(() => process.exit(0)))
