const path = require('path');
const base = require('../jest.config');

// Runs the generators of test data in here, on the source code of the Grafana in GRAFANA.
module.exports = {
  ...base,
  rootDir: path.join(__dirname, '..'),
  roots: ['<rootDir>/scripts'],
  testMatch: ['**/*.generate.ts'],
  modulePaths: ['<rootDir>/node_modules'],
  moduleNameMapper: {
    ...base.moduleNameMapper,
    '^@grafana/scenes$': path.join(process.env.GRAFANA ?? '', 'node_modules/@grafana/scenes/dist/index.js'),
    '^@grafana/schema/dist/.*': '<rootDir>/package.json',
    '^@grafana/(data|runtime|ui|schema|i18n|e2e-selectors)$': '<rootDir>/node_modules/@grafana/$1',
    '^(react|react-dom|rxjs|lodash)$': '<rootDir>/node_modules/$1',
  },
};
