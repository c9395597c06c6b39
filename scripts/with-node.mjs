// Runs a script with the Node this project is built for, installing the project's packages first when they are
// missing or older than the lock file. Plain JavaScript on purpose: it must run on any Node >= 20.
import { spawn, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import path from 'node:path'
import { fileURLToPath } from 'node:url'

const root = path.dirname(path.dirname(fileURLToPath(import.meta.url)))
const stamp = path.join(root, 'node_modules', '.bench-action-lock')
const lockHash = createHash('sha256')
  .update(readFileSync(path.join(root, 'package-lock.json')))
  .digest('hex')

if (!existsSync(stamp) || readFileSync(stamp, 'utf8') !== lockHash) {
  const started = Date.now()
  process.stderr.write('bench-action: installing packages (npm ci) ...\n')
  const npm = process.env.npm_execpath
  const result = npm?.endsWith('.js')
    ? spawnSync(process.execPath, [npm, 'ci', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] })
    : spawnSync('npm', ['ci', '--loglevel=error'], { cwd: root, stdio: ['ignore', 2, 2] })
  if (result.status !== 0) {
    process.stderr.write(
      `bench-action: npm ci failed (exit ${result.status ?? result.signal ?? result.error?.message}). Check the network to the npm registry and run the command again.\n`,
    )
    process.exit(1)
  }
  writeFileSync(stamp, lockHash)
  process.stderr.write(`bench-action: packages installed in ${((Date.now() - started) / 1000).toFixed(1)} s\n`)
}

const pinned = path.join(root, 'node_modules', 'node', 'bin', 'node')
const major = Number(process.versions.node.split('.')[0])
let node = pinned
if (!existsSync(pinned)) {
  if (major < 24) {
    process.stderr.write(
      `bench-action: node_modules/node has no binary (its install script was blocked) and this is Node ${process.versions.node}. Allow install scripts for the package "node", or install Node 24.\n`,
    )
    process.exit(1)
  }
  node = process.execPath
}

// The sandbox's containers are processes of this machine and need its sh, tar and find, also where PATH names npm alone.
const given = (process.env.PATH ?? '').split(path.delimiter).filter(Boolean)
const system = ['/usr/bin', '/bin']
const child = spawn(node, process.argv.slice(2), {
  cwd: root,
  stdio: 'inherit',
  env: { ...process.env, PATH: [...new Set([path.dirname(node), ...given, ...system])].join(path.delimiter) },
})
for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => child.kill(signal))
child.on('exit', (code, signal) => process.exit(code ?? (signal ? 1 : 0)))
