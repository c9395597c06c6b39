import type { KubeObject } from '../../../src/stack/kube.ts'
import { ApiStatusError } from '../runtime.ts'
import type { AccessRule, User } from './access.ts'
import { detailsOf, notFound, type ResourceKind } from './kinds.ts'
import { same } from './same.ts'
import type { Store } from './store.ts'

const group = 'rbac.authorization.k8s.io'
type Binding = KubeObject & { roleRef: { kind: string; name: string } }

/**
 * Nobody grants what they do not hold: a Role is only written by who has its rights (or the verb `escalate`), a binding by
 * who has those of its Role (or the verb `bind`). So a binding of a Role that is not there is a 404.
 * @param live what is stored under that name; a write that changes no right is not judged
 * @throws ApiStatusError 403 or 404 with the text of a real server
 */
export function checkGrants(
  store: Store,
  user: User,
  kind: ResourceKind,
  object: KubeObject,
  live: KubeObject | undefined,
): void {
  if (kind.group !== group) return
  const namespace = object.metadata.namespace ?? ''
  const { name } = object.metadata
  const may = (verb: string, resource: string, of: string) =>
    user.policy({ verb, group, resource, subresource: '', namespace, name: of })
  let rules: unknown
  if (kind.plural.endsWith('roles')) {
    if (live && same(live.rules, object.rules)) return
    if (may('escalate', kind.plural, name)) return
    rules = object.rules
  } else {
    if (live && same([live.roleRef, live.subjects], [object.roleRef, object.subjects])) return
    const { kind: refKind, name: of } = (object as Binding).roleRef
    const plural = refKind === 'ClusterRole' ? 'clusterroles' : 'roles'
    if (may('bind', plural, of)) return
    const role = store.peek(`${plural}.${group}`, plural === 'roles' ? namespace : undefined, of)
    if (!role) throw notFound(kind, of)
    rules = role.rules
  }
  const lacking = lackingRights(user, (rules ?? []) as AccessRule[], namespace)
  if (lacking.length === 0) return
  const groups = user.groups.map(g => JSON.stringify(g)).join(' ')
  throw new ApiStatusError(
    403,
    `${kind.id} "${name}" is forbidden: user "${user.name}" (groups=[${groups}]) is attempting to grant RBAC permissions not currently held:\n${lacking.join('\n')}`,
    'Forbidden',
    detailsOf(kind, name),
  )
}

/** One line per resource, sorted, as the server lists them. */
function lackingRights(user: User, rules: readonly AccessRule[], namespace: string): string[] {
  const lines = rules.flatMap(rule =>
    rule.apiGroups.flatMap(apiGroup =>
      rule.resources.flatMap(path => {
        const [resource = '', subresource = ''] = path.split('/')
        const verbs = rule.verbs.filter(
          verb => !user.policy({ verb, group: apiGroup, resource, subresource, namespace, name: '' }),
        )
        const list = verbs.map(verb => JSON.stringify(verb)).join(' ')
        return verbs.length === 0
          ? []
          : [`{APIGroups:[${JSON.stringify(apiGroup)}], Resources:[${JSON.stringify(path)}], Verbs:[${list}]}`]
      }),
    ),
  )
  return lines.sort()
}
