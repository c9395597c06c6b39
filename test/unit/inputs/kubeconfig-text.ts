import { stringify } from 'yaml'

/** A kubeconfig with one context `main`; JWT-free unless a token is given. */
export function kubeconfig(
  options: { current?: string; server?: string; user?: Record<string, unknown> } = {},
): string {
  const current = options.current ?? 'main'
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    ...(current === '' ? {} : { 'current-context': current }),
    clusters: [{ name: 'c', cluster: { server: options.server ?? 'https://kube.example:6443' } }],
    contexts: [{ name: 'main', context: { cluster: 'c', user: 'u' } }],
    users: [{ name: 'u', user: options.user ?? { token: 'opaque-token-of-u' } }],
  })
}

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString('base64url')
/** A kubeconfig whose token is a JWT that ends at `exp` (epoch seconds). */
export const withToken = (exp: unknown): string =>
  kubeconfig({ user: { token: `${part({ alg: 'none' })}.${part({ exp })}.c2ln` } })
