import type { KubeObject } from '../../../src/stack/kube.ts'
import { type Cluster, keyOf, splitKey } from './cluster.ts'

type Claim = KubeObject & {
  spec: {
    storageClassName?: string
    volumeName?: string
    accessModes?: string[]
    resources?: { requests?: { storage?: string } }
  }
  status?: { phase?: string }
}
const selectedNode = 'volume.kubernetes.io/selected-node'
/** An annotation of a StorageClass, for tests: its provisioner refuses every claim with this text. */
export const refusalAnnotation = 'sandbox/provisioner-refuses'

/** Provisions a volume for each claim, as its class says; what cannot be provisioned stays Pending, with an event. */
export function startStorageController(
  cluster: Cluster,
  delayOf: (claim: KubeObject) => number,
  onVolumeGone: (claimUid: string) => void,
): void {
  const sync = cluster.queue(key => {
    const claim = cluster.get<Claim>('persistentvolumeclaims', ...splitKey(key))
    if (claim === undefined || claim.metadata.deletionTimestamp || claim.status?.phase === 'Bound') return
    const className = claim.spec.storageClassName ?? ''
    const tell = (type: 'Normal' | 'Warning', reason: string, message: string) =>
      cluster.event(claim, { type, reason, message, component: 'persistentvolume-controller' })
    if (className === '')
      return tell(
        'Normal',
        'FailedBinding',
        'no persistent volumes available for this claim and no storage class is set',
      )
    const storageClass = cluster.get('storageclasses.storage.k8s.io', undefined, className)
    if (storageClass === undefined)
      return tell('Warning', 'ProvisioningFailed', `storageclass.storage.k8s.io "${className}" not found`)
    if (storageClass.volumeBindingMode === 'WaitForFirstConsumer' && !claim.metadata.annotations?.[selectedNode]) {
      return tell('Normal', 'WaitForFirstConsumer', 'waiting for first consumer to be created before binding')
    }
    const refusal = storageClass.metadata.annotations?.[refusalAnnotation]
    if (refusal !== undefined)
      return tell(
        'Warning',
        'ProvisioningFailed',
        `failed to provision volume with StorageClass "${className}": ${refusal}`,
      )
    cluster.after(delayOf(claim), () => bind(cluster, claim, storageClass))
  })
  cluster.watch(['persistentvolumeclaims'], ({ type, object }) => {
    if (type !== 'DELETED') return sync(keyOf(object))
    const volume = cluster.get('persistentvolumes', undefined, volumeName(object))
    if (volume) cluster.remove(volume, 'persistentvolumes')
    onVolumeGone(object.metadata.uid ?? '')
  })
  cluster.watch(['storageclasses.storage.k8s.io'], () => {
    for (const claim of cluster.list<Claim>('persistentvolumeclaims'))
      if (claim.status?.phase !== 'Bound') sync(keyOf(claim))
  })
}

const volumeName = (claim: KubeObject): string => `pvc-${claim.metadata.uid}`

function bind(cluster: Cluster, claim: Claim, storageClass: KubeObject): void {
  const live = cluster.get<Claim>('persistentvolumeclaims', claim.metadata.namespace, claim.metadata.name)
  if (live?.metadata.uid !== claim.metadata.uid || live?.status?.phase === 'Bound') return
  const { namespace, name, uid } = claim.metadata
  const capacity = { storage: claim.spec.resources?.requests?.storage ?? '1Gi' }
  const { accessModes } = claim.spec
  const volume: KubeObject = {
    apiVersion: 'v1',
    kind: 'PersistentVolume',
    metadata: { name: volumeName(claim) },
    spec: {
      ...{
        capacity,
        accessModes,
        storageClassName: claim.spec.storageClassName,
        persistentVolumeReclaimPolicy: storageClass.reclaimPolicy,
      },
      claimRef: { apiVersion: 'v1', kind: 'PersistentVolumeClaim', namespace, name, uid },
      hostPath: { path: `/claims/${uid}` },
    },
  }
  cluster.attempt(() => cluster.store.create(volume, { manager: 'kube-controller-manager' }))
  cluster.setStatus(
    volumeNow(cluster, claim),
    'persistentvolumes',
    () => ({ phase: 'Bound' }),
    'kube-controller-manager',
  )
  cluster.modify(claim, 'persistentvolumeclaims', draft => {
    ;(draft as Claim).spec.volumeName = volumeName(claim)
  })
  cluster.setStatus(
    claim,
    'persistentvolumeclaims',
    () => ({ phase: 'Bound', accessModes, capacity }),
    'kube-controller-manager',
  )
  const message = `Successfully provisioned volume ${volumeName(claim)}`
  cluster.event(claim, {
    type: 'Normal',
    reason: 'ProvisioningSucceeded',
    message,
    component: String(storageClass.provisioner),
  })
}

const volumeNow = (cluster: Cluster, claim: Claim): KubeObject => {
  const volume = cluster.get('persistentvolumes', undefined, volumeName(claim))
  if (volume === undefined) throw new Error(`volume of claim ${keyOf(claim)} was not created`)
  return volume
}
