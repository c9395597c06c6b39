import { parse } from 'yaml'
import { defaultThresholds, type Thresholds } from './decision.ts'

type Entry = Partial<Thresholds> & { model_id?: string; namespace?: string }

/**
 * The thresholds for a model in a namespace from the data of `capacity-scaling-config`: the key `default`, and over it
 * the entry that names both. An entry that cannot be read counts as absent.
 */
export function thresholdsFor(
  data: Readonly<Record<string, string>> | undefined,
  model: string,
  namespace: string,
): Thresholds {
  const entries = Object.entries(data ?? {}).map(([key, text]) => [key, read(text)] as const)
  const common = entries.find(([key]) => key === 'default')?.[1]
  const own = entries.find(([key, e]) => key !== 'default' && e.model_id === model && e.namespace === namespace)?.[1]
  const pick = (key: keyof Thresholds): number => own?.[key] ?? common?.[key] ?? defaultThresholds[key]
  return {
    ...{ kvCacheThreshold: pick('kvCacheThreshold'), queueLengthThreshold: pick('queueLengthThreshold') },
    ...{ kvSpareTrigger: pick('kvSpareTrigger'), queueSpareTrigger: pick('queueSpareTrigger') },
  }
}

function read(text: string): Entry {
  try {
    const value = parse(text) as unknown
    return typeof value === 'object' && value !== null ? (value as Entry) : {}
  } catch {
    return {}
  }
}
