// The page of a tincan node: it asks the node, follows its events, and shows one of four views.
import { icon, toast } from './dom.js';
import { ask, meshOf, Refusal } from './store.js';
import { MeshView } from './mesh.js';
import { MembersView } from './members.js';
import { DevicesView } from './devices.js';
import { NodeView } from './node.js';
import { History } from './history.js';

const roles = ['nobody', 'reader', 'member', 'owner', 'admin'];
const kinds = ['started', 'stopping', 'node-up', 'node-down', 'path-changed', 'exit-changed', 'member-joined', 'member-pending', 'member-left', 'member-removed', 'invitation-reused', 'owners-changed', 'policy-changed', 'missed'];

const mostEvents = 200;

class App {
  constructor() {
    this.views = { mesh: new MeshView(this), members: new MembersView(this), devices: new DevicesView(this), node: new NodeView(this) };
    this.members = null; // as the node has told
    this.devices = null; // the same
    this.mesh = null; // the same
    this.history = new History();
    this.happened = new Map(); // the latest events by their ids
    this.timers = {};
    this.busy = {};
    this.theme();
    addEventListener('hashchange', () => this.route());
    document.addEventListener('visibilitychange', () => { if (!document.hidden) this.refresh(); });
    this.route();
    this.start();
  }

  get role() { return this.caller?.role ?? 'reader'; }
  may(role) { return roles.indexOf(this.role) >= roles.indexOf(role); }
  section(name) { return document.getElementById(`view-${name}`); }

  route() {
    const name = location.hash.slice(1) in this.views ? location.hash.slice(1) : 'mesh';
    for (const v of Object.keys(this.views)) {
      this.section(v).hidden = v !== name;
      const tab = document.getElementById(`tab-${v}`);
      if (v === name) tab.setAttribute('aria-current', 'page'); else tab.removeAttribute('aria-current');
    }
    if (this.view === 'node' && name !== 'node') this.views.node.leave();
    this.view = name;
    this.title();
    this.views[name].render();
    if (this.caller) this.refresh();
  }

  title() {
    const words = { mesh: 'Mesh', members: 'Members', devices: 'Devices', node: 'This node' }, net = this.caller?.network || this.caller?.node;
    document.title = `${words[this.view]}${net ? ` · ${net}` : ''} · tincan`;
  }

  async start() {
    try {
      this.caller = await ask('/v1/caller');
    } catch (err) {
      this.gone(err);
      setTimeout(() => this.start(), 2000);
      return;
    }
    document.getElementById('network').textContent = this.caller.network ? `${this.caller.network} / ${this.caller.node}` : this.caller.node;
    this.title();
    this.connect();
    await this.refresh();
  }

  // connect follows the events of the node. The browser makes the connection again when it ends.
  connect() {
    this.events?.close();
    const src = this.events = new EventSource('/v1/events?after=all');
    src.onopen = () => {
      this.told = performance.now(); // what comes at once has happened before
      const was = this.away;
      this.here();
      if (was) { this.mesh = null; this.refresh(); }
    };
    src.onerror = () => {
      this.gone();
      if (src.readyState === EventSource.CLOSED) this.later('connect', 2000, () => this.start());
    };
    for (const kind of kinds) src.addEventListener(kind, e => this.event(kind, e));
  }

  event(kind, e) {
    let about = {};
    try { about = JSON.parse(e.data); } catch { /* the kind is enough */ }
    if (about.text && e.lastEventId) {
      this.happened.set(e.lastEventId, { ...about, kind });
      if (this.happened.size > mostEvents) this.happened.delete(this.happened.keys().next().value);
      if (this.view === 'node') this.later('happened', 100, () => this.views.node.renderHappened());
    }
    if (kind === 'stopping') return this.gone(new Refusal(0, { message: 'The node is stopping.' }));
    const fresh = performance.now() - this.told > 1000 || Date.now() - new Date(about.time) < 5000;
    if (fresh && about.text && ['node-up', 'node-down', 'member-joined', 'member-pending', 'member-removed'].includes(kind)) toast(about.text);
    if (kind.startsWith('member') || kind.startsWith('invitation') || kind.startsWith('owners') || kind === 'missed') this.later('members', 200, () => this.refreshMembers());
    this.later('status', 200, () => this.refreshStatus());
    this.later('mesh', 400, () => this.refreshMesh());
  }

  // later does something once, soon, however often it is called until then.
  later(name, ms, f) {
    clearTimeout(this.timers[name]);
    this.timers[name] = setTimeout(f, ms);
  }

  async refresh() {
    await Promise.all([this.refreshStatus(), this.refreshMesh(), this.refreshMembers(), this.refreshDevices(), this.refreshHistory()]);
  }

  // keep runs one request of a kind at a time, and again after a while.
  async keep(name, again, f) {
    if (this.busy[name]) return;
    this.busy[name] = true;
    try {
      await f();
      this.here();
    } catch (err) {
      if (err instanceof Refusal) { if (err.status === 0 || err.status === 401 || err.status === 421 || err.status >= 502) this.gone(err); }
      else throw err;
    } finally {
      this.busy[name] = false;
    }
    if (!document.hidden) this.later(name, again(), () => this[`refresh${name[0].toUpperCase()}${name.slice(1)}`]());
  }

  refreshStatus() {
    return this.keep('status', () => this.view === 'node' ? 2000 : 10000, async () => {
      this.status = await ask('/v1/status');
      this.byName = new Map([this.status.self, ...this.status.nodes].map(n => [n.name, n]));
      this.views.node.sample(this.status);
      this.showCounts();
      if (this.view !== 'mesh') this.views[this.view].render();
    });
  }

