import { UserError } from '../errors.ts'
import { builtInProfiles } from '../harness/profiles.ts'
import { wellLitPaths } from '../paths/index.ts'
import { applyOverrides, nearest } from '../paths/overrides.ts'
import type { Images, ModelSource, PodPlacement, Toleration } from '../stack/spec.ts'
import { type Field, fieldByName, fields, type Mode, modes } from './fields.ts'
import { type KubeconfigSource, readKubeconfig, tokenExpiry } from './kubeconfig.ts'
import * as values from './values.ts'

/** One thing that is wrong with the inputs of a call. */
export interface Problem {
  readonly input: string
  readonly what: string
  readonly why: string
  /** What to write instead. */
  readonly write: string
}

interface Common {
  readonly kubeconfig?: KubeconfigSource
  readonly context?: string
  readonly namespace: { readonly model: string; readonly harness: string }
  readonly model: string
  readonly workload: string
  readonly comment: 'auto' | 'never'
  readonly out?: string
  readonly dryRun: boolean
  readonly githubToken?: string
  readonly matrix?: unknown
  readonly strategy?: unknown
}
export interface StandupInputs extends Common {
  readonly mode: 'standup'
  readonly release: string
  readonly wellLitPath: string
  readonly wva: boolean
  readonly hfToken?: string
  readonly hfEndpoint?: string
  readonly replicas: number
  readonly accelerator: 'auto' | { key: string; value: string }
  readonly placement: PodPlacement
  readonly images: Images
  readonly storageClass?: string
  readonly accessMode: string
  readonly modelCacheSize: string
  readonly modelSource: ModelSource
  readonly overrides: Readonly<Record<string, unknown>>
  readonly lifetime: 'job' | 'ttl'
  readonly ttlMs: number
  readonly timeouts: {
    readonly downloadMs: number
    readonly readyMs: number
    readonly gatesMs: number
    readonly scheduleMs: number
  }
  readonly keepOnFailure: 'none' | 'evidence' | 'all'
}
export interface RunInputs extends Common {
  readonly mode: 'run'
  readonly placement: PodPlacement
  readonly images: { readonly harness: string }
  readonly harnessResources: { readonly cpu: string; readonly memory: string }
  readonly workloadOverrides: Readonly<Record<string, unknown>>
  readonly repeats: number
  readonly parallelism: number
  readonly seed: number
  readonly endpoint: values.EndpointInput
  readonly waitTimeoutMs?: number
  readonly slo: { readonly ttftMs: number; readonly tpotMs: number; readonly attainment: number }
  readonly keepOnFailure: 'none' | 'evidence' | 'all'
}
export interface TeardownInputs extends Common {
  readonly mode: 'teardown'
  readonly deep: boolean
  readonly purge: boolean
}
export type Inputs = StandupInputs | RunInputs | TeardownInputs
export type ParseResult = ({ readonly ok: Inputs } | { readonly problems: readonly Problem[] }) & {
  readonly secrets: readonly string[]
}

/** A token that dies before this much of the step is over is refused at the start. */
const leastTokenLifeMs = 5 * 60_000
/** A value as it may be shown: short, and nothing that looks like a credential pasted into the wrong input. */
const shown = (text: string): string => {
  if (/\b(hf_|gh[a-z]_|github_pat_|eyJ|sha256~)[\w.-]{8,}|-----BEGIN/.test(text))
    return '(hidden: it looks like a secret)'
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 77)}...` : text)
}

/** Collects problems while fields are read, so that one call reports all of them. */
class Reader {
  readonly problems: Problem[] = []
  readonly secrets: string[] = []
  readonly #raw: Readonly<Record<string, string>>
  constructor(raw: Readonly<Record<string, string>>) {
    this.#raw = raw
  }
  problem(input: string, what: string, why: string, write: string): void {
    this.problems.push({ input, what, why, write })
  }
  /** The text of an input, its default when it is empty; an unexpanded `${{ }}` default counts as absent. */
  text(name: string): string {
    const given = (this.#raw[name] ?? '').trim()
    const preset = fieldByName.get(name)?.default ?? ''
    return given !== '' ? given : preset.startsWith('${{') ? '' : preset
  }
  given(name: string): boolean {
    return (this.#raw[name] ?? '').trim() !== ''
  }
  optional(name: string): string | undefined {
    return this.text(name) || undefined
  }
  read<T>(name: string, parse: (text: string) => values.Parsed<T>, fallback: T): T {
    const text = this.text(name)
    if (text === '') return fallback
    const parsed = parse(text)
    if ('value' in parsed) return parsed.value
    this.problem(name, `Input \`${name}\` is ${shown(text)}.`, parsed.why, parsed.write)
    return fallback
  }
  oneOf<T extends string>(name: string): T {
    const field = fieldByName.get(name) as Field
    const known = (field.kind as { values: readonly string[] }).values
    const text = this.text(name)
    if (!known.includes(text)) {
      const near = nearest(text, known)
      this.problem(
        name,
        `Input \`${name}\` is ${shown(text)}.`,
        `It is not one of its values${near ? `; did you mean ${near}?` : '.'}`,
        known.join(' or '),
      )
    }
    return text as T
  }
  secret(name: string): string | undefined {
    const text = this.optional(name)
    if (text !== undefined)
      this.secrets.push(text, ...text.split('\n').filter(l => l.length >= 8), Buffer.from(text).toString('base64'))
    return text
  }
}

