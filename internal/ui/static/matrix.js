// The matrix of all pairs, on a canvas of the size of what is visible: only visible cells are drawn, whatever the number of nodes.
import { h, states, millis } from './dom.js';
import { code, stateCodes } from './store.js';

const smallest = 2, largest = 96; // pixels of a cell

// shade is how strong the colour of a round trip in microseconds is, 0 to 4.
function shade(us) { return us < 10000 ? 0 : us < 40000 ? 1 : us < 100000 ? 2 : us < 200000 ? 3 : 4; }

// mix is the colour between two of the form #rrggbb.
function mix(a, b, part) {
  const at = (c, i) => parseInt(c.slice(1 + 2 * i, 3 + 2 * i), 16);
  return '#' + [0, 1, 2].map(i => Math.round(at(a, i) + (at(b, i) - at(a, i)) * part).toString(16).padStart(2, '0')).join('');
}

export class Matrix {
  // choose is called with the two node numbers of a pair, the second −1 for all of a node; say with what to announce.
  constructor({ choose, say }) {
    this.choose = choose;
    this.say = say;
    this.cell = 0; // 0: chosen by the space there is
    this.order = [];
    this.cursor = null;
    this.hover = null;
    this.canvas = h('canvas', { 'aria-hidden': 'true' });
    this.space = h('div', { class: 'size' }, this.canvas);
    this.el = h('div', {
      class: 'matrix', tabindex: 0, role: 'application', 'aria-roledescription': 'matrix of pairs',
      'aria-label': 'Paths between all nodes. Arrow keys move, Enter shows the pair, plus and minus change the size.',
      scroll: () => this.draw(), keydown: e => this.key(e), pointermove: e => this.move(e), pointerleave: () => this.point(null),
      click: e => this.click(e), focus: () => { this.focused = true; this.draw(); }, blur: () => { this.focused = false; this.draw(); },
    }, this.space);
    this.resize = new ResizeObserver(() => this.layout());
    this.resize.observe(this.el);
    matchMedia('(prefers-color-scheme: dark)').addEventListener('change', () => this.repaint());
  }

  // show displays the nodes of order, which are numbers in mesh.
  show(mesh, order) {
    const same = this.mesh && this.mesh.n === mesh.n && order.length === this.order.length;
    this.mesh = mesh;
    this.order = order;
    this.place = new Int32Array(mesh.n).fill(-1);
    order.forEach((node, i) => { this.place[node] = i; });
    this.bitmap = null;
    if (same) this.draw(); else this.layout();
  }

  repaint() {
    this.colours = null;
    this.bitmap = null;
    this.draw();
  }

  zoom(factor) {
    const now = this.size ?? 20;
    this.cell = factor === 0 ? -1 : Math.max(smallest, Math.min(largest, Math.round(factor > 1 ? Math.max(now + 1, now * factor) : Math.min(now - 1, now * factor))));
    this.layout();
  }

  layout() {
    if (!this.mesh) return;
    const n = Math.max(1, this.order.length), w = this.el.clientWidth;
    if (w === 0) return;
    const c = this.context ??= this.canvas.getContext('2d');
    c.font = this.font(13);
    const widest = Math.max(30, ...this.order.slice(0, 400).map(i => c.measureText(this.mesh.names[i]).width));
    const room = Math.min(innerHeight - 250, 860);
    this.label = Math.min(widest + 30, w < 500 ? 100 : 190);
    let fits = Math.min((w - this.label - 10) / n, Math.max(40, room - this.label - 10) / n);
    fits = fits < 9 ? Math.min(w - 30, room - 30) / n : Math.floor(fits); // without names
    if (this.cell > 0) this.size = this.cell;
    else if (this.cell < 0) this.size = Math.max(smallest, Math.min(largest, fits));
    else this.size = Math.max(n > 40 ? 15 : 28, Math.min(n <= 4 ? 96 : 60, Math.floor((w - this.label - 10) / n)));
    this.flat = this.size >= 56 && widest < this.size; // names of columns are level
    this.head = this.size < 9 ? 10 : this.flat ? 40 : Math.min(widest + 26, 150);
    if (this.size < 9) this.label = 10;
    const total = n * this.size;
    this.width = Math.ceil(this.label + total + 10);
    this.height = Math.ceil(this.head + total + 10);
    // What is smaller than its place is put into the middle, with the canvas as large as the place.
    this.left = Math.max(0, (w - this.width) / 2 - (this.flat ? this.label / 4 : 0));
    this.label += this.left;
    this.space.style.width = `${Math.max(w, this.width)}px`;
    this.space.style.height = `${this.height}px`;
    this.el.style.height = `${Math.min(this.height + (n <= 4 ? 24 : 0), Math.max(320, room)) + (this.width > w ? 14 : 0)}px`;
    this.draw();
  }

