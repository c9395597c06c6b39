import { type Static, Type } from '@sinclair/typebox'
import { maxRows, maxSteps } from './limits.ts'

const closed = { additionalProperties: false }
const Name = Type.String({ minLength: 1, maxLength: 300 })
const Count = Type.Integer({ minimum: 0, maximum: 1_000_000_000 })
/** Seconds since the Unix epoch, on the harness clock. */
const EpochSeconds = Type.Number({ minimum: 0, maximum: 1e11 })
const column = (item: ReturnType<typeof Type.Number> | ReturnType<typeof Type.Integer>) =>
  Type.Array(Type.Union([item, Type.Null()]), { maxItems: maxRows })
/** Seconds after the begin of the step; null where it never happened. */
const moments = column(Type.Number({ minimum: -1e6, maximum: 1e7 }))
const tokens = column(Type.Integer({ minimum: 0, maximum: 100_000_000 }))

/** How a request ended: c completed, i cut off at the end of its step, e failed. */
export const RowStatus = Type.Union([Type.Literal('c'), Type.Literal('i'), Type.Literal('e')])
export type RowStatus = Static<typeof RowStatus>

/**
 * One entry per request whose scheduled start lies in the step, columns of equal length, ordered by scheduled start.
 * Times are seconds after the begin of the step; `itlMs` is the mean time between a request's tokens after the first, ms
 * per token (null with one token); `outputTokens` of a request that was cut off are those that had arrived.
 */
export const Rows = Type.Object(
  {
    scheduled: Type.Array(Type.Number({ minimum: -1e6, maximum: 1e7 }), { maxItems: maxRows }),
    sent: moments,
    firstToken: moments,
    lastToken: moments,
    end: moments,
    status: Type.Array(RowStatus, { maxItems: maxRows }),
    requestedTokens: tokens,
    promptTokens: tokens,
    outputTokens: tokens,
    itlMs: column(Type.Number({ minimum: 0, maximum: 1e9 })),
    promptHash: Type.Array(Type.Union([Type.String({ pattern: '^[0-9a-f]{16}$', maxLength: 16 }), Type.Null()]), {
      maxItems: maxRows,
    }),
  },
  closed,
)
export type Rows = Static<typeof Rows>

/** What guidellm itself counted, in its own measurement window. Shown for comparison; never used as a count. */
export const RequestTotals = Type.Object({ successful: Count, incomplete: Count, errored: Count, total: Count }, closed)
export type RequestTotals = Static<typeof RequestTotals>

/** One rate of one harness pod. */
export const Step = Type.Object(
  {
    /** Position in the profile's list of rates, from 0; a rate may occur twice, a position not. */
    index: Type.Integer({ minimum: 0, maximum: maxSteps }),
    /** Requests per second that this pod was asked to send. */
    rate: Type.Number({ exclusiveMinimum: 0, maximum: 1e6 }),
    /** First scheduled start minus 1 / rate. */
    begin: EpochSeconds,
    /** Length of the step, s. */
    seconds: Type.Number({ exclusiveMinimum: 0, maximum: 1e6 }),
    /** Requests that the client keeps in flight at most; null when it has no limit. */
    maxConcurrency: Type.Union([Type.Integer({ minimum: 1, maximum: 1e9 }), Type.Null()]),
    totals: RequestTotals,
    /** The report holds fewer records than guidellm counted: nothing can be said per request. */
    sampled: Type.Boolean(),
    /** Records left out because their scheduled start is after the end of the step. */
    dropped: Count,
    /** 99th percentile of sent minus scheduled, ms: how late the client itself was. */
    sendLagP99Ms: Type.Union([Type.Number({ minimum: -1e9, maximum: 1e9 }), Type.Null()]),
    rows: Rows,
  },
  closed,
)
export type Step = Static<typeof Step>

const Change = Type.Union([Type.Literal('ADDED'), Type.Literal('MODIFIED'), Type.Literal('DELETED')])
/** Receipt on the runner, ms since the Unix epoch. Add a repeat's `clockOffsetMs` to compare it with its steps. */
const ReceivedAt = Type.Number({ minimum: 0, maximum: 1e14 })
export const WatchEvent = Type.Union([
  Type.Object(
    {
      at: ReceivedAt,
      kind: Type.Literal('Deployment'),
      type: Change,
      name: Name,
      desired: Count,
      replicas: Count,
      ready: Count,
    },
    closed,
  ),
  Type.Object(
    {
      at: ReceivedAt,
      kind: Type.Literal('Pod'),
      type: Change,
      name: Name,
      phase: Type.String({ maxLength: 60 }),
      nodeName: Type.Optional(Name),
      ready: Type.Boolean(),
      gpus: Type.Number({ minimum: 0, maximum: 1e6 }),
      deleting: Type.Boolean(),
    },
    closed,
  ),
  /** What WVA decided, and when it last did: a `lastRun` that stands still is an autoscaler that is blind. */
  Type.Object(
    {
      at: ReceivedAt,
      kind: Type.Literal('VariantAutoscaling'),
      type: Change,
      name: Name,
      desired: Type.Optional(Count),
      /** Seconds since the Unix epoch, on the controller's clock. */
      lastRun: Type.Optional(EpochSeconds),
    },
    closed,
  ),
  Type.Object(
    {
      at: ReceivedAt,
      kind: Type.Literal('HorizontalPodAutoscaler'),
      type: Change,
      name: Name,
      current: Count,
      desired: Count,
      /** ScalingActive: it has a metric to act on. */
      active: Type.Boolean(),
      /** ScalingLimited: it would scale further than its bounds allow. */
      limited: Type.Boolean(),
    },
    closed,
  ),
  /** One answer of the external metrics API; null when it served nothing. */
  Type.Object(
    {
      at: ReceivedAt,
      kind: Type.Literal('ExternalMetric'),
      name: Name,
      value: Type.Union([Type.Number({ minimum: 0, maximum: 1e6 }), Type.Null()]),
    },
    closed,
  ),
  /** One scrape of a model server's own metrics. */
  Type.Object(
    {
      at: ReceivedAt,
      kind: Type.Literal('Replica'),
      /** Name of its pod. */
      name: Name,
      waiting: Type.Number({ minimum: 0, maximum: 1e9 }),
      running: Type.Number({ minimum: 0, maximum: 1e9 }),
      /** Share of the KV cache in use, 0 to 1. */
      kvUsage: Type.Number({ minimum: 0, maximum: 1.5 }),
    },
    closed,
  ),
])
export type WatchEvent = Static<typeof WatchEvent>
