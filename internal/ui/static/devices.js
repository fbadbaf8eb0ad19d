// The view of the devices: telephones and routers that have WireGuard, and the doors at which they come in.
import { h, terms, ago, bytes, dialog, copy, toast, table, field, qr, words } from './dom.js';
import { ask } from './store.js';

export class DevicesView {
  constructor(app) {
    this.app = app;
    this.el = app.section('devices');
    this.filter = h('input', { type: 'search', placeholder: 'Filter devices', 'aria-label': 'Filter devices', input: () => this.render() });
    this.add = h('button', { type: 'button', class: 'primary', click: () => this.adding() }, 'Add a device');
    this.title = h('h2', {}, 'Devices');
    this.note = h('p', { class: 'small muted' });
    this.list = h('div', {});
    this.rekey = h('button', { type: 'button', class: 'small', click: () => this.rekeying() }, 'New key for the doors');
    this.doors = h('div', { class: 'body' });
    this.doorCard = h('section', { class: 'card' }, h('header', {}, h('h2', {}, 'Doors'), this.rekey), this.doors);
    this.el.append(h('div', { class: 'stack' }, this.note,
      h('section', { class: 'card' }, h('header', {}, this.title, this.filter, this.add), this.list), this.doorCard));
  }

  render() {
    const { caller, members } = this.app;
    if (this.el.hidden || !caller || !this.app.status) return;
    const may = this.app.can(), all = this.app.devices?.devices ?? members?.devices ?? [], signed = members?.mode === 'signed' || members?.mode === 'warn';
    const doors = (members?.members ?? []).filter(m => m.capabilities?.includes('door'));
    this.title.replaceChildren('Devices ', h('span', { class: 'muted' }, signed ? String(all.length) : ''));
    this.add.hidden = !signed || !may.yes || doors.length === 0;
    this.note.hidden = !signed || !may.why;
    this.note.textContent = may.why;
    this.filter.hidden = all.length < 8;
    this.doorCard.hidden = !signed;
    this.rekey.hidden = !may.yes || !this.app.devices?.door_key;
    const want = this.filter.value.trim().toLowerCase();
    const list = all.filter(d => !want || [d.name, d.door ?? '', ...d.addresses, ...(d.groups ?? [])].some(t => t.toLowerCase().includes(want)));
    this.list.replaceChildren(!signed ? this.only(caller)
      : all.length === 0 ? h('div', { class: 'empty' }, h('b', {}, 'No devices yet'), doors.length ? 'Telephones and routers that have WireGuard come in without tincan: add one, and scan its code.' : 'Telephones and routers that have WireGuard come in at a door: see below.')
      : list.length === 0 ? h('div', { class: 'empty' }, `Nothing matches “${this.filter.value}”.`)
      : this.table(list, may.yes));
    this.renderDoors(doors);
  }

  // only says who has devices.
  only(caller) {
    if (!this.app.may('member')) return h('div', { class: 'empty' }, h('b', {}, 'Not for you to see'), 'The members of the network see its devices.');
    return h('div', { class: 'empty' }, h('b', {}, 'Only signed networks have devices'),
      'In an open network nothing could keep others from taking the address of a telephone. To make this one a signed network: ', h('code', {}, `${caller.command} roster adopt`));
  }

  table(list, may) {
    return table(['Name', 'Where', 'Addresses', 'Groups', 'Added by'], list.map(d => {
      const traffic = d.received || d.sent ? `${bytes(d.received ?? 0)} in, ${bytes(d.sent ?? 0)} out` : '';
      return [
        [h('span', { class: `dotted${d.door ? '' : ' off'}`, role: 'img', 'aria-label': d.door ? 'at a door' : 'at no door' }), h('span', { class: 'name' }, d.name), h('code', { class: 'sub', title: 'fingerprint of its key' }, d.fingerprint)],
        d.door ? [`at ${d.door}`, d.handshake && h('span', { class: 'sub', title: d.endpoint }, `shook hands ${ago(d.handshake)}`), traffic && h('span', { class: 'sub' }, traffic)] : [h('span', { class: 'muted' }, 'not heard from')],
        [h('code', {}, d.addresses.join(', '))],
        d.groups?.length ? [h('span', { class: 'tags' }, ...d.groups.map(g => h('span', { class: 'tag' }, g)))] : [],
        [d.by],
        may && h('button', { type: 'button', class: 'small danger plain', 'aria-label': `Remove the device ${d.name}`, click: () => this.removing(d) }, 'Remove'),
      ];
    }));
  }

  renderDoors(doors) {
    const command = this.app.caller.command;
    const step = text => h('div', { class: 'copy change' }, h('code', {}, text), h('button', { type: 'button', class: 'small', click: () => copy(text, 'Command') }, 'Copy'));
    this.doors.replaceChildren(...(doors.length ? [h('p', { class: 'small muted' }, 'Devices come in at these nodes. All doors share one key, so one configuration works at each of them.'),
      h('ul', { class: 'tags plain' }, ...doors.map(m => h('li', { class: 'tag' }, h('span', { class: `dotted${this.app.up(m.name) ? '' : ' off'}`, role: 'img', 'aria-label': this.app.up(m.name) ? 'reachable' : 'not reachable' }), m.name)))]
      : [h('p', {}, 'No member is a door yet. It should be one that others can reach from everywhere. With an owner’s key:'), step(`${command} admit NODE --door`), h('p', { class: 'hint' }, 'On that node, which then has to be restarted; its firewall has to let UDP port 51820 in:'), step(`${command} set Door yes`)]));
  }