  font(px) { return `${px}px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", "Liberation Sans", sans-serif`; }

  draw() {
    if (this.pending) return;
    this.pending = requestAnimationFrame(() => { this.pending = 0; this.paint(); });
  }

  style() {
    if (this.colours) return this.colours;
    const css = getComputedStyle(document.documentElement), get = name => css.getPropertyValue(name).trim();
    const k = { solid: [], soft: [] };
    for (const s of stateCodes) {
      k.solid.push(get(s === 'self' ? '--line' : `--${s}`));
      k.soft.push(get(s === 'unknown' ? '--unknown' : `--${s}-soft`));
    }
    // Small cells have no room for numbers: the longer the round trip, the stronger the colour.
    k.shades = [0, .2, .42, .66, 1].map(part => mix(k.soft[code.direct], k.solid[code.direct], part));
    for (const name of ['text', 'muted', 'faint', 'line', 'surface', 'focus']) k[name] = get(`--${name}`);
    return this.colours = k;
  }

  // range is the visible rows or columns.
  range(scroll, head, view) {
    const n = this.order.length;
    return [Math.max(0, Math.floor(scroll / this.size)), Math.min(n, Math.ceil((scroll + view - head) / this.size))];
  }

  paint() {
    const { el, canvas, mesh, order, size, label, head } = this;
    const w = el.clientWidth, hgt = el.clientHeight;
    if (!mesh || w === 0) return;
    const ratio = Math.min(devicePixelRatio || 1, 2);
    if (canvas.width !== Math.round(w * ratio) || canvas.height !== Math.round(hgt * ratio)) {
      canvas.width = Math.round(w * ratio);
      canvas.height = Math.round(hgt * ratio);
      canvas.style.width = `${w}px`;
      canvas.style.height = `${hgt}px`;
    }
    const c = this.context ??= canvas.getContext('2d'), k = this.style(), n = order.length, sx = el.scrollLeft, sy = el.scrollTop;
    c.setTransform(ratio, 0, 0, ratio, 0, 0);
    c.fillStyle = k.surface;
    c.fillRect(0, 0, w, hgt);
    if (n === 0) return;
    const [c0, c1] = this.range(sx, label, w), [r0, r1] = this.range(sy, head, hgt);
    const x0 = label - sx, y0 = head - sy;
    c.save();
    c.beginPath();
    c.rect(label, head, w - label, hgt - head);
    c.clip();
    if (size < 10) this.paintBitmap(c, k, x0, y0);
    else this.paintCells(c, k, x0, y0, c0, c1, r0, r1);
    this.paintCross(c, k, x0, y0);
    c.restore();
    if (size >= 9) this.paintNames(c, k, x0, y0, c0, c1, r0, r1, w, hgt);
  }

