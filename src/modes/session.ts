import { Api } from '../cluster/api.ts'
import { type KubeconfigSource, loadKubeconfig } from '../cluster/config.ts'
import { connect } from '../cluster/discover.ts'
import { get } from '../cluster/objects.ts'
import type { Failure } from '../errors.ts'
import { UserError } from '../errors.ts'
import type { GithubContext } from '../github/event.ts'
import type { Log } from '../log.ts'
import type { LegDocument } from '../results/schema.ts'
import { type Inventory, readInventory } from '../stack/inventory.ts'
import { inventoryName, type KubeObject } from '../stack/kube.ts'

/** The world as a mode sees it. Everything that waits takes `signal`. */
export interface Session<I> {
  readonly inputs: I
  readonly env: Readonly<Record<string, string | undefined>>
  readonly log: Log
  readonly signal: AbortSignal
  /** Folder for everything the mode writes. */
  readonly out: string
  /** Absent on the command line. */
  readonly github: GithubContext | undefined
  /** Label value of what this step creates and does not keep. */
  readonly runId: string
  /** Owner of a stack: repository / run / leg, or a random id on the command line. */
  readonly holder: string
  readonly key: string
  readonly leg: string
  readonly attempt: number
  /** Tells post that the cluster is about to be changed; called before the first write. */
  readonly touch: () => void
}

/** What a mode gives back; main alone publishes it and decides about failure. */
export interface Outcome {
  readonly outputs: Readonly<Record<string, string>>
  /** Present when the comment must change. */
  readonly leg?: LegDocument
  /** Folder of the results artifact, when there is one. */
  readonly resultsFolder?: string
  readonly failure?: Failure
}

/** Connects to the cluster and says to which; the caller closes the Api. */
export async function openCluster(
  source: KubeconfigSource,
  context: string | undefined,
  session: Pick<Session<unknown>, 'env' | 'log' | 'signal'>,
): Promise<Api> {
  const api = new Api(loadKubeconfig(source, context, session.env), session.log)
  const { gitVersion } = await connect(api, session.signal)
  session.log.info(`connected to Kubernetes ${gitVersion} at ${new URL(api.server).host}`)
  return api
}

/** The inventory of the stack in a namespace, checked; undefined when there is no stack. */
export async function findInventory(
  api: Api,
  namespace: string,
  signal: AbortSignal,
): Promise<{ object: KubeObject; inventory: Inventory } | undefined> {
  const object = await get(api, 'ConfigMap', namespace, inventoryName, signal)
  return object === undefined ? undefined : { object, inventory: readInventory(object) }
}

export const noStack = (namespace: string): UserError =>
  new UserError('PREFLIGHT', `There is no stack of bench-action in namespace ${namespace}.`, {
    why: 'It was never stood up, was torn down, or the post step of its standup has removed it at the end of its job (lifetime: job).',
    next: 'Run `mode: standup` in the same job before; when standup and run are in different jobs, give standup `lifetime: ttl`.',
  })

/** Measures named phases; the sums go into the leg. */
export class Timings {
  readonly seconds: Record<string, number> = {}
  async measure<T>(phase: string, work: () => Promise<T>): Promise<T> {
    const started = performance.now()
    try {
      return await work()
    } finally {
      this.seconds[phase] = Number(((this.seconds[phase] ?? 0) + (performance.now() - started) / 1000).toFixed(3))
    }
  }
}
