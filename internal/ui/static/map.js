// The map: nodes that are near each other in time are near each other on the page.
import { s, states, millis } from './dom.js';

const side = 1000; // of the space in which nodes are placed
const everyPair = 14; // up to so many nodes all paths are drawn

export class Map_ {
  constructor({ choose }) {
    this.choose = choose;
    this.links = s('g', {});
    this.numbers = s('g', { 'aria-hidden': 'true' });
    this.dots = s('g', {});
    this.svg = s('svg', { role: 'group', 'aria-label': 'Map: the distance of two nodes stands for the round trip time between them' }, this.links, this.numbers, this.dots);
    this.el = document.createElement('div');
    this.el.className = 'map';
    this.el.append(this.svg);
    this.places = new Map();
    this.resize = new ResizeObserver(() => this.draw());
    this.resize.observe(this.el);
  }

  show(mesh, order, selected) {
    const key = order.map(i => mesh.names[i]).join(' ');
    this.mesh = mesh;
    this.order = order;
    this.selected = selected;
    if (key !== this.key) {
      this.key = key;
      this.arrange();
    }
    this.draw();
  }

  // arrange places the nodes so that distances are as long as round trip times, as far as a plane allows that (stress
  // majorization). The same mesh is always arranged alike: it begins on a spiral by name, and continues from the places it has.
  arrange() {
    const { mesh, order } = this, n = order.length;
    const want = new Float64Array(n * n), weight = new Float64Array(n * n);
    let sum = 0, count = 0;
    for (let a = 0; a < n; a++) for (let b = 0; b < a; b++) {
      const r = mesh.between(order[a], order[b]);
      if (r > 0) { sum += Math.sqrt(r); count++; }
    }
    const mean = count ? sum / count : 1;
    for (let a = 0; a < n; a++) for (let b = 0; b < n; b++) {
      if (a === b) continue;
      const r = mesh.between(order[a], order[b]), d = r > 0 ? Math.max(.35, Math.min(2.6, Math.sqrt(r) / mean)) : 1.6;
      want[a * n + b] = d;
      weight[a * n + b] = (r > 0 ? 1 : .12) / (d * d);
    }
    const x = new Float64Array(n), y = new Float64Array(n), taken = [];
    order.forEach((node, i) => {
      const old = this.places.get(mesh.names[node]), t = i * 2.399963, r = 1.2 * Math.sqrt((i + .5) / n);
      x[i] = old?.[0] ?? r * Math.cos(t);
      y[i] = old?.[1] ?? r * Math.sin(t);
      taken.push(old);
    });
    const rounds = n > 150 ? 40 : n > 60 ? 80 : 200;
    for (let k = 0; k < rounds; k++) for (let a = 0; a < n; a++) {
      let sx = 0, sy = 0, sw = 0;
      for (let b = 0; b < n; b++) {
        if (a === b) continue;
        const dx = x[a] - x[b], dy = y[a] - y[b], d = Math.hypot(dx, dy) || 1e-6, w = weight[a * n + b], f = want[a * n + b] / d;
        sx += w * (x[b] + dx * f);
        sy += w * (y[b] + dy * f);
        sw += w;
      }
      if (sw > 0) { x[a] = sx / sw; y[a] = sy / sw; }
    }
    if (n === 2) { x[0] = -1; x[1] = 1; y[0] = y[1] = 0; }
    this.places = new Map(order.map((node, i) => [mesh.names[node], [x[i], y[i]]]));
  }

