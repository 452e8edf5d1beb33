/** A topic that was seen lately, with its last messages, the newest first. */
export interface Topic {
  name: string;
  messages: number;
  last: Array<{ data: string; time: number }>;
}

/** A level of topics. */
export interface Node {
  name: string;
  topic?: Topic;
  below: Node[];
}

/** Sorts topics into their levels. */
export function topicTree(topics: Topic[], separator: string): Node {
  const root: Node = { name: '', below: [] };
  for (const topic of topics) {
    let node = root;
    for (const name of topic.name.split(separator)) {
      let next = node.below.find((below) => below.name === name);
      if (!next) {
        next = { name, below: [] };
        node.below.push(next);
      }
      node = next;
    }
    node.topic = topic;
  }
  return root;
}

/** What a message holds, as text. */
export const decodePayload = (base64: string): string =>
  new TextDecoder().decode(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)));
