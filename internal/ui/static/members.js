// The view of the members: who belongs to the network, and what an owner decides about.
import { h, terms, ago, until, dialog, copy, toast, acts, head, field, qr, words } from './dom.js';
import { ask } from './store.js';

export class MembersView {
  constructor(app) {
    this.app = app;
    this.el = app.section('members');
    this.filter = h('input', { type: 'search', placeholder: 'Filter members', 'aria-label': 'Filter members', input: () => this.render() });
    this.add = h('button', { type: 'button', class: 'primary', click: () => this.invite() }, 'Invite a node');
    this.title = h('h2', {}, 'Members');
    this.note = h('div', {});
    this.pending = h('section', { class: 'card pending', 'aria-label': 'Waiting for approval' });
    this.list = h('div', {});
    this.open = h('section', { class: 'card' });
    this.gone = h('section', { class: 'card' });
    this.el.append(h('div', { class: 'stack' }, this.note, this.pending,
      h('section', { class: 'card' }, h('header', {}, this.title, this.filter, this.add), this.list), this.open, this.gone));
  }

  render() {
    if (this.el.hidden || !this.app.status) return;
    const view = this.app.members, may = this.app.can(), open = !view || view.mode === 'open' || !view.members;
    this.add.hidden = !may.yes && !this.invitesAlone();
    this.note.hidden = !may.why && !(open && this.app.caller);
    this.note.replaceChildren(open
      ? h('p', { class: 'small muted' }, 'This is an open network: whoever has a host file in hosts/ belongs to it, and each machine keeps its own list.')
      : h('p', { class: 'small muted' }, may.why));
    const want = this.filter.value.trim().toLowerCase();
    const all = open ? this.ofNodes() : this.ofRoster(view);
    const list = all.filter(m => !want || [m.name, ...m.groups, ...m.subnets].some(t => t.toLowerCase().includes(want)));
    this.filter.hidden = all.length < 8;
    this.title.replaceChildren(open ? 'Nodes ' : 'Members ', h('span', { class: 'muted' }, String(all.length)));
    this.renderPending(open ? [] : view.pending ?? [], may.yes);
    this.list.replaceChildren(all.length === 0
      ? h('div', { class: 'empty' }, h('b', {}, 'Nobody yet'), 'Invite a node, and it is listed here.')
      : list.length === 0 ? h('div', { class: 'empty' }, `Nothing matches “${this.filter.value}”.`)
      : this.table(list, open, may.yes));
    this.renderOpen(view, may.yes);
    this.renderGone(view);
  }

  // invitesAlone: in an open network this node makes invitations itself.
  invitesAlone() { return this.app.caller?.mode === 'open' && this.app.may('owner'); }

  ofNodes() {
    const s = this.app.status;
    return [s.self, ...s.nodes].map(n => ({ name: n.name, groups: [], subnets: n.subnets ?? [], capabilities: [], node: n })).sort((a, b) => a.name < b.name ? -1 : 1);
  }

  ofRoster(view) {
    return view.members.map(m => ({ ...m, groups: m.groups ?? [], subnets: m.subnets ?? [], capabilities: m.capabilities ?? [], node: this.app.nodeView(m.name) }));
  }

  table(list, open, may) {
    const self = this.app.status.self.name;
    const label = (text, ...c) => c.flat().filter(x => x !== null && x !== '').length ? h('td', { 'data-label': text }, ...c) : h('td', { 'data-label': text, class: 'blank' }, h('span', { class: 'muted' }, '–'));
    return h('div', { class: 'scroll-x' }, h('table', { class: 'cards' },
      head('Name', 'Last seen', 'Addresses', ...(open ? [] : ['Groups', 'Admitted by']), 'Program', acts()),
      h('tbody', {}, ...list.map(m => {
        const n = m.node, up = m.name === self || (n ? n.reachable : m.reachable);
        const seen = m.name === self ? 'this node' : up ? 'now' : m.last_seen ? ago(m.last_seen) : n?.since ? ago(n.since) : 'never';
        const ended = m.ends && new Date(m.ends) < Date.now();
        const owner = (this.app.members?.owners ?? []).find(o => o.name === m.name);
        return h('tr', {},
          h('td', {}, h('span', { class: `dotted${up ? '' : ' off'}`, role: 'img', 'aria-label': up ? 'reachable' : 'not reachable' }), h('span', { class: 'name' }, m.name), ' ',
            owner && h('span', { class: 'tag' }, 'owner'), m.fingerprint && h('code', { class: 'sub', title: 'fingerprint of its key' }, m.fingerprint)),
          label('Seen', ended ? `ended ${ago(m.ends)}` : seen, m.ends && !ended ? h('span', { class: 'sub' }, `ends ${until(m.ends)}`) : null),
          label('Addresses', m.subnets.length ? [h('code', {}, m.subnets.slice(0, 3).join(', ')), m.subnets.length > 3 && ` +${m.subnets.length - 3}`] : []),
          ...(open ? [] : [
            label('Groups', m.groups.length + m.capabilities.length ? h('span', { class: 'tags' }, ...m.groups.map(g => h('span', { class: 'tag' }, g)), ...m.capabilities.map(c => h('span', { class: 'tag', title: 'may do this' }, `+${c}`))) : []),
            label('Admitted by', m.by ? [m.by, m.since && h('span', { class: 'sub' }, ago(m.since))] : [])]),
          label('Program', n?.program || (n?.protocol ? `protocol ${n.protocol}` : '')),
          h('td', { class: 'end' }, may && m.name !== self ? h('button', { type: 'button', class: 'small danger plain', 'aria-label': `Remove ${m.name}`, click: () => this.remove(m, open) }, 'Remove') : null));
      }))));
  }

