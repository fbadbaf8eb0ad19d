// The view of this node: what it carries, what it drops and why, what is wrong with it, and its log.
import { carriers, h, s, terms, bytes, rate, number, ago, clock, since, linePath, copy } from './dom.js';
import { renderExits } from './exits.js';
import { ask } from './store.js';

const samples = 90; // of traffic, two seconds each
const mostLines = 500;

export class NodeView {
  constructor(app) {
    this.app = app;
    this.el = app.section('node');
    this.traffic = [];
    this.inNow = h('b', {}, '–');
    this.outNow = h('b', {}, '–');
    this.inPath = s('path', { fill: 'none', stroke: 'var(--tcp)', 'stroke-width': 2, 'vector-effect': 'non-scaling-stroke' });
    this.outPath = s('path', { fill: 'none', stroke: 'var(--relayed)', 'stroke-width': 2, 'stroke-dasharray': '2 3', 'vector-effect': 'non-scaling-stroke' });
    this.inArea = s('path', { fill: 'var(--tcp)', opacity: .1 });
    this.top = h('span', { class: 'muted small' });
    this.facts = h('dl', {});
    this.drops = h('div', {});
    this.warnings = h('ul', { class: 'warnings' });
    this.net = h('div', {});
    this.exits = h('div', {});
    this.happened = h('div', { class: 'happened', tabindex: 0, role: 'log', 'aria-label': 'What has happened' });
    this.check = h('button', { type: 'button', class: 'small', click: () => this.checkNet() }, 'Check now');
    this.lines = h('div', { class: 'log mono', tabindex: 0, role: 'log', 'aria-label': 'Log' });
    this.only = h('select', { 'aria-label': 'What to show of the log', change: () => this.filterLog() }, h('option', { value: 'all' }, 'everything'), h('option', { value: 'warning' }, 'warnings and errors'));
    this.pause = h('button', { type: 'button', class: 'small', 'aria-pressed': 'false', click: () => this.pauseLog() }, 'Pause');
    const card = (cls, title, ...rest) => h('section', { class: `card ${cls}` }, h('header', {}, h('h2', {}, title), ...(rest[0] instanceof Array ? rest.shift() : [])), ...rest);
    this.logCard = card('span-12', 'Log', [this.only, this.pause], this.lines);
    this.exitCard = card('span-12', 'Exit nodes', this.exits);
    this.netCard = card('span-5', 'Connectivity', [this.check], h('div', { class: 'body' }, this.net));
    this.el.append(h('div', { class: 'grid' },
      card('span-8', 'Traffic', [this.top],
        h('div', { class: 'rate' }, h('div', {}, h('span', {}, h('i', {}), 'in'), this.inNow), h('div', {}, h('span', {}, h('i', { class: 'out' }), 'out'), this.outNow)),
        h('div', { class: 'body' }, s('svg', { class: 'graph', viewBox: '0 0 900 150', preserveAspectRatio: 'none', role: 'img', 'aria-label': 'Traffic of the last three minutes' }, s('path', { d: 'M0 148H900', stroke: 'var(--line)', 'vector-effect': 'non-scaling-stroke' }), this.inArea, this.inPath, this.outPath))),
      card('span-4', 'This node', h('div', { class: 'body' }, this.facts)),
      card('span-7', 'Warnings', h('div', { class: 'body' }, this.warnings)), this.netCard, this.exitCard,
      card('span-12', 'What has happened', this.happened), card('span-12', 'Dropped packets', this.drops), this.logCard));
  }

  // sample takes the counters of a status.
  sample(status) {
    const now = performance.now(), { rx, tx } = status.self, last = this.last;
    this.last = { now, rx: rx.bytes, tx: tx.bytes };
    if (!last || now - last.now < 500) return;
    const each = (now - last.now) / 1000;
    // "out" is what leaves this machine into the VPN.
    this.traffic.push({ in: Math.max(0, rx.bytes - last.rx) / each, out: Math.max(0, tx.bytes - last.tx) / each });
    if (this.traffic.length > samples) this.traffic.shift();
  }

