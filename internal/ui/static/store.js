// The state of the network as this page knows it, and how it is kept up to date.

export const stateCodes = ['unknown', 'self', 'direct', 'relayed', 'tcp', 'idle', 'unreachable'];
export const code = Object.fromEntries(stateCodes.map((c, i) => [c, i]));
const letters = { u: 'direct', t: 'tcp', r: 'relayed', R: 'relayed', k: 'unreachable', e: 'tcp' };

// Mesh holds what is known of all pairs, in columns of numbers: 300 nodes have 90,000 of them.
export class Mesh {
  constructor(names, reachable, source, self) {
    const n = names.length;
    Object.assign(this, { names, n, self, reachable, source });
    this.at = new Map(names.map((name, i) => [name, i]));
    this.state = new Uint8Array(n * n);
    this.rtt = new Uint32Array(n * n);
    this.loss = new Uint16Array(n * n);
    this.mtu = new Uint16Array(n * n);
    this.via = new Int32Array(n * n).fill(-1);
    this.since = new Float64Array(n * n); // 0: not known, else seconds since 1970
    this.edge = new Uint8Array(n * n);    // only an edge is known
    this.byTCP = new Uint8Array(n * n);   // to the relay
  }

  // setRow takes what one node has told.
  setRow(row) {
    const { n } = this, from = row.node, base = from * n, told = Date.parse(row.time) / 1000;
    const whole = this.source[from] !== 'edges' && this.source[from] !== 'none';
    for (let i = 0; i < n; i++) {
      this.state[base + i] = i === from ? code.self : !this.reachable[i] || !this.reachable[from] ? code.unreachable : whole ? code.idle : code.unknown;
      this.rtt[base + i] = this.loss[base + i] = this.mtu[base + i] = this.since[base + i] = this.edge[base + i] = this.byTCP[base + i] = 0;
      this.via[base + i] = -1;
    }
    (row.to ?? []).forEach((to, i) => {
      const k = base + to, letter = row.path[i];
      if (to === from || to >= n || !this.reachable[to] || !this.reachable[from]) return; // what was told may be older than that
      this.state[k] = code[letters[letter] ?? 'unknown'];
      this.edge[k] = letter === 'e' ? 1 : 0;
      this.byTCP[k] = letter === 'R' || letter === 't' || letter === 'e' ? 1 : 0;
      this.rtt[k] = row.rtt_us?.[i] ?? 0;
      this.loss[k] = row.loss_permille?.[i] ?? 0;
      this.mtu[k] = row.mtu_bytes?.[i] ?? 0;
      this.via[k] = row.via?.[i] ?? -1;
      const long = row.since_seconds?.[i] ?? -1;
      this.since[k] = long >= 0 ? told - long : 0;
    });
  }

  // blank is the row of a node that has told nothing.
  blank(from) {
    this.setRow({ node: from, time: new Date().toISOString(), to: [], path: '' });
  }

  stateOf(i, j) { return stateCodes[this.state[i * this.n + j]]; }

  // between is the round trip between two nodes in microseconds, as the first has measured it, or else the second; 0: neither has.
  between(i, j) { return this.rtt[i * this.n + j] || this.rtt[j * this.n + i]; }

  pair(i, j) {
    const k = i * this.n + j;
    return {
      from: this.names[i], to: this.names[j], state: stateCodes[this.state[k]], rtt: this.rtt[k], loss: this.loss[k] / 1000, mtu: this.mtu[k],
      via: this.via[k] >= 0 ? this.names[this.via[k]] : '', since: this.since[k], edge: this.edge[k] === 1, tcp: this.byTCP[k] === 1, source: this.source[i],
    };
  }

  // counts is how many pairs have each state. A pair whose ends see it differently counts twice half, so directions are counted.
  counts() {
    const c = new Array(stateCodes.length).fill(0);
    for (let k = 0; k < this.state.length; k++) c[this.state[k]]++;
    return Object.fromEntries(stateCodes.map((name, i) => [name, c[i]]));
  }
}

// meshOf makes a Mesh of a report, taking over rows that the report leaves out because they have not changed.
export function meshOf(report, self, before) {
  const names = report.nodes.map(n => n.name);
  const m = new Mesh(names, report.nodes.map(n => n.reachable), report.nodes.map(n => n.source), self);
  const rows = new Map();
  const same = before && before.names.length === names.length && before.names.every((n, i) => n === names[i]);
  if (before?.rows) for (const [name, row] of before.rows) {
    if (same) rows.set(name, row);
    else if (m.at.has(name)) {
      // Numbers of nodes have changed: the row is put into the new ones.
      const keep = [];
      (row.to ?? []).forEach((to, i) => { if (m.at.has(before.names[to])) keep.push(i); });
      const pick = list => list && keep.map(i => list[i]);
      rows.set(name, {
        ...row, node: m.at.get(name), to: keep.map(i => m.at.get(before.names[row.to[i]])), path: keep.map(i => row.path[i]).join(''),
        via: row.via && keep.map(i => row.via[i] < 0 ? -1 : m.at.get(before.names[row.via[i]]) ?? -1),
        rtt_us: pick(row.rtt_us), loss_permille: pick(row.loss_permille), mtu_bytes: pick(row.mtu_bytes), since_seconds: pick(row.since_seconds),
      });
    }
  }
  for (const row of report.rows ?? []) rows.set(names[row.node], row);
  for (let i = 0; i < names.length; i++) {
    const row = rows.get(names[i]);
    if (row && m.source[i] !== 'none') m.setRow(row); else m.blank(i);
  }
  m.rows = rows;
  m.serial = report.serial;
  m.time = report.time;
  return m;
}

export class Refusal extends Error {
  constructor(status, body) {
    super(body?.message ?? `the node answered ${status}`);
    this.status = status;
    this.code = body?.code ?? '';
    this.hint = body?.hint ?? '';
  }
}

// ask sends one request to the node.
export async function ask(path, body, method) {
  const init = { method: method ?? (body === undefined ? 'GET' : 'POST'), credentials: 'same-origin', cache: 'no-store', headers: {} };
  if (body !== undefined) {
    init.headers['Content-Type'] = 'application/json';
    init.body = JSON.stringify(body);
  }
  let r;
  try {
    r = await fetch(path, init);
  } catch {
    throw new Refusal(0, { message: 'The node does not answer.' });
  }
  const type = r.headers.get('Content-Type') ?? '';
  const answer = type.startsWith('application/json') ? await r.json().catch(() => null) : null;
  if (!r.ok) throw new Refusal(r.status, answer);
  return answer;
}
