// The view of the whole mesh: matrix, map, and what is known of the chosen pair or node.
import { carriers, h, s, terms, states, stateOfPath, stateWord, mark, millis, since, ago, clock, icon, toast, number, linePath, span } from './dom.js';
import { Matrix } from './matrix.js';
import { Map_ } from './map.js';
import { ask } from './store.js';

const small = 12; // up to so many nodes matrix and map are shown side by side

export class MeshView {
  constructor(app) {
    this.app = app;
    this.selected = null; // numbers would change with the nodes: names
    this.announce = h('p', { class: 'visually-hidden', 'aria-live': 'polite' });
    this.matrix = new Matrix({ choose: (i, j) => this.choose(i, j), say: t => { this.announce.textContent = t; } });
    this.map = new Map_({ choose: i => this.choose(i, -1) });
    this.mode = 'matrix';
    this.filter = h('input', { type: 'search', placeholder: 'Filter nodes', 'aria-label': 'Filter nodes', input: () => this.render() });
    this.sort = h('select', { 'aria-label': 'Order of the nodes', change: () => this.render() },
      h('option', { value: 'name' }, 'by name'), h('option', { value: 'near' }, 'nearest first'), h('option', { value: 'bad' }, 'worst first'));
    this.pick = h('div', { class: 'segmented', role: 'group', 'aria-label': 'Form' },
      ...['matrix', 'map'].map(m => h('button', { type: 'button', 'data-mode': m, click: () => { this.mode = m; this.render(); } }, m === 'matrix' ? 'Matrix' : 'Map')));
    const zoom = (name, words, factor) => h('button', { type: 'button', class: 'icon plain', 'aria-label': words, title: words, click: () => { this.matrix.zoom(factor); this.render(); } }, icon(name));
    this.zoom = h('span', { class: 'actions' }, zoom('minus', 'Smaller cells', .8), zoom('plus', 'Larger cells', 1.25), zoom('fit', 'All nodes at once', 0));
    this.caption = h('span', { class: 'muted small' });
    this.matrixCard = h('div', { class: 'card' }, h('header', {}, h('h2', {}, 'Every pair'), this.caption, this.zoom), this.matrix.el);
    this.mapCard = h('div', { class: 'card' }, h('header', {}, h('h2', {}, 'Map'), h('span', { class: 'muted small' }, 'near in time is near here')), this.map.el);
    this.views = h('div', { class: 'views' }, this.matrixCard, this.mapCard);
    this.legend = h('ul', { class: 'legend', 'aria-label': 'Pairs by path' });
    this.bar = h('div', { class: 'bar' }, this.legend, h('span', { class: 'grow' }), this.filter, this.sort, this.pick);
    this.inspector = h('aside', { class: 'card inspector', 'aria-label': 'Details' });
    this.slider = h('input', { type: 'range', min: 0, max: 0, value: 0, step: 1, 'aria-label': 'Time', input: () => this.travel() });
    this.when = h('output', {}, 'now');
    this.back = h('button', { type: 'button', class: 'small', disabled: true, click: () => { this.slider.value = this.slider.max; this.travel(); } }, 'Live');
    this.past = h('div', { class: 'card past', hidden: true }, h('span', { class: 'muted small' }, 'Last hour'), this.slider, this.when, this.back);
    this.alone = h('div', { class: 'card' });
    this.layout = h('div', { class: 'mesh' }, h('div', {}, this.views, this.past), this.inspector);
    this.el = app.section('mesh');
    this.bar.hidden = this.layout.hidden = true; // until there is something to show
    this.alone.append(h('p', { class: 'empty' }, 'Asking the node …'));
    this.el.append(this.announce, this.bar, this.layout, this.alone);
    addEventListener('resize', () => this.render());
    this.el.addEventListener('keydown', e => { if (e.key === 'Escape' && this.selected) this.choose(-1, -1); });
  }

  get mesh() { return this.shown ?? this.app.mesh; }

  // choose selects the pair of two nodes, or with −1 as the second all of one.
  choose(i, j) {
    const m = this.mesh;
    this.selected = i < 0 ? null : { from: m.names[i], to: j < 0 ? '' : m.names[j] };
    this.why = null;
    this.render();
    if (!this.selected) return;
    this.explain();
    if (this.selected.to) this.app.history.load(m.n, m.self).then(more => { if (more) this.inspect(); }, () => {});
  }

