package browser

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"rsc.io/qr"

	"tincan/internal/api"
	"tincan/internal/control"
	"tincan/internal/events"
	"tincan/internal/members"
	"tincan/internal/node"
	"tincan/internal/report"
	"tincan/internal/terminal"
)

// wgKey stands for keys of WireGuard.
const wgKey = "q1w2e3r4t5z6u7i8o9p0a1s2d3f4g5h6j7k8l9y0xcU="

// simulated is a node with a network around it that exists only in its answers. They are in the forms of the API.
type simulated struct {
	server *httptest.Server
	events *events.Log
	ended  chan struct{}

	mu      sync.Mutex
	role    api.Role
	status  control.Status
	mesh    control.MeshReport
	members members.View
	asked   []string // method and path of what changed something
	lines   chan report.LogLine
	traffic uint64
	down    bool // it refuses connections
}

// places where the nodes are, in milliseconds of distance.
var places = []struct {
	name string
	x, y float64
}{{"ams", 7, -4}, {"fra", 0, 0}, {"hel", -18, -22}, {"nyc", 78, 12}, {"par", 9, 5}, {"sfo", 140, 30}, {"sgp", -120, 90}, {"syd", -150, 190}}

var people = []string{"alice", "bob", "carol", "dave", "erin", "frank", "grace", "heidi", "ivan", "judy", "mallory", "niaj"}