  draw() {
    const { mesh, order, el } = this, w = el.clientWidth;
    if (!mesh || w === 0 || order.length === 0) return;
    const n = order.length, hgt = el.clientHeight || 420;
    this.svg.setAttribute('viewBox', `0 0 ${w} ${hgt}`);
    const xs = order.map(i => this.places.get(mesh.names[i])[0]), ys = order.map(i => this.places.get(mesh.names[i])[1]);
    const left = Math.min(...xs), right = Math.max(...xs), top = Math.min(...ys), bottom = Math.max(...ys);
    const pad = n > 60 ? 28 : 62, scale = Math.min((w - 2 * pad) / Math.max(right - left, .001), (hgt - 2 * pad) / Math.max(bottom - top, .001), n === 2 ? w * .22 : side);
    // Nodes that would cover each other are moved apart.
    const X = xs.map(x => w / 2 + (x - (left + right) / 2) * scale), Y = ys.map(y => hgt / 2 + (y - (top + bottom) / 2) * scale), room = n > 60 ? 13 : n > 14 ? 34 : 54;
    for (let k = 0; k < 30; k++) for (let a = 0; a < n; a++) for (let b = 0; b < a; b++) {
      let dx = X[a] - X[b], dy = (Y[a] - Y[b]) * 1.15;
      const d = Math.hypot(dx, dy);
      if (d >= room) continue;
      if (d < .01) { dx = Math.cos(a); dy = Math.sin(a); }
      const f = (room - d) / 2 / (d || 1);
      X[a] += dx * f; X[b] -= dx * f; Y[a] += dy * f; Y[b] -= dy * f;
    }
    const at = new Map(order.map((node, i) => [node, i]));
    const px = i => Math.max(16, Math.min(w - 16, X[at.get(i)])), py = i => Math.max(16, Math.min(hgt - 30, Y[at.get(i)]));
    const focus = document.activeElement?.dataset?.node;
    const sel = this.selected, links = [], numbers = [], dots = [];
    const link = (i, j, on, dim) => {
      const p = mesh.pair(i, j), back = mesh.pair(j, i), q = p.state === 'unknown' || (p.state === 'idle' && back.state !== 'unknown') ? back : p;
      if (q.state === 'unknown' || (q.state === 'unreachable' && !on)) return;
      const d = q.via && on && at.has(mesh.at.get(q.via))
        ? `M${px(i)} ${py(i)}L${px(mesh.at.get(q.via))} ${py(mesh.at.get(q.via))}L${px(j)} ${py(j)}` : `M${px(i)} ${py(i)}L${px(j)} ${py(j)}`;
      links.push(s('path', { class: `link${on ? ' on' : ''}${dim ? ' dim' : ''}`, 'data-state': q.state, d }));
      if (q.rtt && (on || n <= 7) && !dim && n <= 40) numbers.push(s('text', { class: 'rtt', x: ((px(i) + px(j)) / 2).toFixed(1), y: ((py(i) + py(j)) / 2 - (n === 2 ? 9 : -4)).toFixed(1) }, `${millis(q.rtt)} ms`));
    };
    if (sel && sel[1] >= 0) {
      if (n <= everyPair) for (let a = 0; a < n; a++) for (let b = 0; b < a; b++) if (!(sel.includes(order[a]) && sel.includes(order[b]))) link(order[a], order[b], false, true);
      link(sel[0], sel[1], true, false);
    } else if (sel || n > everyPair) {
      const from = sel ? sel[0] : mesh.at.get(mesh.self) ?? order[0];
      if (order.includes(from)) for (const j of order) if (j !== from) link(from, j, false, false);
    } else for (let a = 0; a < n; a++) for (let b = 0; b < a; b++) link(order[b], order[a], false, false);
    const r = n > 120 ? 4.5 : n > 40 ? 6 : n > 14 ? 8 : 11, named = n <= 60;
    this.svg.classList.toggle('many', n > 60);
    for (const i of [...order].sort((a, b) => (mesh.names[a] === mesh.self) - (mesh.names[b] === mesh.self))) {
      const name = mesh.names[i], chosen = sel && sel.includes(i);
      dots.push(s('g', {
        class: `dot${name === mesh.self ? ' self' : ''}${mesh.reachable[i] ? '' : ' down'}${chosen ? ' on' : ''}`, tabindex: 0, role: 'button', 'data-node': name,
        'aria-label': `${name}${name === mesh.self ? ', this node' : ''}${mesh.reachable[i] ? '' : ', ' + states.unreachable.word}`, 'aria-pressed': chosen ? 'true' : 'false',
        click: () => this.choose(i), keydown: e => { if (e.key === 'Enter' || e.key === ' ') { e.preventDefault(); this.choose(i); } },
      }, s('title', {}, name), s('circle', { cx: px(i).toFixed(1), cy: py(i).toFixed(1), r: name === mesh.self ? r + 2 : r }),
        (named || chosen || name === mesh.self) && s('text', { x: px(i).toFixed(1), y: (py(i) + r + 17).toFixed(1) }, name)));
    }
    this.links.replaceChildren(...links);
    this.numbers.replaceChildren(...numbers);
    this.dots.replaceChildren(...dots);
    if (focus) [...this.dots.children].find(d => d.dataset.node === focus)?.focus();
  }
}
