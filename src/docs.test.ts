import { existsSync, readdirSync, readFileSync } from 'fs';
import path from 'path';

const ROOT = path.join(__dirname, '..');
const REPOSITORY = /^https:\/\/github\.com\/continuum-live\/continuum-datasource\/(?:blob|tree)\/main\//;

const filesOf = (folder: string, ending: RegExp) =>
  readdirSync(path.join(ROOT, folder), { recursive: true, encoding: 'utf8' })
    .filter((name) => ending.test(name))
    .map((name) => path.join(folder, name));

const pages = [
  ...readdirSync(ROOT).filter((name) => name.endsWith('.md')),
  ...['docs', 'examples', 'provisioning', '.github'].flatMap((folder) => filesOf(folder, /\.md$/)),
];

const read = (file: string) => readFileSync(path.join(ROOT, file), 'utf8');

/** The text of a page without its code. */
const proseOf = (page: string) => read(page).replace(/^```[^]*?^```$/gm, '');

/** The anchors of a page's headings, as GitHub makes them. */
const anchorsOf = (page: string) =>
  [...proseOf(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) =>
    heading!
      .replace(/\[([^\]]*)\]\([^)]*\)/g, '$1')
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_\- ]/gu, '')
      .replace(/ /g, '-'),
  );

/** What is wrong with a link from a file. Links to other sites are not checked. */
function faultOf(file: string, link: string): string | undefined {
  const inRepository = REPOSITORY.test(link);
  if (!inRepository && /^[a-z]+:/.test(link)) {
    return undefined;
  }
  const [name, anchor] = link.replace(REPOSITORY, '').split('#');
  const target = name ? path.join(inRepository ? '' : path.dirname(file), name) : file;
  if (!existsSync(path.join(ROOT, target))) {
    return `${file} links to ${link}, and there is no ${target}`;
  }
  if (anchor && !anchorsOf(target).includes(anchor)) {
    return `${file} links to ${link}, and ${target} has no such heading, but ${anchorsOf(target).join(', ')}`;
  }
  return undefined;
}

describe('links', () => {
  it('lead somewhere in the documentation', () => {
    const links = pages.flatMap((page) =>
      [...proseOf(page).matchAll(/\]\(([^)\s]+)\)/g)].map(([, link]) => ({ page, link: link! })),
    );
    expect(links.length).toBeGreaterThan(100);
    expect(links.flatMap(({ page, link }) => faultOf(page, link) ?? [])).toEqual([]);
  });

  it('lead from the front end to pages that there are', () => {
    const links = filesOf('src', /\.tsx?$/).flatMap((file) =>
      [...read(file).matchAll(/["'`}]([a-z0-9/-]+\.md(?:#[a-z0-9-]+)?)["'`]/g)].map(([, link]) => ({
        file,
        link: `https://github.com/continuum-live/continuum-datasource/blob/main/docs/${link}`,
      })),
    );
    expect(links.length).toBeGreaterThan(3);
    expect(links.flatMap(({ file, link }) => faultOf(file, link) ?? [])).toEqual([]);
  });
});
