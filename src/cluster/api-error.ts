import { UserError } from '../errors.ts'

/** An answer of the API server that is not a success. `status` 0: no answer at all (`code` says which network error). */
export class ApiError extends Error {
  readonly status: number
  readonly reason: string
  readonly code: string | undefined
  readonly causes: readonly { reason?: string; message?: string; field?: string }[]
  readonly retryAfterSeconds: number | undefined
  constructor(
    message: string,
    fields: {
      status: number
      reason?: string
      code?: string
      causes?: readonly { reason?: string; message?: string; field?: string }[]
      retryAfterSeconds?: number
      cause?: unknown
    },
  ) {
    super(message, fields.cause === undefined ? undefined : { cause: fields.cause })
    this.name = 'ApiError'
    this.status = fields.status
    this.reason = fields.reason ?? ''
    this.code = fields.code
    this.causes = fields.causes ?? []
    this.retryAfterSeconds = fields.retryAfterSeconds
  }
}

/** Messages of a server can carry a whole object (a refused merge patch does): keep what a person can read. */
const messageLimit = 600

/** Builds an ApiError from an HTTP answer; the body is a Kubernetes `Status` when the server wrote it, else any text. */
export function errorFromResponse(
  method: string,
  path: string,
  status: number,
  body: string,
  headers: Readonly<Record<string, string>>,
): ApiError {
  let message = body.trim()
  let reason = ''
  let causes: { reason?: string; message?: string; field?: string }[] = []
  try {
    const parsed = JSON.parse(body) as {
      message?: unknown
      reason?: unknown
      details?: { causes?: unknown; retryAfterSeconds?: unknown }
    }
    if (typeof parsed.message === 'string') message = parsed.message
    if (typeof parsed.reason === 'string') reason = parsed.reason
    if (Array.isArray(parsed.details?.causes)) causes = parsed.details.causes
  } catch {
    // A proxy or load balancer answered with text or HTML; its first lines are the message.
  }
  const retryAfter = Number(headers['retry-after'])
  return new ApiError(
    `${method} ${path.split('?')[0]}: ${message.slice(0, messageLimit) || 'no message'} (${status})`,
    {
      status,
      reason,
      causes,
      ...(Number.isFinite(retryAfter) && headers['retry-after'] ? { retryAfterSeconds: retryAfter } : {}),
    },
  )
}

const transientNetwork = new Set([
  'ECONNRESET',
  'ECONNREFUSED',
  'EPIPE',
  'ETIMEDOUT',
  'EAI_AGAIN',
  'ENETUNREACH',
  'EHOSTUNREACH',
  'UND_ERR_SOCKET',
  'UND_ERR_CONNECT_TIMEOUT',
  'UND_ERR_HEADERS_TIMEOUT',
  'UND_ERR_BODY_TIMEOUT',
  'UND_ERR_INFO',
  'ERR_HTTP2_STREAM_ERROR',
  'ERR_HTTP2_SESSION_ERROR',
  'ERR_HTTP2_GOAWAY_SESSION',
  'ERR_HTTP2_INVALID_SESSION',
])

/**
 * Whether repeating the same idempotent request may help. A refused apply answers 500 without a reason
 * ("field not declared in schema", "failed to create typed patch object"): that one will never succeed.
 */
export function isTransient(error: unknown): boolean {
  if (!(error instanceof ApiError)) return false
  if (error.status === 0) return error.code !== undefined && transientNetwork.has(error.code)
  if (error.status === 500)
    return !/not declared in schema|failed to create typed patch object|duplicate entries/.test(error.message)
  return error.status === 429 || error.status === 502 || error.status === 503 || error.status === 504
}

export const isNotFound = (error: unknown): boolean => error instanceof ApiError && error.status === 404
export const isConflict = (error: unknown): boolean => error instanceof ApiError && error.status === 409
export const isForbidden = (error: unknown): boolean => error instanceof ApiError && error.status === 403

/** What a failing API call means for the user, by status. Anything already a UserError passes through. */
export function explainApiError(error: unknown, doing: string): unknown {
  if (!(error instanceof ApiError)) return error
  const evidence = [error.message]
  if (error.status === 0) {
    return new UserError(
      'PREFLIGHT',
      `The Kubernetes API server cannot be reached (${error.code ?? 'no answer'}) while ${doing}.`,
      {
        why: 'The address in the kubeconfig is wrong, a firewall or proxy is in the way, or the server is down.',
        next: 'Check from the same runner with `kubectl version`; set HTTPS_PROXY or `proxy-url` in the kubeconfig when a proxy is needed.',
        evidence,
        cause: error,
      },
    )
  }
  if (error.status === 401) {
    return new UserError('PREFLIGHT', `The Kubernetes API server refused the credentials while ${doing}.`, {
      why: 'The token or certificate in the kubeconfig has expired or belongs to another cluster.',
      next: 'Make a new kubeconfig (for a service account: `kubectl create token NAME --duration=8h`) and update the secret.',
      evidence,
      cause: error,
    })
  }
  if (error.status === 403) {
    return new UserError('PREFLIGHT', `A right is missing on the cluster (${doing}).`, {
      why: error.message,
      next: 'Ask a cluster administrator to apply the Role of this mode from docs/rbac.md.',
      evidence,
      cause: error,
    })
  }
  if (error.status === 409 && error.causes.some(c => c.reason === 'FieldManagerConflict')) {
    const owners = error.causes.map(c => `${c.field ?? 'a field'}: ${c.message ?? ''}`).join('; ')
    return new UserError('PREFLIGHT', `Somebody else owns a field of an object that this stack needs (${doing}).`, {
      why: owners,
      next: 'Remove the other owner of the object, or use another namespace; bench-action never takes fields over by force.',
      evidence,
      cause: error,
    })
  }
  return error
}
