import { randomBytes } from 'node:crypto'
import { type FailureCode, UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import { type KubeObject, stackLabel } from '../stack/kube.ts'
import { awayFromGpus, placed, restrictedContainer, restrictedPod } from '../stack/object.ts'
import type { PodPlacement } from '../stack/spec.ts'
import type { Api } from './api.ts'
import { podEvidence } from './diagnose.ts'
import { tailLog } from './logs.ts'
import { remove } from './objects.ts'
import { Observer } from './observer.ts'
import { collectionPath } from './resources.ts'

export interface ProbeTarget {
  /** `http://host:port`, checked by `isSafeUrl`. */
  readonly url: string
  /** Also send one completion of this model. */
  readonly completionModel?: string
}
export interface ProbeAnswer {
  readonly url: string
  /** HTTP status of GET /v1/models; 0 when there was no answer. */
  readonly status: number
  readonly models: readonly string[]
  readonly body: string
  readonly completion?: { readonly status: number; readonly text: string | undefined; readonly body: string }
}

const attemptSeconds = 10
const bodyLimit = 20_000

/**
 * What the probe pod runs: `sh -c SCRIPT sh SECONDS (URL COMPLETION-JSON-OR-EMPTY)...`; every request is repeated until it
 * is answered with 200 or the time is up. Bodies travel as base64 on one line each, so that no answer can forge a marker.
 */
export const probeScript = `
end=$(( $(date +%s) + $1 )); shift
ask() {
  tag=$1; shift
  while :; do
    answer=$(curl --no-progress-meter -m ${attemptSeconds} -w '\\n%{http_code}' "$@"); rc=$?
    code=$(printf '%s' "$answer" | tail -n 1)
    [ "$rc" = 0 ] && [ "$code" = 200 ] && break
    [ "$(date +%s)" -ge "$end" ] && break
    sleep 1
  done
  printf 'PROBE %s %s %s\\n' "$tag" "\${code:-0}" "$(printf '%s' "$answer" | head -c ${bodyLimit} | base64 | tr -d '\\n')"
}
i=0
while [ $# -gt 0 ]; do
  ask "models-$i" "$1/v1/models"
  [ -n "$2" ] && ask "completion-$i" -H 'Content-Type: application/json' -d "$2" "$1/v1/completions"
  shift 2; i=$((i + 1))
done
echo 'PROBE end 0'
`

/** Only host names, IP addresses and ports that can stand in a URL without quoting; the host comes from the cluster. */
export const isSafeUrl = (url: string): boolean =>
  /^https?:\/\/(?:\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+)(?::\d{1,5})?$/.test(url)

/**
 * Asks every target for its models from inside the cluster, with retries until the deadline, in one short-lived pod.
 * The pod is ours by label and is deleted whatever happens.
 * @throws UserError when the pod itself cannot run.
 */
export async function probe(
  api: Api,
  targets: readonly ProbeTarget[],
  options: {
    namespace: string
    stack: string
    /** Value of the run label, by which post finds the pod again. */
    runId: string
    image: string
    placement: PodPlacement
    openShift: boolean
    /** Label of the GPU nodes, which a probe must not occupy; undefined when there are no others. */
    accelerator: { readonly key: string; readonly value: string } | undefined
    /** Retries end after this long. */
    seconds: number
    code: FailureCode
    signal: AbortSignal
    log: Log
  },
): Promise<ProbeAnswer[]> {
  for (const t of targets) if (!isSafeUrl(t.url)) throw badTarget(t.url, options.code)
  const args = targets.flatMap(t => [
    t.url,
    t.completionModel === undefined
      ? ''
      : JSON.stringify({ model: t.completionModel, prompt: 'The capital of France is', max_tokens: 4 }),
  ])
  const created = await api.request<KubeObject>('POST', collectionPath('Pod', options.namespace), {
    body: probePod(options, ['sh', '-c', probeScript, 'sh', String(options.seconds), ...args]),
    signal: options.signal,
  })
  const pod = { ...created, apiVersion: 'v1', kind: 'Pod' }
  const observer = new Observer(api, options.namespace, options.log, options.signal)
  try {
    await observer.watch('Pod', { fieldSelector: `metadata.name=${pod.metadata.name}` })
    const budgetMs = (options.seconds + targets.length * 2 * attemptSeconds + 300) * 1000
    await observer.until(
      view => {
        const live = view.get('Pod', pod.metadata.name)
        const phase = (live?.status as { phase?: string } | undefined)?.phase
        return phase === 'Succeeded' || phase === 'Failed' ? true : undefined
      },
      {
        timeoutMs: budgetMs,
        onTimeout: () =>
          new UserError(
            options.code,
            `The probe pod ${pod.metadata.name} did not finish in ${Math.round(budgetMs / 1000)} s.`,
            {
              why: 'It could not be scheduled, its image could not be pulled, or the network hangs.',
              next: 'Check that pods of this namespace can run on CPU nodes and pull the harness image.',
            },
          ),
      },
    )
    const lines = await tailLog(
      api,
      { namespace: options.namespace, pod: pod.metadata.name, container: 'probe' },
      { lines: 1000, signal: options.signal },
    )
    return parseProbe(lines, targets, options.code)
  } catch (error) {
    if (error instanceof UserError && !options.signal.aborted) {
      const f = error.failure
      throw new UserError(f.code, f.what, {
        why: f.why,
        next: f.next,
        evidence: [...f.evidence, ...(await podEvidence(api, pod))],
      })
    }
    throw error
  } finally {
    await observer.close()
    await remove(api, pod, { graceSeconds: 0 }).catch(error =>
      options.log.warning(`probe pod ${pod.metadata.name}: ${(error as Error).message}`),
    )
  }
}

function probePod(
  options: {
    stack: string
    runId: string
    namespace: string
    image: string
    placement: PodPlacement
    openShift: boolean
    /** Label of the GPU nodes, which a probe must not occupy; undefined when there are no others. */
    accelerator: { readonly key: string; readonly value: string } | undefined
  },
  command: string[],
): KubeObject {
  const { placement } = options
  return {
    apiVersion: 'v1',
    kind: 'Pod',
    metadata: {
      name: `testinference-pod-${randomBytes(4).toString('hex')}`,
      namespace: options.namespace,
      labels: {
        [stackLabel]: options.stack,
        'llm-d.ai/bench-run': options.runId,
        ...(placement.queueName === undefined ? {} : { 'kueue.x-k8s.io/queue-name': placement.queueName }),
      },
    },
    spec: {
      restartPolicy: 'Never',
      automountServiceAccountToken: false,
      terminationGracePeriodSeconds: 0,
      ...placed(placement),
      ...awayFromGpus(options.accelerator === undefined ? {} : { accelerator: options.accelerator }),
      securityContext: restrictedPod(options),
      containers: [
        {
          name: 'probe',
          image: options.image,
          command,
          resources: { requests: { cpu: '100m', memory: '64Mi' }, limits: { memory: '256Mi' } },
          securityContext: { ...restrictedContainer },
        },
      ],
    },
  }
}

/** Reads the pod's log back into answers, one per target, in their order. */
export function parseProbe(
  lines: readonly string[],
  targets: readonly ProbeTarget[],
  code: FailureCode,
): ProbeAnswer[] {
  const found = new Map<string, { status: number; body: string }>()
  for (const line of lines) {
    const match = /^PROBE (\S+) (\d+)(?: (\S*))?$/.exec(line)
    if (!match) continue
    const text = Buffer.from(match[3] ?? '', 'base64').toString('utf8')
    found.set(match[1]!, { status: Number(match[2]), body: text.replace(/\n?\d*$/, '') })
  }
  if (!found.has('end')) {
    throw new UserError(code, 'The probe pod ended before it had asked every endpoint.', {
      why: 'Its image may lack curl, base64 or a shell.',
      next: 'Use a harness image that contains them (the default one does).',
      evidence: lines.slice(-20),
    })
  }
  return targets.map((target, i) => {
    const models = found.get(`models-${i}`) ?? { status: 0, body: '' }
    const completion = found.get(`completion-${i}`)
    return {
      url: target.url,
      status: models.status,
      models: modelIds(models.body),
      body: models.body,
      ...(completion === undefined ? {} : { completion: { ...completion, text: completionText(completion.body) } }),
    }
  })
}

function modelIds(body: string): string[] {
  try {
    const data = (JSON.parse(body) as { data?: { id?: unknown }[] }).data ?? []
    return data.flatMap(m => (typeof m.id === 'string' ? [m.id.slice(0, 200)] : []))
  } catch {
    return []
  }
}

function completionText(body: string): string | undefined {
  try {
    const text = (JSON.parse(body) as { choices?: { text?: unknown }[] }).choices?.[0]?.text
    return typeof text === 'string' ? text : undefined
  } catch {
    return undefined
  }
}

const badTarget = (url: string, code: FailureCode) =>
  new UserError(code, `The endpoint ${JSON.stringify(url.slice(0, 120))} is not a plain http(s) address.`, {
    why: 'It was read from the cluster and contains characters that no host name has.',
    next: 'Look at the status of the Gateway, or name the endpoint with the input `endpoint`.',
  })
