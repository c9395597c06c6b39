import { randomBytes } from 'node:crypto'
import { ApiStatusError } from '../runtime.ts'
import { detailsOf, type ResourceKind } from './kinds.ts'

/** What a request wants to do, as an authorizer sees it. `resource` without subresource; empty strings where not given. */
export interface Attributes {
  verb: string
  group: string
  resource: string
  subresource: string
  namespace: string
  name: string
}
export type Policy = (attributes: Attributes) => boolean

/** A rule as in a Role; `namespaces` empty means everywhere. `resources` may hold `pods/exec`. */
export interface AccessRule {
  apiGroups: readonly string[]
  resources: readonly string[]
  verbs: readonly string[]
  resourceNames?: readonly string[]
  namespaces?: readonly string[]
}
export interface User {
  name: string
  groups: readonly string[]
  policy: Policy
  /** Given when the policy was made of rules; a rules review shows them. */
  rules?: readonly AccessRule[]
}

const allows = (list: readonly string[], wanted: string): boolean => list.includes('*') || list.includes(wanted)

/** The policy of a set of Role rules. */
export function policyOfRules(rules: readonly AccessRule[]): Policy {
  return a =>
    rules.some(
      r =>
        allows(r.apiGroups, a.group) &&
        allows(r.resources, a.subresource === '' ? a.resource : `${a.resource}/${a.subresource}`) &&
        allows(r.verbs, a.verb) &&
        (!r.resourceNames?.length || r.resourceNames.includes(a.name)) &&
        (!r.namespaces?.length || r.namespaces.includes(a.namespace)),
    )
}

/** The bearer tokens that the server knows. */
export class Tokens {
  readonly #users = new Map<string, User>()

  /** Adds a user and returns its token. Without policy and rules the user may do everything. */
  add(user: {
    name: string
    groups?: readonly string[]
    policy?: Policy
    rules?: readonly AccessRule[]
    token?: string
  }): string {
    const token = user.token ?? randomBytes(24).toString('base64url')
    const policy = user.policy ?? (user.rules ? policyOfRules(user.rules) : () => true)
    const groups = [...(user.groups ?? []), 'system:authenticated']
    this.#users.set(token, { name: user.name, groups, policy, ...(user.rules ? { rules: user.rules } : {}) })
    return token
  }
  revoke(token: string): void {
    this.#users.delete(token)
  }
  /** @throws ApiStatusError 401 */
  authenticate(authorization: string | undefined): User {
    const user = this.#users.get(/^Bearer\s+(.+)$/i.exec(authorization ?? '')?.[1] ?? '')
    if (!user) throw new ApiStatusError(401, 'Unauthorized')
    return user
  }
}

/** @throws ApiStatusError 403 with the text of a real server. */
export function authorize(
  user: User,
  kind: Pick<ResourceKind, 'id' | 'group' | 'plural'>,
  attributes: Attributes,
): void {
  if (user.policy(attributes)) return
  const { verb, group, resource, subresource, namespace, name } = attributes
  const what = subresource === '' ? resource : `${resource}/${subresource}`
  const where = namespace === '' ? 'at the cluster scope' : `in the namespace "${namespace}"`
  const object = name === '' ? kind.id : `${kind.id} "${name}"`
  const text = `User "${user.name}" cannot ${verb} resource "${what}" in API group "${group}" ${where}`
  throw new ApiStatusError(403, `${object} is forbidden: ${text}`, 'Forbidden', detailsOf(kind, name))
}

/** Answers a SelfSubjectAccessReview, SelfSubjectRulesReview or SelfSubjectReview; undefined for any other resource. */
export function review(
  user: User,
  resource: string,
  body: Record<string, unknown>,
): Record<string, unknown> | undefined {
  const spec = (body.spec ?? {}) as { resourceAttributes?: Partial<Attributes>; namespace?: string }
  if (resource === 'selfsubjectaccessreviews') {
    const none = { verb: '', group: '', resource: '', subresource: '', namespace: '', name: '' }
    const allowed = spec.resourceAttributes === undefined || user.policy({ ...none, ...spec.resourceAttributes })
    return { ...body, status: allowed ? { allowed, reason: 'allowed by the policy of the token' } : { allowed } }
  }
  if (resource === 'selfsubjectrulesreviews') {
    const here = (user.rules ?? []).filter(r => !r.namespaces?.length || r.namespaces.includes(spec.namespace ?? ''))
    const everything = { verbs: ['*'], apiGroups: ['*'], resources: ['*'] }
    const rules = user.rules ? here.map(({ namespaces: _, ...rule }) => rule) : [everything]
    return {
      ...body,
      status: {
        resourceRules: rules,
        nonResourceRules: [{ verbs: ['get'], nonResourceURLs: ['*'] }],
        incomplete: false,
      },
    }
  }
  if (resource === 'selfsubjectreviews')
    return { ...body, status: { userInfo: { username: user.name, groups: user.groups } } }
  return undefined
}
