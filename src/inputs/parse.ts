import { builtInProfiles } from '../harness/profiles.ts'
import { nearest } from '../nearest.ts'
import { wellLitPaths } from '../paths/index.ts'
import { readWindow } from './autoscaling-inputs.ts'
import { type Field, fieldByName, fields, type Mode, modes } from './fields.ts'
import { type KubeconfigSource, readKubeconfig, tokenExpiry } from './kubeconfig.ts'
import { Reader, shown } from './reader.ts'
import { readImage, readOverrides, readPlacement, readStandup } from './stack-inputs.ts'
import type { Inputs, ParseResult } from './types.ts'
import * as values from './values.ts'

/** A token that dies before this much of the step is over is refused at the start. */
const leastTokenLifeMs = 5 * 60_000
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
    settle: r.read<values.SettleInput>('settle', values.settle, { kind: 'reset' }),
    settleWindowMs: readWindow(r),
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
  return { mode: 'teardown' as const, lock: r.oneOf<'wait' | 'fail' | 'force'>('lock'), deep, purge }
}
