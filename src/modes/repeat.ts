import { createReadStream } from 'node:fs'
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises'
import path from 'node:path'
import type { Api } from '../cluster/api.ts'
import { podEvidence } from '../cluster/diagnose.ts'
import { exec } from '../cluster/exec.ts'
import { fetchFolder } from '../cluster/files.ts'
import { waitUntilGone } from '../cluster/gone.ts'
import { wholeLog } from '../cluster/logs.ts'
import { isOurs, remove } from '../cluster/objects.ts'
import { Observer, type View } from '../cluster/observer.ts'
import { collectionPath, kindOf } from '../cluster/resources.ts'
import { asFailure, UserError } from '../errors.ts'
import { parseReport } from '../harness/parse.ts'
import { harnessObjects } from '../harness/pod.ts'
import { renderProfile, type Workload } from '../harness/profiles.ts'
import { type ReducedReport, readReport } from '../harness/report-reader.ts'
import type { RunInputs } from '../inputs.ts'
import { failureRecord, type Repeat, type Step, type WatchEvent } from '../results/schema.ts'
import type { Inventory } from '../stack/inventory.ts'
import { type KubeObject, stackLabel } from '../stack/kube.ts'
import { readiness } from '../stack/readiness.ts'
import { toWatchEvent } from '../timeline/record.ts'
import type { Session } from './session.ts'

export interface RepeatContext {
  readonly api: Api
  readonly session: Session<RunInputs>
  readonly stack: Inventory | undefined
  readonly model: string
  readonly target: string
  /** Root of the results artifact. */
  readonly resultsFolder: string
  readonly hfSecret: boolean
  readonly waitMs: number
  readonly template: string
  readonly profileName: string
  readonly gpuNodesOnly: boolean
  readonly openShift: boolean
}

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
  try {
    if (context.stack !== undefined) {
      const labelSelector = `${stackLabel}=${context.stack.stack}`
      const onChange = (change: Parameters<typeof toWatchEvent>[0]) => {
        const event = toWatchEvent(change, context.stack!.decode)
        if (event !== undefined) events.push(event)
      }
      await Promise.all([
        stackWatch.watch('Deployment', { labelSelector, onChange }),
        stackWatch.watch('Pod', { labelSelector, onChange }),
      ])
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
    await Promise.all([harness.close(), stackWatch.close()])
    await removeAll(api, created, log)
  }
  return {
    index,
    seed,
    startedAt,
    endedAt: new Date().toISOString(),
    status: failure === undefined ? 'done' : 'failed',
    carriedOver: false,
    steps,
    events,
    images,
    ...(exitCode === undefined ? {} : { exitCode }),
    ...(clockOffsetMs === undefined ? {} : { clockOffsetMs }),
    ...(guidellmVersion === undefined ? {} : { guidellmVersion }),
    ...(failure === undefined ? {} : { failure: failureRecord(failure) }),
  } satisfies Repeat
}

