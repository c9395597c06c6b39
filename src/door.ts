import { appendFileSync } from 'node:fs'
import * as core from '@actions/core'
import type { Failure } from './errors.ts'
import type { Log } from './log.ts'

/** Everything that differs between the action and the command line. */
export interface Door {
  readonly kind: 'action' | 'cli'
  readonly log: Log
  mask(secret: string): void
  output(name: string, value: string): void
  saveState(name: string, value: string): void
  getState(name: string): string
  /** Appends Markdown to the job summary. */
  summary(markdown: string): void
  fail(failure: Failure): void
}

/** Name under which main leaves its state for post. */
export const stateKey = 'bench'

/** One line for an annotation, all three sentences for the log. */
const failureText = (f: Failure): string => `${f.code}: ${f.what} ${f.why} Next: ${f.next}`

// GitHub caps one step's summary at 1 MiB and drops it whole when it is larger.
const summaryLimit = 1_000_000

/** The door that a runner opens: workflow commands, GITHUB_OUTPUT, GITHUB_STATE, GITHUB_STEP_SUMMARY. */
export function actionDoor(): Door {
  return {
    kind: 'action',
    log: {
      info: line => core.info(oneLine(line)),
      warning: line => core.warning(line),
      debug: line => core.debug(line),
      group: async (name, work) => {
        core.startGroup(oneLine(name))
        try {
          return await work()
        } finally {
          core.endGroup()
        }
      },
    },
    mask: secret => core.setSecret(secret),
    output: (name, value) => core.setOutput(name, value),
    saveState: (name, value) => core.saveState(name, value),
    getState: name => core.getState(name),
    summary: markdown => {
      const file = process.env.GITHUB_STEP_SUMMARY
      if (file) appendFileSync(file, `${markdown.slice(0, summaryLimit)}\n`)
    },
    fail: failure => {
      for (const line of failure.evidence) core.info(oneLine(`  ${line}`))
      core.setFailed(failureText(failure))
    },
  }
}

/** The same program in a terminal: progress on stderr, `name=value` outputs on stdout, nothing of GitHub. */
export function cliDoor(env: Readonly<Record<string, string | undefined>>): Door {
  const secrets: string[] = []
  const hide = (text: string) => secrets.reduce((t, s) => t.replaceAll(s, '***'), text)
  const err = (line: string) => process.stderr.write(`${hide(line)}\n`)
  return {
    kind: 'cli',
    log: {
      info: err,
      warning: line => err(`warning: ${line}`),
      debug: line => {
        if (env.RUNNER_DEBUG === '1') err(`debug: ${line}`)
      },
      group: async (name, work) => {
        err(`== ${name}`)
        return await work()
      },
    },
    mask: secret => {
      secrets.push(secret)
      secrets.sort((a, b) => b.length - a.length)
    },
    output: (name, value) => process.stdout.write(`${name}=${hide(value)}\n`),
    saveState: () => undefined,
    getState: () => '',
    summary: () => undefined,
    fail: failure => {
      err(`error: ${failure.code}: ${failure.what}`)
      err(`  why:  ${failure.why}`)
      err(`  next: ${failure.next}`)
      for (const line of failure.evidence) err(`  | ${line}`)
      process.exitCode = 1
    },
  }
}

/**
 * A line that cannot be read as a workflow command: foreign text (a pod's log) may start with `::`, and the runner
 * executes such lines.
 */
function oneLine(line: string): string {
  return line
    .split(/\r\n|[\r\n]/)
    .map(part => (/^\s*(::|##\[)/.test(part) ? `\u200b${part}` : part))
    .join('\n')
}
