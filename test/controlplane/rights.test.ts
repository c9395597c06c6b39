import { afterAll, expect, test } from '@jest/globals'
import { parseAllDocuments } from 'yaml'
import type { Api } from '../../src/cluster/api.ts'
import { pause } from '../../src/cluster/api.ts'
import { applyStack, refuseForeign } from '../../src/cluster/apply.ts'
import { missingRights } from '../../src/cluster/discover.ts'
import { apply } from '../../src/cluster/objects.ts'
import { removeStack } from '../../src/cluster/remove.ts'
import { asFailure } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import {
  controllerReviews,
  neededReviews,
  type Review,
  type ReviewMode,
  rightText,
  roleYaml,
  wvaRoleYaml,
} from '../../src/platform/rbac.ts'
import type { KubeObject } from '../../src/stack/kube.ts'
import { configurations } from '../unit/stack/configurations.ts'
import { planOf } from '../unit/stack/specs.ts'
import { accountToken, freshNamespace, open } from './ring.ts'

const admin = open()
afterAll(() => admin.close())

interface PolicyRule {
  readonly apiGroups: readonly string[]
  readonly resources: readonly string[]
  readonly verbs: readonly string[]
}
type Role = KubeObject & { rules: PolicyRule[] }
const documents = (text: string) => parseAllDocuments(text).map(d => d.toJS() as Role)

/** The Roles of a mode as the documents print them. */
const rolesOf = (mode: ReviewMode, namespace: string, controller?: string): Role[] => [
  ...documents(roleYaml(mode, namespace)),
  ...(controller === undefined ? [] : documents(wvaRoleYaml(mode, namespace, controller))),
]
const reviewsOf = (mode: ReviewMode, namespace: string, controller?: string): Review[] => [
  ...neededReviews(mode, namespace, controller !== undefined),
  ...(controller === undefined ? [] : controllerReviews(mode, controller)),
]
const grants = (role: Role, r: Review): boolean =>
  role.metadata.namespace === r.namespace &&
  role.rules.some(
    rule =>
      rule.apiGroups.includes(r.group) &&
      rule.resources.includes(r.subresource === undefined ? r.resource : `${r.resource}/${r.subresource}`) &&
      rule.verbs.includes(r.verb),
  )

let count = 0
/** A client for a new ServiceAccount that holds exactly these Roles, and how to change what one of them allows. */
async function holderOf(roles: readonly Role[], home: string) {
  const name = `runner-${++count}`
  const token = await accountToken(admin, home, name)
  const named = (role: Role) => ({ ...role, metadata: { ...role.metadata, name: `${role.metadata.name}-${name}` } })
  for (const role of roles.map(named)) {
    await apply(admin, role)
    await apply(admin, {
      ...{ apiVersion: 'rbac.authorization.k8s.io/v1', kind: 'RoleBinding', metadata: role.metadata },
      roleRef: { apiGroup: 'rbac.authorization.k8s.io', kind: 'Role', name: role.metadata.name },
      subjects: [{ kind: 'ServiceAccount', name, namespace: home }],
    })
  }
  return { api: open({ token }), change: (role: Role) => apply(admin, named(role)) }
}
/** The server learns of a new Role a moment after it is written: asks until the answer is the expected one. */
async function lacking(api: Api, reviews: readonly Review[], expected: readonly string[]): Promise<string[]> {
  const wanted = [...new Set(expected)].sort().join()
  const deadline = Date.now() + 10_000
  for (;;) {
    const missing = await missingRights(api, reviews, AbortSignal.timeout(20_000), silentLog)
    const found = [...new Set(missing.map(rightText))].sort()
    if (found.join() === wanted || Date.now() > deadline) return found
    await pause(50)
  }
}

const modes: [ReviewMode, boolean][] = [
  ['standup', false],
  ['run', false],
  ['teardown', false],
  ['standup', true],
  ['run', true],
  ['teardown', true],
]

