import { execFile } from 'node:child_process'
import { mkdtemp, readFile, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { promisify } from 'node:util'
import { expect, test } from '@jest/globals'
import { bundle } from './run-action.ts'

const exec = promisify(execFile)

/** Runs the bundle as a command; never throws. */
async function cli(
  args: readonly string[],
  env: Record<string, string> = {},
): Promise<{ code: number; stdout: string; stderr: string }> {
  try {
    const { stdout, stderr } = await exec(process.execPath, [bundle, ...args], {
      env: { PATH: process.env.PATH ?? '', HOME: tmpdir(), ...env },
    })
    return { code: 0, stdout, stderr }
  } catch (error) {
    const e = error as { code: number; stdout: string; stderr: string }
    return { code: e.code, stdout: e.stdout, stderr: e.stderr }
  }
}

test('--help lists the modes, MODE --help its inputs, --version the version', async () => {
  expect((await cli(['--help'])).stdout).toMatch(/standup[\s\S]*run[\s\S]*teardown/)
  const help = (await cli(['run', '--help'])).stdout
  for (const input of ['--repeats', '--workload', '--endpoint']) expect(help).toContain(input)
  expect(help).not.toContain('--replicas')
  const { version } = JSON.parse(await readFile(path.join(import.meta.dirname, '..', '..', 'package.json'), 'utf8'))
  expect((await cli(['--version'])).stdout.trim()).toBe(version)
}, 30_000)

test('B8: standup --dry-run without a cluster writes the plan from the inputs alone', async () => {
  const out = await mkdtemp(path.join(tmpdir(), 'bench-action-cli-'))
  const run = await cli(['standup', '--namespace', 'bench', '--model', 'Qwen/Qwen3-0.6B', '--dry-run', '--out', out])
  expect({ code: run.code, stderr: run.code === 0 ? '' : run.stderr }).toEqual({ code: 0, stderr: '' })
  const plan = await readFile(path.join(out, 'plan.yaml'), 'utf8')
  expect(plan.split('\n---\n').length).toBe(17)
  expect(await readFile(path.join(out, 'images.txt'), 'utf8')).toContain('llm-d-cuda')
}, 30_000)

test('B77: run --dry-run renders the profile against a mock endpoint', async () => {
  const out = await mkdtemp(path.join(tmpdir(), 'bench-action-cli-'))
  const run = await cli(['run', '--namespace', 'bench', '--dry-run', '--out', out])
  expect({ code: run.code, stderr: run.code === 0 ? '' : run.stderr }).toEqual({ code: 0, stderr: '' })
  expect(await readFile(path.join(out, 'plan.yaml'), 'utf8')).toContain('target: http://mock:1234')
}, 30_000)

test('a secret in the arguments is refused', async () => {
  const run = await cli(['standup', '--namespace', 'bench', '--hf-token', 'hf_secretsecretsecret'])
  expect(run.code).toBe(1)
  expect(run.stderr).toContain('HF_TOKEN')
  expect(run.stderr).not.toContain('hf_secretsecretsecret')
}, 30_000)

test('eight mistakes in one call are listed together and nothing is touched', async () => {
  const file = path.join(await mkdtemp(path.join(tmpdir(), 'bench-action-cli-')), 'kubeconfig')
  await writeFile(file, 'clusters: []\n')
  const run = await cli(
    [
      'standup',
      '--namespace',
      'Bad_Name',
      '--replicas',
      'two',
      '--ttl',
      'soon',
      '--model',
      'nope',
      '--wva',
      'yes',
      '--lifetme',
      'job',
      '--deep',
      'true',
      '--accelerator',
      'H100',
    ],
    { KUBECONFIG: file },
  )
  expect(run.code).toBe(1)
  for (const input of ['namespace', 'replicas', 'ttl', 'model', 'wva', 'lifetme', 'deep', 'accelerator', 'kubeconfig'])
    expect(run.stderr).toContain(`\`${input}\``)
  expect(run.stderr).toMatch(/did you mean `?lifetime/i)
}, 30_000)