  render() {
    const st = this.app.status;
    if (this.el.hidden || !st) return;
    const now = this.traffic.at(-1), top = Math.max(1000, ...this.traffic.flatMap(t => [t.in, t.out])) * 1.1;
    this.inNow.textContent = now ? rate(now.in) : '–';
    this.outNow.textContent = now ? rate(now.out) : '–';
    this.top.textContent = this.traffic.length > 1 ? `up to ${rate(top / 1.1)} in the last three minutes` : 'measuring …';
    const pad = new Array(Math.max(0, samples - this.traffic.length)).fill(null);
    const ins = [...pad, ...this.traffic.map(t => t.in)], line = linePath(ins, 900, 150, top);
    this.inPath.setAttribute('d', line);
    this.inArea.setAttribute('d', line && this.traffic.length > 1 ? `${line}V150H${(pad.length * 900 / (samples - 1)).toFixed(1)}Z` : '');
    this.outPath.setAttribute('d', linePath([...pad, ...this.traffic.map(t => t.out)], 900, 150, top));
    const self = st.self, facts = [['Name', self.name], ['Addresses', self.subnets?.join(', ') || '–'], ['Interface', st.interface || '–'], ['Program', st.version ? `tincan ${st.version}` : '–'],
      ['Running for', st.started ? since(st.started) : '–'], ['Nodes', `${st.summary.reachable} of ${st.summary.nodes} reachable`], ['Meta connections', String(st.summary.connections)],
      ['Received', `${bytes(self.rx.bytes)} in ${number(self.rx.packets)} packets`], ['Sent', `${bytes(self.tx.bytes)} in ${number(self.tx.packets)} packets`]];
    this.facts.replaceChildren(...terms(facts));
    this.renderWarnings(this.app.warnings());
    this.renderHappened();
    this.renderDrops(st);
    this.exitCard.hidden = !renderExits(this.exits, this.app);
    this.netCard.hidden = this.app.role === 'reader';
    this.logCard.hidden = !this.app.may('admin');
    if (!this.app.net && !this.asked && this.app.role !== 'reader') { this.asked = true; this.checkNet(); }
    if (!this.logCard.hidden) this.follow();
  }

  renderWarnings(list) {
    const key = JSON.stringify(list);
    if (key === this.warned) return;
    this.warned = key;
    this.warnings.replaceChildren(...(list.length ? list.map(w => h('li', {}, w.text, w.change && h('div', { class: 'change' }, w.change), w.command && h('div', { class: 'copy change' }, h('code', {}, w.command), h('button', { type: 'button', class: 'small', click: () => copy(w.command, 'Command') }, 'Copy'))))
      : [h('li', { class: 'good' }, 'Nothing is wrong, as far as this node can tell.')]));
  }

  // renderHappened shows the events that the node remembers, the latest first.
  renderHappened() {
    const list = [...this.app.happened.values()].reverse(), key = `${list[0]?.id} ${list.length}`;
    if (key === this.shownHappened) return;
    this.shownHappened = key;
    const bad = ['node-down', 'member-removed', 'invitation-reused', 'missed'], today = new Date().toDateString();
    const day = t => new Date(t).toDateString() === today ? '' : `${new Date(t).toLocaleDateString('en', { day: 'numeric', month: 'short' })}, `;
    this.happened.replaceChildren(...(list.length ? list.map(e => h('div', { 'data-kind': bad.includes(e.kind) ? 'bad' : e.kind }, h('time', { datetime: e.time }, day(e.time) + clock(e.time)), h('span', {}, e.text)))
      : [h('p', { class: 'muted' }, 'Nothing yet.')]));
  }

  renderDrops(st) {
    const drops = [...(st.drops ?? [])].sort((a, b) => b.count - a.count), limits = st.limits, rows = drops.map(d => [d.reason, d.count, d.last]);
    for (const r of limits?.refused ?? []) rows.push([`ignored: ${r.what}`, r.count, r.last]);
    if (limits?.connections?.count) rows.push(['refused connections: too many at once', limits.connections.count, limits.connections.from?.[0]?.last]);
    const most = Math.max(1, ...rows.map(r => r[1]));
    this.drops.replaceChildren(rows.length === 0 ? h('div', { class: 'empty' }, h('b', {}, 'No packet has been dropped'), 'Each reason would be listed here with its number.')
      : h('div', { class: 'scroll-x' }, h('table', { class: 'cards' }, h('thead', {}, h('tr', {}, h('th', { scope: 'col' }, 'Reason'), h('th', { scope: 'col', class: 'num' }, 'Packets'), h('th', { scope: 'col', class: 'num' }, 'Last'))),
        h('tbody', {}, ...rows.map(([reason, count, last]) => h('tr', {}, h('td', {}, reason, bar(count / most)), h('td', { class: 'num end' }, number(count)), h('td', { class: 'num muted' }, last ? ago(last) : '–')))))));
  }

