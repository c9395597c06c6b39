import type { Api } from '../cluster/api.ts'
import { podEvidence } from '../cluster/diagnose.ts'
import { exec } from '../cluster/exec.ts'
import { waitUntilGone } from '../cluster/gone.ts'
import { isOurs, remove } from '../cluster/objects.ts'
import type { Observer } from '../cluster/observer.ts'
import { collectionPath, kindOf } from '../cluster/resources.ts'
import { UserError } from '../errors.ts'
import { harnessObjects } from '../harness/pod.ts'
import { renderProfile } from '../harness/profiles.ts'
import type { KubeObject } from '../stack/kube.ts'
import { readiness } from '../stack/readiness.ts'
import { inFlightLimit, type RepeatContext, resultsDir } from './repeat-context.ts'
import type { Session } from './session.ts'

/** Creates the ConfigMap and pod of every harness of a repeat; what was made is in `created` even when it fails half-way. */
export async function createPods(context: RepeatContext, index: number, created: KubeObject[]): Promise<KubeObject[]> {
  const { api, session } = context
  const { inputs } = session
  const pods: KubeObject[] = []
  for (let i = 1; i <= inputs.parallelism; i++) {
    // Pods that load at once must not send the same prompts: each has a seed of its own.
    const seed = inputs.seed + index + 1000 * (i - 1)
    const rendered = renderProfile(
      context.template,
      { target: context.target, model: context.model, name: context.profileName },
      inputs.workloadOverrides,
      { seed },
    )
    const objects = harnessObjects({
      namespace: inputs.namespace.harness,
      stack: context.stack?.stack ?? `endpoint-${session.runId}`,
      runId: session.runId,
      repeat: index,
      parallelIndex: i,
      of: inputs.parallelism,
      image: inputs.images.harness,
      profileName: rendered.profile.profile,
      profileYaml: rendered.yaml,
      maxConcurrency: inFlightLimit(rendered.profile),
      placement: inputs.placement,
      resources: inputs.harnessResources,
      hfSecret: context.hfSecret,
      ...(context.stack?.accelerator && !context.gpuNodesOnly ? { avoidNodes: context.stack.accelerator } : {}),
      openShift: context.openShift,
      resultsDir: resultsDir(session, index, i),
    })
    for (const object of objects) {
      const made = await api.request<KubeObject>('POST', collectionPath(kindOf(object), object.metadata.namespace), {
        body: object,
        signal: session.signal,
      })
      created.push({ ...made, apiVersion: object.apiVersion, kind: object.kind })
      if (object.kind === 'Pod') pods.push({ ...made, apiVersion: 'v1', kind: 'Pod' })
    }
  }
  return pods
}

interface ContainerState {
  name: string
  state?: { running?: unknown; terminated?: { exitCode: number; reason?: string } }
}
const containerState = (pod: KubeObject | undefined, name: string): ContainerState['state'] =>
  (pod?.status as { containerStatuses?: ContainerState[] } | undefined)?.containerStatuses?.find(c => c.name === name)
    ?.state

/** Waits for the end of the harness container; its exit code comes from the pod's status, never from a log line. */
export async function waitFinished(context: RepeatContext, observer: Observer, pod: KubeObject): Promise<number> {
  const { api, session, waitMs } = context
  const { name } = pod.metadata
  try {
    return await observer.until(
      view => {
        const live = view.get('Pod', name)
        if (live === undefined) {
          throw new UserError('HARNESS', `The harness pod ${name} vanished while it ran.`, {
            why: 'It was deleted or evicted by somebody else.',
            next: 'Look at the events of the namespace; give the pod a priority class with the input priority-class.',
          })
        }
        const ended = containerState(live, 'harness')?.terminated
        if (ended !== undefined) return ended.exitCode
        const events = view
          .list('Event')
          .filter(e => (e.involvedObject as { name?: string } | undefined)?.name === name)
        const verdict = readiness(live, { pods: [live], events })
        if (verdict.state === 'failed' && (verdict.code !== 'GPU_SHORTAGE' || tooLong(live))) {
          throw new UserError('HARNESS', `The harness pod ${name} cannot run.`, {
            why: verdict.why,
            next: verdict.next,
          })
        }
        return undefined
      },
      {
        timeoutMs: waitMs,
        onTimeout: () =>
          new UserError('HARNESS', `The harness pod ${name} did not finish in ${Math.round(waitMs / 1000)} s.`, {
            why: 'guidellm hangs, or the profile takes longer than wait-timeout.',
            next: 'Raise the input wait-timeout; what the pod wrote so far is in the results folder.',
          }),
      },
    )
  } catch (error) {
    if (session.signal.aborted || !(error instanceof UserError)) throw error
    const f = error.failure
    throw new UserError(f.code, f.what, {
      why: f.why,
      next: f.next,
      evidence: [...f.evidence, ...(await podEvidence(api, pod))],
    })
  }
}

const unschedulableMs = 60_000
const tooLong = (pod: KubeObject): boolean =>
  Date.now() - Date.parse(pod.metadata.creationTimestamp ?? '') > unschedulableMs

/** Harness clock minus runner clock, halving the round trip; undefined when it could not be measured. */
export async function measureClock(
  context: RepeatContext,
  observer: Observer,
  pod: KubeObject,
  signal: AbortSignal,
): Promise<number | undefined> {
  const { name } = pod.metadata
  try {
    await observer.until(view => (containerState(view.get('Pod', name), 'results')?.running ? true : undefined), {
      timeoutMs: context.waitMs,
      onTimeout: () => new Error('not running'),
    })
    let text = ''
    const before = Date.now()
    await exec(
      context.api,
      { namespace: pod.metadata.namespace!, pod: name, container: 'results' },
      ['date', '+%s.%N'],
      {
        signal,
        timeoutMs: 10_000,
        onStdout: chunk => {
          text += chunk.toString('utf8')
        },
      },
    )
    const after = Date.now()
    const theirs = Number.parseFloat(text) * 1000
    return Number.isFinite(theirs) ? Math.round(theirs - (before + after) / 2) : undefined
  } catch (error) {
    context.session.log.debug(`clock offset of ${name} not measured: ${(error as Error).message}`)
    return undefined
  }
}

/** Deletes what this step made; checked against our label once more, bounded, and never hides another error. */
export async function removeAll(api: Api, created: readonly KubeObject[], log: Session<unknown>['log']): Promise<void> {
  const signal = AbortSignal.timeout(6000)
  await Promise.all(
    created
      .filter(o => isOurs(o))
      .map(async object => {
        try {
          await remove(api, object, { signal, graceSeconds: 1 })
          if (object.kind === 'Pod') await waitUntilGone(api, object, signal, log)
        } catch (error) {
          log.warning(`${object.kind} ${object.metadata.name} may still be there: ${(error as Error).message}`)
        }
      }),
  )
}
