import { createHash } from 'node:crypto'
import type { EventDetail } from '../controllers/cluster.ts'
import type { ContainerSpec, ContainerState, Pod } from '../controllers/objects.ts'
import type { NodeDelays, PodContext } from './node.ts'
import { pause } from './probes.ts'

export interface ImageFault {
  /** A text is looked for in the image reference. */
  match: RegExp | string
  /** `missing` cannot be pulled; `crash` ends with exit code 1 after two lines. */
  kind: 'missing' | 'crash'
  /** What the registry says, instead of `<image>: not found`. */
  message?: string
}

/** Which images are on which node, and which ones are broken. */
export class Images {
  /** May be changed while pods run: a pull that failed is tried again. */
  readonly faults: ImageFault[] = [
    { match: /:missing$/, kind: 'missing' },
    { match: /:crash$/, kind: 'crash' },
  ]
  readonly #delay: NodeDelays['imagePull']
  readonly #onNode = new Map<string, Promise<void>>()

  constructor(delay: NodeDelays['imagePull']) {
    this.#delay = delay
  }
  faultOf(image: string): ImageFault | undefined {
    return this.faults.findLast(f => (typeof f.match === 'string' ? image.includes(f.match) : f.match.test(image)))
  }
  present(pod: Pod, image: string): boolean {
    return this.#onNode.has(`${pod.spec.nodeName} ${image} done`)
  }
  /** One download per node and image, whoever asks first; layers that are there are not fetched again. */
  async pull(pod: Pod, image: string, signal: AbortSignal): Promise<void> {
    const key = `${pod.spec.nodeName} ${image}`
    const known = this.#onNode.get(key) ?? pause(this.#delay(pod, image), new AbortController().signal)
    this.#onNode.set(key, known)
    await Promise.race([
      known,
      new Promise<void>(resolve => signal.addEventListener('abort', () => resolve(), { once: true })),
    ])
    if (signal.aborted) return
    if (this.faultOf(image)?.kind === 'missing') this.#onNode.delete(key)
    else this.#onNode.set(`${key} done`, known)
  }
}

/** Waits until the container's image is on the node, with the events and states of a kubelet; false when stopped first. */
export async function pullImage(
  context: PodContext,
  { image, imagePullPolicy }: ContainerSpec,
  tell: { event(type: EventDetail['type'], reason: string, message: string): void; state(state: ContainerState): void },
  signal: AbortSignal,
): Promise<boolean> {
  const { node, pod, backoffMs } = context
  if (imagePullPolicy !== 'Always' && node.images.present(pod, image)) {
    tell.event('Normal', 'Pulled', `Container image "${image}" already present on machine`)
    return true
  }
  for (let failures = 0; !signal.aborted; failures++) {
    tell.event('Normal', 'Pulling', `Pulling image "${image}"`)
    const began = Date.now()
    await node.images.pull(pod, image, signal)
    if (signal.aborted) return false
    const fault = node.images.faultOf(image)
    if (fault?.kind !== 'missing') {
      tell.event('Normal', 'Pulled', `Successfully pulled image "${image}" in ${Date.now() - began}ms`)
      return true
    }
    const cause = `failed to resolve reference "${image}": ${fault.message ?? `${image}: not found`}`
    const why = `rpc error: code = NotFound desc = failed to pull and unpack image "${image}": ${cause}`
    tell.event('Warning', 'Failed', `Failed to pull image "${image}": ${why}`)
    tell.event('Warning', 'Failed', 'Error: ErrImagePull')
    tell.state({ waiting: { reason: 'ErrImagePull', message: why } })
    const wait = Math.min(backoffMs * 2 ** failures, 30_000)
    await pause(wait / 4, signal)
    if (signal.aborted) return false
    tell.event('Normal', 'BackOff', `Back-off pulling image "${image}"`)
    tell.event('Warning', 'Failed', 'Error: ImagePullBackOff')
    tell.state({
      waiting: { reason: 'ImagePullBackOff', message: `Back-off pulling image "${image}": ErrImagePull: ${why}` },
    })
    await pause(wait, signal)
  }
  return false
}

/** A digest that depends on the reference alone, so that a restarted sandbox reports the same. */
export function imageId(image: string): string {
  const name = image.replace(/@.*$/, '').replace(/:[^/:]*$/, '')
  return `${name}@sha256:${createHash('sha256').update(image).digest('hex')}`
}
