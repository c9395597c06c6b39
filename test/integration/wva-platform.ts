import type { Pod } from '../sandbox/controllers/objects.ts'
import type { Sandbox } from '../sandbox/sandbox.ts'
import type { Point } from '../sandbox/wva/evaluate.ts'
import { controllerName, monitoringNamespace } from '../sandbox/wva/options.ts'
import { getPage, type Page } from '../sandbox/wva/web.ts'
import type { Stack } from './wva-stack.ts'

/** What the tests run with, in milliseconds. */
export const reconcileMs = 300
export const windowMs = 2_000

export async function eventually<T>(what: string, look: () => Promise<T | undefined>, timeoutMs = 10_000): Promise<T> {
  for (const end = Date.now() + timeoutMs; ; await pause(100)) {
    const found = await look()
    if (found !== undefined) return found
    if (Date.now() > end) throw new Error(`not seen within ${timeoutMs} ms: ${what}`)
  }
}
export const pause = (ms: number) => new Promise(resolve => setTimeout(resolve, ms))

/** The platform as its clients see it. */
export class Platform {
  readonly sandbox: Sandbox
  constructor(sandbox: Sandbox) {
    this.sandbox = sandbox
  }

  pods(namespace: string, prefix: string): Pod[] {
    return (this.sandbox.api.store.peekAll('pods', namespace) as Pod[]).filter(p => p.metadata.name.startsWith(prefix))
  }
  async #page(app: string, port: number, path: string): Promise<Page> {
    const pod = this.pods(monitoringNamespace, '').find(p => p.metadata.labels?.['app.kubernetes.io/name'] === app)!
    return getPage(new URL(`https://${pod.status?.podIP}:${port}${path}`), { timeoutMs: 5_000, byPodAddress: true })
  }
  async query(query: string): Promise<Point[]> {
    const { body } = await this.#page('prometheus', 9090, `/api/v1/query?${new URLSearchParams({ query })}`)
    const { data } = JSON.parse(body) as {
      data: { result: { metric: Record<string, string>; value: [number, string] }[] }
    }
    return data.result.map(({ metric, value }) => ({ labels: metric, value: Number(value[1]) }))
  }
  /** The external metrics API, asked at the adapter itself. */
  async external(
    path: string,
  ): Promise<{ status: number; body: { items?: { value: string }[]; resources?: { name: string }[] } }> {
    const { status, body } = await this.#page(
      'prometheus-adapter',
      6443,
      `/apis/external.metrics.k8s.io/v1beta1${path}`,
    )
    return { status, body: JSON.parse(body) }
  }
  /** What an HPA for the variant would be told. */
  async desiredOf({ namespace, variant }: Pick<Stack, 'namespace' | 'variant'>): Promise<string[]> {
    const path = `/namespaces/${namespace}/inferno_desired_replicas?labelSelector=variant_name%3D${variant}`
    return (await this.external(path)).body.items?.map(item => item.value) ?? []
  }
  controllerLog(namespace = 'llm-d-autoscaler'): string[] {
    const [pod] = this.pods(namespace, controllerName)
    return pod === undefined ? [] : this.sandbox.podLog(namespace, pod.metadata.name, 'manager').split('\n')
  }
  /** Waits for a line of the controller that came after `from` lines. */
  logged(text: string, from = 0): Promise<string> {
    return eventually(text, async () =>
      this.controllerLog()
        .slice(from)
        .find(line => line.includes(text)),
    )
  }
}
