import { type Static, Type } from '@sinclair/typebox'
import { TypeCompiler } from '@sinclair/typebox/compiler'
import { UserError } from '../errors.ts'
import { Autoscaling } from './components/autoscaling.ts'
import { inventoryName, type KubeObject, stackLabel } from './kube.ts'
import { names } from './names.ts'
import type { StackSpec } from './spec.ts'

const short = Type.String({ minLength: 1, maxLength: 300 })
const entries = Type.Record(short, Type.String({ maxLength: 300 }), { maxProperties: 50 })
const Toleration = Type.Object({
  key: Type.Optional(short),
  operator: Type.Optional(Type.Union([Type.Literal('Exists'), Type.Literal('Equal')])),
  value: Type.Optional(Type.String({ maxLength: 300 })),
  effect: Type.Optional(
    Type.Union([Type.Literal('NoSchedule'), Type.Literal('PreferNoSchedule'), Type.Literal('NoExecute')]),
  ),
  tolerationSeconds: Type.Optional(Type.Integer()),
})
const Placement = Type.Object({
  tolerations: Type.Array(Toleration, { maxItems: 50 }),
  nodeSelector: entries,
  priorityClass: Type.Optional(short),
  queueName: Type.Optional(short),
  imagePullSecret: Type.Optional(short),
})
const ModelSourceData = Type.Union([
  Type.Object({ kind: Type.Literal('pvc') }),
  Type.Object({ kind: Type.Literal('claim'), claim: short, path: Type.String({ maxLength: 1000 }) }),
  Type.Object({ kind: Type.Literal('hf') }),
])
const ObjectRef = Type.Object({ apiVersion: short, kind: short, namespace: Type.Optional(short), name: short })

/** What standup leaves for run and teardown: enough to need nothing but the namespace. */
export const InventoryData = Type.Object({
  version: Type.Literal(1),
  stack: short,
  release: short,
  label: short,
  model: short,
  namespace: short,
  harnessNamespace: short,
  wellLitPath: short,
  /** Name of the leg that stood it up. */
  leg: Type.Optional(short),
  wva: Type.Boolean(),
  /** Under WVA: what HPA and VariantAutoscaling are made from again after a reset that was cut. */
  autoscaling: Type.Optional(Autoscaling),
  replicas: Type.Integer({ minimum: 0, maximum: 10_000 }),
  gpusPerReplica: Type.Integer({ minimum: 0, maximum: 1024 }),
  accelerator: Type.Optional(Type.Object({ key: short, value: short })),
  images: Type.Object({ vllm: short, scheduler: short, sidecar: short, harness: short }),
  gateway: short,
  decode: short,
  placement: Placement,
  modelSource: ModelSourceData,
  /** Whether standup put the hub token into the namespaces. */
  hfSecret: Type.Boolean(),
  startupProbe: Type.Object({
    initialDelaySeconds: Type.Integer(),
    periodSeconds: Type.Integer(),
    failureThreshold: Type.Integer(),
  }),
  settingsHash: short,
  createdNamespace: Type.Boolean(),
  objects: Type.Array(ObjectRef, { maxItems: 200 }),
})
export type InventoryData = Static<typeof InventoryData>

/** The data, and what changes from run to run and therefore is an annotation. */
export interface Inventory extends InventoryData {
  readonly holder: string
  readonly expiresEpochSeconds: number
  readonly lifetime: 'job' | 'ttl'
}

export const holderAnnotation = 'llm-d.ai/bench-holder'
export const expiresAnnotation = 'llm-d.ai/bench-expires'
export const lifetimeAnnotation = 'llm-d.ai/bench-lifetime'
/** Set before the first load: what follows does not start from what standup has proven. */
export const loadedAnnotation = 'llm-d.ai/bench-loaded'
export const keepAnnotation = 'llm-d.ai/bench-keep'
const dataKey = 'inventory.json'

export interface StandupRun {
  readonly run: string
  readonly attempt: number
  readonly commit: string
  readonly expiresEpochSeconds: number
  readonly holder: string
  readonly createdNamespace: boolean
  readonly leg: string
  /** `job`: post removes the stack at the end of the job. */
  readonly lifetime: 'job' | 'ttl'
}

/**
 * The ConfigMap that is written before the first object of the stack. What changes from run to run is an annotation of
 * this object alone: on any other it would restart pods and break "a second standup changes nothing".
 */
