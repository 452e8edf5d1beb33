/** What AMD hands to a module that asks for it. */
declare module 'amd-module' {
  const self: { uri: string };
  export default self;
}

/** Where webpack loads further parts from. */
declare let __webpack_public_path__: string;