  // paintBitmap draws one dot of a picture for each pair, and scales the picture.
  paintBitmap(c, k, x0, y0) {
    const { mesh, order, size } = this, n = order.length;
    if (!this.bitmap) {
      const b = new OffscreenCanvas(n, n), bc = b.getContext('2d'), img = bc.createImageData(n, n), out = new Uint32Array(img.data.buffer);
      const number = c => parseInt(c.slice(1, 3), 16) | parseInt(c.slice(3, 5), 16) << 8 | parseInt(c.slice(5, 7), 16) << 16 | 255 << 24; // of #rrggbb
      const rgba = k.solid.map(number), shades = k.shades.map(number);
      rgba[code.unknown] = number(k.soft[code.unknown]);
      rgba[code.idle] = number(k.soft[code.idle]);
      for (let r = 0; r < n; r++) {
        const base = order[r] * mesh.n;
        for (let q = 0; q < n; q++) {
          const at = base + order[q], state = mesh.state[at];
          out[r * n + q] = state === code.direct ? shades[shade(mesh.rtt[at])] : rgba[state];
        }
      }
      bc.putImageData(img, 0, 0);
      this.bitmap = b;
    }
    c.imageSmoothingEnabled = false;
    c.drawImage(this.bitmap, x0, y0, n * size, n * size);
  }

  paintCells(c, k, x0, y0, c0, c1, r0, r1) {
    const { mesh, order, size } = this, gap = size >= 24 ? 2 : 1, inner = size - gap;
    const numbers = size >= 28, marks = size >= 13, radius = size >= 40 ? 6 : size >= 24 ? 4 : 0;
    const text = numbers ? Math.min(15, Math.max(11, size * .32)) : Math.min(12, size * .62);
    const fills = stateCodes.map(() => []), shaded = [[], [], [], [], []];
    for (let r = r0; r < r1; r++) {
      const base = order[r] * mesh.n;
      for (let q = c0; q < c1; q++) {
        const at = base + order[q], state = mesh.state[at];
        (state === code.direct && !numbers ? shaded[shade(mesh.rtt[at])] : fills[state]).push(q, r);
      }
    }
    shaded.forEach((list, i) => {
      c.fillStyle = k.shades[i];
      for (let j = 0; j < list.length; j += 2) c.fillRect(x0 + list[j] * size, y0 + list[j + 1] * size, inner, inner);
    });
    fills.forEach((list, state) => {
      if (list.length === 0) return;
      c.fillStyle = numbers || state === code.unknown || state === code.self || state === code.idle ? k.soft[state] : k.solid[state];
      if (radius === 0) {
        for (let i = 0; i < list.length; i += 2) c.fillRect(x0 + list[i] * size, y0 + list[i + 1] * size, inner, inner);
      } else {
        c.beginPath();
        for (let i = 0; i < list.length; i += 2) c.roundRect(x0 + list[i] * size, y0 + list[i + 1] * size, inner, inner, radius);
        c.fill();
      }
      if (state === code.self) {
        // The diagonal: a node and itself.
        c.strokeStyle = k.line;
        c.lineWidth = 1;
        c.beginPath();
        for (let i = 0; i < list.length; i += 2) {
          const x = x0 + list[i] * size, y = y0 + list[i + 1] * size, a = inner * .3;
          c.moveTo(x + a, y + a);
          c.lineTo(x + inner - a, y + inner - a);
        }
        c.stroke();
        return;
      }
      if (!marks) return;
      const m = states[stateCodes[state]].mark;
      c.textAlign = 'center';
      c.textBaseline = 'middle';
      for (let i = 0; i < list.length; i += 2) {
        const x = x0 + list[i] * size, y = y0 + list[i + 1] * size, at = order[list[i + 1]] * mesh.n + order[list[i]];
        const rtt = numbers ? millis(mesh.rtt[at]) : '';
        if (!numbers) {
          if (m === '' || state === code.unknown) continue;
          c.font = `600 ${this.font(text)}`;
          c.fillStyle = state === code.idle ? k.faint : state === code.tcp ? '#fff' : '#1d1500';
          c.fillText(m, x + inner / 2, y + inner / 2 + .5);
          continue;
        }
        c.fillStyle = state === code.unknown || state === code.idle ? k.faint : k.text;
        if (rtt) {
          c.font = this.font(text);
          c.fillText(rtt, x + inner / 2, y + inner / 2 + (m && size < 40 ? 3 : 1));
        } else if (m || size >= 40) {
          c.font = `600 ${this.font(text)}`;
          c.fillText(m || '✓', x + inner / 2, y + inner / 2 + 1);
        }
        if (m && rtt) {
          c.font = `700 ${this.font(Math.max(8, text * .68))}`;
          c.textAlign = 'right';
          c.fillText(m, x + inner - (size >= 40 ? 5 : 3), y + (size >= 40 ? 9 : 7));
          c.textAlign = 'center';
        }
        const loss = mesh.loss[at];
        if (loss >= 10) { // lost probes: a bar below, as long as there are many
          c.fillStyle = k.solid[code.unreachable];
          c.fillRect(x + 3, y + inner - 5, Math.max(3, (inner - 6) * Math.min(1, loss / 200)), 2.5);
          c.fillStyle = k.text;
        }
      }
    });
  }

