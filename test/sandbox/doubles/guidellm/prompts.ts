import type { Lengths } from './scenario.ts'

/** A seeded generator of numbers in [0, 1): mulberry32. */
export function random(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** A length from the normal distribution, cut to min and max (5 standard deviations where they are not given). */
export function sampler(lengths: Lengths, seed: number): () => number {
  const next = random(seed)
  const { mean, stdev = 0 } = lengths
  const min = lengths.min ?? Math.max(1, mean - 5 * stdev)
  const max = lengths.max ?? mean + 5 * stdev
  return () => {
    if (stdev === 0)
      return lengths.min === undefined && lengths.max === undefined ? mean : Math.floor(min + next() * (max - min + 1))
    const gauss = Math.sqrt(-2 * Math.log(1 - next())) * Math.cos(2 * Math.PI * next())
    return Math.round(Math.max(min, Math.min(max, mean + gauss * stdev)))
  }
}

const vocabulary = (
  'able above accept across action add after again age agree air all allow alone along also always among amount answer any area arrive ask ' +
  'bad bank base be beat before begin behind believe benefit best better big bill board body book born both box break bring build building call'
).split(' ')

export interface Prompt {
  readonly text: string
  readonly promptTokens: number
  readonly outputTokens: number
}

/**
 * The endless requests of one rate. The same seed and rate index give the same requests; every text starts with
 * `<rate number> <request number>`, so that no two share a prefix. One word is one token.
 */
export function* prompts(seed: number, rateIndex: number, prompt: Lengths, output: Lengths): Generator<Prompt, never> {
  const promptLength = sampler(prompt, seed + rateIndex)
  const outputLength = sampler(output, seed + rateIndex + 1)
  const word = random(seed + rateIndex + 2)
  for (let n = 0; ; n++) {
    const promptTokens = promptLength()
    const outputTokens = outputLength()
    const words = [String(rateIndex + 1), String(n)]
    while (words.length < promptTokens) words.push(vocabulary[Math.floor(word() * vocabulary.length)]!)
    yield { text: words.slice(0, promptTokens).join(' '), promptTokens, outputTokens }
  }
}