/**
 * Turns the texts of one call into typed inputs, or into all of its problems. Pure; secrets come back in both cases,
 * so that they can be masked before anything is said.
 */
export function parseInputs(
  raw: Readonly<Record<string, string>>,
  options: { door: 'action' | 'cli'; now?: number },
): ParseResult {
  const r = new Reader(raw)
  const given = r.text('mode')
  const mode = given as Mode
  const known = modes.includes(mode)
  if (!known) {
    const near = nearest(mode, modes)
    const why =
      given === '' ? 'It is required.' : `It is not a mode of this version${near ? `; did you mean ${near}?` : '.'}`
    r.problem('mode', `Input \`mode\` is ${given === '' ? 'missing' : shown(given)}.`, why, modes.join(', '))
  }
  for (const name of Object.keys(raw)) checkName(r, name, known ? mode : undefined, options.door)
  const common = readCommon(r, mode, options)
  const specific = !known
    ? undefined
    : mode === 'standup'
      ? readStandup(r, options.door)
      : mode === 'run'
        ? readRun(r)
        : readTeardown(r)
  if (r.problems.length > 0 || specific === undefined) return { problems: r.problems, secrets: r.secrets }
  return { ok: { ...common, ...specific } as Inputs, secrets: r.secrets }
}

function checkName(r: Reader, name: string, mode: Mode | undefined, door: 'action' | 'cli'): void {
  const field = fieldByName.get(name)
  if (field === undefined) {
    const near = nearest(
      name,
      fields.map(f => f.name),
    )
    r.problem(
      name,
      `Input \`${name}\` is unknown.`,
      near === undefined ? 'No mode has it.' : `Did you mean \`${near}\`?`,
      mode === undefined
        ? 'one of the inputs in the README'
        : `one of: ${fields
            .filter(f => f.modes.includes(mode))
            .map(f => f.name)
            .join(', ')}`,
    )
  } else if (mode !== undefined && !field.modes.includes(mode) && r.given(name) && !isDefault(r, field, door)) {
    r.problem(
      name,
      `Input \`${name}\` is given to mode ${mode}.`,
      `It belongs to ${field.modes.join(', ')} and would do nothing here.`,
      `it in the step with mode ${field.modes.join(' or ')}`,
    )
  }
}

/** The runner fills in every default of action.yml, also of other modes' inputs: those were not "given". */
const isDefault = (r: Reader, field: Field, door: 'action' | 'cli'): boolean =>
  door === 'action' && r.text(field.name) === field.default

function readCommon(r: Reader, mode: Mode, options: { door: 'action' | 'cli'; now?: number }) {
  const dryRun = r.read('dry-run', values.boolean, false)
  const context = r.optional('context')
  const kubeconfig = readCluster(r, mode, dryRun, context, options)
  const namespaceText = r.text('namespace')
  if (namespaceText === '')
    r.problem(
      'namespace',
      'Input `namespace` is missing.',
      'Every mode works in one namespace.',
      'a namespace, e.g. llm-d-bench',
    )
  const json = (name: string): unknown => {
    const text = r.text(name)
    if (text === '') return undefined
    try {
      return JSON.parse(text) as unknown
    } catch {
      r.problem(name, `Input \`${name}\` is not JSON.`, 'The runner fills it.', 'nothing: leave it out')
      return undefined
    }
  }
  const matrix = json('matrix')
  const strategy = json('strategy')
  const githubToken = r.secret('github-token')
  const out = r.optional('out')
  return {
    namespace: r.read('namespace', values.namespace, { model: '', harness: '' }),
    model: r.read('model', t => (mode === 'run' && t === 'auto' ? { value: t } : values.modelId(t)), ''),
    workload: r.text('workload'),
    comment: r.oneOf<'auto' | 'never'>('comment'),
    dryRun,
    ...(kubeconfig === undefined ? {} : { kubeconfig }),
    ...(context === undefined ? {} : { context }),
    ...(out === undefined ? {} : { out }),
    ...(githubToken === undefined ? {} : { githubToken }),
    ...(matrix === undefined || matrix === null ? {} : { matrix }),
    ...(strategy === undefined || strategy === null ? {} : { strategy }),
  }
}