  async checkNet() {
    this.check.disabled = true;
    if (!this.app.net) this.net.replaceChildren(h('p', { class: 'small muted' }, 'Asking other nodes what they see of this one …'));
    try {
      this.app.net = await ask('/v1/netcheck');
      this.renderNet(this.app.net);
    } catch (err) {
      this.net.replaceChildren(h('p', { class: 'small muted' }, err.message));
    }
    this.check.disabled = false;
    this.app.showCounts();
    this.renderWarnings(this.app.warnings());
  }

  renderNet(r) {
    const nat = { 'none': 'none', 'nat': 'present', 'endpoint-independent': 'allows direct paths', 'symmetric': 'symmetric: few direct paths', 'unknown': 'not known' };
    const rows = [['UDP', `${r.udp_answered} of ${r.udp_tried} nodes answer`], ['NAT', nat[r.nat] ?? r.nat], ['IPv4, IPv6', `${r.ipv4 ? 'yes' : 'no'}, ${r.ipv6 ? 'yes' : 'no'}`], ['Connections', `${r.connections_in} in, ${r.connections_out} out`], ['Port', String(r.port)]];
    if (r.seen?.length) rows.push(['Seen as', [...new Set(r.seen.map(x => x.address))].slice(0, 3).join(', ')]);
    for (const c of r.carriers ?? []) {
      const failed = c.failed ? `; failed with ${c.failures?.map(f => f.node).join(', ') ?? ''}${c.failed > (c.failures?.length ?? 0) ? ' and others' : ''}` : '';
      rows.push([carriers[c.carrier] ?? c.carrier, c.off ? 'off' : (c.in_use ? `in use with ${c.in_use} node${c.in_use === 1 ? '' : 's'}` : 'not in use') + failed]);
    }
    if (r.mappings?.length) rows.push(['Port mapping', r.mappings.join(', ')]);
    this.net.replaceChildren(...(r.verdict ?? []).map(v => h('p', {}, v)), h('dl', {}, ...terms(rows)));
  }

  // follow begins to read the log; it goes on until the view is left.
  follow() {
    if (this.source || this.paused) return;
    const src = this.source = new EventSource('/v1/log');
    src.addEventListener('log', e => { try { this.line(JSON.parse(e.data)); } catch { /* no line */ } });
    if (!this.lines.firstChild) this.lines.append(h('p', { class: 'muted quiet' }, 'New lines appear here as the node writes them.'));
  }

  leave() {
    this.source?.close();
    this.source = null;
  }

  line(l) {
    this.lines.querySelector('.quiet')?.remove();
    const bottom = this.lines.scrollTop + this.lines.clientHeight >= this.lines.scrollHeight - 30;
    const level = /^(err|crit|alert|emerg)/.test(l.priority) ? 'err' : l.priority === 'warning' ? 'warning' : 'info';
    this.lines.append(h('div', { 'data-level': level, hidden: this.only.value === 'warning' && level === 'info' }, h('time', { title: l.time }, l.time.slice(11, 19)), h('span', { class: 'level' }, l.priority), h('span', {}, l.text)));
    while (this.lines.childElementCount > mostLines) this.lines.firstElementChild.remove();
    if (bottom) this.lines.scrollTop = this.lines.scrollHeight;
  }

  filterLog() {
    for (const d of this.lines.querySelectorAll('[data-level]')) d.hidden = this.only.value === 'warning' && d.dataset.level === 'info';
  }

  pauseLog() {
    this.paused = !this.paused;
    this.pause.setAttribute('aria-pressed', String(this.paused));
    this.pause.textContent = this.paused ? 'Continue' : 'Pause';
    if (this.paused) this.leave(); else this.follow();
  }
}

// bar shows a share.
function bar(share) {
  return s('svg', { class: 'bar-line', width: '100%', height: 4, 'aria-hidden': 'true' }, s('rect', { width: '100%', height: 4, rx: 2, fill: 'var(--idle-soft)' }), s('rect', { width: `${Math.max(1, share * 100).toFixed(1)}%`, height: 4, rx: 2, fill: 'var(--unreachable)' }));
}
