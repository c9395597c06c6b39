/** How a caller of the pod log endpoint wants the log cut, as the query string of `GET .../pods/NAME/log` says it. */
export interface LogOptions {
  follow: boolean
  tailLines?: number
  previous: boolean
  sinceSeconds?: number
  timestamps: boolean
  limitBytes?: number
  /** Aborted when the client goes away or the API server closes. */
  signal: AbortSignal
}

/** The streams of one exec session. */
export interface ExecIo {
  /** Absent when the client did not ask for stdin; ends when the client closes its side. */
  stdin?: AsyncIterable<Uint8Array>
  /** A promise is returned while the connection is full: await it before reading more from the process. */
  stdout(chunk: Uint8Array): Promise<void> | undefined
  stderr(chunk: Uint8Array): Promise<void> | undefined
  tty: boolean
  /** Aborted when the client goes away or the API server closes. */
  signal: AbortSignal
}

/** What the API server asks of the node that runs a pod. Throw ApiStatusError for 400 and 404. */
export interface PodRuntime {
  logs(namespace: string, pod: string, container: string, options: LogOptions): AsyncIterable<Uint8Array>
  /** Runs argv in the container and resolves to its exit code. */
  exec(namespace: string, pod: string, container: string, argv: readonly string[], io: ExecIo): Promise<number>
}

/** One entry of `details.causes` in a Status. */
export interface StatusCause {
  reason?: string
  message: string
  field?: string
}

/** `details` of a Status. */
export interface StatusDetails {
  name?: string
  group?: string
  kind?: string
  uid?: string
  causes?: StatusCause[]
  retryAfterSeconds?: number
}

const REASONS: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  405: 'MethodNotAllowed',
  406: 'NotAcceptable',
  409: 'Conflict',
  410: 'Expired',
  415: 'UnsupportedMediaType',
  422: 'Invalid',
  429: 'TooManyRequests',
  500: 'InternalError',
  503: 'ServiceUnavailable',
  504: 'Timeout',
}

/**
 * An answer of the API server that is not a success, as a value to throw.
 * `reason` is the machine-readable word of the Status; without one, the usual word for the code is taken.
 * An empty string leaves the field out, as a real server does for an error it did not expect.
 */
export class ApiStatusError extends Error {
  readonly status: number
  readonly reason: string
  readonly details: StatusDetails | undefined

  constructor(status: number, message: string, reason?: string, details?: StatusDetails) {
    super(message)
    this.name = 'ApiStatusError'
    this.status = status
    this.reason = reason ?? REASONS[status] ?? ''
    this.details = details
  }

  /** The `v1 Status` object that travels as the response body. */
  toStatus(): Record<string, unknown> {
    return {
      kind: 'Status',
      apiVersion: 'v1',
      metadata: {},
      status: 'Failure',
      message: this.message,
      ...(this.reason === '' ? {} : { reason: this.reason }),
      ...(this.details === undefined ? {} : { details: this.details }),
      code: this.status,
    }
  }
}
