import { parseDocument } from 'yaml'
import { kubeconfigSecrets } from './secrets.ts'

/** Where the credentials come from: the text of a kubeconfig, or the pod's own service account. */
export type KubeconfigSource = { readonly kind: 'content'; readonly yaml: string } | { readonly kind: 'in-cluster' }

/** `secrets` are there in both cases, to be masked before anything is said. */
export type ReadKubeconfig = { readonly secrets: readonly string[] } & (
  | { readonly source: KubeconfigSource }
  | { readonly problem: { readonly why: string; readonly write: string } }
)

type Entry = Readonly<Record<string, unknown>>
const isMap = (v: unknown): v is Record<string, unknown> => typeof v === 'object' && v !== null && !Array.isArray(v)

/** Undoes base64 when that, and not YAML, was given: one block of base64 that decodes to text with a colon. */
function plainText(text: string): string {
  const compact = text.replace(/\s+/g, '')
  if (!/^[A-Za-z0-9+/_-]{8,}={0,2}$/.test(compact)) return text
  const decoded = Buffer.from(compact, 'base64').toString('utf8')
  return !decoded.includes('\ufffd') && decoded.includes(':') ? decoded : text
}

/** The parser's own message is left out: it quotes the source. */
function parse(yaml: string): { value: unknown } | { error: string } {
  try {
    const document = parseDocument(yaml, { prettyErrors: false, logLevel: 'silent' })
    const [error] = document.errors
    if (error === undefined) return { value: document.toJS({ maxAliasCount: 20 }) }
    return { error: `It is not YAML (line ${yaml.slice(0, error.pos[0]).split('\n').length}: ${error.code}).` }
  } catch {
    return { error: 'It is not YAML that can be resolved (aliases, or nesting without end).' }
  }
}

/** Named entries of one of the kubeconfig's lists, with what is inside `cluster:`, `context:` or `user:`. */
function entries(config: Entry, list: string, inside: string): Map<string, Entry> {
  const items = config[list]
  const found = new Map<string, Entry>()
  for (const item of Array.isArray(items) ? items : []) {
    if (isMap(item) && typeof item.name === 'string' && isMap(item[inside])) found.set(item.name, item[inside])
  }
  return found
}

const quote = (name: string): string => JSON.stringify(name.length > 60 ? `${name.slice(0, 57)}...` : name)
const flat = 'a self-contained kubeconfig: the output of `kubectl config view --raw --flatten --minify`'
const fileKeys = ['certificate-authority', 'client-certificate', 'client-key', 'tokenFile']

/**
 * Checks a kubeconfig as far as that goes without a cluster: it parses, and the chosen context leads to a cluster with
 * an address. Names of contexts are shown, values never. `allowFiles`: entries may point at files of this machine.
 */
export function readKubeconfig(
  text: string,
  options: { context: string | undefined; allowFiles: boolean },
): ReadKubeconfig {
  if (text === 'in-cluster') return { source: { kind: 'in-cluster' }, secrets: [] }
  const yaml = plainText(text)
  const parsed = parse(yaml)
  const config = 'value' in parsed ? parsed.value : undefined
  const secrets = kubeconfigSecrets(text, yaml, config)
  const refuse = (why: string, write: string): ReadKubeconfig => ({ secrets, problem: { why, write } })
  if (/^[~./\\]?[\w./\\~-]*[/\\][\w./\\-]*$/.test(yaml))
    return refuse('It looks like a path; the input takes the content.', 'the content, or base64 of it')
  if ('error' in parsed) return refuse(parsed.error, flat)
  if (!isMap(config)) return refuse('It is neither YAML with clusters, contexts and users nor base64 of that.', flat)

  const clusters = entries(config, 'clusters', 'cluster')
  const contexts = entries(config, 'contexts', 'context')
  const users = entries(config, 'users', 'user')
  if (clusters.size === 0) return refuse('It has no clusters.', flat)
  const current = config['current-context']
  const chosen = options.context ?? (typeof current === 'string' && current !== '' ? current : undefined)
  const known = [...contexts.keys()].slice(0, 8).map(quote).join(', ') || 'none'
  if (chosen === undefined)
    return refuse(`It has no current-context; its contexts: ${known}.`, 'one of them into the input `context`')
  const context = contexts.get(chosen)
  if (context === undefined)
    return refuse(`It has no context ${quote(chosen)}; its contexts: ${known}.`, 'one of them into the input `context`')
  const cluster = clusters.get(String(context.cluster))
  if (cluster === undefined) return refuse(`Context ${quote(chosen)} names a cluster that is not in the file.`, flat)
  if (typeof cluster.server !== 'string' || !/^https?:\/\//.test(cluster.server) || !URL.canParse(cluster.server)) {
    return refuse(`The cluster of context ${quote(chosen)} has no server address.`, flat)
  }
  const user = users.get(String(context.user))
  if (user === undefined && context.user !== undefined && context.user !== '') {
    return refuse(`Context ${quote(chosen)} names a user that is not in the file.`, flat)
  }
  const files = fileKeys.filter(key => typeof (cluster[key] ?? user?.[key]) === 'string')
  if (files.length > 0 && !options.allowFiles) {
    return refuse(
      `It points at files (${files.join(', ')}) that do not exist on the runner; their content must be embedded.`,
      flat,
    )
  }
  return { secrets, source: { kind: 'content', yaml } }
}

/**
 * When the bearer token of the chosen context ends, in milliseconds since the epoch: the `exp` of a JWT, as service
 * account and OIDC tokens carry it. Undefined for an opaque token and for any other credential. The signature is not
 * checked: the API server does that.
 */
export function tokenExpiry(source: KubeconfigSource, context: string | undefined): number | undefined {
  if (source.kind !== 'content') return undefined
  const parsed = parse(source.yaml)
  if (!('value' in parsed) || !isMap(parsed.value)) return undefined
  const chosen = entries(parsed.value, 'contexts', 'context').get(context ?? String(parsed.value['current-context']))
  const { token } = entries(parsed.value, 'users', 'user').get(String(chosen?.user)) ?? {}
  const payload = typeof token === 'string' ? /^[\w-]+\.([\w-]+)\.[\w-]*$/.exec(token.trim())?.[1] : undefined
  if (payload === undefined) return undefined
  try {
    const claims: unknown = JSON.parse(Buffer.from(payload, 'base64url').toString('utf8'))
    const exp = isMap(claims) ? claims.exp : undefined
    // A Date holds 8.64e15 ms; a larger exp is as good as none.
    return typeof exp === 'number' && exp >= 0 && exp <= 8.64e12 ? exp * 1000 : undefined
  } catch {
    return undefined
  }
}