  // paintCross shows which pair the pointer or the keyboard is at, and which one is chosen.
  paintCross(c, k, x0, y0) {
    const { size } = this, at = this.hover ?? (this.focused ? this.cursor : null), total = this.order.length * size;
    if (at) {
      c.fillStyle = k.text;
      c.globalAlpha = .07;
      c.fillRect(x0, y0 + at[0] * size, total, size);
      c.fillRect(x0 + at[1] * size, y0, size, total);
      c.globalAlpha = 1;
    }
    const box = (r, q, colour, width) => {
      c.strokeStyle = colour;
      c.lineWidth = width;
      c.strokeRect(x0 + q * size - .5, y0 + r * size - .5, size, size);
    };
    if (at) box(at[0], at[1], k.text, 1.5);
    const s = this.selected;
    if (s && this.place[s[0]] >= 0 && this.place[s[1]] >= 0) box(this.place[s[0]], this.place[s[1]], k.focus, 2.5);
    if (this.focused && this.cursor) box(...this.cursor, k.focus, 2.5);
  }

  paintNames(c, k, x0, y0, c0, c1, r0, r1, w, hgt) {
    const { mesh, order, size, label, head } = this, at = this.hover ?? (this.focused ? this.cursor : null);
    const px = Math.min(13, Math.max(9, size * .8)), step = size < 11 ? 2 : 1;
    c.fillStyle = k.surface;
    c.fillRect(0, 0, w, head);
    c.fillRect(0, 0, label, hgt);
    c.textBaseline = 'middle';
    const name = (i, on) => {
      const node = order[i];
      c.fillStyle = on || mesh.names[node] === mesh.self ? k.text : mesh.reachable[node] ? k.muted : k.faint;
      c.font = (on || mesh.names[node] === mesh.self ? '600 ' : '') + this.font(px);
      return this.short(c, mesh.names[node], (this.flat ? size : Infinity));
    };
    c.save();
    c.beginPath();
    c.rect(0, head, label, hgt - head);
    c.clip();
    c.textAlign = 'right';
    for (let r = r0; r < r1; r++) {
      if (step > 1 && r % step) continue;
      const text = name(r, at?.[0] === r);
      c.fillText(this.short(c, text, label - 24), label - 8, y0 + r * size + size / 2);
    }
    c.restore();
    c.save();
    c.beginPath();
    c.rect(label, 0, w - label, head);
    c.clip();
    for (let q = c0; q < c1; q++) {
      if (step > 1 && q % step) continue;
      const text = name(q, at?.[1] === q), x = x0 + q * size + size / 2;
      if (this.flat) {
        c.textAlign = 'center';
        c.fillText(text, x, head - 14);
        continue;
      }
      c.save();
      c.translate(x, head - 8);
      c.rotate(-Math.PI / 2);
      c.textAlign = 'left';
      c.fillText(this.short(c, text, head - 16), 0, 0);
      c.restore();
    }
    c.restore();
    // A line says that there is more behind the names.
    c.fillStyle = k.line;
    if (this.el.scrollTop > 0) c.fillRect(0, head - 1, w, 1);
    if (this.el.scrollLeft > 0) c.fillRect(label - 1, 0, 1, hgt);
  }