// newSimulated makes a network of n nodes; the first one is the one that answers. The same n makes the same network.
func newSimulated(t testing.TB, n int, mode string) *simulated {
	f := &simulated{events: events.New("s", 256), ended: make(chan struct{}), role: api.Admin, lines: make(chan report.LogLine, 64)}
	random := rand.New(rand.NewPCG(1, uint64(n)))
	now := time.Now().UTC().Truncate(time.Second)
	ago := func(d time.Duration) *time.Time { x := now.Add(-d); return &x }
	type spot struct {
		x, y float64
		nat  bool
	}
	spots := make([]spot, n)
	names := make([]node.Name, n)
	for i := range n {
		at := i % len(places)
		if n > len(people) {
			at = i * len(places) / n // by name, as the API has them
			names[i] = node.Name(fmt.Sprintf("%s%02d", places[at].name, i-(at*n+len(places)-1)/len(places)+1))
		} else {
			names[i] = node.Name(people[i])
		}
		p := places[at]
		spots[i] = spot{p.x + random.Float64()*6, p.y + random.Float64()*6, random.IntN(6) == 0}
	}
	if n == 2 {
		spots[1].nat = false
	}
	f.mesh = control.MeshReport{Time: now, Serial: 1}
	for i, name := range names {
		m := control.MeshNode{Name: name, Reachable: n <= 6 || i%23 != 9, Source: control.MeshTold}
		switch {
		case i == 0:
			m.Source = control.MeshSelf
		case n > 6 && i%19 == 5:
			m.Source = control.MeshEdges
		}
		f.mesh.Nodes = append(f.mesh.Nodes, m)
	}
	relay := func(i, j int) int {
		best, at := math.MaxFloat64, 0
		for k := range n {
			if k == i || k == j || spots[k].nat || !f.mesh.Nodes[k].Reachable {
				continue
			}
			if d := math.Hypot(spots[i].x-spots[k].x, spots[i].y-spots[k].y) + math.Hypot(spots[j].x-spots[k].x, spots[j].y-spots[k].y); d < best {
				best, at = d, k
			}
		}
		return at
	}
	for i := range n {
		if !f.mesh.Nodes[i].Reachable {
			continue
		}
		row := control.MeshRow{Node: i, Time: now}
		for j := range n {
			if i == j || !f.mesh.Nodes[j].Reachable || f.mesh.Nodes[i].Source == control.MeshEdges && (i+j)%7 != 0 {
				continue
			}
			letter, via, loss, mtu := byte('u'), -1, 0, 1419
			rtt := int((math.Hypot(spots[i].x-spots[j].x, spots[i].y-spots[j].y) + .3) * 1000)
			switch {
			case f.mesh.Nodes[i].Source == control.MeshEdges:
				letter, mtu = 'e', 0
			case spots[i].nat && spots[j].nat:
				letter, via, mtu = 'r', relay(i, j), 0
				rtt = rtt*5/4 + 2000
			case n > 2 && (i*31+j*17)%29 == 0:
				letter, rtt, mtu = 't', 0, 0
			case n > 6 && (i+j)%11 == 3:
				continue // idle
			}
			if n > 6 && (i*7+j)%37 == 0 && letter == 'u' {
				loss = 10 + (i*13+j)%120
			}
			row.To, row.Path, row.Via = append(row.To, j), row.Path+string(letter), append(row.Via, via)
			row.RTT, row.Loss, row.MTU = append(row.RTT, rtt), append(row.Loss, loss), append(row.MTU, mtu)
			row.Since = append(row.Since, int64(600+(i*997+j*131)%90000))
		}
		f.mesh.Rows = append(f.mesh.Rows, row)
	}
	view := func(i int) control.NodeView {
		v := control.NodeView{
			Name: names[i], ID: fmt.Sprintf("%012x", i+1), Reachable: f.mesh.Nodes[i].Reachable, Connected: i < 4, Path: control.PathUnreachable, Since: ago(time.Duration(i+1) * 47 * time.Minute),
			Subnets: []string{fmt.Sprintf("10.42.%d.%d/32", i/250, i%250+1)}, Program: "tincan/1.0", Protocol: "17.7", Cipher: "aes-256-gcm", PostQuantum: true,
			Rx: control.PacketView{Packets: uint64(40000 + i*331), Bytes: uint64(51_000_000 + i*91733)}, Tx: control.PacketView{Packets: uint64(31000 + i*129), Bytes: uint64(8_400_000 + i*17011)},
		}
		if f.mesh.Nodes[i].Source == control.MeshEdges {
			v.Program, v.Cipher, v.PostQuantum = "", "", false
		}
		if !v.Reachable {
			v.Program, v.Problem = "", "connection refused"
		}
		row := f.mesh.Rows[0]
		for k, j := range row.To {
			if j == i {
				v.Path, v.RTT, v.Loss, v.MTU = map[byte]control.Path{'u': control.PathUDP, 't': control.PathTCP, 'r': control.PathRelayed}[row.Path[k]], control.Millis(time.Duration(row.RTT[k])*time.Microsecond), float64(row.Loss[k])/1000, row.MTU[k]
				if row.Via[k] >= 0 {
					v.Via = names[row.Via[k]]
				}
				v.Address = fmt.Sprintf("198.51.100.%d:655", i%250+1)
			}
		}
		if v.Reachable && v.Path == control.PathUnreachable {
			v.Path = control.PathIdle
		}
		return v
	}
	f.status = control.Status{Network: "home", Version: "1.0", PID: 4711, Interface: "home", Started: ago(76 * time.Hour), Self: view(0), Summary: control.StatusTotals{Nodes: n, Connections: min(n-1, 4), Edges: n * 2}}
	f.status.Self.Path, f.status.Nodes = control.PathSelf, []control.NodeView{}
	for i := range n {
		if f.mesh.Nodes[i].Reachable {
			f.status.Summary.Reachable++
		}
		if i > 0 {
			f.status.Nodes = append(f.status.Nodes, view(i))
		}
	}
	if n > 6 {
		f.status.Drops = []control.Drop{
			{Reason: "no session with the destination yet", Count: 214, Last: now.Add(-40 * time.Second)},
			{Reason: "the packet is too large for the path, and must not be fragmented", Count: 61, Last: now.Add(-9 * time.Minute)},
			{Reason: "refused by the access policy", Count: 1204, Last: now.Add(-3 * time.Second)},
		}
		f.status.Problems = []control.Problem{{Code: "no-forwarding", Text: "This machine does not forward packets, so what is behind it (192.168.7.0/24) cannot be reached.", Change: "sysctl -w net.ipv4.ip_forward=1"}}
		f.status.ChangedKeys = []control.KeyChange{{Node: names[3]}}
		f.status.Exits = &control.Exits{KillSwitch: true, Via: []control.Via{
			{What: "default", Prefixes: 2, Chosen: names[1], IPv4: true, Exits: []control.Candidate{
				{Node: names[2], Problem: "it does not answer"},
				{Node: names[1], Works: true, Known: true, RTT: control.Millis(23 * time.Millisecond)},
				{Node: names[3], Works: true, Known: true, RTT: control.Millis(9140 * time.Microsecond), Lost: 1},
			}},
			{What: "@list.txt", Prefixes: 4711, Exits: []control.Candidate{
				{Node: names[4], Known: true, Problem: "it has no way out at the moment, or is no exit node (Exit = yes there)"},
			}},
		}}
	}
	f.members = members.View{Mode: mode, Node: names[0]}
	if mode == "signed" {
		finger := func(i int) string {
			const digits = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
			r := rand.New(rand.NewPCG(7, uint64(i)))
			var b strings.Builder
			for k := range 20 {
				if k > 0 && k%4 == 0 {
					b.WriteByte('-')
				}
				b.WriteByte(digits[r.IntN(32)])
			}
			return b.String()
		}
		f.members.Network, f.members.Fingerprint, f.members.Threshold, f.members.Recovery = strings.Repeat("ab", 16), finger(999), 1, true
		f.members.Owners = []members.Owner{{Name: names[0], Fingerprint: finger(500), Rights: members.RightNames}}
		for i, name := range names {
			m := members.Member{Name: name, Fingerprint: finger(i), Subnets: view(i).Subnets, By: string(names[0]), Since: ago(time.Duration(i+1) * 31 * time.Hour), Reachable: f.mesh.Nodes[i].Reachable}
			switch i % 4 {
			case 1:
				m.Groups = []string{"servers"}
			case 2:
				m.Groups = []string{"laptops", "staff"}
			case 3:
				m.Groups, m.Capabilities = []string{"phones"}, []string{"relay"}
			}
			if !m.Reachable {
				m.LastSeen = ago(26 * time.Hour)
			}
			f.members.Members = append(f.members.Members, m)
		}
		if n > 2 {
			f.members.Pending = []members.Member{{Name: "tablet", Fingerprint: finger(700), Subnets: []string{"10.42.9.9/32"}, By: string(names[1]), Since: ago(4 * time.Minute)}}
			week := now.Add(5 * 24 * time.Hour)
			f.members.Invitations = []members.Invitation{{Fingerprint: finger(800), Name: "sensor*", By: string(names[0]), Uses: 10, Used: 3, Groups: []string{"sensors"}, Ends: &week}}
			f.members.Members[0].Capabilities, f.members.Members[1].Capabilities = []string{"door"}, []string{"door", "exit"}
			f.members.Devices, f.members.DoorKey = []members.Device{
				{Name: "phone", Key: wgKey, Fingerprint: finger(900), Addresses: []string{"10.42.7.1"}, Groups: []string{"phones"}, By: string(names[0]), Door: names[0], Handshake: ago(80 * time.Second), Endpoint: "198.51.100.77:41234", Received: 7_300_000, Sent: 81_000_000},
				{Name: "office", Key: wgKey, Fingerprint: finger(901), Addresses: []string{"10.42.7.2", "fd42::7:2"}, By: string(names[0]), Door: names[1]},
				{Name: "camera", Key: wgKey, Fingerprint: finger(902), Addresses: []string{"10.42.7.3"}, Groups: []string{"sensors"}, By: string(names[0])},
			}, wgKey
			f.members.Removed = []members.Removed{{Name: "oldphone", Fingerprint: finger(801), By: string(names[0]), Reason: "lost on the train"}}
		}
	}
	f.server = httptest.NewServer(f.handler())
	t.Cleanup(f.close)
	return f
}

