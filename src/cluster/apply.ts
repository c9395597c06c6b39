import { UserError } from '../errors.ts'
import type { Log } from '../log.ts'
import { inventoryName, type KubeObject, specHashAnnotation, stackLabel } from '../stack/kube.ts'
import type { Api } from './api.ts'
import { ApiError, explainApiError, isForbidden } from './api-error.ts'
import { waitUntilGone } from './gone.ts'
import { apply, get, isOurs, mergePatch, remove } from './objects.ts'
import { keptKinds } from './remove.ts'
import { describe, type Kind, kindOf } from './resources.ts'

export interface ApplyResult {
  readonly created: readonly string[]
  readonly changed: readonly string[]
  readonly unchanged: readonly string[]
}

/**
 * Refuses before anything is written when an object of the stack exists and is not ours: applying would merge into it
 * and teardown would delete it. Reads all of them concurrently.
 * @returns the live objects by `kind/name`, for `applyStack`.
 * @throws UserError PREFLIGHT naming every foreign object.
 */
export async function refuseForeign(
  api: Api,
  objects: readonly KubeObject[],
  stack: string,
  signal: AbortSignal,
): Promise<Map<string, KubeObject>> {
  const live = new Map<string, KubeObject>()
  const foreign: string[] = []
  await Promise.all(
    objects.map(async object => {
      const found = await get(api, kindOf(object), object.metadata.namespace, object.metadata.name, signal).catch(
        error => {
          // Secrets are often write-only for the deploying account; the create call below then decides.
          if (isForbidden(error) && object.kind === 'Secret') return undefined
          throw explainApiError(error, `reading ${describe(object)}`)
        },
      )
      if (!found) return
      // Weights and token of an earlier stack were kept to be used again, whatever model comes next.
      const reusable = keptKinds.includes(object.kind as Kind) && isOurs(found)
      if (reusable || isOurs(found, stack)) live.set(keyOf(object), found)
      else
        foreign.push(`${describe(object)}${isOurs(found) ? ` (of stack ${found.metadata.labels?.[stackLabel]})` : ''}`)
    }),
  )
  if (foreign.length > 0) {
    throw new UserError(
      'PREFLIGHT',
      `The namespace already holds ${foreign.length} object(s) of the names that this stack needs, made by somebody else.`,
      {
        why: `Not ours: ${foreign.sort().join(', ')}.`,
        next: 'Use another namespace, or remove them; for weights that are already on a volume, set model-source: pvc://CLAIM/PATH.',
      },
    )
  }
  return live
}

const keyOf = (o: KubeObject): string => `${o.kind}/${o.metadata.name}`

/**
 * Applies the stack: the inventory first and alone, then everything else at once. A Job whose spec changed, or that
 * failed, is replaced; an existing PersistentVolumeClaim is left as it is.
 */
export async function applyStack(
  api: Api,
  objects: readonly KubeObject[],
  live: ReadonlyMap<string, KubeObject>,
  options: { signal: AbortSignal; log: Log },
): Promise<ApplyResult> {
  const result = { created: [] as string[], changed: [] as string[], unchanged: [] as string[] }
  const one = async (object: KubeObject) => {
    const before = live.get(keyOf(object))
    if (before && object.kind === 'PersistentVolumeClaim') {
      const owner = object.metadata.labels?.[stackLabel]
      if (before.metadata.labels?.[stackLabel] === owner) result.unchanged.push(describe(object))
      else {
        const { name, namespace = '' } = object.metadata
        await mergePatch(
          api,
          'PersistentVolumeClaim',
          namespace,
          name,
          { metadata: { labels: { [stackLabel]: owner } } },
          options.signal,
        )
        result.changed.push(describe(object))
      }
      return
    }
    let fresh = before === undefined
    if (before && object.kind === 'Job') {
      const newVolume = result.created.some(name => name.startsWith('PersistentVolumeClaim '))
      if (!newVolume && !jobMustBeReplaced(before, object)) {
        result.unchanged.push(describe(object))
        return
      }
      await remove(api, before, { signal: options.signal, propagation: 'Foreground' })
      await waitUntilGone(api, before, options.signal, options.log)
      fresh = true
    }
    let after: KubeObject
    try {
      after = await apply(api, object, { signal: options.signal })
    } catch (error) {
      throw explainApply(error, object)
    }
    if (fresh) result.created.push(describe(object))
    else if (after.metadata.resourceVersion === before?.metadata.resourceVersion)
      result.unchanged.push(describe(object))
    else result.changed.push(describe(object))
  }
  const inventory = objects.filter(o => o.metadata.name === inventoryName)
  for (const object of inventory) await one(object)
  const started = new Map<string, Promise<void>>()
  const start = (object: KubeObject): Promise<void> => {
    const before = objects.filter(other => needs(object, other) && other !== object)
    const promise = started.get(keyOf(object)) ?? Promise.all(before.map(start)).then(() => one(object))
    started.set(keyOf(object), promise)
    return promise
  }
  const settled = await Promise.allSettled(objects.filter(o => !inventory.includes(o)).map(start))
  const failed = settled.filter(s => s.status === 'rejected')
  if (failed.length > 0) throw failed[0]!.reason
  return result
}

/**
 * The three edges of an apply: istiod reads a Gateway's ConfigMap when it first renders it and is not told later; whether
 * the download must run again depends on whether its volume is a new one; and a RoleBinding of a Role that is not there yet
 * is refused with 404 to everybody without the verb `bind`, because the server cannot compare their rights with it.
 */
function needs(object: KubeObject, other: KubeObject): boolean {
  if (object.kind === 'Gateway') return other.kind === 'ConfigMap' && other.metadata.name === object.metadata.name
  if (object.kind === 'RoleBinding')
    return other.kind === 'Role' && other.metadata.name === (object.roleRef as { name?: unknown } | undefined)?.name
  return object.kind === 'Job' && other.kind === 'PersistentVolumeClaim'
}

function jobMustBeReplaced(before: KubeObject, wanted: KubeObject): boolean {
  const conditions =
    (before.status as { conditions?: { type: string; status: string }[] } | undefined)?.conditions ?? []
  const failed = conditions.some(c => c.type === 'Failed' && c.status === 'True')
  return (
    failed || before.metadata.annotations?.[specHashAnnotation] !== wanted.metadata.annotations?.[specHashAnnotation]
  )
}

function explainApply(error: unknown, object: KubeObject): unknown {
  const doing = `applying ${describe(object)}`
  if (error instanceof ApiError && (error.status === 400 || error.status === 422 || error.status === 500)) {
    return new UserError('PREFLIGHT', `The cluster refused ${describe(object)}.`, {
      why: error.message,
      next: 'Compare the versions of the installed CRDs with the ones in docs/platform.md; a policy or webhook of the cluster may also refuse it.',
      cause: error,
    })
  }
  if (error instanceof ApiError && error.status === 404) {
    return new UserError(
      'PLATFORM',
      `The cluster does not know the kind ${object.kind} (${object.apiVersion}) or the namespace is gone.`,
      {
        why: error.message,
        next: 'Install the missing custom resource definitions (docs/platform.md) and check the namespace.',
        cause: error,
      },
    )
  }
  return explainApiError(error, doing)
}
