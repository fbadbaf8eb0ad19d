// What the views share: making elements, words for values, dialogs.

// h makes an element. Attributes that are functions become listeners; true, false and null do what HTML means by them.
export function h(tag, attrs, ...children) {
  const e = document.createElement(tag);
  set(e, attrs);
  e.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return e;
}

export function s(tag, attrs, ...children) {
  const e = document.createElementNS('http://www.w3.org/2000/svg', tag);
  set(e, attrs);
  e.append(...children.flat().filter(c => c !== null && c !== undefined && c !== false));
  return e;
}

function set(e, attrs) {
  for (const [k, v] of Object.entries(attrs ?? {})) {
    if (v === null || v === undefined || v === false) continue;
    if (typeof v === 'function') e.addEventListener(k, v);
    else e.setAttribute(k, v === true ? '' : v);
  }
}

const icons = {
  auto: 'M12 3a9 9 0 1 0 0 18zM12 3a9 9 0 0 1 0 18',
  light: 'M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8M12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.4 1.4M17.6 17.6 19 19M5 19l1.4-1.4M17.6 6.4 19 5',
  dark: 'M20 14.5A8.5 8.5 0 0 1 9.5 4a8.5 8.5 0 1 0 10.5 10.5z',
  close: 'M6 6l12 12M18 6 6 18',
  plus: 'M12 5v14M5 12h14',
  minus: 'M5 12h14',
  fit: 'M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5',
  swap: 'M4 8h14l-4-4M20 16H6l4 4',
};

export function icon(name) {
  const i = s('svg', { viewBox: '0 0 24 24', width: 18, height: 18, fill: 'none', stroke: 'currentColor', 'stroke-width': 2, 'stroke-linecap': 'round', 'stroke-linejoin': 'round', 'aria-hidden': 'true' },
    s('path', { d: icons[name], fill: name === 'auto' ? 'none' : null }));
  if (name === 'auto') i.firstChild.setAttribute('d', icons.auto), i.append(s('path', { d: 'M12 3a9 9 0 0 1 0 18z', fill: 'currentColor', stroke: 'none' }));
  return i;
}

// terms is what is in a dl: words, each with what it stands for.
export function terms(rows) { return rows.flatMap(([word, value]) => [h('dt', {}, word), h('dd', {}, value)]); }

// States of a pair, with what stands for them besides their colour.
export const states = {
  direct: { word: 'direct', mark: '' },
  relayed: { word: 'relayed', mark: 'R' },
  tcp: { word: 'over TCP', mark: 'T' },
  idle: { word: 'idle', mark: '·' },
  unreachable: { word: 'unreachable', mark: '×' },
  unknown: { word: 'not known', mark: '?' },
  self: { word: 'itself', mark: '' },
};

export const stateOfPath = { 'self': 'self', 'direct-udp': 'direct', 'direct-tcp': 'tcp', 'relayed': 'relayed', 'idle': 'idle', 'no-key': 'unreachable', 'unreachable': 'unreachable' };

// carriers are the words of the variable Carriers, for people.
export const carriers = { masked: 'masked UDP', udp: 'UDP', tcp: 'TCP', tls: 'HTTPS' };

export function mark(state) {
  return h('span', { class: 'mark', 'data-state': state, 'aria-hidden': 'true' }, states[state].mark);
}

export function stateWord(state, text) {
  return h('span', { class: 'state' }, mark(state), text ?? states[state].word);
}

// millis is a round trip time in words, "" if there is none.
export function millis(us) {
  if (!(us > 0)) return '';
  const ms = us / 1000;
  return ms < 9.95 ? ms.toFixed(1) : String(Math.round(ms));
}

// scaled is a number in the largest of units of which there is at least one; each is a thousand of the one before.
function scaled(n, units) {
  let i = 0;
  while (n >= 999.5 && i < units.length - 1) { n /= 1000; i++; }
  return `${n < 9.95 && i > 0 ? n.toFixed(1) : Math.round(n)} ${units[i]}`;
}

export function bytes(n) { return scaled(n, ['B', 'kB', 'MB', 'GB', 'TB', 'PB']); }

export function rate(bytesEachSecond) { return scaled(bytesEachSecond * 8, ['bit/s', 'kbit/s', 'Mbit/s', 'Gbit/s', 'Tbit/s']); }

export function number(n) { return n.toLocaleString('en'); }

// span is a duration in words, from seconds.
export function span(seconds) {
  const n = Math.max(0, Math.round(seconds));
  if (n < 60) return `${n} s`;
  if (n < 3600) return `${Math.floor(n / 60)} min`;
  if (n < 86400) return `${Math.floor(n / 3600)} h ${Math.floor(n % 3600 / 60)} min`;
  return `${Math.floor(n / 86400)} d ${Math.floor(n % 86400 / 3600)} h`;
}

export function since(time) { return span((Date.now() - new Date(time)) / 1000); }

