import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import { autoscalerProblems, defaultAutoscaler, type Problem } from './autoscaling.ts'
import { type Dict, dict, dicts } from './dict.ts'
import { detailsOf, type ResourceKind } from './kinds.ts'
import { same } from './same.ts'

const fill = (target: Dict, defaults: Dict): void => {
  for (const [key, value] of Object.entries(defaults)) target[key] ??= structuredClone(value)
}

/** What admission needs to know about the rest of the cluster. */
export interface Surroundings {
  defaultStorageClass(): string | undefined
  clusterIps(): ReadonlySet<string>
  nodePorts(): ReadonlySet<number>
}

/** Fills in what a real server would, as far as a client can see it. Repeating it changes nothing. */
export function applyDefaults(kind: ResourceKind, object: KubeObject, around: Surroundings, isNew: boolean): void {
  const spec = dict(object.spec)
  switch (kind.id) {
    case 'namespaces':
      object.metadata.labels = { 'kubernetes.io/metadata.name': object.metadata.name, ...object.metadata.labels }
      if (isNew) object.spec = { finalizers: ['kubernetes'] }
      if (isNew) object.status = { phase: 'Active' }
      break
    case 'pods':
      defaultPodSpec(spec)
      fill(spec, { serviceAccountName: 'default', enableServiceLinks: true })
      if (isNew) object.status = { phase: 'Pending', qosClass: 'Burstable' }
      break
    case 'secrets':
      object.type ??= 'Opaque'
      if (object.stringData !== undefined) {
        const data = Object.entries(dict(object.stringData)).map(([k, v]) => [
          k,
          Buffer.from(String(v)).toString('base64'),
        ])
        object.data = { ...dict(object.data), ...Object.fromEntries(data) }
        delete object.stringData
      }
      break
    case 'services':
      defaultService(spec, around)
      break
    case 'persistentvolumeclaims':
      fill(spec, { volumeMode: 'Filesystem' })
      if (!isNew) break
      if (spec.storageClassName === undefined) fill(spec, { storageClassName: around.defaultStorageClass() })
      object.metadata.finalizers = [...new Set([...(object.metadata.finalizers ?? []), 'kubernetes.io/pvc-protection'])]
      object.status = { phase: 'Pending' }
      break
    case 'deployments.apps':
      fill(spec, { replicas: 1, revisionHistoryLimit: 10, progressDeadlineSeconds: 600, strategy: {} })
      fill(dict(spec.strategy), { type: 'RollingUpdate' })
      if (dict(spec.strategy).type === 'RollingUpdate') {
        fill(dict(spec.strategy), { rollingUpdate: { maxSurge: '25%', maxUnavailable: '25%' } })
      }
      defaultPodSpec(dict(dict(spec.template).spec))
      break
    case 'replicasets.apps':
    case 'statefulsets.apps':
      fill(spec, { replicas: 1 })
      defaultPodSpec(dict(dict(spec.template).spec))
      break
    case 'jobs.batch':
      defaultJob(object, spec, isNew)
      break
    case 'horizontalpodautoscalers.autoscaling':
      defaultAutoscaler(spec)
      break
    case 'apiservices.apiregistration.k8s.io':
      if (spec.service !== undefined) fill(dict(spec.service), { port: 443 })
      break
    case 'storageclasses.storage.k8s.io':
      fill(object, { reclaimPolicy: 'Delete', volumeBindingMode: 'Immediate' })
  }
}

function defaultPodSpec(spec: Dict): void {
  fill(spec, { restartPolicy: 'Always', dnsPolicy: 'ClusterFirst', terminationGracePeriodSeconds: 30 })
  fill(spec, { schedulerName: 'default-scheduler', securityContext: {} })
  for (const container of [...dicts(spec.initContainers), ...dicts(spec.containers)]) {
    const image = String(container.image ?? '')
    const latest = !/[:@][^/]*$/.test(image) || image.endsWith(':latest')
    fill(container, { imagePullPolicy: latest ? 'Always' : 'IfNotPresent', resources: {} })
    for (const port of dicts(container.ports)) fill(port, { protocol: 'TCP' })
    for (const name of ['startupProbe', 'readinessProbe', 'livenessProbe']) {
      if (container[name] === undefined) continue
      fill(dict(container[name]), { timeoutSeconds: 1, periodSeconds: 10, successThreshold: 1, failureThreshold: 3 })
      const httpGet = dict(container[name]).httpGet
      if (httpGet !== undefined) fill(dict(httpGet), { path: '/', scheme: 'HTTP' })
    }
  }
  for (const volume of dicts(spec.volumes)) {
    for (const type of ['configMap', 'secret']) if (volume[type]) fill(dict(volume[type]), { defaultMode: 420 })
  }
}

