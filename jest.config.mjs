/** @type {import('jest').Config} */
export default {
  testEnvironment: 'node',
  roots: ['<rootDir>/test'],
  testMatch: ['**/*.test.ts'],
  extensionsToTreatAsEsm: ['.ts'],
  transform: {
    '^.+\\.ts$': [
      '@swc/jest',
      {
        swcrc: false,
        sourceMaps: 'inline',
        module: { type: 'es6' },
        jsc: { target: 'es2024', parser: { syntax: 'typescript' }, keepClassNames: true },
      },
    ],
  },
  testTimeout: 60_000,
  // Most of the time a test waits for processes of the sandbox: more of them than cores keep the cores busy.
  maxWorkers: 4,
  coverageProvider: 'babel',
  collectCoverageFrom: ['src/**/*.ts'],
}