func (f *simulated) close() {
	select {
	case <-f.ended:
	default:
		close(f.ended)
		f.server.CloseClientConnections()
		f.server.Close()
	}
}

// dial makes a connection with it, as "tincan ui" does with the socket of a node.
func (f *simulated) dial(ctx context.Context) (net.Conn, error) {
	f.mu.Lock()
	down := f.down
	f.mu.Unlock()
	if down {
		return nil, errors.New("the node is off")
	}
	var d net.Dialer
	return d.DialContext(ctx, "tcp", f.server.Listener.Addr().String())
}

// change changes what it answers.
func (f *simulated) change(c func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	c()
}

// turn switches it off or on.
func (f *simulated) turn(on bool) {
	f.change(func() { f.down = !on })
	if !on {
		f.server.CloseClientConnections()
	}
}

// done is what was changed by requests.
func (f *simulated) done() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Clone(f.asked)
}

// tell changes what it answers, and tells those who follow its events.
func (f *simulated) tell(e events.Event, c func()) {
	f.change(c)
	e.Self = f.status.Self.Name
	if e.Time.IsZero() {
		e.Time = time.Now().UTC()
	}
	f.events.Add(e)
}

// past is how it was: the second node was unreachable half an hour ago, and round trips have become longer since.
func (f *simulated) past(at time.Time) control.MeshReport {
	m := f.mesh
	m.Time, m.Nodes, m.Rows = at, slices.Clone(m.Nodes), slices.Clone(m.Rows)
	age := f.mesh.Time.Sub(at).Minutes()
	m.Nodes[1].Reachable = age < 25 || age > 35
	for i := range m.Rows {
		m.Rows[i].RTT = slices.Clone(m.Rows[i].RTT)
		for k := range m.Rows[i].RTT {
			m.Rows[i].RTT[k] = int(float64(m.Rows[i].RTT[k]) * (1 - age/200 + .1*math.Sin(age)))
		}
	}
	return m
}