function defaultService(spec: Dict, around: Surroundings): void {
  fill(spec, { type: 'ClusterIP', sessionAffinity: 'None' })
  for (const port of dicts(spec.ports)) fill(port, { protocol: 'TCP', targetPort: port.port })
  if (spec.type === 'ExternalName') return
  if (!spec.clusterIP) {
    const taken = around.clusterIps()
    let n = 10
    const address = () => `10.96.${n >> 8}.${n & 255}`
    while (taken.has(address())) n++
    spec.clusterIP = address()
  }
  fill(spec, { clusterIPs: [spec.clusterIP], internalTrafficPolicy: 'Cluster', ipFamilies: ['IPv4'] })
  if (spec.type === 'ClusterIP') return
  const taken = new Set(around.nodePorts())
  for (const port of dicts(spec.ports)) {
    for (let n = 30000; port.nodePort === undefined; n++) if (!taken.has(n)) port.nodePort = n
    taken.add(port.nodePort as number)
  }
}

function defaultJob(object: KubeObject, spec: Dict, isNew: boolean): void {
  fill(spec, { backoffLimit: 6, completions: 1, parallelism: 1, completionMode: 'NonIndexed', suspend: false })
  if (isNew && spec.manualSelector !== true) {
    const labels = { 'batch.kubernetes.io/controller-uid': object.metadata.uid, 'controller-uid': object.metadata.uid }
    const names = { 'batch.kubernetes.io/job-name': object.metadata.name, 'job-name': object.metadata.name }
    spec.selector = { matchLabels: { 'batch.kubernetes.io/controller-uid': object.metadata.uid } }
    const template = dict(spec.template)
    template.metadata = { ...dict(template.metadata) }
    const meta = dict(template.metadata)
    meta.labels = { ...dict(meta.labels), ...labels, ...names }
  }
  const template = dict(dict(spec.template).spec)
  // Without a policy the pod default (Always) applies, which a Job refuses below.
  defaultPodSpec(template)
}

const invalid = (kind: ResourceKind, name: string, ...problem: Problem) => refusal(kind, name, [problem])

function refusal(kind: ResourceKind, name: string, problems: readonly Problem[]): ApiStatusError {
  const subject = kind.group === '' ? kind.kind : `${kind.kind}.${kind.group}`
  const causes = problems.map(([field, message, reason = 'FieldValueInvalid']) => ({ reason, message, field }))
  const texts = causes.map(c => `${c.field}: ${c.message}`)
  const text = texts.length === 1 ? texts[0] : `[${texts.join(', ')}]`
  const details = { ...detailsOf(kind, name), kind: kind.kind, causes }
  return new ApiStatusError(422, `${subject} "${name}" is invalid: ${text}`, 'Invalid', details)
}

/** Refuses what a real server refuses in the kinds we use. */
export function validate(kind: ResourceKind, object: KubeObject, before?: KubeObject): void {
  const { name } = object.metadata
  const spec = dict(object.spec)
  const template = dict(spec.template)
  const freeName = kind.group === 'rbac.authorization.k8s.io'
  if (!freeName && (!/^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$/.test(name) || name.length > 253)) {
    const rule = 'a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, "-" or "."'
    throw invalid(kind, name, 'metadata.name', `Invalid value: "${name}": ${rule}`)
  }
  for (const [key, value] of Object.entries(object.metadata.labels ?? {})) {
    if (value.length <= 63 && /^([A-Za-z0-9]([\w.-]*[A-Za-z0-9])?)?$/.test(value)) continue
    throw invalid(kind, name, 'metadata.labels', `Invalid value: "${value}": not a valid label value (key ${key})`)
  }
  if (kind.id === 'leases.coordination.k8s.io') validateLease(kind, name, spec)
  if (kind.id === 'apiservices.apiregistration.k8s.io') validateApiService(kind, name, spec)
  if (kind.id === 'horizontalpodautoscalers.autoscaling') {
    const problems = autoscalerProblems(spec)
    if (problems.length > 0) throw refusal(kind, name, problems)
  }
  const isPod = kind.id === 'pods'
  if (isPod || spec.template !== undefined) {
    const podSpec = isPod ? spec : dict(template.spec)
    const at = isPod ? 'spec' : 'spec.template.spec'
    if (kind.builtin && dicts(podSpec.containers).length === 0) {
      throw invalid(kind, name, `${at}.containers`, 'Required value', 'FieldValueRequired')
    }
    if (kind.id === 'jobs.batch' && podSpec.restartPolicy === 'Always') {
      throw invalid(kind, name, `${at}.restartPolicy`, 'Required value: valid values: "OnFailure", "Never"')
    }
  }
  if (kind.group === 'apps') {
    const labels = dict(dict(template.metadata).labels)
    const wanted = Object.entries(dict(dict(spec.selector).matchLabels))
    if (spec.selector === undefined) throw invalid(kind, name, 'spec.selector', 'Required value', 'FieldValueRequired')
    if (wanted.some(([k, v]) => labels[k] !== v)) {
      const text = `Invalid value: ${JSON.stringify(labels)}: \`selector\` does not match template \`labels\``
      const frozen = before ? immutableProblems(kind, before, object) : []
      throw refusal(kind, name, [['spec.template.metadata.labels', text], ...frozen])
    }
  }
  const frozen = before ? immutableProblems(kind, before, object) : []
  if (frozen.length > 0) throw refusal(kind, name, frozen)
}

