import { readFile, writeFile } from 'node:fs/promises'
import path from 'node:path'
import { stringify } from 'yaml'
import { UserError } from '../errors.ts'
import { builtInProfiles, renderProfile } from '../harness/profiles.ts'
import { profileName } from '../inputs/profile-name.ts'
import type { RunInputs, StandupInputs } from '../inputs.ts'
import { buildSpec } from '../paths/build.ts'
import { inventory } from '../stack/inventory.ts'
import type { KubeObject } from '../stack/kube.ts'
import type { StackSpec } from '../stack/spec.ts'
import { redact, stackObjects } from '../stack/stack.ts'
import type { Outcome, Session } from './session.ts'

// Plans need no cluster: this file must not load the Kubernetes client, which takes longer than the plan itself.

/** Outputs that a plan already knows. */
export const baseOutputs = (session: Session<StandupInputs>, spec: StackSpec) => ({
  stack: spec.stack,
  namespace: spec.namespace,
  'plan-path': path.join(session.out, 'plan.yaml'),
})

/** The objects of a stack, its inventory first. */
export function withInventory(
  spec: StackSpec,
  session: Session<StandupInputs>,
  createdNamespace: boolean,
): KubeObject[] {
  const objects = stackObjects(spec)
  const record = inventory(spec, objects, {
    run: String(session.github?.runId ?? session.runId),
    attempt: session.attempt,
    commit: session.github?.sha ?? '',
    expiresEpochSeconds: Math.floor((Date.now() + session.inputs.ttlMs) / 1000),
    holder: session.holder,
    createdNamespace,
    leg: session.leg,
    lifetime: session.inputs.lifetime,
  })
  return [record, ...objects]
}

/** The plan as YAML, in apply order, secrets redacted, and the images that it names. */
export async function writePlan(session: Session<StandupInputs>, objects: readonly KubeObject[]): Promise<void> {
  const documents = redact(objects).map(o => stringify(o, { lineWidth: 0 }))
  const images = [...new Set(JSON.stringify(objects).match(/"image":"([^"]+)"/g) ?? [])].map(m => m.slice(9, -1)).sort()
  await writeFile(path.join(session.out, 'plan.yaml'), documents.join('---\n'), { mode: 0o600 })
  await writeFile(path.join(session.out, 'images.txt'), `${images.join('\n')}\n`)
  const kinds = new Map<string, number>()
  for (const o of objects) kinds.set(o.kind, (kinds.get(o.kind) ?? 0) + 1)
  session.log.info(
    `plan: ${objects.length} objects (${[...kinds].map(([k, n]) => (n > 1 ? `${n} ${k}` : k)).join(', ')})`,
  )
}

/** Without a cluster the plan comes from the inputs alone: what preflight would have seen is left open. */
export async function planStandup(session: Session<StandupInputs>): Promise<Outcome> {
  const { inputs, log } = session
  const accelerator = inputs.accelerator === 'auto' ? undefined : inputs.accelerator
  const spec = buildSpec(inputs, {
    accelerator,
    storageClass: inputs.storageClass,
    gated: inputs.hfToken !== undefined,
  })
  await writePlan(session, withInventory(spec, session, false))
  log.info('dry run without a cluster: GPU label and default storage class are not known here and are left out')
  return { outputs: baseOutputs(session, spec) }
}

/** Stands for the endpoint where there is no cluster to ask. */
export const mockTarget = 'http://mock:1234'

/** B77: nothing is created; the profile is rendered against a mock target. */
export async function planRun(session: Session<RunInputs>): Promise<Outcome> {
  const { inputs, log } = session
  const rendered = renderProfile(
    await templateOf(session),
    { target: mockTarget, model: inputs.model, name: profileName(inputs.workload) },
    inputs.workloadOverrides,
    { seed: inputs.seed },
  )
  await writeFile(path.join(session.out, 'plan.yaml'), rendered.yaml)
  log.info(
    `dry run: guidellm would run ${inputs.repeats} times with ${rendered.profile.rates.length} rates against ${mockTarget}; nothing was changed`,
  )
  return { outputs: { endpoint: mockTarget, 'plan-path': path.join(session.out, 'plan.yaml') } }
}

/** A built-in profile's name stays a name; anything else is a file of the repository. */
export async function templateOf(session: Session<RunInputs>): Promise<string> {
  const { workload } = session.inputs
  if (Object.hasOwn(builtInProfiles, workload)) return workload
  try {
    return await readFile(path.resolve(session.env.GITHUB_WORKSPACE ?? process.cwd(), workload), 'utf8')
  } catch (cause) {
    throw new UserError(
      'INPUT',
      `The workload profile ${JSON.stringify(workload)} is neither built in nor a readable file.`,
      {
        why: (cause as Error).message,
        next: `Write one of ${Object.keys(builtInProfiles).join(', ')}, or the path of a YAML file in the checked-out repository.`,
        cause,
      },
    )
  }
}
