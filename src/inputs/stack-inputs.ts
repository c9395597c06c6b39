import { UserError } from '../errors.ts'
import { nearest } from '../nearest.ts'
import { wellLitPaths } from '../paths/index.ts'
import { applyOverrides } from '../paths/overrides.ts'
import type { ModelSource, PodPlacement, Toleration } from '../stack/spec.ts'
import { readAutoscaling } from './autoscaling-inputs.ts'
import { fieldByName } from './fields.ts'
import { type Reader, shown } from './reader.ts'
import * as values from './values.ts'

/** What every pod carries. */
export function readPlacement(r: Reader): PodPlacement {
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
export function readImage(r: Reader, name: string): string {
  const image = r.read(name, values.pinnedImage, '')
  const registry = r.read<string | undefined>('image-registry', values.image, undefined)
  if (registry === undefined || image !== fieldByName.get(name)?.default) return image
  return `${registry.replace(/\/+$/, '')}/${image.split('/').slice(1).join('/')}`
}

/** The patch on the settings, checked against them. */
export function readOverrides(r: Reader): Record<string, unknown> {
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

/** Inputs that only standup has. */
export function readStandup(r: Reader, door: 'action' | 'cli') {
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
  const lock = r.oneOf<'wait' | 'fail' | 'force'>('lock')
  if (lock === 'force')
    r.problem('lock', 'Input `lock` is "force" in standup.', 'It belongs to teardown.', 'wait or fail')
  const lockTimeoutMs = r.read<number | undefined>('lock-timeout', values.positiveDuration, undefined)
  const hfToken = r.secret('hf-token')
  const hfEndpoint = r.read<string | undefined>('hf-endpoint', values.url, undefined)
  const storageClass = r.read<string | undefined>('storage-class', t => values.label(t, 253), undefined)
  r.oneOf('platform')
  return {
    mode: 'standup' as const,
    release: r.read('release', t => values.dnsLabelOf(t, 36), ''),
    wellLitPath,
    ...readAutoscaling(r),
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
    lock: lock === 'fail' ? ('fail' as const) : ('wait' as const),
    ...(lockTimeoutMs === undefined ? {} : { lockTimeoutMs }),
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