  // chosen is the selected pair as node numbers of a mesh, the second −1 for all of a node; null if there is none in it.
  chosen(m) {
    const { from, to } = this.selected ?? {};
    if (!m.at.has(from) || to !== '' && !m.at.has(to)) return null;
    return [m.at.get(from), to === '' ? -1 : m.at.get(to)];
  }

  // explain asks the node why packets take that path; it can tell of its own only.
  async explain() {
    const { from, to } = this.selected, self = this.mesh.self;
    const about = to === '' ? (from === self ? '' : from) : from === self ? to : to === self ? from : '';
    if (!about || this.app.role === 'reader' || this.shown) return;
    const key = `${from} ${to}`;
    try {
      const why = await ask(`/v1/why?to=${encodeURIComponent(about)}`);
      if (this.selected && key === `${this.selected.from} ${this.selected.to}`) { this.why = why; this.inspect(); }
    } catch { /* the pair is shown without it */ }
  }

  order() {
    const m = this.mesh, want = this.filter.value.trim().toLowerCase();
    let list = m.names.map((_, i) => i);
    if (want) list = list.filter(i => m.names[i].toLowerCase().includes(want));
    const self = m.at.get(m.self) ?? 0;
    if (this.sort.value === 'near') {
      const far = i => i === self ? -1 : !m.reachable[i] ? 1e12 : m.between(self, i) || 1e11;
      list.sort((a, b) => far(a) - far(b) || a - b);
    } else if (this.sort.value === 'bad') {
      const weight = { unreachable: 1, tcp: 30, relayed: 20 };
      const bad = i => { let n = m.reachable[i] ? 0 : 1e6; for (let j = 0; j < m.n; j++) n += (weight[m.stateOf(i, j)] ?? 0) + m.loss[i * m.n + j] / 10; return n; };
      const by = new Map(list.map(i => [i, bad(i)]));
      list.sort((a, b) => by.get(b) - by.get(a) || a - b);
    }
    return list;
  }

  render() {
    const m = this.mesh;
    if (!m || this.el.hidden) return;
    const single = m.n < 2;
    this.alone.hidden = !single;
    this.layout.hidden = this.bar.hidden = single;
    if (single) {
      this.alone.replaceChildren(h('div', { class: 'empty' }, h('b', {}, 'This node is alone so far'),
        'Invite a second one: it gets an address and connects by itself.', h('p', {}),
        this.app.may('owner') ? h('button', { type: 'button', class: 'primary', click: () => this.app.views.members.invite() }, 'Invite a node') : null));
      return;
    }
    if (m.n === 2 && !this.selected && m.self === this.app.caller.node && this.paired !== m.names.join()) {
      this.paired = m.names.join(); // the only pair there is
      const self = m.at.get(m.self);
      return this.choose(self, 1 - self);
    }
    const order = this.order(), both = order.length <= small && innerWidth > 640;
    this.views.classList.toggle('both', both && innerWidth > 1180);
    this.pick.hidden = both;
    for (const b of this.pick.children) b.setAttribute('aria-pressed', String(b.dataset.mode === this.mode));
    this.matrixCard.hidden = !both && this.mode !== 'matrix';
    this.mapCard.hidden = !both && this.mode !== 'map';
    this.filter.hidden = this.sort.hidden = m.n <= small && innerWidth <= 640 || m.n < 8;
    this.zoom.hidden = m.n <= small;
    this.layers(m);
    const sel = this.chosen(m);
    this.matrix.selected = sel?.[1] >= 0 ? sel : null;
    this.matrix.show(m, order);
    this.caption.textContent = this.matrix.size >= 28 ? 'rows reach columns, round trip in ms' : 'rows reach columns, stronger green is a longer round trip';
    if (!this.mapCard.hidden) {
      this.map.el.style.height = both && innerWidth > 1180 ? `${Math.max(320, this.matrix.el.offsetHeight)}px` : `${Math.max(300, Math.min(innerHeight - 260, m.n > 30 ? 760 : 520))}px`;
      this.map.show(m, order, sel);
    }
    this.inspect();
  }

