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
  // A test that hangs fails late; one that a busy machine slows down does not fail.
  testTimeout: 180_000,
  maxWorkers: 2,
  coverageProvider: 'babel',
  collectCoverageFrom: ['src/**/*.ts'],
}
