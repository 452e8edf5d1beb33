import { readFileSync } from 'fs';
import { gzipSync } from 'zlib';
import path from 'path';
import CopyPlugin from 'copy-webpack-plugin';
import type { Compiler, Configuration } from 'webpack';

// The file and what it builds are where @grafana/create-plugin expects them, so
// that Grafana's tools for plugins find both.
const root = path.resolve(__dirname, '../..');
const { version } = JSON.parse(readFileSync(path.join(root, 'package.json'), 'utf8')) as { version: string };

const { id, name, includes, info } = JSON.parse(readFileSync(path.join(root, 'src/plugin.json'), 'utf8')) as {
  id: string;
  name: string;
  includes: Array<{ path: string }>;
  info: { screenshots: Array<{ path: string }> };
};
const repository = 'https://github.com/continuum-live/continuum-datasource';

const stamp = (text: Buffer) =>
  text.toString().replaceAll('%VERSION%', version).replaceAll('%TODAY%', new Date().toISOString().slice(0, 10));

// A dashboard of the package is one of the provisioned ones. Its data source is chosen when it is imported, or by a
// variable of its own.
const importable = (text: Buffer) => {
  const input = 'DS_CONTINUUM';
  const dashboard = JSON.parse(text.toString(), (_, value: { type?: string; uid?: string } | undefined) =>
    value?.type === id && value.uid && !value.uid.startsWith('$') ? { ...value, uid: `\${${input}}` } : value,
  ) as object;
  const inputs = [{ name: input, label: 'Continuum', type: 'datasource', pluginId: id, pluginName: name }];
  return JSON.stringify({ __inputs: inputs, ...dashboard }, null, 2);
};

// Grafana shows the README on a page of its own, where links within the repository lead nowhere.
const absolute = (text: Buffer, file: string) =>
  path.basename(file) === 'README.md'
    ? text
        .toString()
        .replaceAll(
          /!\[([^\]]*)\]\((?!https?:)/g,
          `![$1](${repository.replace('github.com', 'raw.githubusercontent.com')}/main/`,
        )
        .replaceAll(/(?<!!)\[([^\]]*)\]\((?!https?:)/g, `[$1](${repository}/blob/main/`)
    : text;

/** How many bytes a dashboard may load, after gzip. All other parts are loaded when they are shown. */
const MOST = 30 * 1024;

/** Prints the size of every script, and fails the build when a dashboard would load too much. */
class Sizes {
  apply(compiler: Compiler) {
    compiler.hooks.thisCompilation.tap('Sizes', (compilation) => {
      const stage = compiler.webpack.Compilation.PROCESS_ASSETS_STAGE_REPORT;
      compilation.hooks.processAssets.tap({ name: 'Sizes', stage }, (assets) => {
        const scripts = Object.entries(assets).filter(([name]) => name.endsWith('.js'));
        const sizes = scripts.map(([name, asset]) => ({ name, size: gzipSync(asset.buffer()).length }));
        for (const { name, size } of sizes.sort((a, b) => b.size - a.size)) {
          console.log(`${(size / 1024).toFixed(1).padStart(6)} KiB gzip  ${name}`);
          if (name === 'module.js' && size > MOST) {
            const text = `a dashboard loads ${size} bytes, and more than ${MOST} are too many: import what is seldom wanted dynamically`;
            compilation.errors.push(new compiler.webpack.WebpackError(text));
          }
        }
      });
    });
  }
}

const config = (env: { production?: boolean }): Configuration => ({
  mode: env.production ? 'production' : 'development',
  // Not an eval variant: Grafana's content security policy may forbid eval.
  devtool: 'source-map',
  context: path.join(root, 'src'),
  entry: { module: './module.ts' },
  resolve: {
    extensions: ['.ts', '.tsx', '.js'],
    // Grafana brings its own Monaco. monaco-promql imports it for parts that are not used here.
    alias: { 'monaco-editor': false },
  },
  module: {
    rules: [
      {
        test: /\.tsx?$/,
        exclude: /node_modules/,
        loader: 'swc-loader',
        options: { jsc: { parser: { syntax: 'typescript', tsx: true }, target: 'es2022' } },
      },
    ],
  },
  // Grafana hands these to every plugin. A second copy of React or of Grafana's packages would not share their state.
  externals: [
    'lodash',
    'react',
    'react-dom',
    'rxjs',
    'rxjs/operators',
    '@emotion/css',
    { 'amd-module': 'module' },
    /^@grafana\/(data|runtime|ui)$/,
  ],
  output: {
    path: path.join(root, 'dist'),
    filename: '[name].js',
    // A browser may go on with a module.js of an older version in its cache. The hash keeps it from loading chunks of
    // another version.
    chunkFilename: '[name].[contenthash].js',
    publicPath: `public/plugins/${id}/`,
    uniqueName: id,
    library: { type: 'amd' },
    // The back end's build puts its executables and its manifest in the same folder.
    clean: { keep: /^(gpx_|go_plugin_build_manifest$)/ },
  },
  performance: { hints: 'error' },
  plugins: [
    ...(env.production ? [new Sizes()] : []),
    new CopyPlugin({
      patterns: [
        { from: 'plugin.json', transform: stamp },
        { from: 'img', to: 'img' },
        // The pictures of the documentation.
        ...info.screenshots.map(({ path: to }) => ({ from: path.join(root, 'docs', to), to })),
        ...includes.map(({ path: to }) => ({ from: path.join(root, 'provisioning', to), to, transform: importable })),
        // Shown by Grafana on the plugin's page, and part of the package.
        ...['README.md', 'CHANGELOG.md', 'LICENSE'].map((name) => ({
          from: path.join(root, name),
          noErrorOnMissing: true,
          transform: absolute,
        })),
      ],
    }),
  ],
});

export default config;