function readCluster(
  r: Reader,
  mode: Mode,
  dryRun: boolean,
  context: string | undefined,
  options: { door: 'action' | 'cli'; now?: number },
): KubeconfigSource | undefined {
  const text = r.text('kubeconfig')
  if (text === '') {
    const optional = dryRun && (mode === 'standup' || mode === 'run')
    if (!optional) {
      const write =
        options.door === 'cli'
          ? 'the variable KUBECONFIG or --kubeconfig-file PATH'
          : 'kubeconfig: ${{ secrets.BENCH_KUBECONFIG }}'
      r.problem(
        'kubeconfig',
        'Input `kubeconfig` is missing.',
        'The cluster is reached through it; a secret that does not exist gives an empty text, and pull requests from forks get no secrets.',
        write,
      )
    }
    return undefined
  }
  if (text === 'in-cluster' && context !== undefined) {
    r.problem(
      'context',
      'Input `context` is given with kubeconfig: in-cluster.',
      'A service account has no contexts.',
      'one of the two',
    )
  }
  const read = readKubeconfig(text, { context, allowFiles: options.door === 'cli' })
  r.secrets.push(...read.secrets)
  if ('problem' in read) {
    r.problem('kubeconfig', 'Input `kubeconfig` cannot be used.', read.problem.why, read.problem.write)
    return undefined
  }
  const expiry = tokenExpiry(read.source, context)
  const now = options.now ?? Date.now()
  if (expiry !== undefined && expiry < now + leastTokenLifeMs) {
    r.problem(
      'kubeconfig',
      'The token in `kubeconfig` has expired, or is about to.',
      `It is valid until ${new Date(expiry).toISOString()}.`,
      'a kubeconfig with a new token, e.g. `kubectl create token NAME --duration=8h`',
    )
  }
  return read.source
}

function readPlacement(r: Reader): PodPlacement {
  const tolerations = r.read('tolerations', values.yamlList, [])
  for (const [i, toleration] of tolerations.entries()) {
    const allowed = ['key', 'operator', 'value', 'effect', 'tolerationSeconds']
    const keys = typeof toleration === 'object' && toleration !== null ? Object.keys(toleration) : ['(not a map)']
    const wrong = keys.filter(k => !allowed.includes(k))
    const t = (typeof toleration === 'object' && toleration !== null ? toleration : {}) as Record<string, unknown>
    if (t.operator !== undefined && t.operator !== 'Exists' && t.operator !== 'Equal')
      r.problem(
        'tolerations',
        `Entry ${i + 1} of \`tolerations\` has the operator ${shown(String(t.operator))}.`,
        'There is no such operator.',
        'Exists or Equal',
      )
    if (t.effect !== undefined && !['NoSchedule', 'PreferNoSchedule', 'NoExecute'].includes(String(t.effect)))
      r.problem(
        'tolerations',
        `Entry ${i + 1} of \`tolerations\` has the effect ${shown(String(t.effect))}.`,
        'There is no such effect.',
        'NoSchedule, PreferNoSchedule or NoExecute',
      )
    if (wrong.length > 0)
      r.problem(
        'tolerations',
        `Entry ${i + 1} of \`tolerations\` has ${wrong.join(', ')}.`,
        'A toleration has other fields.',
        `a map of ${allowed.join(', ')}`,
      )
  }
  const selector = r.read('node-selector', values.yamlMap, {})
  for (const [key, value] of Object.entries(selector)) {
    if (typeof value === 'object')
      r.problem(
        'node-selector',
        `The value of \`${key}\` in \`node-selector\` is not text.`,
        'Node labels are texts.',
        'a map from label to text, quoted where YAML would read a number or boolean',
      )
  }
  const name = (input: string, max: number) => r.read<string | undefined>(input, t => values.label(t, max), undefined)
  const priorityClass = name('priority-class', 253)
  const queueName = name('queue-name', 63)
  const imagePullSecret = name('image-pull-secret', 253)
  return {
    tolerations: tolerations as Toleration[],
    nodeSelector: Object.fromEntries(Object.entries(selector).map(([k, v]) => [k, String(v)])),
    ...(priorityClass === undefined ? {} : { priorityClass }),
    ...(queueName === undefined ? {} : { queueName }),
    ...(imagePullSecret === undefined ? {} : { imagePullSecret }),
  }
}