export function inventory(spec: StackSpec, objects: readonly KubeObject[], run: StandupRun): KubeObject {
  const n = names(spec)
  const data: InventoryData = {
    version: 1,
    stack: spec.stack,
    release: spec.release,
    label: spec.label,
    model: spec.model,
    namespace: spec.namespace,
    harnessNamespace: spec.harnessNamespace,
    wellLitPath: spec.wellLitPath,
    leg: run.leg,
    wva: spec.autoscaling !== undefined,
    ...(spec.autoscaling === undefined ? {} : { autoscaling: stored(spec.autoscaling) }),
    replicas: spec.replicas,
    gpusPerReplica: spec.gpusPerReplica,
    ...(spec.accelerator === undefined ? {} : { accelerator: spec.accelerator }),
    images: { ...spec.images },
    gateway: n.gateway,
    decode: n.decode,
    placement: {
      ...spec.placement,
      tolerations: spec.placement.tolerations.map(t => ({ ...t })),
      nodeSelector: { ...spec.placement.nodeSelector },
    },
    modelSource: { ...spec.source },
    hfSecret: spec.hfToken !== undefined,
    startupProbe: { ...spec.settings.startupProbe },
    settingsHash: spec.settingsHash,
    createdNamespace: run.createdNamespace,
    objects: objects.map(o => ({
      apiVersion: o.apiVersion,
      kind: o.kind,
      ...(o.metadata.namespace === undefined ? {} : { namespace: o.metadata.namespace }),
      name: o.metadata.name,
    })),
  }
  return {
    apiVersion: 'v1',
    kind: 'ConfigMap',
    metadata: {
      name: inventoryName,
      namespace: spec.namespace,
      labels: { [stackLabel]: spec.stack },
      annotations: {
        'llm-d.ai/bench-run': run.run,
        'llm-d.ai/bench-attempt': String(run.attempt),
        'llm-d.ai/bench-commit': run.commit,
        [expiresAnnotation]: String(run.expiresEpochSeconds),
        [holderAnnotation]: run.holder,
        [lifetimeAnnotation]: run.lifetime,
      },
    },
    data: { [dataKey]: JSON.stringify(data) },
  }
}

const stored = ({ serviceMonitorLabels: _labels, ...kept }: NonNullable<StackSpec['autoscaling']>): Autoscaling =>
  structuredClone(kept)

/**
 * Reads an inventory back. It comes from the cluster and is not trusted: what the schema does not name is dropped, and
 * it must speak of the namespace and the stack that its own metadata names.
 * @throws UserError PREFLIGHT when it is not one of this version.
 */
export function readInventory(object: KubeObject): Inventory {
  const { metadata } = object
  const data = parsed((object.data as Record<string, unknown> | undefined | null)?.[dataKey])
  if (typeof data === 'string') throw broken(metadata.namespace, data)
  if (data.stack !== metadata.labels?.[stackLabel]) throw broken(metadata.namespace, 'its stack differs from its label')
  if (data.namespace !== metadata.namespace) {
    throw broken(metadata.namespace, 'it was written for another namespace')
  }
  const expires = Number(metadata.annotations?.[expiresAnnotation])
  return {
    ...data,
    holder: metadata.annotations?.[holderAnnotation] ?? '',
    lifetime: metadata.annotations?.[lifetimeAnnotation] === 'ttl' ? 'ttl' : 'job',
    // An expiry that cannot be read has passed: the next sweep may take the stack.
    expiresEpochSeconds: Number.isFinite(expires) ? expires : 0,
  }
}

/** The checked data, or what is wrong with it. */
function parsed(text: unknown): InventoryData | string {
  if (typeof text !== 'string') return `the key ${dataKey} is missing`
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return 'it is not JSON'
  }
  const check = TypeCompiler.Compile(InventoryData)
  if (check.Check(value)) {
    const known = Object.entries(value).filter(([key]) => key in InventoryData.properties)
    return Object.fromEntries(known) as InventoryData
  }
  const first = check.Errors(value).First()
  return `${(first?.path || '(top)').slice(0, 100)}: ${first?.message ?? 'not an inventory'}`
}

const broken = (namespace: string | undefined, problem: string): UserError =>
  new UserError('PREFLIGHT', `The inventory ConfigMap ${inventoryName} in namespace ${namespace} cannot be read.`, {
    why: `${problem[0]?.toUpperCase()}${problem.slice(1)}; another version wrote it, or it was changed by hand.`,
    next: 'Run mode: teardown for this namespace (it goes by the label of the objects), then standup again.',
  })