async function createPods(context: RepeatContext, index: number, created: KubeObject[]): Promise<KubeObject[]> {
  const { api, session } = context
  const { inputs } = session
  const pods: KubeObject[] = []
  for (let i = 1; i <= inputs.parallelism; i++) {
    // Decision 7: pod j of a parallel run uses seed + 1000 j + repeat.
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

/** guidellm's in-flight limit: everything that a step offers, so that the client never holds a request back. */
export const inFlightLimit = (workload: Workload): number =>
  Math.ceil(Math.max(...workload.rates) * workload.secondsPerRate)

const resultsDir = (session: Session<RunInputs>, index: number, i: number): string =>
  `/requests/guidellm_${session.runId}-r${index}_${i}`

interface ContainerState {
  name: string
  state?: { running?: unknown; terminated?: { exitCode: number; reason?: string } }
}
const containerState = (pod: KubeObject | undefined, name: string): ContainerState['state'] =>
  (pod?.status as { containerStatuses?: ContainerState[] } | undefined)?.containerStatuses?.find(c => c.name === name)
    ?.state

/** Waits for the end of the harness container; its exit code comes from the pod's status, never from a log line. */
async function waitFinished(context: RepeatContext, observer: Observer, pod: KubeObject): Promise<number> {
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
async function measureClock(
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

interface Collected {
  /** Raw files of the pod, on this machine; the report with prompts is gone from it. */
  readonly folder: string
  readonly report: { readonly reduced: ReducedReport } | { readonly error: unknown }
}

/** Fetches a pod's folder and puts the files, renamed and stripped of prompts, where the artifact is made from. */
async function collect(
  context: RepeatContext,
  index: number,
  i: number,
  of: number,
  pod: KubeObject,
): Promise<Collected> {
  const { api, session, resultsFolder } = context
  const folder = path.join(session.out, 'raw', `r${index}-${i}`)
  const target = { namespace: pod.metadata.namespace!, pod: pod.metadata.name, container: 'results' }
  const files = await fetchFolder(api, target, resultsDir(session, index, i), folder, {
    signal: session.signal,
    log: session.log,
  })
  const slug = `${fileSlug(context, index)}${of > 1 ? `.${i}` : ''}`
  const results = path.join(resultsFolder, `r${index}`, 'results')
  const analysis = path.join(resultsFolder, `r${index}`, 'analysis')
  await mkdir(results, { recursive: true })
  await mkdir(analysis, { recursive: true })
  for (const file of files) {
    if (file.path === 'results.json') continue
    const inAnalysis = file.path.startsWith('analysis/')
    const name = file.path.replace(/^analysis\//, '').replaceAll('/', '-')
    await copyFile(path.join(folder, file.path), path.join(inAnalysis ? analysis : results, `${slug}.${name}`))
  }
  const podLog = await wholeLog(api, { ...target, container: 'harness' }, session.signal).catch(() => '')
  await writeFile(path.join(results, `${slug}.pod.log`), podLog)
  const report = await reduce(path.join(folder, 'results.json'))
  if ('reduced' in report) await writeFile(path.join(results, `${slug}.results.json`), JSON.stringify(report.reduced))
  return { folder, report }
}

/** Reads the report, strips it, and deletes the original: prompts and completions do not stay on the runner. */
async function reduce(file: string): Promise<Collected['report']> {
  try {
    return { reduced: await readReport(createReadStream(file, { highWaterMark: 1 << 20 })) }
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code !== 'ENOENT') return { error: cause }
    const error = new UserError('RESULTS', 'guidellm ended with exit code 0 and wrote no results.json.', {
      why: 'It writes its report once, at the very end; the process may have been stopped before.',
      next: 'Look at stdout.log and stderr.log in the results artifact.',
      cause,
    })
    return { error }
  } finally {
    await rm(file, { force: true })
  }
}

async function harnessFailed(
  context: RepeatContext,
  pod: KubeObject,
  exitCode: number,
  collected: readonly Collected[],
): Promise<UserError> {
  const lines: string[] = []
  for (const { folder } of collected) {
    for (const name of ['stderr.log', 'stdout.log']) {
      const text = await readFile(path.join(folder, name), 'utf8').catch(() => '')
      const tail = text
        .split('\n')
        .filter(l => l.trim() !== '')
        .slice(-10)
      if (tail.length > 0) lines.push(`last lines of ${name}:`, ...tail)
    }
  }
  return new UserError('HARNESS', `guidellm ended with exit code ${exitCode} in pod ${pod.metadata.name}.`, {
    why: exitCode === 137 ? 'The container was killed, most likely out of memory.' : 'See its last lines below.',
    next: 'The complete stdout.log and stderr.log are in the results artifact; `overrides` changes the harness CPU and memory.',
    evidence: [...lines, ...(await podEvidence(context.api, pod))],
  })
}

/** `<model>.<namespace>.<leg>.<profile>.r<k>`, safe in a file name (B70). */
function fileSlug(context: RepeatContext, index: number): string {
  const { session } = context
  const part = (text: string) =>
    text
      .replace(/[^A-Za-z0-9-]+/g, '-')
      .replace(/^-+|-+$/g, '')
      .slice(0, 60)
  return [context.model, session.inputs.namespace.model, session.leg, context.profileName]
    .map(part)
    .concat(`r${index}`)
    .join('.')
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

const progressMs = 30_000
function startProgress(context: RepeatContext, index: number): NodeJS.Timeout {
  const started = Date.now()
  return setInterval(() => {
    const seconds = Math.round((Date.now() - started) / 1000)
    context.session.log.info(
      `repeat ${index}: ${seconds} s elapsed of about ${Math.round(context.waitMs / 1000)} s at most`,
    )
  }, progressMs).unref()
}

/** Deletes what this step made; checked against our label once more, bounded, and never hides another error. */
async function removeAll(api: Api, created: readonly KubeObject[], log: Session<unknown>['log']): Promise<void> {
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
