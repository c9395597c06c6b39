import { rename, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Failure } from '../errors.ts'
import type { Workload } from '../harness/profiles.ts'
import type { Inputs } from '../inputs.ts'
import { failureRecord, type LegDocument, type Repeat } from '../results/schema.ts'
import type { Autoscaling } from '../stack/components/autoscaling.ts'
import type { Inventory } from '../stack/inventory.ts'
import type { StackSpec } from '../stack/spec.ts'
import type { Session } from './session.ts'

export interface LegFacts {
  readonly stage: LegDocument['stage']
  readonly timings: Readonly<Record<string, number>>
  readonly failure?: Failure
  readonly spec?: StackSpec
  readonly inventory?: Inventory
  readonly workload?: Workload
  readonly repeats?: readonly Repeat[]
  readonly simulated?: boolean
  readonly leftovers?: readonly string[]
  readonly kept?: readonly string[]
  readonly reaction?: LegDocument['reaction']
  readonly clientLimits?: { maxConcurrency: number; requestTimeoutSeconds: number }
}

/** One step's document: what the comment is made from, and what another SLO can be judged by later. */
export function legDocument(session: Session<Inputs>, facts: LegFacts): LegDocument {
  const { github } = session
  const { failure, clientLimits } = facts
  return {
    schemaVersion: 1,
    key: session.key,
    leg: session.leg,
    stage: facts.stage,
    attempt: session.attempt,
    createdAt: new Date().toISOString(),
    simulated: facts.simulated ?? false,
    status: failure === undefined ? 'done' : failure.code === 'CANCELLED' ? 'cancelled' : 'failed',
    ...(failure === undefined ? {} : { failure: failureRecord(failure) }),
    identity: identityOf(session, facts),
    run:
      github === undefined
        ? {}
        : {
            repository: github.repository,
            runId: github.runId,
            url: `${github.serverUrl}/${github.repository}/actions/runs/${github.runId}`,
            ...defined({
              sha: github.headSha ?? (github.sha || undefined),
              prNumber: github.prNumber,
              jobName: github.job || undefined,
            }),
          },
    timings: { ...facts.timings },
    ...(clientLimits === undefined ? {} : { clientLimits }),
    ...(facts.reaction === undefined ? {} : { reaction: facts.reaction }),
    leftovers: [...(facts.leftovers ?? [])],
    kept: [...(facts.kept ?? [])],
    repeats: [...(facts.repeats ?? [])],
  }
}

function identityOf(session: Session<Inputs>, facts: LegFacts): LegDocument['identity'] {
  const { inputs, github } = session
  const { spec, inventory, workload, repeats } = facts
  const asked = Object.entries(spec?.images ?? inventory?.images ?? {}).map(
    ([name, reference]) => [name, { reference: String(reference) }] as const,
  )
  const ran = Object.assign({}, ...(repeats ?? []).map(r => r.images ?? {})) as LegDocument['identity']['images']
  return {
    model: spec?.model ?? inventory?.model ?? inputs.model,
    namespace: inputs.namespace.model,
    wva: isUnderWva(inputs, spec, inventory),
    images: { ...Object.fromEntries(asked), ...ran },
    ...defined({
      wellLitPath: spec?.wellLitPath ?? inventory?.wellLitPath,
      release: spec?.release ?? inventory?.release,
      ...scalingOf(spec?.autoscaling ?? inventory?.autoscaling, spec?.replicas ?? inventory?.replicas),
      gpusPerReplica: spec?.gpusPerReplica ?? inventory?.gpusPerReplica,
      accelerator: spec?.accelerator ?? inventory?.accelerator,
      settingsHash: spec?.settingsHash ?? inventory?.settingsHash,
      startupProbe: spec?.settings.startupProbe ?? inventory?.startupProbe,
      guidellmVersion: repeats?.find(r => r.guidellmVersion !== undefined)?.guidellmVersion,
      commit: github?.sha || undefined,
    }),
    ...(inputs.mode !== 'run'
      ? {}
      : {
          slo: { ...inputs.slo },
          ...(workload === undefined
            ? {}
            : {
                workload: {
                  profile: workload.profile,
                  sha256: workload.sha256,
                  rates: [...workload.rates],
                  secondsPerRate: workload.secondsPerRate,
                  seed: inputs.seed,
                  repeats: inputs.repeats,
                  parallelism: inputs.parallelism,
                },
              }),
        }),
  }
}

/** A standup that failed early has neither spec nor inventory, but was asked for one kind of leg. */
const isUnderWva = (inputs: Inputs, spec: StackSpec | undefined, inventory: Inventory | undefined): boolean =>
  spec === undefined ? (inventory?.wva ?? (inputs.mode === 'standup' && inputs.wva)) : spec.autoscaling !== undefined

const scalingOf = (autoscaling: Autoscaling | undefined, replicas: number | undefined) =>
  autoscaling === undefined
    ? { replicas }
    : {
        maxReplicas: autoscaling.maxReplicas,
        hpaBehavior: JSON.stringify(autoscaling.behavior),
        wvaVersion: autoscaling.controllerVersion,
      }

const defined = <T extends object>(o: T): { [K in keyof T]?: Exclude<T[K], undefined> } =>
  Object.fromEntries(Object.entries(o).filter(([, v]) => v !== undefined)) as {
    [K in keyof T]?: Exclude<T[K], undefined>
  }

/** Replaces `leg.json` in one step, so that a killed process leaves the old or the new one, never half of it. */
export async function writeLeg(session: Pick<Session<unknown>, 'out'>, leg: LegDocument): Promise<void> {
  const file = path.join(session.out, 'leg.json')
  await writeFile(`${file}.tmp`, JSON.stringify(leg), { mode: 0o600 })
  await rename(`${file}.tmp`, file)
}
