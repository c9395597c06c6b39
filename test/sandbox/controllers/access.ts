import type { KubeObject } from '../../../src/stack/kube.ts'
import { type AccessRule, type Policy, policyOfRules, type Tokens } from '../api/access.ts'
import type { Cluster } from './cluster.ts'

type Binding = KubeObject & {
  roleRef: { kind: string; name: string }
  subjects?: { kind: string; name: string; namespace?: string }[]
}
const group = 'rbac.authorization.k8s.io'

/** What a ServiceAccount may do, as the roles that are bound to it say at the moment of the request. */
export function serviceAccountPolicy(cluster: Cluster, namespace: string, account: string): Policy {
  const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`, 'system:authenticated']
  return wanted => {
    const scoped = wanted.namespace ? cluster.list<Binding>(`rolebindings.${group}`, wanted.namespace) : []
    const rules = [...scoped, ...cluster.list<Binding>(`clusterrolebindings.${group}`)]
      .filter(b =>
        b.subjects?.some(s =>
          s.kind === 'Group'
            ? groups.includes(s.name)
            : s.kind === 'ServiceAccount' && s.name === account && (s.namespace ?? b.metadata.namespace) === namespace,
        ),
      )
      .flatMap(({ roleRef, metadata }) => {
        const role =
          roleRef.kind === 'Role'
            ? cluster.get(`roles.${group}`, metadata.namespace, roleRef.name)
            : cluster.get(`clusterroles.${group}`, undefined, roleRef.name)
        return (role?.rules ?? []) as Partial<AccessRule>[]
      })
      .map(r => ({ ...r, apiGroups: r.apiGroups ?? [], resources: r.resources ?? [], verbs: r.verbs ?? [] }))
    return policyOfRules(rules)(wanted)
  }
}

/** Gives out one token per ServiceAccount. */
export function tokenIssuer(cluster: Cluster, tokens: Tokens): (namespace: string, account: string) => string {
  const issued = new Map<string, string>()
  return (namespace, account) => {
    const name = `system:serviceaccount:${namespace}:${account}`
    const groups = ['system:serviceaccounts', `system:serviceaccounts:${namespace}`]
    const token =
      issued.get(name) ?? tokens.add({ name, groups, policy: serviceAccountPolicy(cluster, namespace, account) })
    issued.set(name, token)
    return token
  }
}
