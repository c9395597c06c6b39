import { expect, test } from '@jest/globals'
import fc from 'fast-check'
import { fields } from '../../../src/inputs/fields.ts'
import { parseInputs, problemsToError } from '../../../src/inputs.ts'
import { kubeconfig, withToken } from './kubeconfig-text.ts'

const base = { kubeconfig: kubeconfig(), namespace: 'bench' }
const problems = (raw: Record<string, string>) => {
  const parsed = parseInputs(raw, { door: 'action', now: 0 })
  return 'problems' in parsed ? parsed.problems : []
}

const s = { mode: 'standup' }
const r = { mode: 'run' }
const t = { mode: 'teardown' }
/** Name, inputs, the input that is blamed, what its sentences must contain. */
const table: [string, Record<string, string>, string, RegExp][] = [
  ['an unknown mode', { mode: 'stand-up' }, 'mode', /"stand-up".*did you mean standup.*standup, run, teardown/],
  ['a missing mode', { mode: '' }, 'mode', /missing.*required/],
  ['a mode of another version', { mode: 'compare' }, 'mode', /"compare".*not a mode of this version/],
  ['an unknown input', { ...s, hf_token: 'x' }, 'hf_token', /unknown.*Did you mean `hf-token`/],
  ['an input of another mode', { ...s, repeats: '3' }, 'repeats', /given to mode standup.*belongs to run/],
  ['deep in run', { ...r, deep: 'true' }, 'deep', /belongs to teardown/],
  ['no namespace', { ...s, namespace: '' }, 'namespace', /missing.*one namespace/],
  ['a namespace in capitals', { ...s, namespace: 'Bench' }, 'namespace', /"Bench".*lower-case/],
  ['three namespaces', { ...s, namespace: 'a,b,c' }, 'namespace', /one or two namespace/],
  ['a namespace that is too long', { ...s, namespace: 'a'.repeat(64) }, 'namespace', /63/],
  ['a harness namespace without a model namespace', { ...s, namespace: ',b' }, 'namespace', /one or two namespace/],
  ['no kubeconfig', { ...s, kubeconfig: '' }, 'kubeconfig', /missing.*forks.*secrets/],
  ['no kubeconfig in a dry run of teardown', { ...t, kubeconfig: '', 'dry-run': 'true' }, 'kubeconfig', /missing/],
  [
    'a kubeconfig that is no YAML',
    { ...s, kubeconfig: 'clusters: [\n  - a: {' },
    'kubeconfig',
    /not YAML \(line \d+.*kubectl config view/,
  ],
  [
    'a kubeconfig that is a path',
    { ...s, kubeconfig: '/home/me/.kube/config' },
    'kubeconfig',
    /looks like a path.*content/,
  ],
  ['a kubeconfig without clusters', { ...s, kubeconfig: 'kind: Config' }, 'kubeconfig', /no clusters/],
  ['an unknown context', { ...s, context: 'prod' }, 'kubeconfig', /no context "prod".*"main"/],
  [
    'a kubeconfig without current-context',
    { ...s, kubeconfig: kubeconfig({ current: '' }) },
    'kubeconfig',
    /no current-context.*"main"/,
  ],
  [
    'a kubeconfig that points at a file',
    { ...s, kubeconfig: kubeconfig({ user: { 'client-key': '/k.pem' } }) },
    'kubeconfig',
    /client-key.*embedded/,
  ],
  [
    'a kubeconfig whose server is no address',
    { ...s, kubeconfig: kubeconfig({ server: 'kube' }) },
    'kubeconfig',
    /no server address/,
  ],
  ['a token that has expired', { ...s, kubeconfig: withToken(60) }, 'kubeconfig', /expired.*1970-01-01T00:01:00/],
  ['a model id with three parts', { ...s, model: 'a/b/c' }, 'model', /organisation\/name/],
  ['an automatic model in standup', { ...s, model: 'auto' }, 'model', /"auto"/],
  [
    'an unknown well-lit path',
    { ...s, 'well-lit-path': 'inference-schedulin' },
    'well-lit-path',
    /did you mean inference-scheduling/,
  ],
  ['another generation of WVA', { ...s, 'wva-version': '0.5.1' }, 'wva-version', /"0.5.1".*0\.4\.x.*0\.4\.2/],
  ['a ceiling of 0', { ...s, 'max-replicas': '0' }, 'max-replicas', /"0".*1 to 1000/],
  [
    'a window longer than an hour',
    { ...s, 'hpa-behavior': 'scaleUp: {stabilizationWindowSeconds: 7200}' },
    'hpa-behavior',
    /scaleUp\.stabilizationWindowSeconds.*0 to 3600/,
  ],
  ['a behaviour of another kind', { ...s, 'hpa-behavior': 'scaleup: {}' }, 'hpa-behavior', /"scaleup".*scaleUp and/],
  [
    'a label that is none',
    { ...s, 'service-monitor-labels': '{release: "a b"}' },
    'service-monitor-labels',
    /release: a b.*not a Kubernetes label/,
  ],
  ['a settle that is neither', { ...r, settle: 'rest' }, 'settle', /"rest".*reset or a duration|"rest".*neither reset/],
  ['settle in standup', { ...s, settle: '0s' }, 'settle', /belongs to run/],
  ['a boolean that is none', { ...s, wva: 'yes' }, 'wva', /neither true nor false/],
  ['no replicas', { ...s, replicas: '0' }, 'replicas', /1 to 1000/],
  ['replicas in words', { ...s, replicas: 'two' }, 'replicas', /"two".*whole number/],
  [
    'an accelerator without a value',
    { ...s, accelerator: 'nvidia.com/gpu.product' },
    'accelerator',
    /not a node label/,
  ],
  ['tolerations that are a map', { ...s, tolerations: 'key: a' }, 'tolerations', /not a YAML list/],
  ['a toleration with a foreign field', { ...s, tolerations: '[{keys: a}]' }, 'tolerations', /Entry 1.*keys/],
  ['a node selector that is a list', { ...s, 'node-selector': '[a]' }, 'node-selector', /not a YAML map/],
  ['a size without a number', { ...s, 'model-cache-size': 'big' }, 'model-cache-size', /not a size.*300Gi/],
  ['an unknown access mode', { ...s, 'access-mode': 'RWX' }, 'access-mode', /ReadWriteMany/],
  ['an unknown source of weights', { ...s, 'model-source': 's3://b/m' }, 'model-source', /pvc:\/\/CLAIM\/PATH/],
  ['weights above the volume', { ...s, 'model-source': 'pvc://c/../x' }, 'model-source', /no source of weights/],
  [
    'a size for a volume that is already there',
    { ...s, 'model-source': 'pvc://c/m', 'model-cache-size': '2Ti' },
    'model-cache-size',
    /No volume is made/,
  ],
  ['overrides that the path does not have', { ...s, overrides: 'maxModelLn: 1' }, 'overrides', /maxModelLen/],
  ['overrides that are no YAML', { ...s, overrides: '{a' }, 'overrides', /not YAML/],
  ['a duration without a unit', { ...s, ttl: '90' }, 'ttl', /"90".*duration.*90s/],
  ['an unknown time-out', { ...s, timeouts: '{downlod: 1h}' }, 'timeouts', /Did you mean download/],
  ['a time-out that is no duration', { ...s, timeouts: '{ready: soon}' }, 'timeouts', /timeouts.ready.*"soon"/],
  [
    'a hub address with credentials',
    { ...s, 'hf-endpoint': 'https://u:p@hub.example' },
    'hf-endpoint',
    /without credentials/,
  ],
  ['another harness', { ...r, harness: 'locust' }, 'harness', /guidellm/],
  ['an unknown profile', { ...r, workload: 'chatbot_sinthetic' }, 'workload', /did you mean chatbot_synthetic/],
  ['no repeats', { ...r, repeats: '0' }, 'repeats', /1 to 100/],
  ['more than all of the requests', { ...r, 'slo-attainment': '120%' }, 'slo-attainment', /percentage/],
  ['an endpoint that is none', { ...r, endpoint: 'localhost:8000' }, 'endpoint', /service\/NAME/],
  ['a Service port out of range', { ...r, endpoint: 'service/a:70000' }, 'endpoint', /no endpoint/],
  ['a run that does not wait', { ...r, 'wait-timeout': '0s' }, 'wait-timeout', /is 0/],
  ['deep and purge together', { ...t, deep: 'true', purge: 'true' }, 'purge', /Both.*one of them/],
]

test.each(table)('B1: %s is refused with what, why and what to write', (_name, raw, input, pattern) => {
  const found = problems({ ...base, ...raw }).filter(p => p.input === input)
  expect(found).toHaveLength(1)
  const [problem] = found
  expect(problem!.what).not.toBe('')
  expect(problem!.why).not.toBe('')
  expect(problem!.write).not.toBe('')
  expect(`${problem!.what} ${problem!.why} Write ${problem!.write}.`).toMatch(pattern)
})

test('B1: all mistakes of one call are reported together', () => {
  const eight = {
    namespace: 'Bench',
    model: 'a/b/c',
    replicas: 'two',
    ttl: '90',
    wva: 'yes',
    tolerations: 'a: b',
    accelerator: 'x',
    purg: '1',
  }
  const found = problems({ ...base, mode: 'standup', ...eight })
  expect(found.map(p => p.input).sort()).toEqual(Object.keys(eight).sort())
  const { failure } = problemsToError(found)
  expect(failure.code).toBe('INPUT')
  expect(failure.evidence).toHaveLength(8)
  for (const name of Object.keys(eight)) expect(failure.evidence.join('\n')).toContain(`\`${name}\``)
})

test('any text in any input gives inputs or problems, never an exception', () => {
  const raw = fc.dictionary(
    fc.constantFrom(...fields.map(f => f.name), 'unknown', '__proto__'),
    fc.oneof(fc.string(), fc.string({ unit: 'grapheme' }), fc.constantFrom('{', '[1', '&a *a', 'true', '0s')),
  )
  fc.assert(
    fc.property(
      raw,
      fc.constantFrom('standup', 'run', 'teardown', ''),
      fc.constantFrom('action' as const, 'cli' as const),
      (given, mode, door) => {
        const parsed = parseInputs({ ...given, mode }, { door, now: 0 })
        expect('ok' in parsed || parsed.problems.length > 0).toBe(true)
      },
    ),
    { numRuns: 500 },
  )
})

test('no problem shows the value of a secret', () => {
  const secret = fc.stringMatching(/^[A-Za-z0-9]{12,40}$/)
  const template = fc.constantFrom(
    'users: [{user: {token: SECRET}',
    'token: SECRET\n\tbad',
    'SECRET',
    '{SECRET: [',
    'clusters: *SECRET',
    'kind: Config\ntoken: SECRET',
  )
  fc.assert(
    fc.property(secret, template, fc.constantFrom('standup', 'run', 'nonsense'), (value, text, mode) => {
      const found = problems({
        mode,
        namespace: '',
        kubeconfig: text.replace('SECRET', value),
        'hf-token': value,
        'github-token': value,
      })
      expect(found.length).toBeGreaterThan(0)
      expect(JSON.stringify(found)).not.toContain(value)
    }),
    { numRuns: 300 },
  )
})
