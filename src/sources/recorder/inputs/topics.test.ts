import { decodePayload, topicTree } from './topics';

const topic = (name: string) => ({ name, messages: 1, last: [] });

it('sorts topics into their levels', () => {
  const tree = topicTree([topic('a'), topic('a/b'), topic('a/c/d'), topic('/x')], '/');
  expect(tree.below.map(({ name }) => name)).toEqual(['a', '']);
  const [a] = tree.below;
  expect(a?.topic?.name).toBe('a');
  expect(a?.below.map(({ name, topic: at }) => [name, at?.name])).toEqual([
    ['b', 'a/b'],
    ['c', undefined],
  ]);
});

it('reads payloads as text', () => {
  expect(decodePayload('eyJUIjoiMjEgwrBDIn0=')).toBe('{"T":"21 °C"}');
});
