import type { Api } from './api.ts'
import { ApiError } from './api-error.ts'
import { objectPath } from './resources.ts'

export interface ContainerRef {
  readonly namespace: string
  readonly pod: string
  readonly container: string
}

/** The last lines of a container's log; empty when there is none (never started, already collected). */
export async function tailLog(
  api: Api,
  target: ContainerRef,
  options: { lines: number; previous?: boolean; signal?: AbortSignal },
): Promise<string[]> {
  try {
    const signal = options.signal ?? AbortSignal.timeout(15_000)
    const text = await readAll(
      await api.stream(`${objectPath('Pod', target.namespace, target.pod)}/log`, {
        query: {
          container: target.container,
          tailLines: options.lines,
          previous: options.previous === true ? true : undefined,
          limitBytes: 256 * 1024,
        },
        accept: '*/*',
        signal,
      }),
    )
    return text.split('\n').filter(line => line.trim() !== '')
  } catch (error) {
    if (error instanceof ApiError) return []
    throw error
  }
}

/** A container's whole log, as far as the kubelet still has it. */
export async function wholeLog(
  api: Api,
  target: ContainerRef,
  signal: AbortSignal,
  options: { limitBytes?: number; previous?: boolean } = {},
): Promise<string> {
  return readAll(
    await api.stream(`${objectPath('Pod', target.namespace, target.pod)}/log`, {
      query: {
        container: target.container,
        limitBytes: options.limitBytes ?? 8 * 1024 * 1024,
        previous: options.previous === true ? true : undefined,
      },
      accept: '*/*',
      signal,
    }),
  )
}

async function readAll(chunks: AsyncIterable<Uint8Array>): Promise<string> {
  const decoder = new TextDecoder()
  let text = ''
  for await (const chunk of chunks) text += decoder.decode(chunk, { stream: true })
  return text + decoder.decode()
}
