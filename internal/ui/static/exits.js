// By which exit nodes packets of this node leave the mesh, and whether others leave by it.
import { h, stateWord, table } from './dom.js';

// renderExits shows that in an element. It tells whether there is anything to show.
export function renderExits(into, app) {
  const exits = app.status.exits, lines = exits?.via ?? [], named = new Set(lines.flatMap(v => v.exits.map(c => c.node)));
  const granted = (app.members?.members ?? []).filter(m => m.capabilities?.includes('exit')).map(m => m.name);
  const others = granted.filter(n => !named.has(n) && n !== app.status.self.name);
  const parts = [];
  if (exits?.node) {
    const works = exits.node.ipv4 || exits.node.ipv6;
    parts.push(h('p', {}, stateWord(works ? 'direct' : 'unreachable', works ? `Other nodes can leave the mesh by this one, with ${families(exits.node.ipv4, exits.node.ipv6)}.` : 'No other node can leave by this one: it has no default route, or its router does not answer.')));
  }
  if (lines.length) {
    parts.push(h('p', {}, exits.kill_switch
      ? [h('span', { class: 'tag' }, 'kill switch'), ' What is to leave by an exit node leaves by nothing else, even if this node is killed.']
      : [h('span', { class: 'tag' }, 'no kill switch'), ' If this node is killed, packets leave by the machine’s own network again.']));
  }
  const can = others.length ? h('p', { class: 'small muted' }, `Members that may be exit nodes${lines.length ? ', and are in no line' : ''}: ${others.join(', ')}. `, !lines.length && ['To leave by one: ', h('code', {}, `${app.caller.command} set Via 'default ${others.slice(0, 2).join(',')}'`), ', then restart this node.']) : null;
  into.replaceChildren(h('div', { class: 'body' }, ...parts),
    ...(lines.length ? [table(['What', 'Leaves by', 'Exit nodes, in their order'], lines.map(v => [
      [h('span', { class: 'name' }, v.what === 'default' ? 'everything' : v.what), v.what.startsWith('@') && h('span', { class: 'sub' }, `${v.prefixes} prefixes`)],
      v.chosen ? [h('b', {}, v.chosen), h('span', { class: 'sub' }, `with ${families(v.ipv4, v.ipv6)}`)] : [stateWord('unreachable', 'nothing: refused'), h('span', { class: 'sub' }, 'none of them works')],
      [h('ul', { class: 'plain' }, ...v.exits.map(c => h('li', {}, stateWord(c.works ? 'direct' : 'unreachable', `${c.node}:`), ' ', h('span', { class: 'muted' }, said(c, v.chosen)))))],
    ]))] : []),
    ...(can ? [h('div', { class: 'body hint' }, can)] : []));
  return parts.length > 0 || can !== null;
}

// said is what is known of an exit node.
function said(c, chosen) {
  if (!c.works) return c.problem || 'it was not asked yet';
  const parts = [c.node === chosen ? 'in use' : 'works'];
  if (c.rtt > 0) parts.push(`answers in ${c.rtt < 10 ? c.rtt.toFixed(1) : Math.round(c.rtt)} ms`);
  if (c.lost) parts.push(`${c.lost === 1 ? 'one probe' : `${c.lost} probes`} lost since`);
  return parts.join(', ');
}

function families(v4, v6) { return v4 && v6 ? 'IPv4 and IPv6' : v4 ? 'IPv4 only' : v6 ? 'IPv6 only' : 'neither IPv4 nor IPv6'; }
