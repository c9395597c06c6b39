import type { ImageRecord, LegDocument } from '../results/schema.ts'
import { md, mdCode } from './escape.ts'
import { count, duration, plural, table, written } from './format.ts'
import type { LegView } from './legs.ts'
import { listed } from './limits.ts'

/** Everything that decided the figures, and what is left on the cluster: a table of field and value. */
export function measuredTable(view: LegView): string {
  const document = view.measured?.document ?? view.stages.run ?? view.newest
  const { identity } = document
  const { workload } = identity
  const seeds = document.repeats.map(repeat => repeat.seed)
  const rows: (readonly [string, string] | undefined)[] = [
    ['Model', mdCode(identity.model)],
    ['Stack', stackText(document)],
    identity.wvaVersion === undefined ? undefined : ['WVA controller', mdCode(identity.wvaVersion, 60)],
    identity.hpaBehavior === undefined ? undefined : ['HPA behavior', mdCode(identity.hpaBehavior)],
    identity.accelerator && ['GPU nodes', mdCode(`${identity.accelerator.key}=${identity.accelerator.value}`)],
    [
      'Namespace, release',
      [identity.namespace, identity.release]
        .filter(name => name !== undefined)
        .map(name => mdCode(name))
        .join(', '),
    ],
    ...Object.entries(identity.images)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, 20)
      .map(([name, image]) => [`Image ${md(name, 60)}`, imageText(image)] as const),
    workload && [
      'Load',
      `${mdCode(workload.profile)} \`${workload.sha256.slice(0, 12)}\`: constant ${workload.rates.slice(0, 64).map(written).join(', ')} req/s × ${written(workload.secondsPerRate)} s${workload.parallelism > 1 ? ` × ${count(workload.parallelism)} pods` : ''}`,
    ],
    workload && [
      'Repeats, seeds',
      `${count(document.repeats.length)} of ${count(workload.repeats)}; ${seeds.slice(0, 64).join(', ') || `from ${workload.seed + 1}`}`,
    ],
    identity.guidellmVersion === undefined ? undefined : ['guidellm', mdCode(identity.guidellmVersion)],
    document.clientLimits && ['Client limits', limitsText(document.clientLimits)],
    identity.slo && [
      'Targets (not judged here)',
      `TTFT ≤ ${written(identity.slo.ttftMs)} ms, TPOT ≤ ${written(identity.slo.tpotMs)} ms, ${written(identity.slo.attainment * 100)} %`,
    ],
    identity.startupProbe && [
      'Start-up probe',
      `first after ${count(identity.startupProbe.initialDelaySeconds)} s, every ${count(identity.startupProbe.periodSeconds)} s, ${count(identity.startupProbe.failureThreshold)} times at most`,
    ],
    ...timingRows(view),
    ['Kept on the cluster on purpose', objectsText(view.stages.teardown?.kept)],
    ['Left on the cluster', objectsText(view.stages.teardown?.leftovers)],
    document.attempt > 1 ? ['Attempt of the workflow run', count(document.attempt)] : undefined,
  ]
  return table(
    ['', ''],
    rows.filter(row => row !== undefined),
    'text',
  )
}

function stackText({ identity }: LegDocument): string {
  const { wva } = identity
  const replicas = wva
    ? identity.maxReplicas === undefined
      ? 'under WVA'
      : `1 to ${plural(identity.maxReplicas, 'replica')} under WVA`
    : identity.replicas === undefined
      ? undefined
      : `${plural(identity.replicas, 'replica')}, fixed`
  const gpus = identity.gpusPerReplica === undefined ? undefined : `${plural(identity.gpusPerReplica, 'GPU')} each`
  const path = identity.wellLitPath === undefined ? undefined : mdCode(identity.wellLitPath)
  return [path, replicas, gpus].filter(part => part !== undefined).join(', ') || 'not by this action'
}

/** The reference, and the first 12 digits of the digest that ran. */
function imageText(image: ImageRecord): string {
  const digest = /sha256:([0-9a-f]{12})/.exec(image.imageID ?? image.reference)?.[1]
  return `${mdCode(image.reference)}${digest === undefined ? '' : ` \`sha256:${digest}\``}`
}

const limitsText = ({ maxConcurrency, requestTimeoutSeconds }: NonNullable<LegDocument['clientLimits']>): string =>
  [
    maxConcurrency === undefined ? undefined : `${count(maxConcurrency)} requests in flight`,
    requestTimeoutSeconds === undefined ? undefined : `read time-out ${duration(requestTimeoutSeconds)}`,
  ]
    .filter(part => part !== undefined)
    .join(', ')

const stageNames = { standup: 'Stand-up', run: 'Run', teardown: 'Teardown' } as const

const timingRows = (view: LegView): (readonly [string, string])[] =>
  (['standup', 'run', 'teardown'] as const).flatMap(stage => {
    const phases = Object.entries(view.stages[stage]?.timings ?? {}).slice(0, 20)
    return phases.length === 0
      ? []
      : [
          [
            stageNames[stage],
            phases.map(([name, seconds]) => `${md(name, 40)} ${duration(seconds)}`).join(', '),
          ] as const,
        ]
  })

/** Undefined: nobody has looked yet. */
export function objectsText(objects: readonly string[] | undefined): string {
  if (objects === undefined) return 'not torn down yet'
  if (objects.length === 0) return 'nothing'
  const rest = objects.length - listed
  return `${objects
    .slice(0, listed)
    .map(name => mdCode(name, 120))
    .join(', ')}${rest > 0 ? ` and ${count(rest)} more` : ''}`
}
