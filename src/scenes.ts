import { DataQueryRequest } from '@grafana/data';

/** The little that is used of a scene object of Grafana's dashboards. */
interface SceneNode {
  parent?: SceneNode;
  forEachChild?(visit: (child: SceneNode) => void): void;
  /** Of a time range, or a control, that compares with another time. */
  getExtraQueries?(request: DataQueryRequest): unknown[];
}

/**
 * Whether the panel compares with another time. The request itself does not tell, so this asks what Grafana's query
 * runner asks: the panel and what it is part of, for further queries. It gets the answers of all of them together, and
 * only when each has completed.
 */
export function isCompared(request: DataQueryRequest): boolean {
  const runner = request.scopedVars.__sceneObject?.value?.valueOf() as SceneNode | undefined;
  const addsQueries = (object: SceneNode) => Boolean(object.getExtraQueries?.(request).length);
  for (let node = runner?.parent; node; node = node.parent) {
    const around = [node];
    node.forEachChild?.((child) => around.push(child));
    if (around.some(addsQueries)) {
      return true;
    }
  }
  return false;
}
