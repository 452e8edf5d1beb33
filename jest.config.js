// These packages of Grafana's ship as ES modules only, so that jest must compile them too.
const esModules = [
  '@grafana',
  '@openfeature',
  '@wojtekmaj/date-utils',
  'd3[a-z-]*',
  'delaunator',
  'get-user-locale',
  'internmap',
  'lodash-es',
  'marked',
  'memoize',
  'mimic-function',
  'ol',
  'react-calendar',
  'react-colorful',
  'robust-predicates',
  'uuid',
];

module.exports = {
  testEnvironment: 'jsdom',
  roots: ['<rootDir>/src'],
  setupFilesAfterEnv: ['<rootDir>/jest-setup.js'],
  // Styles mean nothing here: any module does.
  moduleNameMapper: { '\\.css$': '<rootDir>/package.json' },
  transform: {
    '\\.(ts|tsx|js|mjs)$': [
      '@swc/jest',
      { jsc: { parser: { syntax: 'typescript', tsx: true }, target: 'es2022' }, sourceMaps: 'inline' },
    ],
  },
  transformIgnorePatterns: [`/node_modules/(?!(${esModules.join('|')})/)`],
};
