import type { KubeObject } from '../../../src/stack/kube.ts'

const group = 'rbac.authorization.k8s.io'

export interface PolicyRule {
  readonly apiGroups?: readonly string[]
  readonly resources?: readonly string[]
  readonly nonResourceURLs?: readonly string[]
  readonly verbs: readonly string[]
}
interface Account {
  readonly name: string
  readonly namespace: string
}

/** A ClusterRole and its binding to one ServiceAccount. */
export function clusterGrant(
  role: string,
  binding: string,
  account: Account,
  rules: readonly PolicyRule[],
): KubeObject[] {
  const apiVersion = `${group}/v1`
  return [
    { apiVersion, kind: 'ClusterRole', metadata: { name: role }, rules },
    {
      ...{ apiVersion, kind: 'ClusterRoleBinding', metadata: { name: binding } },
      roleRef: { apiGroup: group, kind: 'ClusterRole', name: role },
      subjects: [{ kind: 'ServiceAccount', ...account }],
    },
  ]
}

/** A Role and its binding to one ServiceAccount of the same namespace. */
export function namespacedGrant(
  role: string,
  binding: string,
  account: Account,
  rules: readonly PolicyRule[],
): KubeObject[] {
  const apiVersion = `${group}/v1`
  const { namespace } = account
  return [
    { apiVersion, kind: 'Role', metadata: { name: role, namespace }, rules },
    {
      ...{ apiVersion, kind: 'RoleBinding', metadata: { name: binding, namespace } },
      roleRef: { apiGroup: group, kind: 'Role', name: role },
      subjects: [{ kind: 'ServiceAccount', ...account }],
    },
  ]
}
