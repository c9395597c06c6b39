import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { flagsOf } from '../wire.ts'
import { firstModel, runStep, type Step, validate } from './load.ts'
import { pythonRepr } from './python.ts'
import { report } from './report.ts'
import { readScenario, UsageError } from './scenario.ts'
import { tables } from './tables.ts'

/** Between two rates the real one starts new worker processes. */
const pauseMs = 300

async function main(): Promise<number> {
  const argv = process.argv.slice(2)
  if (argv[0] === '--version') {
    console.log('guidellm version: 0.5.0')
    return 0
  }
  if (argv[0] !== 'benchmark') throw new UsageError(`No such command '${argv[0] ?? ''}'.`)
  const given = readScenario(argv.slice(1), process.env)
  if (process.env.FAKE_GUIDELLM_EXIT) {
    console.error(`RuntimeError: asked by FAKE_GUIDELLM_EXIT to end with ${process.env.FAKE_GUIDELLM_EXIT}`)
    return Number(process.env.FAKE_GUIDELLM_EXIT)
  }
  const path = resolve(flagsOf(argv).get('output-path') ?? process.env.GUIDELLM_OUTPUT_PATH ?? 'benchmarks.json')
  if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true })

  const settings = Object.keys(process.env).filter(name => name.startsWith('GUIDELLM_'))
  if (settings.length > 0)
    console.log(
      [
        '⚠ Note: the following environment variables are set and **may** affect configuration',
        ...settings.map(name => `  ${name}`),
      ].join('\n'),
    )
  await validate(given.target)
  const scenario = { ...given, model: given.model ?? (await firstModel(given.target)) }
  console.log(`✔ OpenAIHTTPBackend backend validated with model ${scenario.model}`)
  console.log(`  ${pythonRepr({ target: scenario.target, model: scenario.model, timeout: scenario.timeoutSeconds })}`)
  console.log(`✔ Processor resolved\n  Using model '${scenario.processor ?? scenario.model}' as processor`)
  console.log(
    `✔ Request loader initialized with inf unique requests\n  ${pythonRepr({ data: [scenario.data], random_seed: scenario.seed })}`,
  )
  console.log(
    `✔ AsyncProfile profile resolved\n  ${pythonRepr({ type_: 'constant', rate: scenario.rates, max_seconds: scenario.maxSeconds })}`,
  )
  console.log(`✔ Output formats resolved\n  ${pythonRepr({ json: path })}`)
  console.log('✔ Setup complete, starting benchmarks...\n\n\n\n\n')

  const steps: Step[] = []
  for (const index of scenario.rates.keys()) {
    if (index > 0) await sleep(pauseMs)
    steps.push(await runStep(scenario, index))
  }
  if (steps.some(step => step.exchanges.length === 0))
    throw new Error('Cannot compile GenerativeMetrics: No measurement start or end times available.')
  const whole = report(scenario, steps, { dir: dirname(path), file: path.slice(dirname(path).length + 1) })
  const text = process.env.FAKE_GUIDELLM_EMPTY ? '' : JSON.stringify(whole)
  writeFileSync(path, process.env.FAKE_GUIDELLM_TRUNCATE ? text.slice(0, Math.floor(text.length / 2)) : text)
  console.log(tables(whole.benchmarks as unknown as Parameters<typeof tables>[0]))
  console.log(`\n\n✔ Benchmarking complete, generated ${steps.length} benchmark(s)\n…   json    : ${path}`)
  return 0
}

try {
  process.exit(await main())
} catch (error) {
  if (error instanceof UsageError) console.error(`Usage: guidellm benchmark run [OPTIONS]\n\nError: ${error.message}`)
  else console.error(`Traceback (most recent call last):\nRuntimeError: ${(error as Error).message}`)
  process.exit(error instanceof UsageError ? 2 : 1)
}
