// What Grafana's packages use that ships as ES modules only, and so has to be compiled for jest.
const esModules = [
  'd3[a-z-]*',
  'marked',
  'react-calendar',
  'get-user-locale',
  'memoize',
  'mimic-function',
  '@wojtekmaj/date-utils',
  'monaco-promql',
];

module.exports = {
  testEnvironment: 'jsdom',
  roots: ['<rootDir>/src'],
  randomize: true, // no test may need another one before it
  testTimeout: 120_000, // ends what hangs; typing into Grafana's components takes long where other builds run
  setupFilesAfterEnv: ['<rootDir>/jest-setup.js'],
  // Styles mean nothing here, and Monaco needs a browser: any module does.
  moduleNameMapper: { '\\.css$': '<rootDir>/package.json', '^monaco-editor$': '<rootDir>/package.json' },
  transform: {
    '\\.(ts|tsx|js|mjs)$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript', tsx: true }, target: 'es2022' }, sourceMaps: 'inline' },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!(${esModules.join('|')})/)`],
};