  layers(m) {
    const c = this.digest(m).counts, list = ['direct', 'relayed', 'tcp', 'idle', 'unreachable', 'unknown'].filter(k => c[k] > 0 || k === 'direct');
    this.legend.replaceChildren(...list.map(k => h('li', {}, mark(k), states[k].word, h('b', {}, number(c[k])))));
  }

  inspect() {
    const m = this.mesh, sel = this.chosen(m);
    this.inspector.classList.toggle('open', !!sel);
    const close = h('button', { type: 'button', class: 'icon plain', 'aria-label': 'Close the details', click: () => { this.choose(-1, -1); this.matrix.el.focus(); } }, icon('close'));
    if (!sel) return this.overview(m);
    const [i, j] = sel, focused = this.inspector.contains(document.activeElement) ? document.activeElement.textContent : null;
    if (j < 0) this.ofNode(m, i, close);
    else this.ofPair(m, i, j, close);
    if (focused !== null) [...this.inspector.querySelectorAll('button')].find(b => b.textContent === focused)?.focus();
  }

  // digest is what the overview tells of a mesh; it is computed once for each.
  digest(m) {
    if (m.digested) return m.digested;
    const worst = [], slow = [], rtts = m.rtt.filter(v => v > 0).sort();
    const keep = (list, e, most) => {
      if (list.length === most && e[2] <= list[most - 1][2]) return;
      let at = list.length;
      while (at > 0 && list[at - 1][2] < e[2]) at--;
      list.splice(at, 0, e);
      if (list.length > most) list.pop();
    };
    for (let i = 0; i < m.n; i++) for (let j = 0; j < m.n; j++) {
      const k = i * m.n + j, state = m.stateOf(i, j);
      if (i === j || !m.reachable[i] || !m.reachable[j]) continue;
      if (state === 'unreachable') keep(worst, [i, j, 1e9], 6);
      else if (m.loss[k] >= 20 || state === 'tcp' && !m.edge[k]) keep(worst, [i, j, m.loss[k] * 10 + 100], 6);
      else if (state === 'relayed') keep(worst, [i, j, 50 + Math.min(49, m.rtt[k] / 1e4)], 6);
      // Both ends tell of a round trip: the first one is enough.
      if (m.rtt[k] && (i < j || !m.rtt[j * m.n + i])) keep(slow, [i, j, m.rtt[k]], 5);
    }
    return m.digested = { worst, slow, median: rtts.length ? rtts[rtts.length >> 1] : 0, counts: m.counts() };
  }

  overview(m) {
    const up = m.reachable.filter(Boolean).length, { worst, slow, median, counts: c } = this.digest(m), down = m.names.filter((_, i) => !m.reachable[i]);
    const row = ([i, j], text) => h('li', {}, h('button', { type: 'button', click: () => this.choose(i, j) }, mark(m.stateOf(i, j)), h('span', {}, `${m.names[i]} → ${m.names[j]}`), h('span', {}, text)));
    const known = c.direct + c.relayed + c.tcp;
    this.inspector.replaceChildren(h('header', {}, h('h2', {}, 'The mesh')), h('div', { class: 'body' },
      h('div', { class: 'tiles' },
        h('div', {}, h('b', {}, String(up)), h('span', {}, up === m.n ? 'nodes, all up' : `of ${m.n} up`)),
        h('div', {}, h('b', {}, known ? `${Math.floor(100 * c.direct / known)}%` : '–'), h('span', {}, 'direct')),
        h('div', {}, h('b', {}, median ? millis(median) : '–'), h('span', {}, 'ms, median'))),
      down.length > 0 && h('h3', {}, down.length === 1 ? 'Not reachable' : `${down.length} not reachable`),
      down.length > 0 && h('ul', { class: 'rank' }, ...down.slice(0, 6).map(name => h('li', {}, h('button', { type: 'button', click: () => this.choose(m.at.get(name), -1) }, mark('unreachable'), h('span', {}, name), h('span', {}))))),
      h('h3', {}, 'Worth a look'),
      worst.length ? h('ul', { class: 'rank' }, ...worst.map(w => {
        const p = m.pair(w[0], w[1]);
        return row(w, p.loss >= .02 ? `${Math.round(p.loss * 100)} % lost` : p.state === 'relayed' ? (p.via ? `by ${p.via}` : 'relayed') : states[p.state].word);
      })) : h('p', { class: 'small muted' }, 'All paths that are in use are direct, and lose nothing.'),
      slow.length > 2 && h('h3', {}, 'Longest round trips'),
      slow.length > 2 && h('ul', { class: 'rank' }, ...slow.map(w => row(w, `${millis(w[2])} ms`))),
      h('p', { class: 'small muted hint' }, m.n > 2 ? 'Choose a pair in the matrix, or a name.' : 'Choose a pair in the matrix.')));
  }

