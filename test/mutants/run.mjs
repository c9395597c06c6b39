// Keeps the tests honest: each mutation of test/mutants/list.mjs changes one line of a copy of the sources, and the test
// file that it names must fail in it. A mutation that survives, or that no longer applies, is an error.
import { spawn } from 'node:child_process'
import { cpSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import path from 'node:path'
import { mutants } from './list.mjs'

const root = path.join(import.meta.dirname, '..', '..')
// More than there are cores: what these tests do most is wait.
const copies = 4
const only = process.argv[2]
const chosen = mutants.filter(m => only === undefined || m.name.includes(only))

/** Runs one test file in a copy; true when it passed. */
function passes(dir, testFile, pattern) {
  const args = [
    '--experimental-vm-modules',
    '--disable-warning=ExperimentalWarning',
    'node_modules/jest/bin/jest.js',
    testFile,
    '--silent',
    '-w',
    '1',
  ]
  if (pattern) args.push('-t', pattern)
  return new Promise(resolve => {
    const child = spawn(process.execPath, args, { cwd: dir, stdio: ['ignore', 'pipe', 'pipe'] })
    let text = ''
    // A mutant that makes a test hang is caught as well: the test would have failed by its own time-out.
    const timer = setTimeout(() => child.kill('SIGKILL'), 60_000)
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', t => (text += t))
    child.on('close', (code, signal) => {
      clearTimeout(timer)
      const ran = signal === 'SIGKILL' || (/Tests:.* (\d+) total/.test(text) && !/Tests:.* 0 total/.test(text))
      resolve({ passed: code === 0, ran, text })
    })
  })
}

const dirs = Array.from({ length: copies }, () => {
  const dir = mkdtempSync(path.join(tmpdir(), 'bench-action-mutants-'))
  for (const name of [
    'src',
    'test',
    'package.json',
    'jest.config.mjs',
    'tsconfig.json',
    'action.yml',
    'README.md',
    'docs',
  ])
    cpSync(path.join(root, name), path.join(dir, name), { recursive: true })
  symlinkSync(path.join(root, 'node_modules'), path.join(dir, 'node_modules'))
  return dir
})
const survivors = []
const queue = [...chosen]
try {
  await Promise.all(
    dirs.map(async dir => {
      for (let m = queue.shift(); m !== undefined; m = queue.shift()) {
        const file = path.join(dir, m.file)
        const before = readFileSync(file, 'utf8')
        if (before.split(m.find).length !== 2) {
          survivors.push(`${m.name}: the text to change occurs ${before.split(m.find).length - 1} times in ${m.file}`)
          continue
        }
        writeFileSync(
          file,
          before.replace(m.find, () => m.replace),
        )
        const result = await passes(dir, m.test, m.pattern)
        writeFileSync(file, before)
        const caught = !result.passed && result.ran
        console.log(`${caught ? 'caught  ' : 'SURVIVED'} ${m.name} (${m.test})`)
        if (!caught) survivors.push(result.ran ? m.name : `${m.name}: no test ran\n${result.text.slice(-600)}`)
      }
    }),
  )
} finally {
  for (const dir of dirs) rmSync(dir, { recursive: true, force: true })
}
console.log(`${chosen.length - survivors.length} of ${chosen.length} mutants caught`)
for (const s of survivors) console.error(`survivor: ${s}`)
process.exitCode = survivors.length === 0 && chosen.length > 0 ? 0 : 1