/** An image that was named stands as it is; a default one moves behind the registry prefix. */
function readImage(r: Reader, name: string): string {
  const image = r.read(name, values.pinnedImage, '')
  const registry = r.read<string | undefined>('image-registry', values.image, undefined)
  if (registry === undefined || image !== fieldByName.get(name)?.default) return image
  return `${registry.replace(/\/+$/, '')}/${image.split('/').slice(1).join('/')}`
}

function readOverrides(r: Reader): Record<string, unknown> {
  const overrides = r.read('overrides', values.yamlMap, {})
  const path = wellLitPaths['inference-scheduling']
  try {
    if (path) applyOverrides(path, overrides)
  } catch (error) {
    if (!(error instanceof UserError)) throw error
    for (const problem of error.failure.evidence)
      r.problem(
        'overrides',
        `Input \`overrides\`: ${problem}`,
        'It patches the settings key by key.',
        `keys of the settings: ${Object.keys(path ?? {}).join(', ')}`,
      )
    return {}
  }
  return overrides
}

function readStandup(r: Reader, door: 'action' | 'cli') {
  const wellLitPath = r.text('well-lit-path')
  if (!(wellLitPath in wellLitPaths)) {
    const near = nearest(wellLitPath, Object.keys(wellLitPaths))
    r.problem(
      'well-lit-path',
      `Input \`well-lit-path\` is ${shown(wellLitPath)}.`,
      `There is no such path${near ? `; did you mean ${near}?` : '.'}`,
      Object.keys(wellLitPaths).join(' or '),
    )
  }
  if (r.read('wva', values.boolean, false)) {
    r.problem('wva', 'Input `wva` is "true".', 'The leg under the autoscaler is not in this version.', 'wva: false')
  }
  const modelSource = r.read<ModelSource>('model-source', values.modelSource, { kind: 'pvc' })
  if (modelSource.kind !== 'pvc') {
    for (const name of ['storage-class', 'model-cache-size', 'access-mode']) {
      if (r.given(name) && r.text(name) !== fieldByName.get(name)?.default) {
        r.problem(
          name,
          `Input \`${name}\` is given with model-source: ${r.text('model-source')}.`,
          'No volume is made for that source.',
          'model-source: pvc, or leave it out',
        )
      }
    }
  }
  const lifetime =
    r.given('lifetime') && !(door === 'cli' && r.text('lifetime') === '')
      ? r.oneOf<'job' | 'ttl'>('lifetime')
      : door === 'cli'
        ? 'ttl'
        : 'job'
  const timeouts = readTimeouts(r)
  const hfToken = r.secret('hf-token')
  const hfEndpoint = r.read<string | undefined>('hf-endpoint', values.url, undefined)
  const storageClass = r.read<string | undefined>('storage-class', t => values.label(t, 253), undefined)
  r.oneOf('platform')
  return {
    mode: 'standup' as const,
    release: r.read('release', t => values.dnsLabelOf(t, 36), ''),
    wellLitPath,
    wva: false,
    replicas: r.read('replicas', t => values.integer(t, 1, 1000), 2),
    accelerator: r.read('accelerator', values.accelerator, 'auto'),
    placement: readPlacement(r),
    images: {
      vllm: readImage(r, 'vllm-image'),
      scheduler: readImage(r, 'scheduler-image'),
      sidecar: readImage(r, 'sidecar-image'),
      harness: readImage(r, 'harness-image'),
    },
    accessMode: r.oneOf<string>('access-mode'),
    modelCacheSize: r.read('model-cache-size', values.quantity, '1Ti'),
    modelSource,
    overrides: readOverrides(r),
    lifetime,
    ttlMs: r.read('ttl', values.positiveDuration, 0),
    timeouts,
    keepOnFailure: r.oneOf<'none' | 'evidence' | 'all'>('keep-on-failure'),
    ...(hfToken === undefined ? {} : { hfToken }),
    ...(hfEndpoint === undefined ? {} : { hfEndpoint }),
    ...(storageClass === undefined ? {} : { storageClass }),
  }
}