  ofPair(m, i, j, close) {
    const p = m.pair(i, j), back = m.pair(j, i);
    const turn = h('button', { type: 'button', class: 'icon plain', 'aria-label': 'The other direction', title: 'The other direction', click: () => this.choose(j, i) }, icon('swap'));
    const parts = [h('div', { class: 'big' }, p.rtt ? [h('b', {}, millis(p.rtt)), h('span', { class: 'muted' }, 'ms round trip')] : h('span', { class: 'muted' }, this.sentence(p)))];
    const rows = [['Path', stateWord(p.state, `${states[p.state].word}${p.via ? ` by ${p.via}` : ''}${p.tcp && p.state === 'relayed' ? ', over TCP' : ''}`)]];
    if (p.since) rows.push(['Like this for', since(p.since * 1000)]);
    if (p.rtt || p.loss) rows.push(['Loss', `${(p.loss * 100).toFixed(p.loss && p.loss < .1 ? 1 : 0)} %`]);
    if (p.mtu) rows.push(['Path MTU', `${p.mtu} bytes`]);
    if (back.state !== 'unknown' && back.state !== p.state) rows.push(['Other direction', stateWord(back.state)]);
    parts.push(h('dl', {}, ...terms(rows)));
    const line = this.app.history.of(p.from, p.to, this.shown ? null : m);
    if (line.values.filter(v => v !== null).length > 1) {
      const top = Math.max(...line.values.filter(v => v !== null)) * 1.15;
      parts.push(h('h3', {}, `Round trip, last ${span(line.seconds)}`), s('svg', { class: 'spark', viewBox: '0 0 300 56', preserveAspectRatio: 'none', role: 'img', 'aria-label': `between ${millis(Math.min(...line.values.filter(v => v !== null)))} and ${millis(Math.max(...line.values))} ms` },
        s('path', { d: linePath(line.values, 300, 56, top), fill: 'none', stroke: 'var(--direct)', 'stroke-width': 2, 'vector-effect': 'non-scaling-stroke' })));
    }
    parts.push(...this.reasons(p));
    this.inspector.replaceChildren(h('header', {}, h('div', { class: 'pair' }, p.from, h('span', { 'aria-hidden': 'true' }, '→'), h('span', { class: 'visually-hidden' }, 'to'), p.to), turn, close), h('div', { class: 'body' }, ...parts));
  }

  sentence(p) {
    switch (p.state) {
      case 'unreachable': return 'no path';
      case 'idle': return 'no packets lately';
      case 'unknown': return p.source === 'edges' ? `${p.from} does not tell` : p.source === 'none' ? `${p.from} has not told yet` : 'not known';
      case 'tcp': return 'over TCP, not measured';
      default: return 'not measured yet';
    }
  }

  // reasons is what the command "why" says.
  reasons(p) {
    const self = this.mesh.self;
    if (p.from !== self && p.to !== self) {
      const text = { edges: `${p.from} runs tinc, or a program that does not tell its paths: this is what its connections show.`, none: `${p.from} has not told its paths yet.`, node: `${p.from} told this. To ask why: tincan why ${p.to}, on ${p.from}.` }[p.source];
      return text ? [h('h3', {}, 'Source'), h('p', { class: 'small muted' }, text)] : [];
    }
    if (!this.why) return this.app.role === 'reader' || this.shown ? [] : [h('h3', {}, 'Why'), h('p', { class: 'small muted' }, 'asking …')];
    const w = this.why, out = [h('h3', {}, 'Why'), h('ul', { class: 'why' }, ...w.reasons.map(r => h('li', {}, r.text)))];
    if (w.carriers?.length) out.push(h('h3', {}, 'Carriers'), h('dl', { class: 'carriers' }, ...terms(w.carriers.map(c => [carriers[c.carrier] ?? c.carrier, h('span', { 'data-state': c.state }, c.state.replace('-', ' '), c.text && `: ${c.text}`)]))));
    if (w.encryption) out.push(h('h3', {}, 'Encryption'), h('p', { class: 'small' }, w.encryption));
    if (w.change) out.push(h('h3', {}, 'What would help'), h('p', { class: 'fix' }, w.change));
    return out;
  }

