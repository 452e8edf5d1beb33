/** What the AMD loader tells a module about itself. */
declare module 'amd-module' {
  const self: { uri: string };
  export default self;
}

/** Where webpack loads further chunks from. */
declare let __webpack_public_path__: string;