  renderPending(list, may) {
    this.pending.hidden = list.length === 0;
    if (list.length === 0) return;
    this.pending.replaceChildren(h('header', {}, h('h2', {}, list.length === 1 ? 'One newcomer waits for approval' : `${list.length} newcomers wait for approval`)),
      h('table', { class: 'cards' }, h('tbody', {}, ...list.map(m => h('tr', { class: 'long' },
        h('td', {}, h('span', { class: 'name' }, m.name), h('code', { class: 'sub' }, m.fingerprint)),
        h('td', { class: 'small' }, 'would have ', h('code', {}, (m.subnets ?? []).join(', ') || 'no address')),
        h('td', { class: 'small' }, `came by ${m.by}${m.since ? `, ${ago(m.since)}` : ''}`),
        h('td', { class: 'end' }, may && h('span', { class: 'actions' },
          h('button', { type: 'button', class: 'primary small', 'aria-label': `Approve ${m.name}`, click: () => this.decide(m, true) }, 'Approve'),
          h('button', { type: 'button', class: 'small', 'aria-label': `Deny ${m.name}`, click: () => this.decide(m, false) }, 'Deny'))))))));
  }

  renderOpen(view, may) {
    const list = view?.invitations ?? [];
    this.open.hidden = list.length === 0;
    if (list.length === 0) return;
    this.open.replaceChildren(h('header', {}, h('h2', {}, 'Open invitations ', h('span', { class: 'muted' }, String(list.length)))),
      h('div', { class: 'scroll-x' }, h('table', { class: 'cards' }, head('For', 'Used', 'Ends', 'Groups', 'By', acts()),
        h('tbody', {}, ...list.map(i => h('tr', {},
          h('td', {}, h('span', { class: 'name' }, i.name || 'any name'), i.approval && [' ', h('span', { class: 'tag' }, 'with approval')], h('code', { class: 'sub' }, i.fingerprint)),
          h('td', { 'data-label': 'Used' }, `${i.used} of ${i.uses}`), h('td', { 'data-label': 'Ends' }, i.ends ? until(i.ends) : 'never'),
          h('td', { 'data-label': 'Groups', class: i.groups?.length ? null : 'blank' }, i.groups?.length ? h('span', { class: 'tags' }, ...i.groups.map(g => h('span', { class: 'tag' }, g))) : '–'), h('td', { 'data-label': 'By' }, i.by),
          h('td', { class: 'end' }, may && h('button', { type: 'button', class: 'small danger plain', 'aria-label': `Withdraw the invitation for ${i.name || 'any name'}`, click: () => this.withdraw(i) }, 'Withdraw'))))))));
  }

  renderGone(view) {
    const list = view?.removed ?? [];
    this.gone.hidden = list.length === 0;
    if (list.length === 0) return;
    this.gone.replaceChildren(h('header', {}, h('h2', {}, 'Removed ', h('span', { class: 'muted' }, String(list.length)))),
      h('table', { class: 'cards' }, h('tbody', {}, ...list.map(r => h('tr', {},
        h('td', {}, h('span', { class: 'name' }, r.name || '–'), h('code', { class: 'sub' }, r.fingerprint)), h('td', {}, r.left ? 'left by itself' : `by ${r.by}`), h('td', { class: r.reason ? 'muted' : 'blank' }, r.reason || ''))))));
  }