function validateLease(kind: ResourceKind, name: string, spec: Dict): void {
  const { leaseDurationSeconds: seconds } = spec
  if (seconds !== undefined && !(Number(seconds) > 0))
    throw invalid(kind, name, 'spec.leaseDurationSeconds', `Invalid value: ${seconds}: must be greater than 0`)
  for (const field of ['acquireTime', 'renewTime']) {
    const value = spec[field]
    if (value === undefined || /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(Z|[+-]\d\d:\d\d)$/.test(String(value))) continue
    // Go's parser names the first part that it stumbles over.
    const rest = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(.*)$/.exec(String(value))?.[1]
    const stumbles = rest === undefined ? `"${value}" as "2006"` : `"${rest}" as ".000000"`
    const text = `parsing time "${value}" as "2006-01-02T15:04:05.000000Z07:00": cannot parse ${stumbles}`
    throw new ApiStatusError(400, `Lease in version "v1" cannot be handled as a Lease: ${text}`, 'BadRequest')
  }
}

function validateApiService(kind: ResourceKind, name: string, spec: Dict): void {
  const wanted = `${spec.version}.${spec.group}`
  if (name !== wanted) {
    const rule = `must be \`spec.version+"."+spec.group\`: "${wanted}"`
    throw invalid(kind, name, 'metadata.name', `Invalid value: "${name}": ${rule}`)
  }
  for (const [field, limit] of Object.entries({ groupPriorityMinimum: 20_000, versionPriority: 1000 })) {
    const value = Number(spec[field] ?? 0)
    const text = `Invalid value: ${value}: must be positive and less than ${limit}`
    if (value <= 0 || value > limit) throw invalid(kind, name, `spec.${field}`, text)
  }
  if (spec.insecureSkipTLSVerify === true && spec.caBundle) {
    const text = 'Invalid value: true: may not be true if caBundle is present'
    throw invalid(kind, name, 'spec.insecureSkipTLSVerify', text)
  }
}

const immutableFields: Readonly<Record<string, readonly string[]>> = {
  'jobs.batch': ['spec.template', 'spec.selector', 'spec.completions'],
  'deployments.apps': ['spec.selector'],
  'replicasets.apps': ['spec.selector'],
  persistentvolumeclaims: ['spec.storageClassName', 'spec.accessModes', 'spec.volumeMode'],
  services: ['spec.clusterIP'],
  'rolebindings.rbac.authorization.k8s.io': ['roleRef'],
  'clusterrolebindings.rbac.authorization.k8s.io': ['roleRef'],
  'storageclasses.storage.k8s.io': ['provisioner', 'parameters'],
}

/** Refuses a change of a field that can only be set once. */
function immutableProblems(kind: ResourceKind, before: KubeObject, after: KubeObject): Problem[] {
  const fields = [...(immutableFields[kind.id] ?? [])]
  if (before.immutable === true) fields.push('data', 'immutable')
  return fields.flatMap((field): Problem[] => {
    const read = (o: unknown) => field.split('.').reduce<unknown>((at, key) => dict(at)[key], o)
    if (same(read(before), read(after))) return []
    if (kind.id === 'services' && dict(after.spec).type === 'ExternalName') return []
    return [[field, `Invalid value: ${JSON.stringify(read(after))}: field is immutable`]]
  })
}
