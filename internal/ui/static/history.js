// The last hour, as the node remembers it: views of the mesh are fetched when they are looked at.
import { ask, meshOf } from './store.js';

const few = 40; // nodes: up to so many, all views are fetched for the curve of a pair

export class History {
  constructor() {
    this.times = []; // of the node, the oldest first
    this.views = new Map(); // by time
  }

  // refresh asks which views there are.
  async refresh() {
    this.times = (await ask('/v1/mesh/past')).times ?? [];
    const there = new Set(this.times);
    for (const t of this.views.keys()) if (!there.has(t)) this.views.delete(t);
  }

  // mesh is the view of a time.
  async mesh(time, self) {
    if (!this.views.has(time)) this.views.set(time, meshOf(await ask(`/v1/mesh?at=${encodeURIComponent(time)}`), self));
    return this.views.get(time);
  }

  // load fetches what a curve needs, if that is not much. It returns whether something was new.
  async load(nodes, self) {
    if (nodes > few) return false;
    const missing = this.times.filter(t => !this.views.has(t));
    for (const t of missing) await this.mesh(t, self);
    return missing.length > 0;
  }

  // of is the round trips between two nodes in microseconds, null where there was none, with the time that they span in seconds.
  of(from, to, now) {
    const at = this.times.filter(t => this.views.has(t)), rtt = m => {
      const i = m.at.get(from), j = m.at.get(to);
      return i === undefined || j === undefined ? null : m.between(i, j) || null;
    };
    const values = at.map(t => rtt(this.views.get(t)));
    if (now) values.push(rtt(now));
    return { values, seconds: at.length ? (Date.now() - new Date(at[0])) / 1000 : 0 };
  }
}
