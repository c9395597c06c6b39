import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from '@jest/globals'
import { Programs } from './programs.ts'

let programs: Programs
beforeAll(async () => {
  programs = await Programs.create()
})
afterAll(() => programs.close())

describe('the controller before it starts', () => {
  test('it refuses a Prometheus that is not https', async () => {
    const ended = await programs.run('manager', [], { PROMETHEUS_BASE_URL: 'http://prometheus:9090' })
    expect(ended.code).toBe(1)
    expect(JSON.parse(ended.stdout)).toMatchObject({
      level: 'error',
      msg: 'TLS configuration validation failed - HTTPS is required',
    })
  })

  test('it refuses a CA file that is none, though it would not use it', async () => {
    const file = join(programs.folder, 'ca.crt')
    await writeFile(file, '# no CA supplied\n')
    const env = { PROMETHEUS_BASE_URL: 'https://127.0.0.1:1', PROMETHEUS_TLS_INSECURE_SKIP_VERIFY: 'true' }
    const ended = await programs.run('manager', [], { ...env, PROMETHEUS_CA_CERT_PATH: file })
    expect(ended.code).toBe(1)
    expect(ended.stdout).toContain('failed to parse CA certificate')
  })

  test('without an answer of Prometheus it tries again, and opens no port meanwhile', async () => {
    const env = { PROMETHEUS_BASE_URL: 'https://127.0.0.1:1', SANDBOX_POD_IP: '127.79.1.1' }
    const { child } = await programs.serve('manager', [], /Prometheus API validation failed, retrying/, env)
    await expect(fetch('http://127.79.1.1:8081/healthz')).rejects.toThrow('fetch failed')
    expect(child.exitCode).toBeNull()
    child.removeAllListeners('exit')
  })
})