  ofNode(m, i, close) {
    const name = m.names[i], v = this.app.nodeView(name), parts = [];
    const rows = [];
    if (v) {
      const state = stateOfPath[v.path] ?? 'unknown';
      rows.push(['From here', name === m.self ? 'this node' : stateWord(state, v.via ? `relayed by ${v.via}` : null)]);
      if (v.since) rows.push([v.reachable ? 'Up for' : 'Down for', since(v.since)]);
      if (v.subnets?.length) rows.push(['Addresses', v.subnets.slice(0, 4).join(', ') + (v.subnets.length > 4 ? ` and ${v.subnets.length - 4} more` : '')]);
      if (v.carrier) rows.push(['Carrier', carriers[v.carrier] ?? v.carrier]);
      if (v.meta_carrier) rows.push(['Connection', carriers[v.meta_carrier] ?? v.meta_carrier]);
      if (v.address) rows.push(['Seen at', v.address]);
      if (v.program || v.protocol) rows.push(['Program', v.program || `protocol ${v.protocol}`]);
      if (v.cipher) rows.push(['Encryption', v.cipher + (v.post_quantum ? ', post-quantum keys' : '')]);
    } else rows.push(['State', m.reachable[i] ? 'reachable' : 'not reachable']);
    parts.push(h('dl', {}, ...terms(rows)));
    if (v?.problem) parts.push(h('p', { class: 'problem' }, v.problem));
    if (name !== m.self && this.why) parts.push(...this.reasons({ from: m.self, to: name }));
    const others = m.names.map((_, j) => j).filter(j => j !== i);
    const rank = { unreachable: 4, tcp: 3, relayed: 2, direct: 1, idle: 0, unknown: -1 };
    others.sort((a, b) => rank[m.stateOf(i, b)] - rank[m.stateOf(i, a)] || m.rtt[i * m.n + b] - m.rtt[i * m.n + a] || a - b);
    parts.push(h('h3', {}, `Paths from ${name}`), h('ul', { class: 'rank' }, ...others.slice(0, 40).map(j => {
      const p = m.pair(i, j);
      return h('li', {}, h('button', { type: 'button', click: () => this.choose(i, j) }, mark(p.state), h('span', {}, p.to), h('span', {}, p.rtt ? `${millis(p.rtt)} ms` : states[p.state].word)));
    })), others.length > 40 && h('p', { class: 'small muted' }, `and ${others.length - 40} more, in the matrix`));
    this.inspector.replaceChildren(h('header', {}, h('div', { class: 'pair' }, name), close), h('div', { class: 'body' }, ...parts));
  }

  // renderPast shows what is remembered. The slider stays at its time, or at its end.
  renderPast() {
    const { times } = this.app.history;
    this.past.hidden = times.length === 0;
    if (this.slider.max === String(times.length) && this.live) return;
    const at = this.then ? times.indexOf(this.then) : -1;
    this.slider.max = times.length;
    this.slider.value = at >= 0 ? at : times.length;
    if (this.then && at < 0) this.travel(); // it is forgotten
  }

  get live() { return !this.then; }

  // travel shows the mesh as it was.
  async travel() {
    const { times } = this.app.history, at = Number(this.slider.value);
    const then = this.then = times[at] ?? null;
    this.back.disabled = this.live;
    this.when.textContent = this.live ? 'now' : ago(then);
    this.slider.setAttribute('aria-valuetext', this.live ? 'now' : `${ago(then)}, ${clock(then)}`);
    if (this.live) this.shown = null;
    else {
      try {
        const mesh = await this.app.history.mesh(then, this.app.caller.node);
        if (this.then !== then) return; // moved on meanwhile
        this.shown = mesh;
      } catch (err) {
        toast(err.message);
        return;
      }
    }
    this.why = null;
    this.app.showLive();
    this.render();
    if (this.live && this.selected) this.explain();
  }
}