  short(c, text, room) {
    if (c.measureText(text).width <= room) return text;
    while (text.length > 2 && c.measureText(text + '…').width > room) text = text.slice(0, -1);
    return text + '…';
  }

  // under is the row and column at a place of the window; −1 where the names are.
  under(e) {
    const box = this.el.getBoundingClientRect(), x = e.clientX - box.left, y = e.clientY - box.top, n = this.order.length;
    const q = x < this.label ? -1 : Math.floor((x - this.label + this.el.scrollLeft) / this.size);
    const r = y < this.head ? -1 : Math.floor((y - this.head + this.el.scrollTop) / this.size);
    return q >= n || r >= n || (q < 0 && r < 0) ? null : [r, q];
  }

  move(e) {
    const at = this.under(e);
    this.point(at && at[0] >= 0 && at[1] >= 0 ? at : null);
    this.el.style.cursor = at ? 'pointer' : '';
  }

  point(at) {
    if (at?.[0] === this.hover?.[0] && at?.[1] === this.hover?.[1]) return;
    this.hover = at;
    this.el.title = at ? this.words(...at) : '';
    this.draw();
  }

  words(r, q) {
    const p = this.mesh.pair(this.order[r], this.order[q]);
    if (p.state === 'self') return p.from;
    return `${p.from} to ${p.to}: ${states[p.state].word}${p.via ? ` by ${p.via}` : ''}${p.rtt ? `, ${millis(p.rtt)} ms` : ''}`;
  }

  click(e) {
    const at = this.under(e);
    if (!at) return;
    const [r, q] = at;
    if (r >= 0 && q >= 0) this.cursor = [r, q];
    if (r < 0) this.choose(this.order[q], -1);
    else if (q < 0 || r === q) this.choose(this.order[r], -1);
    else this.choose(this.order[r], this.order[q]);
  }

  key(e) {
    const n = this.order.length;
    if (n === 0 || e.ctrlKey || e.metaKey || e.altKey) return;
    const [r, q] = this.cursor ?? [0, -1], page = Math.max(1, Math.floor((this.el.clientHeight - this.head) / this.size) - 1);
    let to;
    switch (e.key) {
      case 'ArrowLeft': to = [r, Math.max(0, q - 1)]; break;
      case 'ArrowRight': to = [r, q + 1]; break;
      case 'ArrowUp': to = [r - 1, Math.max(0, q)]; break;
      case 'ArrowDown': to = [r + 1, Math.max(0, q)]; break;
      case 'PageUp': to = [r - page, Math.max(0, q)]; break;
      case 'PageDown': to = [r + page, Math.max(0, q)]; break;
      case 'Home': to = [r, 0]; break;
      case 'End': to = [r, n - 1]; break;
      case '+': case '=': this.zoom(1.25); e.preventDefault(); return;
      case '-': this.zoom(.8); e.preventDefault(); return;
      case 'Enter': case ' ':
        if (!this.cursor) return;
        e.preventDefault();
        if (r === q) this.choose(this.order[r], -1); else this.choose(this.order[r], this.order[q]);
        return;
      default: return;
    }
    e.preventDefault();
    this.cursor = to.map(v => Math.max(0, Math.min(n - 1, v)));
    this.hover = null;
    this.reveal();
    this.say(this.words(...this.cursor));
    this.draw();
  }

  // reveal scrolls to the cursor.
  reveal() {
    const { el, size, label, head, cursor: [r, q] } = this, x = q * size, y = r * size;
    if (x < el.scrollLeft) el.scrollLeft = x;
    else if (x + size > el.scrollLeft + el.clientWidth - label) el.scrollLeft = x + size - el.clientWidth + label + 4;
    if (y < el.scrollTop) el.scrollTop = y;
    else if (y + size > el.scrollTop + el.clientHeight - head) el.scrollTop = y + size - el.clientHeight + head + 4;
  }
}