export function ago(time) {
  const n = (Date.now() - new Date(time)) / 1000;
  return n < 5 ? 'just now' : `${span(n)} ago`;
}

export function until(time) {
  const n = (new Date(time) - Date.now()) / 1000;
  return n <= 0 ? 'over' : `in ${span(n)}`;
}

export function clock(time) { return new Date(time).toLocaleTimeString('en-GB'); }

let toastTimer;
export function toast(text) {
  const t = document.getElementById('toast');
  t.textContent = text;
  t.classList.add('on');
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => t.classList.remove('on'), 4000);
}

export async function copy(text, what) {
  try {
    await navigator.clipboard.writeText(text);
    toast(`${what} copied`);
  } catch {
    toast('The browser does not let this page copy: select the text instead.');
  }
}

// dialog shows a question. act is called when its main button is pressed; what it throws is shown, and the dialog stays. careful: Esc does
// not close it.
export function dialog({ title, body, action, danger, act, careful, cancel = 'Cancel' }) {
  const problem = h('p', { class: 'problem', role: 'alert', hidden: true });
  const main = action && h('button', { type: 'submit', class: danger ? 'danger' : 'primary' }, action);
  const close = h('button', { type: 'button', click: () => d.close() }, cancel);
  const form = h('form', { submit: async e => {
    e.preventDefault();
    if (!act) return d.close();
    main.disabled = true;
    problem.hidden = true;
    try {
      await act(form);
      d.close();
    } catch (err) {
      problem.replaceChildren(err.message, ...(err.hint ? [h('br'), h('span', { class: 'muted' }, err.hint)] : []));
      problem.hidden = false;
    }
    main.disabled = false;
  } }, h('h2', { id: 'dialog-title' }, title), body, problem, h('div', { class: 'row' }, close, main));
  const d = h('dialog', { 'aria-labelledby': 'dialog-title', close: () => d.remove(), cancel: e => { if (careful) e.preventDefault(); } }, form);
  document.body.append(d);
  d.showModal();
  (danger ? close : form.querySelector('input, select') ?? main ?? close).focus({ preventScroll: true });
  d.scrollTop = 0;
  return d;
}

// table is a table that becomes cards on a small screen. Each row has a cell for each title, a list of what is in it, and at its
// end what can be done.
export function table(titles, rows) {
  return h('div', { class: 'scroll-x' }, h('table', { class: 'cards' }, head(...titles, ...(rows.some(r => r.length > titles.length) ? [acts()] : [])), h('tbody', {}, ...rows.map(cells => h('tr', {}, ...cells.map((cell, i) => {
    if (i === titles.length) return h('td', { class: 'end' }, cell || null);
    const label = i === 0 ? null : titles[i];
    return cell.filter(Boolean).length ? h('td', { 'data-label': label }, ...cell) : h('td', { 'data-label': label, class: 'blank' }, h('span', { class: 'muted' }, '–'));
  }))))));
}

// head is the top of a table.
export function head(...titles) { return h('thead', {}, h('tr', {}, ...titles.map(t => h('th', { scope: 'col' }, t)))); }

// acts is the title of a column of what can be done.
export function acts() { return h('span', { class: 'visually-hidden' }, 'Actions'); }

// field is a line of text that is asked for.
export function field(name, label, attrs, hint) {
  return h('label', { class: 'field' }, h('span', {}, label), h('input', { name, autocomplete: 'off', spellcheck: 'false', autocapitalize: 'off', ...attrs }), hint && h('small', {}, hint));
}

// words are those of a text, between spaces and commas.
export function words(text) { return String(text ?? '').split(/[\s,]+/).filter(Boolean); }

// qr draws the rows of a code, which the node has made.
export function qr(rows, label) {
  if (!rows?.length) return null;
  const n = rows.length;
  let d = '';
  rows.forEach((row, y) => {
    for (let x = 0; x < n; x++) if (row[x] === '1') {
      let w = 1;
      while (row[x + w] === '1') w++;
      d += `M${x} ${y}h${w}v1h-${w}z`;
      x += w;
    }
  });
  return s('svg', { class: `qr${n > 57 ? ' dense' : ''}`, viewBox: `-4 -4 ${n + 8} ${n + 8}`, role: 'img', 'aria-label': label, 'shape-rendering': 'crispEdges' }, s('path', { d, fill: '#000' }));
}

// linePath is a line over time as an SVG path in a box of w × h; null breaks it.
export function linePath(values, w, hgt, top) {
  let d = '', open = false;
  values.forEach((v, i) => {
    if (v === null || v === undefined) { open = false; return; }
    const x = values.length < 2 ? w : i * w / (values.length - 1), y = hgt - 2 - (hgt - 6) * Math.min(1, v / (top || 1));
    d += `${open ? 'L' : 'M'}${x.toFixed(1)} ${y.toFixed(1)}`;
    open = true;
  });
  return d;
}
