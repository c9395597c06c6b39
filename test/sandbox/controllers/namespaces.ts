import type { Cluster } from './cluster.ts'

/** Gives every namespace what a cluster puts there: the ServiceAccount `default` and the CA certificate. */
export function startNamespaceController(cluster: Cluster, caPem: string): void {
  const sync = cluster.queue(namespace => {
    const found = cluster.get('namespaces', undefined, namespace)
    if (found === undefined || found.metadata.deletionTimestamp) return
    const options = { manager: 'kube-controller-manager' }
    const create = (kind: string, name: string, body: Record<string, unknown>) =>
      cluster.attempt(() =>
        cluster.store.create({ apiVersion: 'v1', kind, metadata: { name, namespace }, ...body }, options),
      )
    if (!cluster.get('serviceaccounts', namespace, 'default')) create('ServiceAccount', 'default', {})
    if (!cluster.get('configmaps', namespace, 'kube-root-ca.crt'))
      create('ConfigMap', 'kube-root-ca.crt', { data: { 'ca.crt': caPem } })
  })
  cluster.watch(['namespaces'], ({ object }) => sync(object.metadata.name))
  cluster.watch(['serviceaccounts', 'configmaps'], ({ type, object }) => {
    if (type === 'DELETED') sync(object.metadata.namespace ?? '')
  })
}
