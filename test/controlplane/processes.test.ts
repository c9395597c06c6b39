import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync } from 'node:fs'
import path from 'node:path'
import { expect, test } from '@jest/globals'
import { pause } from '../../src/cluster/api.ts'
import { ring } from './ring.ts'

const program = `
import { startControlPlane } from ${JSON.stringify(path.join(import.meta.dirname, 'processes.ts'))}
const { url, etcdUrl, folder } = await startControlPlane(process.argv[1])
console.log(JSON.stringify({ url, etcdUrl, folder }))
setInterval(() => {}, 1000)`

test('a control plane ends, and leaves nothing behind, when who started it is killed', async () => {
  const child = spawn(process.execPath, ['--input-type=module', '-e', program, ring.binaries], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const [line] = (await once(child.stdout.setEncoding('utf8'), 'data')) as [string]
  const { url, etcdUrl, folder } = JSON.parse(line) as Record<'url' | 'etcdUrl' | 'folder', string>
  expect(existsSync(folder)).toBe(true)
  expect((await fetch(`${etcdUrl}/health`)).status).toBe(200)
  child.kill('SIGKILL')
  for (const end = Date.now() + 20_000; existsSync(folder) && Date.now() < end; ) await pause(50)
  expect(existsSync(folder)).toBe(false)
  expect([await refused(`${etcdUrl}/health`), await refused(url)]).toEqual([true, true])
})

/** Whether nothing listens there any more, given the moment that a killed process takes to go. */
async function refused(address: string): Promise<boolean> {
  for (const end = Date.now() + 10_000; Date.now() < end; await pause(50)) {
    const code = await fetch(address).then(
      () => undefined,
      error => (error as { cause?: { code?: string } }).cause?.code,
    )
    if (code === 'ECONNREFUSED') return true
  }
  return false
}
