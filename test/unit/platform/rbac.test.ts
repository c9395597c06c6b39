import { expect, test } from '@jest/globals'
import { parse } from 'yaml'
import { ownedKinds } from '../../../src/cluster/remove.ts'
import { resources } from '../../../src/cluster/resources.ts'
import {
  clusterRoleYaml,
  neededReviews,
  type Review,
  type ReviewMode,
  rightText,
  roleYaml,
} from '../../../src/platform/rbac.ts'
import { stackObjects } from '../../../src/stack/stack.ts'
import { only, planOf, specWith } from '../stack/specs.ts'

const modes: readonly ReviewMode[] = ['standup', 'run', 'teardown']
const keyOf = (r: Pick<Review, 'group' | 'resource' | 'subresource' | 'verb'>) =>
  `${r.verb} ${r.resource}${r.subresource ? `/${r.subresource}` : ''} ${r.group}`
const heldBy = (mode: ReviewMode) => new Set(neededReviews(mode, 'ns').map(keyOf))
const groupOf = (apiVersion: string) => (apiVersion.includes('/') ? apiVersion.split('/')[0]! : '')
const rights = (kind: keyof typeof resources, verbs: readonly string[]) =>
  verbs.map(verb => keyOf({ group: groupOf(resources[kind].apiVersion), resource: resources[kind].plural, verb }))

test('standup may read and apply every object that it makes', () => {
  const held = heldBy('standup')
  for (const o of planOf(specWith())) {
    for (const right of rights(o.kind as keyof typeof resources, ['get', 'create', 'patch']))
      expect(held).toContain(right)
  }
})

test('standup holds every right that it grants to the endpoint picker, or the cluster would refuse the Role', () => {
  const { rules } = only(stackObjects(specWith()), 'Role') as unknown as {
    rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[]
  }
  const held = heldBy('standup')
  const granted = rules.flatMap(r =>
    r.apiGroups.flatMap(group =>
      r.resources.flatMap(resource => r.verbs.map(verb => keyOf({ group, resource, verb }))),
    ),
  )
  expect(granted).toHaveLength(9)
  for (const right of granted) expect(held).toContain(right)
})

test.each(['standup', 'teardown'] as const)('%s may list and delete every kind that a removal goes through', mode => {
  const held = heldBy(mode)
  // An ordinary removal lists these two, to say that they stay, and deletes them with deep: true alone.
  const kept = ['PersistentVolumeClaim', 'Secret']
  for (const kind of ownedKinds) {
    const verbs = mode === 'standup' && kept.includes(kind) ? ['get', 'list'] : ['get', 'list', 'delete']
    for (const right of rights(kind, verbs)) expect(held).toContain(right)
  }
})

test('run may follow and exec into its pods, and may not change the stack', () => {
  const held = heldBy('run')
  for (const verb of ['get', 'create']) expect(held).toContain(`${verb} pods/exec `)
  for (const right of [...rights('Pod', ['create', 'delete', 'watch']), ...rights('ConfigMap', ['create', 'patch'])]) {
    expect(held).toContain(right)
  }
  for (const kind of ['Deployment', 'Gateway', 'Service'] as const) {
    for (const right of rights(kind, ['create', 'patch', 'delete'])) expect(held).not.toContain(right)
  }
  expect([...held].filter(r => r.includes('secrets'))).toEqual([])
})

test.each(modes)('the Role of %s grants exactly what its preflight asks for, once', mode => {
  const role = parse(roleYaml(mode, 'ns')) as {
    kind: string
    metadata: { namespace: string }
    rules: { apiGroups: string[]; resources: string[]; verbs: string[] }[]
  }
  expect(role).toMatchObject({ kind: 'Role', metadata: { namespace: 'ns' } })
  const granted = role.rules.flatMap(r =>
    r.verbs.map(verb => {
      const [resource = '', subresource] = (r.resources[0] ?? '').split('/')
      return keyOf({ group: r.apiGroups[0]!, resource, subresource, verb })
    }),
  )
  expect(new Set(granted).size).toBe(granted.length)
  expect(new Set(granted)).toEqual(heldBy(mode))
})

test('no mode asks for a wildcard, for escalate or bind, or for anything outside its namespace', () => {
  for (const review of modes.flatMap(mode => neededReviews(mode, 'ns'))) {
    expect(review.namespace).toBe('ns')
    expect([review.group, review.resource, review.verb]).not.toContain('*')
    expect(['escalate', 'bind', 'impersonate']).not.toContain(review.verb)
  }
})

test('the optional ClusterRole only reads', () => {
  const { rules } = parse(clusterRoleYaml()) as { rules: { resources: string[]; verbs: string[] }[] }
  expect(rules.flatMap(r => r.resources)).toEqual([
    ...['nodes', 'pods', 'storageclasses', 'gatewayclasses', 'namespaces'],
    ...['deployments', 'variantautoscalings', 'apiservices', 'customresourcedefinitions'],
  ])
  expect(rules.flatMap(r => r.verbs).filter(v => !['get', 'list'].includes(v))).toEqual([])
})

test('a missing right is named the way kubectl auth can-i takes it', () => {
  expect(rightText({ group: '', resource: 'pods', subresource: 'exec', verb: 'create', namespace: 'ns' })).toBe(
    'create pods/exec in ns',
  )
  expect(rightText({ group: 'apps', resource: 'deployments', verb: 'patch', namespace: 'ns' })).toBe(
    'patch deployments.apps in ns',
  )
})
