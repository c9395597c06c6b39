/** What the controller tells a gateway's proxy: one JSON document per line. */
export interface GatewayConfig {
  readonly rules: readonly {
    /** Path prefix of the rule; absent: everything. */
    readonly prefix?: string
    /** What the prefix is replaced by. */
    readonly rewrite?: string
    /** Absent: the InferencePool does not exist. */
    readonly backend?: PoolBackend
  }[]
}

export interface PoolBackend {
  readonly pool: string
  /** `address:port` of a ready endpoint picker; absent: none is ready. */
  readonly picker?: string
  /** `address:port` of every ready replica. */
  readonly ready: readonly string[]
}
