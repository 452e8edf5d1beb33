require('@testing-library/jest-dom');
const { TextDecoder, TextEncoder } = require('util');

// What Grafana's packages need and jsdom does not have.
Object.assign(globalThis, {
  TextDecoder,
  TextEncoder,
  IntersectionObserver: class {
    observe() {}
    disconnect() {}
  },
  matchMedia: () => ({ matches: false, addEventListener() {}, removeEventListener() {} }),
});
Element.prototype.scrollTo = () => {};
HTMLCanvasElement.prototype.getContext = () => ({ measureText: (text) => ({ width: 8 * text.length }) });

// Icons would be fetched.
jest.mock('react-inlinesvg', () => ({ __esModule: true, default: () => null }));