  adding() {
    dialog({
      title: 'Add a device', action: 'Make the configuration',
      body: h('div', {}, h('p', { class: 'muted' }, 'You get a configuration for the program WireGuard, as a QR code and as text. It is shown once.'),
        field('name', 'Name of the device', { required: true, pattern: '[A-Za-z0-9_]+', maxlength: 63, placeholder: 'phone' }, 'Letters, digits and _.'),
        field('groups', 'Groups', { placeholder: 'phones, guests' }, 'For the access policy; may be empty.'),
        field('endpoint', 'Where it finds a door', { placeholder: 'vpn.example.org' }, 'Best a name in DNS with the addresses of all doors. Empty: what this node knows.'),
        field('addresses', 'Address in the VPN', {}, 'Empty: a free one.'),
        h('label', { class: 'small' }, h('input', { type: 'checkbox', name: 'full' }), ' All its traffic goes into the VPN, and leaves that by an exit node'),
        h('details', {}, h('summary', {}, 'It has made its key itself'), field('key', 'Its public key', { maxlength: 44 }, 'Routers often do. The configuration has no private key then.'))),
      act: async form => {
        const f = new FormData(form), text = name => String(f.get(name) ?? '').trim(), body = { name: text('name'), ...(f.get('full') === 'on' ? { full: true } : {}) };
        for (const name of ['groups', 'addresses']) if (words(text(name)).length) body[name] = words(text(name));
        for (const name of ['endpoint', 'key']) if (text(name)) body[name] = text(name);
        const made = await ask('/v1/devices', body);
        this.changed();
        this.show(made, Boolean(body.key));
      },
    });
  }

  // show shows a configuration, which is nowhere else.
  show(made, foreign) {
    // WireGuard takes the name of the file as that of the tunnel.
    const file = `${(this.app.caller.network || made.name).slice(0, 15)}.conf`;
    dialog({
      title: `Configuration of ${made.name}`, cancel: 'Done', careful: true,
      body: h('div', {},
        ...(foreign ? [h('p', {}, 'Enter this on the device, beside the private key that it has.')] : [
          h('p', { class: 'note' }, h('b', {}, 'This contains the private key of the device. '), 'Whoever sees the code or the text is the device. It is shown only now, and kept nowhere.'),
          qr(made.qr, 'QR code of the configuration'),
          h('ol', { class: 'small' }, h('li', {}, 'Install the app WireGuard on the device.'), h('li', {}, 'Tap +, then “Scan from QR code”, and hold it in front of this picture.'), h('li', {}, 'Turn the switch on.'))]),
        h('pre', { class: 'mono secret', tabindex: 0, 'aria-label': 'Configuration' }, made.configuration),
        h('div', { class: 'actions' }, h('button', { type: 'button', click: () => copy(made.configuration, 'Configuration') }, 'Copy'), h('button', { type: 'button', click: () => save(file, made.configuration) }, `Save as ${file}`)),
        ...(made.notes ?? []).map(n => h('p', { class: 'note hint' }, n))),
    });
  }

  changed() {
    this.app.refreshMembers();
    this.app.refreshDevices();
  }

  removing(d) {
    const reason = h('input', { name: 'reason', maxlength: 120, autocomplete: 'off' });
    dialog({
      title: `Remove ${d.name}?`, action: `Remove ${d.name}`, danger: true,
      body: h('div', {}, h('p', {}, 'All doors shut it out within seconds, and its key is refused for ever. Its name and its address can be given to another device.'),
        h('label', { class: 'field' }, h('span', {}, 'Reason'), reason, h('small', {}, 'All members can read it; may be empty.'))),
      act: async () => {
        const answer = await ask(`/v1/devices/${encodeURIComponent(d.name)}${reason.value.trim() ? `?reason=${encodeURIComponent(reason.value.trim())}` : ''}`, undefined, 'DELETE');
        toast(answer?.done ?? 'Done');
        this.changed();
      },
    });
  }

  rekeying() {
    const n = this.app.devices?.devices.length ?? 0;
    dialog({
      title: 'Give the doors another key?', action: 'Give them another key', danger: true,
      body: h('div', {}, h('p', {}, 'A member that was a door knows the key of today, and could pass itself off as a door. With another key that ends.'),
        h('p', {}, h('b', {}, n === 1 ? 'The device is shut out' : `All ${n} devices are shut out`), ' until the new public key is in its configuration.')),
      act: async () => {
        const made = await ask('/v1/doors/rekey', undefined, 'POST');
        this.changed();
        dialog({ title: 'The doors have another key', cancel: 'Done', body: h('div', {}, h('p', {}, 'In the configuration of each device, below [Peer]:'),
          h('div', { class: 'copy' }, h('code', {}, `PublicKey = ${made.door_key}`), h('button', { type: 'button', click: () => copy(`PublicKey = ${made.door_key}`, 'Line') }, 'Copy'))) });
      },
    });
  }
}

// save has the browser write a file.
function save(name, text) {
  const url = URL.createObjectURL(new Blob([text], { type: 'application/octet-stream' }));
  h('a', { href: url, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(url), 10000);
}