func (f *simulated) handler() http.Handler {
	mux := http.NewServeMux()
	answer := func(pattern string, get func(r *http.Request) any) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, r *http.Request) {
			f.mu.Lock()
			defer f.mu.Unlock()
			if r.Method != http.MethodGet {
				f.asked = append(f.asked, r.Method+" "+r.URL.RequestURI())
			}
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(get(r))
		})
	}
	answer("GET /v1/caller", func(*http.Request) any {
		return api.Caller{Role: f.role, Node: f.status.Self.Name, Network: "home", Version: "1.0", Mode: f.members.Mode, OwnerKey: "here", Command: "tincan -n home"}
	})
	answer("GET /v1/status", func(*http.Request) any {
		f.traffic++
		s := f.status
		s.Self.Rx.Bytes += uint64(2_000_000 * (float64(f.traffic) + math.Sin(float64(f.traffic)/3)))
		s.Self.Tx.Bytes += uint64(700_000 * (float64(f.traffic) + math.Cos(float64(f.traffic)/2)))
		return s
	})
	answer("GET /v1/mesh/past", func(*http.Request) any {
		times := []time.Time{}
		for i := range 60 {
			times = append(times, f.mesh.Time.Add(time.Duration(i-60)*time.Minute))
		}
		return api.MeshPast{Times: times}
	})
	answer("GET /v1/mesh", func(r *http.Request) any {
		if at, err := time.Parse(time.RFC3339Nano, r.FormValue("at")); err == nil {
			return f.past(at)
		}
		m := f.mesh
		if r.FormValue("after") == fmt.Sprint(m.Serial) {
			m.Rows = []control.MeshRow{}
		}
		return m
	})
	answer("GET /v1/members", func(*http.Request) any { return f.members })
	answer("GET /v1/why", func(r *http.Request) any {
		to := node.Name(r.FormValue("to"))
		return control.WhyReport{Node: to, Reasons: []control.WhyReason{
			{Code: "relayed", Text: fmt.Sprintf("packets for %s go through a relay", to)},
			{Code: "udp-blocked-between", Text: "both nodes are behind a NAT that gives each destination another port, so no direct path can be opened"},
		}, Carriers: []control.CarrierState{
			{Carrier: "masked", State: "failed", Text: "no answer"}, {Carrier: "udp", State: "failed", Text: "no answer"},
			{Carrier: "tcp", State: "in-use", Text: "packets and requests"}, {Carrier: "tls", State: "standby", Text: "not needed: there is a connection by TCP"},
		}, Encryption: "AES-256-GCM, keys by X25519 and ML-KEM-768", Change: fmt.Sprintf("forward UDP port 655 to %s on its router, or set UPnP = yes there", to)}
	})
	answer("GET /v1/netcheck", func(*http.Request) any {
		return control.NetReport{Carriers: []control.NetCarrier{{Carrier: "masked", InUse: 4}, {Carrier: "udp"}, {Carrier: "tcp", InUse: 3, Failed: 1, Failures: []control.NetFailure{{Node: "bob", Problem: "no answer"}}}, {Carrier: "tls", Off: true}},
			Port: 655, IPv4: true, Tried: 5, Answered: 5, NAT: control.NATEndpointIndependent, NAT6: control.NATUnknown, Incoming: 1, Outgoing: 3,
			Seen: []control.SeenFrom{{By: "bob", Address: "203.0.113.9:655"}}, Verdict: []string{"UDP works, through a NAT that allows direct paths."}}
	})
	answer("POST /v1/invitations", func(r *http.Request) any {
		var n api.NewInvitation
		_ = json.NewDecoder(r.Body).Decode(&n)
		url := "tincan://alice.example.org:655/" + strings.Repeat("Qx7", 16)
		code, err := qr.Encode(url, qr.M)
		if err != nil {
			panic(err)
		}
		m := api.MadeInvitation{Invitation: report.Invitation{Node: node.Name(n.Name), URL: url, Addresses: []string{"10.42.0.77/24"}}, Notes: []string{}}
		for y := range code.Size {
			row := make([]byte, code.Size)
			for x := range row {
				row[x] = "01"[map[bool]int{true: 1}[code.Black(x, y)]]
			}
			m.QR = append(m.QR, string(row))
		}
		ends := time.Now().Add(time.Duration(n.Lifetime) * time.Second)
		m.Expires = &ends
		return m
	})
	answer("POST /v1/pending/{name}/{what}", func(r *http.Request) any {
		for i, m := range f.members.Pending {
			if string(m.Name) == r.PathValue("name") {
				f.members.Pending = append(f.members.Pending[:i:i], f.members.Pending[i+1:]...)
				if r.PathValue("what") == "approve" {
					f.members.Members = append(f.members.Members, m)
				}
			}
		}
		return api.Done{Done: r.PathValue("name") + " is decided about"}
	})
	answer("DELETE /v1/members/{name}", func(r *http.Request) any {
		for i, m := range f.members.Members {
			if string(m.Name) == r.PathValue("name") {
				f.members.Members = append(f.members.Members[:i:i], f.members.Members[i+1:]...)
				f.members.Removed = append(f.members.Removed, members.Removed{Name: m.Name, Fingerprint: m.Fingerprint, By: "alice", Reason: r.FormValue("reason")})
				break
			}
		}
		return api.Done{Done: r.PathValue("name") + " is removed"}
	})
	answer("GET /v1/devices", func(*http.Request) any { return report.NewDevices(f.members) })
	answer("POST /v1/devices", func(r *http.Request) any {
		var n api.NewDevice
		_ = json.NewDecoder(r.Body).Decode(&n)
		config := "[Interface]\nPrivateKey = " + wgKey + "\nAddress = 10.42.7.9, fd42::7:9\nMTU = 1380\n\n[Peer]\nPublicKey = " + wgKey + "\nEndpoint = " + n.Endpoint + ":51820\nAllowedIPs = 10.42.0.0/16, fd42::/64\nPersistentKeepalive = 25\n"
		rows, err := terminal.QRModules(config)
		if err != nil {
			panic(err)
		}
		f.members.Devices = append(f.members.Devices, members.Device{Name: node.Name(n.Name), Key: wgKey, Fingerprint: "AAAA-BBBB", Addresses: []string{"10.42.7.9"}, Groups: n.Groups, By: "alice"})
		return api.MadeDevice{AddedDevice: report.AddedDevice{Name: node.Name(n.Name), Key: wgKey, DoorKey: wgKey, Addresses: []string{"10.42.7.9"}, Endpoint: n.Endpoint, Config: config}, QR: rows, Notes: []string{}}
	})
	answer("DELETE /v1/devices/{name}", func(r *http.Request) any {
		f.members.Devices = slices.DeleteFunc(slices.Clone(f.members.Devices), func(d members.Device) bool { return string(d.Name) == r.PathValue("name") })
		return api.Done{Done: r.PathValue("name") + " is removed"}
	})
	answer("POST /v1/doors/rekey", func(*http.Request) any {
		return api.Rekeyed{DoorKey: "new" + wgKey[3:], Devices: len(f.members.Devices)}
	})
	mux.HandleFunc("GET /v1/events", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		fmt.Fprint(w, ": \n\n")
		w.(http.Flusher).Flush()
		reader := f.events.Read()
		if r.FormValue("after") == "all" && r.Header.Get("Last-Event-ID") == "" {
			reader = f.events.ReadAll()
		}
		for {
			e, err := reader.Next(r.Context())
			if err != nil {
				return
			}
			b, _ := json.Marshal(e)
			fmt.Fprintf(w, "id: %s\nevent: %s\ndata: %s\n\n", e.ID, e.Event, b)
			w.(http.Flusher).Flush()
		}
	})
	mux.HandleFunc("GET /v1/log", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/event-stream")
		w.(http.Flusher).Flush()
		for {
			select {
			case l := <-f.lines:
				b, _ := json.Marshal(l)
				fmt.Fprintf(w, "event: log\ndata: %s\n\n", b)
				w.(http.Flusher).Flush()
			case <-r.Context().Done():
				return
			case <-f.ended:
				return
			}
		}
	})
	return mux
}