  refreshMesh() {
    return this.keep('mesh', () => this.view === 'mesh' ? 5000 : 30000, async () => {
      const after = this.mesh?.serial;
      const report = await ask(`/v1/mesh${after ? `?after=${after}` : ''}`);
      this.mesh = meshOf(report, this.caller.node, this.mesh);
      if (this.view === 'mesh' && !this.views.mesh.shown) this.views.mesh.render();
    });
  }

  refreshHistory() {
    return this.keep('history', () => 60000, async () => {
      await this.history.refresh();
      this.views.mesh.renderPast();
    });
  }

  refreshMembers() {
    if (!this.may('member')) return Promise.resolve();
    return this.keep('members', () => 60000, async () => {
      this.members = await ask('/v1/members');
      this.showCounts();
      if (this.view === 'members' || this.view === 'devices') this.views[this.view].render();
    });
  }

  // refreshDevices asks only while they are looked at: nothing tells of them.
  refreshDevices() {
    if (!this.may('member')) return Promise.resolve();
    return this.keep('devices', () => 5000, async () => {
      if (this.view !== 'devices') return;
      this.devices = await ask('/v1/devices');
      this.views.devices.render();
    });
  }

  nodeView(name) { return this.byName?.get(name) ?? null; }

  // up tells whether a node can be reached; this one can.
  up(name) { return name === this.status?.self.name || Boolean(this.nodeView(name)?.reachable); }

  // can tells whether this page may change the network, and else why not.
  can() {
    const c = this.caller;
    if (!c || !this.may('owner')) return { yes: false, why: c?.role === 'member' ? 'You are looking as a member. Owners act: on a machine that has an owner’s key, with tincan ui.' : '' };
    if (c.mode === 'open') return { yes: true, why: '' };
    if (c.owner_key === 'missing') return { yes: false, why: 'The key of an owner is not on this machine, so nothing can be signed here. Use tincan ui on the owner’s machine.' };
    if (c.owner_key === 'unreadable') return { yes: false, why: 'The node’s process may not read the owner’s key (option -U or Sandbox). On that machine the commands can: tincan invite, approve, remove, device.' };
    return { yes: true, why: '' };
  }

  // warnings are what is wrong with this node, with what would help.
  warnings() {
    const list = [], seen = new Set();
    const add = w => { if (!seen.has(w.text)) { seen.add(w.text); list.push(w); } };
    for (const p of [...(this.status?.problems ?? []), ...(this.net?.problems ?? [])]) add({ text: p.text, change: p.change });
    const cmd = this.caller?.command ?? 'tincan';
    for (const k of this.status?.changed_keys ?? []) add({ text: `${k.node} has another key than before. Its new key is not used until you accept it.`, command: `${cmd} accept ${k.node}` });
    for (const c of this.status?.contested_subnets ?? []) add({ text: `${c.claimed_by} also claims ${c.subnet}, which belongs to ${c.owner}.`, change: 'Take the subnet out of one of the two host files.' });
    for (const n of this.status?.nodes ?? []) if (n.wrong_key) add({ text: `${n.name} shows another key than its host file here has. ${n.problem ?? ''}`.trim() });
    if (this.members?.too_new) add({ text: 'The roster has statements of a newer version that this program does not know.', change: 'Update tincan on this machine.' });
    if (this.members?.fetching) add({ text: 'The roster has not arrived from a neighbour yet.' });
    if (this.net && this.net.connections_in + this.net.connections_out === 0 && this.status?.summary.nodes > 1) for (const v of this.net.verdict.slice(0, 2)) add({ text: v });
    return list;
  }

  showCounts() {
    const set = (id, n, words) => {
      const e = document.getElementById(id);
      e.hidden = n === 0;
      e.textContent = n;
      e.setAttribute('aria-label', `, ${n} ${words}`);
    };
    set('waiting', this.members?.pending?.length ?? 0, 'waiting for approval');
    set('warned', this.warnings().length, 'warnings');
  }

  here() {
    this.away = false;
    document.getElementById('banner').hidden = true;
    this.showLive();
  }

  gone(err) {
    this.away = true;
    const banner = document.getElementById('banner');
    const text = err?.status === 401 ? 'This page is not logged in any more. Open it again with: tincan ui'
      : err?.status === 403 ? err.message
      : `${err?.message && err.status !== 0 ? err.message : 'The node does not answer.'} What you see is the last that is known. Trying again …`;
    if (banner.textContent !== text) banner.textContent = text;
    banner.hidden = false;
    this.showLive();
  }

  showLive() {
    const e = document.getElementById('live'), state = this.away ? 'gone' : this.views.mesh.shown ? 'past' : 'live';
    e.dataset.state = state;
    e.lastElementChild.textContent = { gone: 'gone', past: 'the past', live: 'live' }[state];
  }

  theme() {
    const b = document.getElementById('theme'), order = ['auto', 'light', 'dark'], words = { auto: 'as the system', light: 'light', dark: 'dark' };
    let now = document.documentElement.dataset.theme ?? 'auto';
    const show = () => {
      b.replaceChildren(icon(now));
      b.setAttribute('aria-label', `Colours: ${words[now]}`);
      b.title = `Colours: ${words[now]}`;
    };
    b.addEventListener('click', () => {
      now = order[(order.indexOf(now) + 1) % order.length];
      if (now === 'auto') delete document.documentElement.dataset.theme; else document.documentElement.dataset.theme = now;
      try { localStorage.setItem('theme', now); } catch { /* then it holds until the page is closed */ }
      show();
      this.views.mesh.matrix.repaint();
    });
    show();
  }
}

new App();
