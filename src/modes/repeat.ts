import { Observer, type View } from '../cluster/observer.ts'
import type { Kind } from '../cluster/resources.ts'
import { asFailure } from '../errors.ts'
import { parseReport } from '../harness/parse.ts'
import { failureRecord, type Repeat, type Step, type WatchEvent } from '../results/schema.ts'
import { type KubeObject, stackLabel } from '../stack/kube.ts'
import { toWatchEvent } from '../timeline/record.ts'
import { type Collected, collect, harnessFailed, writeReplicas } from './collect.ts'
import { createPods, measureClock, removeAll, waitFinished } from './harness-pods.ts'
import type { RepeatContext } from './repeat-context.ts'
import { sample } from './sample.ts'

/**
 * One repeat: create the harness pods, record replicas while they work, fetch and check what they wrote (also when they
 * failed), parse it, delete the pods. Never throws for a failed measurement: the failure is part of the record.
 */
export async function runRepeat(context: RepeatContext, index: number): Promise<Repeat> {
  const { api, session } = context
  const { inputs, log, signal } = session
  const seed = inputs.seed + index
  const startedAt = new Date().toISOString()
  const events: WatchEvent[] = []
  const created: KubeObject[] = []
  const stop = new AbortController()
  const scope = AbortSignal.any([signal, stop.signal])
  const harness = new Observer(api, inputs.namespace.harness, log, scope)
  const stackWatch = new Observer(api, inputs.namespace.model, log, scope)
  let exitCode: number | undefined
  let clockOffsetMs: number | undefined
  let steps: Step[] = []
  let failure: ReturnType<typeof asFailure> | undefined
  let guidellmVersion: string | undefined
  let images: Record<string, { reference: string; imageID?: string }> = {}
  let startReplicas: number | undefined
  let sampling: Promise<void> | undefined
  try {
    if (context.stack !== undefined) {
      const labelSelector = `${stackLabel}=${context.stack.stack}`
      const onChange = (change: Parameters<typeof toWatchEvent>[0]) => {
        const event = toWatchEvent(change, context.stack!.decode)
        if (event !== undefined) events.push(event)
      }
      const kinds: Kind[] = ['Deployment', 'Pod']
      if (context.stack.wva) kinds.push('HorizontalPodAutoscaler', 'VariantAutoscaling')
      await Promise.all(kinds.map(kind => stackWatch.watch(kind, { labelSelector, onChange })))
      const { namespace, decode, wva } = context.stack
      startReplicas = (stackWatch.view.get('Deployment', decode)?.status as { readyReplicas?: number })?.readyReplicas
      sampling = sample(api, { namespace, deployment: decode, wva, view: stackWatch.view }, events, {
        signal: scope,
        log,
      })
      images = imagesOf(stackWatch.view, context.stack.decode)
    }
    const pods = await createPods(context, index, created)
    await Promise.all([
      harness.watch('Pod', { labelSelector: `llm-d.ai/bench-run=${session.runId}` }),
      harness.watch('Event'),
    ])
    log.info(`repeat ${index}: seed ${seed}, pod(s) ${pods.map(p => p.metadata.name).join(', ')}`)
    const progress = startProgress(context, index)
    let exits: number[]
    try {
      const offset = measureClock(context, harness, pods[0]!, scope)
      exits = await Promise.all(pods.map(pod => waitFinished(context, harness, pod)))
      clockOffsetMs = await offset
    } catch (error) {
      // Whatever the pods have written so far explains more than the time-out does.
      if (!signal.aborted) await collectLeftBehind(context, index, pods)
      throw error
    } finally {
      clearInterval(progress)
    }
    exitCode = exits.find(code => code !== 0) ?? 0
    const collected: Collected[] = []
    for (const [i, pod] of pods.entries()) collected.push(await collect(context, index, i + 1, pods.length, pod))
    if (exitCode !== 0) throw await harnessFailed(context, pods[exits.findIndex(c => c !== 0)]!, exitCode, collected)
    const parsed = collected.map(({ report }) => {
      if ('error' in report) throw report.error
      return parseReport(report.reduced)
    })
    steps = parsed.flatMap(p => p.steps)
    guidellmVersion = parsed[0]?.guidellmVersion
    log.info(
      `repeat ${index}: ${steps.map(s => `${s.rate} req/s ${s.totals.successful} ok ${s.totals.incomplete} cut ${s.totals.errored} err`).join(', ')}`,
    )
  } catch (error) {
    if (signal.aborted) throw error
    failure = asFailure(error)
    if (failure.code === 'INTERNAL') throw error
    log.warning(`repeat ${index} failed: ${failure.what} ${failure.why}`)
  } finally {
    stop.abort()
    await Promise.all([harness.close(), stackWatch.close(), sampling])
    await removeAll(api, created, log)
  }
  const repeat = {
    index,
    seed,
    startedAt,
    endedAt: new Date().toISOString(),
    status: failure === undefined ? 'done' : 'failed',
    carriedOver: false,
    steps,
    events,
    images,
    ...(startReplicas === undefined ? {} : { startReplicas }),
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(clockOffsetMs === undefined ? {} : { clockOffsetMs }),
    ...(guidellmVersion === undefined ? {} : { guidellmVersion }),
    ...(failure === undefined ? {} : { failure: failureRecord(failure) }),
  } satisfies Repeat
  if (context.stack !== undefined) await writeReplicas(context, repeat)
  return repeat
}

function imagesOf(view: View, decode: string): Record<string, { reference: string; imageID?: string }> {
  const images: Record<string, { reference: string; imageID?: string }> = {}
  for (const pod of view.list('Pod').filter(p => p.metadata.name.startsWith(decode))) {
    const status = pod.status as
      | { containerStatuses?: ImageStatus[]; initContainerStatuses?: ImageStatus[] }
      | undefined
    for (const c of [...(status?.containerStatuses ?? []), ...(status?.initContainerStatuses ?? [])]) {
      images[c.name] = { reference: c.image, ...(c.imageID ? { imageID: c.imageID } : {}) }
    }
  }
  return images
}
interface ImageStatus {
  name: string
  image: string
  imageID?: string
}

/** Fetches what can be fetched of a repeat that is being given up; never hides why. */
async function collectLeftBehind(context: RepeatContext, index: number, pods: readonly KubeObject[]): Promise<void> {
  const { log } = context.session
  for (const [i, pod] of pods.entries()) {
    await collect(context, index, i + 1, pods.length, pod).catch(error =>
      log.info(`no files of ${pod.metadata.name}: ${(error as Error).message}`),
    )
  }
}

/** A line per step, but neither a flood for short ones nor silence for long ones. */
const progressMs = (secondsPerRate: number): number => Math.min(60_000, Math.max(3000, secondsPerRate * 1000))

function startProgress(context: RepeatContext, index: number): NodeJS.Timeout {
  const { rates, secondsPerRate } = context.workload
  const started = Date.now()
  return setInterval(() => {
    const seconds = (Date.now() - started) / 1000
    const step = Math.min(rates.length, Math.floor(seconds / secondsPerRate) + 1)
    context.session.log.info(
      `repeat ${index}: ${Math.round(seconds)} s elapsed, about step ${step} of ${rates.length} (${rates[step - 1]} req/s)`,
    )
  }, progressMs(secondsPerRate)).unref()
}
