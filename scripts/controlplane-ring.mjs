// Runs test/controlplane on a real etcd and a real Kubernetes API server: plain processes on loopback ports, which need no root
// and end with this process, however it ends. Exit code 77: this machine cannot have them.
import { spawn } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import path from 'node:path'
import { installCrds } from '../test/controlplane/crds.ts'
import { startControlPlane } from '../test/controlplane/processes.ts'
import { CannotBuild, controlPlaneBinaries } from './controlplane-build.mjs'

const skipped = 77

let binaries
try {
  binaries = controlPlaneBinaries()
} catch (error) {
  if (!(error instanceof CannotBuild)) throw error
  console.error(`control plane ring: SKIPPED, ${error.message}`)
  process.exit(skipped)
}

const started = Date.now()
const plane = await startControlPlane(binaries)
let code = 1
try {
  await installCrds(plane)
  console.log(`control plane ring: ${plane.version} is up after ${((Date.now() - started) / 1000).toFixed(1)} s`)
  const file = path.join(plane.folder, 'ring.json')
  const { url, caPem, adminToken, etcdUrl } = plane
  writeFileSync(file, JSON.stringify({ url, caPem, adminToken, etcdUrl, binaries }), { mode: 0o600 })
  const jest = spawn(
    process.execPath,
    [
      '--experimental-vm-modules',
      '--disable-warning=ExperimentalWarning',
      'node_modules/jest/bin/jest.js',
      'test/controlplane',
      ...process.argv.slice(2),
    ],
    { stdio: 'inherit', env: { ...process.env, BENCH_CONTROLPLANE: file } },
  )
  for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => jest.kill(signal))
  code = await new Promise(resolve => jest.once('exit', (status, signal) => resolve(status ?? (signal ? 1 : 0))))
} finally {
  await plane.close()
}
process.exit(code)
