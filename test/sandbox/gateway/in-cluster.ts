import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { KubeClient } from '../client.ts'

const serviceAccount = '/var/run/secrets/kubernetes.io/serviceaccount/token'

/** The API as a program in a pod reaches it: with the token and the CA of its service account. */
export function inClusterClient(env: Readonly<Record<string, string | undefined>> = process.env): KubeClient {
  const tokenFile = env.SANDBOX_TOKEN_FILE ?? serviceAccount
  const ca = readFileSync(env.SANDBOX_CA_FILE ?? join(dirname(tokenFile), 'ca.crt'), 'utf8')
  const host = env.KUBERNETES_SERVICE_HOST ?? 'kubernetes.default.svc'
  const server = `https://${host.includes(':') ? `[${host}]` : host}:${env.KUBERNETES_SERVICE_PORT ?? '443'}`
  return new KubeClient({ server, ca, token: readFileSync(tokenFile, 'utf8').trim() })
}