test.each(modes)(
  '%s (under WVA: %s) lacks no right with the Roles that the documents print, and each rule that is taken away is named',
  async (mode, wva) => {
    const namespace = await freshNamespace(admin)
    const controller = wva ? await freshNamespace(admin) : undefined
    const roles = rolesOf(mode, namespace, controller)
    const reviews = reviewsOf(mode, namespace, controller)
    const { api, change } = await holderOf(roles, namespace)
    expect(await lacking(api, reviews, [])).toEqual([])
    let named = 0
    for (const [at, role] of roles.entries()) {
      for (const rule of role.rules) {
        const less = { ...role, rules: role.rules.filter(other => other !== rule) }
        const expected = reviews.filter(r => !roles.with(at, less).some(one => grants(one, r))).map(rightText)
        await change(less)
        expect(await lacking(api, reviews, expected)).toEqual([...new Set(expected)].sort())
        if (expected.length > 0) named++
      }
      await change(role)
    }
    // What the Role for WVA repeats with more verbs is the only rule that nobody misses.
    const covered = roles[0]!.rules.filter(rule =>
      roles.some(
        role =>
          role !== roles[0] &&
          role.metadata.namespace === namespace &&
          role.rules.some(
            other =>
              `${other.apiGroups} ${other.resources}` === `${rule.apiGroups} ${rule.resources}` &&
              rule.verbs.every(verb => other.verbs.includes(verb)),
          ),
      ),
    )
    expect(named).toBe(roles.flatMap(r => r.rules).length - covered.length)
    await api.close()
  },
)

test('with the Roles of standup and of teardown, and no more, two ServiceAccounts apply a leg under WVA and remove it', async () => {
  const namespace = await freshNamespace(admin)
  const controller = await freshNamespace(admin)
  const { api } = await holderOf(rolesOf('standup', namespace, controller), namespace)
  expect(await lacking(api, reviewsOf('standup', namespace, controller), [])).toEqual([])
  const spec = configurations(namespace)['stack-wva']!
  const plan = planOf(spec)
  const options = { signal: AbortSignal.timeout(30_000), log: silentLog }
  const live = await refuseForeign(api, plan, spec.stack, options.signal)
  expect((await applyStack(api, plan, live, options)).created).toHaveLength(plan.length)
  await api.close()

  const { api: remover } = await holderOf(rolesOf('teardown', namespace, controller), namespace)
  expect(await lacking(remover, reviewsOf('teardown', namespace, controller), [])).toEqual([])
  const request = { namespaces: [namespace], stack: spec.stack, deep: false, purge: false, timeoutMs: 20_000 }
  const removal = await removeStack(remover, { ...request, ...options })
  expect(removal).toMatchObject({ failures: [], leftovers: [] })
  expect([...removal.kept].sort()).toEqual(['PersistentVolumeClaim model-pvc', 'Secret llm-d-hf-token'])
  expect(removal.deleted).toHaveLength(plan.length - removal.kept.length)
  await remover.close()
})

test('the Role of the endpoint picker is refused to who lacks a right that it grants, and the failure says which', async () => {
  const namespace = await freshNamespace(admin)
  const [role] = rolesOf('standup', namespace)
  const rules = role!.rules.filter(r => !r.resources.includes('inferenceobjectives'))
  const { api } = await holderOf([{ ...role!, rules }], namespace)
  const reviews = reviewsOf('standup', namespace)
  expect(await lacking(api, reviews, reviews.filter(r => r.resource === 'inferenceobjectives').map(rightText))).toEqual(
    ['get', 'list', 'watch'].map(verb => `${verb} inferenceobjectives.inference.networking.x-k8s.io in ${namespace}`),
  )
  const plan = planOf(configurations(namespace)['stack-default']!)
  const options = { signal: AbortSignal.timeout(30_000), log: silentLog }
  const failure = asFailure(await applyStack(api, plan, new Map(), options).catch(e => e))
  expect(failure).toMatchObject({ code: 'PREFLIGHT', what: expect.stringContaining('applying Role ') })
  expect(failure.why).toContain('attempting to grant RBAC permissions not currently held')
  expect(failure.why).toContain('inferenceobjectives')
  await api.close()
})
