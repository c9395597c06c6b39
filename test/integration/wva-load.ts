import http from 'node:http'
import { model } from '../e2e/world.ts'
import { pause } from './wva-platform.ts'

/**
 * Clients that ask model servers for one completion after the other. Cut answers are forgotten.
 * @param servers addresses of those that are there now; asked before each completion
 * @returns stops them
 */
export function startLoad(clients: number, servers: () => readonly string[]): () => Promise<void> {
  const stop = new AbortController()
  const work = async (index: number): Promise<void> => {
    while (!stop.signal.aborted) {
      const all = servers()
      const server = all[index % Math.max(1, all.length)]
      if (server === undefined || !(await complete(server, stop.signal))) await pause(100)
    }
  }
  const all = Array.from({ length: clients }, (_, index) => work(index))
  return async () => {
    stop.abort()
    await Promise.all(all)
  }
}

/** One completion of about a second. @returns whether it was answered */
function complete(host: string, signal: AbortSignal): Promise<boolean> {
  return new Promise(resolve => {
    const request = http.request(
      { host, port: 8200, path: '/v1/completions', method: 'POST', signal, agent: false },
      answer => answer.resume().on('close', () => resolve(answer.statusCode === 200)),
    )
    request.on('error', () => resolve(false))
    request.end(JSON.stringify({ model, prompt: 'a few words', max_tokens: 50 }))
  })
}
