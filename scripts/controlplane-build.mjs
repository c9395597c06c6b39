// etcd and the parts of Kubernetes, built by Go from its module proxy at the versions that test/controlplane pins. They live in
// a cache folder outside the checkout, one per set of pins. No binary is ever committed.
import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs'
import { homedir } from 'node:os'
import path from 'node:path'

const pins = path.join(import.meta.dirname, '..', 'test', 'controlplane')
const version = 'v1.35.4'
const [major, minor] = version.slice(1).split('.')
const stamp = 'k8s.io/component-base/version'
// Without these the server calls itself v0.0.0-master, and clients that read its version stumble.
const kubernetesFlags = `-s -w -X ${stamp}.gitVersion=${version} -X ${stamp}.gitMajor=${major} -X ${stamp}.gitMinor=${minor} -X ${stamp}.gitTreeState=clean`
/** Two modules: etcd and Kubernetes ask for different versions of the libraries that they share. */
const builds = [
  { module: 'etcd', name: 'etcd', package: 'go.etcd.io/etcd/server/v3', flags: '-s -w' },
  {
    module: 'kubernetes',
    name: 'kube-apiserver',
    package: 'k8s.io/kubernetes/cmd/kube-apiserver',
    flags: kubernetesFlags,
  },
]
const oldestGo = [1, 25]
const limitMs = 10 * 60_000

/** Why this machine cannot have the binaries: a reason to leave the ring out, not a failure. */
export class CannotBuild extends Error {}

/**
 * The folder with the binaries; built first where it is missing, in up to ten minutes.
 * @throws CannotBuild without Go, without its modules, or when the time was not enough (the next try goes on from there)
 */
export function controlPlaneBinaries() {
  const cache =
    process.env.BENCH_ACTION_CACHE ??
    path.join(process.env.XDG_CACHE_HOME ?? path.join(homedir(), '.cache'), 'bench-action')
  const hash = createHash('sha256').update(JSON.stringify(builds))
  for (const module of new Set(builds.map(b => b.module))) {
    for (const file of ['go.mod', 'go.sum']) hash.update(readFileSync(path.join(pins, module, file)))
  }
  const home = path.join(cache, `controlplane-${hash.digest('hex').slice(0, 16)}`)
  if (existsSync(home)) return home
  checkGo()
  const started = Date.now()
  console.log(`control plane ring: building etcd and Kubernetes ${version} in ${home} (once, some minutes) ...`)
  const draft = `${home}.${process.pid}`
  mkdirSync(draft, { recursive: true })
  try {
    for (const build of builds) {
      const cwd = path.join(pins, build.module)
      const left = () => Math.max(1000, started + limitMs - Date.now())
      fetchModules(go(['list', '-mod=readonly', '-deps', '-f', '{{""}}', build.package], cwd, left()))
      const args = ['build', '-mod=readonly', '-trimpath', '-ldflags', build.flags, '-o', path.join(draft, build.name)]
      const built = go([...args, build.package], cwd, left())
      if (built.timedOut)
        throw new CannotBuild(`not built in ${limitMs / 60_000} minutes; the next try goes on from here`)
      if (built.status !== 0) throw new Error(`control plane ring: ${build.name} does not build\n${built.text}`)
    }
    // Somebody else may have been faster.
    if (!existsSync(home)) renameSync(draft, home)
  } finally {
    rmSync(draft, { recursive: true, force: true })
  }
  console.log(`control plane ring: built in ${Math.round((Date.now() - started) / 1000)} s`)
  return home
}

function go(args, cwd, timeout) {
  const env = { ...process.env, GOTOOLCHAIN: 'local', GOWORK: 'off', CGO_ENABLED: '0', GOFLAGS: '-buildvcs=false' }
  // SIGINT, so that what was compiled so far stays in Go's cache.
  const options = { cwd, env, encoding: 'utf8', timeout, killSignal: 'SIGINT', maxBuffer: 1 << 28 }
  const ran = spawnSync('go', args, { ...options, stdio: ['ignore', 'pipe', 'pipe'] })
  return { status: ran.status, timedOut: ran.error?.code === 'ETIMEDOUT', text: ran.stderr ?? '' }
}

function checkGo() {
  const found = spawnSync('go', ['env', 'GOVERSION'], {
    encoding: 'utf8',
    env: { ...process.env, GOTOOLCHAIN: 'local' },
  })
  const numbers = /^go(\d+)\.(\d+)/
    .exec(found.stdout?.trim() ?? '')
    ?.slice(1)
    .map(Number)
  if (!numbers) throw new CannotBuild('no Go on this machine')
  if (numbers[0] < oldestGo[0] || (numbers[0] === oldestGo[0] && numbers[1] < oldestGo[1]))
    throw new CannotBuild(`needs Go ${oldestGo.join('.')}, found ${found.stdout.trim()}`)
}

/** A module that cannot be fetched is the network's fault; pins that do not fit together, or to the modules, are ours. */
function fetchModules({ status, timedOut, text }) {
  if (status === 0) return
  const end = text.trim().split('\n').slice(-5).join('\n')
  if (/checksum mismatch|SECURITY ERROR|missing go\.sum entry|updates to go\.mod needed/.test(text))
    throw new Error(`control plane ring: the pins do not fit\n${end}`)
  throw new CannotBuild(
    timedOut ? 'the Go modules were not fetched in time' : `the Go modules cannot be fetched:\n${end}`,
  )
}
