const unitMs: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 }

/** Milliseconds of a duration as Go and Prometheus write it: `60s`, `1m30s`, `1.5h`, `200ms`. @throws for any other text */
export function durationMs(text: string): number {
  if (text === '0') return 0
  if (!/^(\d+(\.\d+)?(ms|[smhd]))+$/.test(text)) throw new Error(`time: invalid duration "${text}"`)
  let total = 0
  for (const [, value, unit] of text.matchAll(/(\d+(?:\.\d+)?)(ms|[smhd])/g)) total += Number(value) * unitMs[unit!]!
  return total
}
