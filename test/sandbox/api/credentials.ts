import { generate } from 'selfsigned'
import { stringify } from 'yaml'

const apiServerNames = ['localhost', 'kubernetes', 'kubernetes.default', 'kubernetes.default.svc']

/** A certificate authority and a server certificate for the loopback addresses and `names`. */
export async function certificates(
  host: string,
  names: readonly string[] = apiServerNames,
): Promise<{ ca: string; cert: string; key: string }> {
  const ec = { keyType: 'ec', algorithm: 'sha256', notBeforeDate: new Date(Date.now() - 3_600_000) } as const
  const ca = await generate([{ name: 'commonName', value: 'sandbox-ca' }], {
    ...ec,
    extensions: [
      { name: 'basicConstraints', cA: true, critical: true },
      { name: 'keyUsage', keyCertSign: true, cRLSign: true, critical: true },
    ],
  })
  const ips = [...new Set(['127.0.0.1', '::1', ...(/^[\d.]+$/.test(host) ? [host] : [])])]
  const leaf = await generate([{ name: 'commonName', value: 'kube-apiserver' }], {
    ...ec,
    ca: { key: ca.private, cert: ca.cert },
    extensions: [
      { name: 'basicConstraints', cA: false },
      { name: 'keyUsage', digitalSignature: true, keyEncipherment: true },
      { name: 'extKeyUsage', serverAuth: true },
      {
        name: 'subjectAltName',
        altNames: [...ips.map(ip => ({ type: 7 as const, ip })), ...names.map(value => ({ type: 2 as const, value }))],
      },
    ],
  })
  return { ca: ca.cert, cert: leaf.cert, key: leaf.private }
}

/** A kubeconfig with one cluster, one token and one context. */
export function kubeconfig(c: {
  url: string
  caPem: string
  token: string
  namespace?: string
  server?: string
  proxyUrl?: string
}): string {
  const ca = Buffer.from(c.caPem).toString('base64')
  const cluster = {
    server: c.server ?? c.url,
    'certificate-authority-data': ca,
    ...(c.proxyUrl ? { 'proxy-url': c.proxyUrl } : {}),
  }
  return stringify({
    apiVersion: 'v1',
    kind: 'Config',
    'current-context': 'sandbox',
    clusters: [{ name: 'sandbox', cluster }],
    users: [{ name: 'sandbox', user: { token: c.token } }],
    contexts: [
      {
        name: 'sandbox',
        context: { cluster: 'sandbox', user: 'sandbox', ...(c.namespace ? { namespace: c.namespace } : {}) },
      },
    ],
  })
}
