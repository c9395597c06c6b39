/** What the endpoint picker knows of one replica, from its last scrape. */
export interface ReplicaLoad {
  readonly endpoint: string
  /** `vllm:num_requests_waiting`. */
  readonly waiting: number
  /** `vllm:num_requests_running`. */
  readonly running: number
  /** `vllm:kv_cache_usage_perc`, 0 to 1. */
  readonly kvUsage: number
  /** Requests sent there since that scrape. */
  readonly sent: number
}

const queueWeight = 2
const kvWeight = 2

/**
 * The replica with the best weighted score: the shortest queue counts 1 and the longest 0, and free KV cache counts as
 * its share, as the queue and KV-cache scorers do. Requests sent since the scrape count as queued, and where all are
 * equal the one with the least to do wins, so that a burst between two scrapes is spread.
 */
export function best(replicas: readonly ReplicaLoad[]): string | undefined {
  const queues = replicas.map(r => r.waiting + r.sent)
  const shortest = Math.min(...queues)
  const longest = Math.max(...queues)
  let chosen: { endpoint: string; score: number; busy: number } | undefined
  for (const [i, replica] of replicas.entries()) {
    const queueScore = longest === shortest ? 1 : (longest - queues[i]!) / (longest - shortest)
    const score = queueWeight * queueScore + kvWeight * (1 - replica.kvUsage)
    const busy = replica.running + queues[i]!
    if (chosen === undefined || score > chosen.score + 1e-9 || (score > chosen.score - 1e-9 && busy < chosen.busy)) {
      chosen = { endpoint: replica.endpoint, score, busy }
    }
  }
  return chosen?.endpoint
}

/** The three gauges of a vLLM `/metrics` page. */
export function loadOf(page: string): { waiting: number; running: number; kvUsage: number } {
  const gauge = (name: string) => Number(new RegExp(`^vllm:${name}\\{[^}]*\\} (\\S+)`, 'm').exec(page)?.[1] ?? 0)
  return {
    waiting: gauge('num_requests_waiting'),
    running: gauge('num_requests_running'),
    kvUsage: gauge('kv_cache_usage_perc'),
  }
}
