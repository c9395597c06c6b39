import { groupVersion, type Registry, type ResourceKind } from './kinds.ts'

const verbs = ['create', 'delete', 'deletecollection', 'get', 'list', 'patch', 'update', 'watch']
const reviews: Readonly<Record<string, readonly string[]>> = {
  'authorization.k8s.io': ['SelfSubjectAccessReview', 'SelfSubjectRulesReview'],
  'authentication.k8s.io': ['SelfSubjectReview'],
}

function resourcesOf(kind: ResourceKind): object[] {
  const { namespaced, singular: singularName } = kind
  const sub = (name: string, own: string, subVerbs: string[], more: object = {}) => ({
    ...{ name: `${kind.plural}/${name}`, singularName: '', namespaced, kind: own, verbs: subVerbs },
    ...more,
  })
  const shortNames = kind.shortNames.length > 0 ? { shortNames: kind.shortNames } : {}
  const list: object[] = [
    { name: kind.plural, singularName, namespaced, kind: kind.kind, verbs, ...shortNames, categories: ['all'] },
  ]
  if (kind.hasStatus) list.push(sub('status', kind.kind, ['get', 'patch', 'update']))
  if (kind.hasScale)
    list.push(sub('scale', 'Scale', ['get', 'patch', 'update'], { group: 'autoscaling', version: 'v1' }))
  if (kind.id === 'pods') {
    list.push(
      sub('log', 'Pod', ['get']),
      sub('exec', 'PodExecOptions', ['create', 'get']),
      sub('binding', 'Binding', ['create']),
      sub('proxy', 'PodProxyOptions', ['create', 'delete', 'get', 'patch', 'update']),
    )
  }
  return list
}

/**
 * Answers the paths a client explores a server with; undefined for any other path.
 * @param aggregated what other servers serve: listed with the groups, but their own documents are theirs
 */
export function discover(
  registry: Registry,
  path: string,
  aggregated: readonly { group: string; version: string }[] = [],
): object | string | undefined {
  if (['/healthz', '/readyz', '/livez'].includes(path)) return 'ok'
  if (path === '/version') {
    const build = {
      gitCommit: '',
      gitTreeState: 'clean',
      buildDate: '2026-01-01T00:00:00Z',
      goVersion: '',
      compiler: '',
    }
    return { major: '1', minor: '35', gitVersion: 'v1.35.0+sandbox', ...build, platform: 'linux/amd64' }
  }
  if (path === '/api') return { kind: 'APIVersions', versions: ['v1'], serverAddressByClientCIDRs: [] }
  const groups = new Map<string, Set<string>>(Object.keys(reviews).map(g => [g, new Set(['v1'])]))
  for (const kind of registry.all()) {
    if (kind.group === '') continue
    groups.set(kind.group, new Set([...(groups.get(kind.group) ?? []), ...kind.versions]))
  }
  const local = new Map(groups)
  for (const { group: name, version } of aggregated) groups.set(name, new Set([...(groups.get(name) ?? []), version]))
  const group = (name: string, versions: ReadonlySet<string>) => {
    const list = [...versions].map(version => ({ groupVersion: `${name}/${version}`, version }))
    return { name, versions: list, preferredVersion: list[0] }
  }
  if (path === '/apis')
    return { kind: 'APIGroupList', apiVersion: 'v1', groups: [...groups].map(([n, v]) => group(n, v)) }
  const one = /^\/apis\/([^/]+)$/.exec(path)?.[1]
  if (one !== undefined) {
    const versions = groups.get(one)
    return versions && { kind: 'APIGroup', apiVersion: 'v1', ...group(one, versions) }
  }
  const [, name = '', version = ''] =
    path === '/api/v1' ? ['', '', 'v1'] : (/^\/apis\/([^/]+)\/([^/]+)$/.exec(path) ?? [])
  if (version !== '') {
    if (name !== '' && !local.get(name)?.has(version)) return undefined
    const served = registry.all().filter(k => k.group === name && k.versions.includes(version))
    const reviewed = (reviews[name] ?? []).map(kind => {
      const singularName = kind.toLowerCase()
      return { name: `${singularName}s`, singularName, namespaced: false, kind, verbs: ['create'] }
    })
    const resources = [...served.flatMap(resourcesOf), ...reviewed]
    return { kind: 'APIResourceList', apiVersion: 'v1', groupVersion: groupVersion(name, version), resources }
  }
  return openApi(registry, path)
}

/** Just enough OpenAPI for kubectl to see that every kind takes `fieldValidation`, so that it leaves validation to us. */
function openApi(registry: Registry, path: string): object | undefined {
  const roots = new Map<string, { group: string; version: string }>()
  for (const { group, versions } of registry.all()) {
    for (const version of versions) roots.set(group === '' ? 'api/v1' : `apis/${group}/${version}`, { group, version })
  }
  if (path === '/openapi/v3') {
    return {
      paths: Object.fromEntries(
        [...roots.keys()].map(root => [root, { serverRelativeURL: `/openapi/v3/${root}?hash=1` }]),
      ),
    }
  }
  const asked = roots.get(path.replace('/openapi/v3/', ''))
  if (!path.startsWith('/openapi/v3/') || !asked) return undefined
  const paths = registry
    .all()
    .filter(k => k.group === asked.group && k.versions.includes(asked.version))
    .map(kind => {
      const scope = kind.namespaced ? '/namespaces/{namespace}' : ''
      const parameters = ['fieldValidation', 'fieldManager', 'dryRun', 'force'].map(name => ({
        name,
        in: 'query',
        schema: { type: 'string' },
      }))
      const patch = {
        parameters,
        responses: { 200: { description: 'OK' } },
        'x-kubernetes-group-version-kind': { ...asked, kind: kind.kind },
      }
      return [`/${path.replace('/openapi/v3/', '')}${scope}/${kind.plural}/{name}`, { parameters: [], patch }]
    })
  return { openapi: '3.0.0', info: { title: 'Kubernetes', version: 'v1.35.0' }, paths: Object.fromEntries(paths) }
}