const timeoutDefaults = { download: '40m', ready: '15m', gates: '5m', schedule: '2m' } as const

function readTimeouts(r: Reader) {
  const given = r.read('timeouts', values.yamlMap, {})
  const result: Record<string, number> = {}
  for (const [key, preset] of Object.entries(timeoutDefaults)) {
    const parsed = values.positiveDuration(String(given[key] ?? preset))
    if ('value' in parsed) result[key] = parsed.value
    else r.problem('timeouts', `\`timeouts.${key}\` is ${shown(String(given[key]))}.`, parsed.why, parsed.write)
  }
  for (const key of Object.keys(given)) {
    if (key in timeoutDefaults) continue
    const near = nearest(key, Object.keys(timeoutDefaults))
    r.problem(
      'timeouts',
      `\`timeouts.${key}\` is unknown.`,
      near === undefined ? 'It is no time-out.' : `Did you mean ${near}?`,
      `a map of ${Object.keys(timeoutDefaults).join(', ')}`,
    )
  }
  return {
    downloadMs: result.download ?? 0,
    readyMs: result.ready ?? 0,
    gatesMs: result.gates ?? 0,
    scheduleMs: result.schedule ?? 0,
  }
}

function readRun(r: Reader) {
  r.oneOf('harness')
  const workload = r.text('workload')
  if (workload.split(/[\\/]/).includes('..') || workload.startsWith('/')) {
    r.problem(
      'workload',
      `Input \`workload\` is ${shown(workload)}.`,
      'It leads out of the repository.',
      'a path inside the checked-out repository',
    )
  } else if (!(workload in builtInProfiles) && !/\.ya?ml(\.in)?$/.test(workload)) {
    const near = nearest(workload, Object.keys(builtInProfiles))
    r.problem(
      'workload',
      `Input \`workload\` is ${shown(workload)}.`,
      `It is neither a built-in profile nor a YAML file${near ? `; did you mean ${near}?` : '.'}`,
      `${Object.keys(builtInProfiles).join(', ')}, or the path of a .yaml file in the repository`,
    )
  }
  const waitTimeoutMs = r.read<number | undefined>('wait-timeout', values.positiveDuration, undefined)
  const overrides = readOverrides(r) as { harness?: { cpu?: string | number; memory?: string } }
  const preset = wellLitPaths['inference-scheduling']!.harness
  return {
    mode: 'run' as const,
    placement: readPlacement(r),
    images: { harness: readImage(r, 'harness-image') },
    harnessResources: {
      cpu: String(overrides.harness?.cpu ?? preset.cpu),
      memory: String(overrides.harness?.memory ?? preset.memory),
    },
    workloadOverrides: r.read('workload-overrides', values.yamlMap, {}),
    repeats: r.read('repeats', t => values.integer(t, 1, 100), 4),
    parallelism: r.read('parallelism', t => values.integer(t, 1, 64), 1),
    seed: r.read('seed', t => values.integer(t, 0, 1_000_000), 42),
    endpoint: r.read<values.EndpointInput>('endpoint', values.endpoint, { kind: 'auto' }),
    slo: {
      ttftMs: r.read('slo-ttft', values.positiveDuration, 1000),
      tpotMs: r.read('slo-tpot', values.positiveDuration, 10),
      attainment: r.read('slo-attainment', values.percent, 0.95),
    },
    keepOnFailure: r.oneOf<'none' | 'evidence' | 'all'>('keep-on-failure'),
    ...(waitTimeoutMs === undefined ? {} : { waitTimeoutMs }),
  }
}

function readTeardown(r: Reader) {
  const deep = r.read('deep', values.boolean, false)
  const purge = r.read('purge', values.boolean, false)
  if (deep && purge)
    r.problem(
      'purge',
      'Both `deep` and `purge` are true.',
      'purge deletes everything, also what deep would.',
      'one of them: deep for our own objects, purge for the whole namespace',
    )
  return { mode: 'teardown' as const, deep, purge }
}