  invite() {
    const signed = this.app.caller?.mode !== 'open';
    const lifetimes = [[86400, 'a day'], [604800, 'a week'], [2592000, '30 days']];
    dialog({
      title: 'Invite a node', action: 'Make the invitation',
      body: h('div', {}, h('p', { class: 'muted' }, 'You get a link and a QR code. Whoever has it can join in your name, so pass it on like a password.'),
        field('name', 'Name of the new node', { required: true, pattern: signed ? '[A-Za-z0-9_]+\\*?' : '[A-Za-z0-9_]+', maxlength: 63, placeholder: 'laptop' }, signed ? 'Letters, digits and _. With * at its end each newcomer gets a number.' : 'Letters, digits and _.'),
        signed && field('groups', 'Groups', { placeholder: 'phones, guests' }, 'For the access policy; may be empty.'),
        signed && field('uses', 'How many may join with it', { type: 'number', min: 1, max: 10000, value: 1 }),
        h('label', { class: 'field' }, h('span', {}, 'Valid for'), h('select', { name: 'life' }, ...lifetimes.map(([v, t]) => h('option', { value: v, selected: v === 604800 }, t)))),
        signed && h('label', { class: 'small' }, h('input', { type: 'checkbox', name: 'approval' }), ' An owner approves each newcomer before it is let in')),
      act: async form => {
        const f = new FormData(form), groups = words(f.get('groups'));
        const made = await ask('/v1/invitations', {
          name: f.get('name').trim(), lifetime_seconds: Number(f.get('life')), ...(groups.length ? { groups } : {}), ...(signed ? { uses: Number(f.get('uses')) || 1, approval: f.get('approval') === 'on' } : {}),
        });
        this.app.refreshMembers();
        this.showInvitation(made);
      },
    });
  }

  showInvitation(made) {
    dialog({
      title: `Invitation for ${made.node}`, cancel: 'Done',
      body: h('div', {}, qr(made.qr, 'QR code of the invitation'), h('p', {}, 'On the new machine:'), h('div', { class: 'copy' }, h('code', { class: 'invitation' }, `tincan join ${made.url}`),
        h('button', { type: 'button', click: () => copy(`tincan join ${made.url}`, 'Command') }, 'Copy')),
        h('p', { class: 'small muted hint' }, [made.addresses?.length ? `It will have the address ${made.addresses.join(', ')}.` : '', made.expires ? `Valid until ${new Date(made.expires).toLocaleString('en-GB', { dateStyle: 'medium', timeStyle: 'short' })}.` : '', 'This is shown only now.'].filter(Boolean).join(' ')),
        ...(made.notes ?? []).map(n => h('p', { class: 'note' }, n))),
    });
  }

  decide(m, yes) {
    dialog({
      title: yes ? `Let ${m.name} in?` : `Refuse ${m.name}?`, action: yes ? `Approve ${m.name}` : `Deny ${m.name}`, danger: !yes,
      body: h('div', {}, h('p', {}, yes ? 'It becomes a member, signed with the owner’s key of this machine. All nodes then talk to it.' : 'Its key is refused for ever. It would need a new key and a new invitation to come back.'),
        h('dl', {}, ...terms([['Key', h('code', {}, m.fingerprint)], ['Let in by', m.by], ['Addresses', (m.subnets ?? []).join(', ') || '–']])),
        yes && h('p', { class: 'small muted hint' }, 'Compare the fingerprint with what the new machine shows, by telephone for example.')),
      act: async () => this.done(await ask(`/v1/pending/${encodeURIComponent(m.name)}/${yes ? 'approve' : 'deny'}`, undefined, 'POST')),
    });
  }

  remove(m, open) {
    const reason = h('input', { name: 'reason', maxlength: 120, autocomplete: 'off' });
    dialog({
      title: `Remove ${m.name}?`, action: `Remove ${m.name}`, danger: true,
      body: h('div', {}, h('p', {}, open
        ? `Its host file is deleted on this machine only, and this node talks to it no more. The other nodes keep it until they do the same.`
        : `All nodes stop talking to it within seconds, and its key is refused for ever. It would need a new key and a new invitation to come back.`),
        !open && h('label', { class: 'field' }, h('span', {}, 'Reason'), reason, h('small', {}, 'All members can read it; may be empty.'))),
      act: async () => this.done(await ask(`/v1/members/${encodeURIComponent(m.name)}${reason.value.trim() ? `?reason=${encodeURIComponent(reason.value.trim())}` : ''}`, undefined, 'DELETE')),
    });
  }

  withdraw(i) {
    dialog({
      title: 'Withdraw this invitation?', action: 'Withdraw it', danger: true,
      body: h('p', {}, `The link for ${i.name || 'any name'} stops working everywhere. Whoever has joined with it stays.`),
      act: async () => this.done(await ask(`/v1/invitations/${encodeURIComponent(i.fingerprint)}`, undefined, 'DELETE')),
    });
  }

  done(answer) {
    toast(answer?.done ?? 'Done');
    this.app.refreshMembers();
  }
}
