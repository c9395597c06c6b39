import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { afterAll, expect, test } from '@jest/globals'
import { fields, modes } from '../../../src/inputs/fields.ts'
import { helpText, inputsFromArgv, inputsFromEnv, parseInputs } from '../../../src/inputs.ts'
import { kubeconfig } from './kubeconfig-text.ts'

const base = { kubeconfig: kubeconfig(), namespace: 'bench' }
function ok(raw: Record<string, string>, door: 'action' | 'cli' = 'action') {
  const parsed = parseInputs({ ...base, ...raw }, { door, now: 0 })
  if ('problems' in parsed) throw new Error(JSON.stringify(parsed.problems))
  return parsed.ok
}
const folders: string[] = []
afterAll(() => Promise.all(folders.map(f => rm(f, { recursive: true }))))
async function file(text: string): Promise<string> {
  const folder = await mkdtemp(path.join(tmpdir(), 'inputs-'))
  folders.push(folder)
  await writeFile(path.join(folder, 'kubeconfig'), text)
  return path.join(folder, 'kubeconfig')
}

test.each(modes)('B1: mode %s works with a kubeconfig and a namespace alone', mode => {
  expect(ok({ mode })).toMatchObject({ mode, dryRun: false, comment: 'auto' })
})

test.each([
  ['a', 'a', 'a'],
  ['a,', 'a', 'a'],
  ['a,b', 'a', 'b'],
  [' a , b ', 'a', 'b'],
])('B2: namespace "%s" means model %s and harness %s', (namespace, model, harness) => {
  expect(ok({ mode: 'run', namespace }).namespace).toEqual({ model, harness })
})

test('B3: an explicit input beats the default, and an empty one is the default', () => {
  expect(ok({ mode: 'standup', replicas: '5' })).toMatchObject({ replicas: 5 })
  expect(ok({ mode: 'standup', replicas: '' })).toMatchObject({ replicas: 2 })
  expect(ok({ mode: 'standup' })).toMatchObject({
    release: 'llmdbench',
    model: 'meta-llama/Llama-3.1-8B',
    wellLitPath: 'inference-scheduling',
    replicas: 2,
    accessMode: 'ReadWriteMany',
    modelCacheSize: '1Ti',
    modelSource: { kind: 'pvc' },
    timeouts: { downloadMs: 2_400_000, readyMs: 900_000, gatesMs: 300_000 },
  })
})

test('B3: on the command line a file that is named beats the environment', async () => {
  const named = await file('named')
  const fromEnv = await file('from-env')
  expect(await inputsFromArgv(['run', '--kubeconfig-file', named], { KUBECONFIG: fromEnv })).toMatchObject({
    kubeconfig: 'named',
  })
  expect(await inputsFromArgv(['run'], { KUBECONFIG: fromEnv })).toMatchObject({ kubeconfig: 'from-env' })
})

test('defaults that the runner fills in for inputs of other modes are not taken as given', () => {
  const filled = Object.fromEntries(
    fields.filter(f => f.default !== '' && !f.default.startsWith('${{')).map(f => [f.name, f.default]),
  )
  for (const mode of modes) expect(ok({ ...filled, mode }).mode).toBe(mode)
})

test('what is absent is undefined and never an empty text', () => {
  for (const mode of modes) expect(Object.values(ok({ mode, out: '', context: '', matrix: 'null' }))).not.toContain('')
  expect(ok({ mode: 'standup', 'hf-token': '' })).not.toHaveProperty('hfToken')
})

test('a stack outlives the command line, and not the job', () => {
  expect(ok({ mode: 'standup' })).toMatchObject({ lifetime: 'job' })
  expect(ok({ mode: 'standup' }, 'cli')).toMatchObject({ lifetime: 'ttl' })
})

test('a registry prefix moves the default images, and leaves an image that was named', () => {
  const inputs = ok({ mode: 'standup', 'image-registry': 'mirror.example/cache', 'vllm-image': 'quay.io/me/vllm:1' })
  expect(inputs).toMatchObject({
    images: { vllm: 'quay.io/me/vllm:1', harness: 'mirror.example/cache/llm-d/llm-d-benchmark:v0.4.0' },
  })
})

test('a dry run of standup and run needs no kubeconfig', () => {
  for (const mode of ['standup', 'run'])
    expect(ok({ mode, kubeconfig: '', 'dry-run': 'true' })).not.toHaveProperty('kubeconfig')
})

test('tokens come back as secrets', () => {
  const { secrets } = parseInputs(
    { ...base, mode: 'standup', 'hf-token': 'hf_abcdefgh', 'github-token': 'ghs_abcdefgh' },
    { door: 'action', now: 0 },
  )
  expect(secrets).toEqual(expect.arrayContaining(['hf_abcdefgh', 'ghs_abcdefgh', 'opaque-token-of-u']))
})

test('the environment of a runner becomes inputs, dashes kept', () => {
  expect(inputsFromEnv({ 'INPUT_HF-TOKEN': 'x', INPUT_MODE: 'run', INPUT_EMPTY: '', PATH: '/bin' })).toEqual({
    'hf-token': 'x',
    mode: 'run',
  })
})

test('arguments are --input value, --input=value, and bare booleans', async () => {
  expect(
    await inputsFromArgv(['standup', '--model', 'a/b', '--namespace=x=y', '--dry-run', '--replicas', '3'], {}),
  ).toEqual({
    mode: 'standup',
    model: 'a/b',
    namespace: 'x=y',
    'dry-run': 'true',
    replicas: '3',
  })
  expect(await inputsFromArgv(['teardown', '--deep', 'false'], {})).toEqual({ mode: 'teardown', deep: 'false' })
})

test.each(['hf-token', 'github-token', 'kubeconfig'])(
  'the secret %s is refused as an argument and not shown',
  async name => {
    for (const argv of [[`--${name}`, 'CANARY-VALUE'], [`--${name}=CANARY-VALUE`]]) {
      const error = await inputsFromArgv(['standup', ...argv], {}).catch(e => e)
      expect(error.failure).toMatchObject({ code: 'INPUT', what: expect.stringContaining(name) })
      expect(JSON.stringify(error.failure)).not.toContain('CANARY-VALUE')
    }
  },
)

test('a token in the environment is only taken by a mode that uses it', async () => {
  const env = { HF_TOKEN: 'hf_x', GITHUB_TOKEN: 'gh_y' }
  expect(await inputsFromArgv(['standup'], env)).toMatchObject({ 'hf-token': 'hf_x', 'github-token': 'gh_y' })
  expect(await inputsFromArgv(['teardown'], env)).toEqual({ mode: 'teardown', 'github-token': 'gh_y' })
})

test('a kubeconfig file that is not there, and a word that is no argument, are INPUT failures', async () => {
  for (const argv of [
    ['run', '--kubeconfig-file', '/not/there'],
    ['run', 'stray'],
    ['run', '--model'],
  ]) {
    expect((await inputsFromArgv(argv, {}).catch(e => e)).failure).toMatchObject({
      code: 'INPUT',
      why: expect.stringMatching(/./),
      next: expect.stringMatching(/./),
    })
  }
})

test.each(modes)('help for %s names exactly the inputs of that mode', mode => {
  const named = [...helpText(mode).matchAll(/^ {2}--([a-z-]+)/gm)].map(m => m[1])
  expect(named).toEqual(fields.filter(f => f.modes.includes(mode) && f.name !== 'mode' && !f.hidden).map(f => f.name))
})
