package portmap

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

var (
	loopback = netip.MustParseAddr("127.0.0.1")
	outside  = netip.MustParseAddr("203.0.113.5")
)

// router is a small one on loopback.
type router struct {
	t                 *testing.T
	pcp, natpmp, upnp bool
	taken             uint16 // a port that it does not give away; it gives the next one
	takenTCP          bool   // UPnP: only that of TCP is taken
	noTCP             bool   // UPnP
	at                string // where it answers searches; "": at loopback, its address as a gateway
	permanent         bool   // UPnP: no leases

	mu    sync.Mutex
	ports map[string]uint16 // "UDP 655" inside: outside
	owner map[string][12]byte
	heard func(protocol string) // of a request of PCP
	calls []string              // of UPnP
	conn  *net.UDPConn
	ssdp  *net.UDPConn
	web   *httptest.Server
}

func newRouter(t *testing.T, r *router) *router {
	r.t, r.owner = t, map[string][12]byte{}
	if r.ports == nil {
		r.ports = map[string]uint16{}
	}
	var err error
	if r.conn, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0))); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { r.conn.Close() })
	go serve(r.conn, r.control)
	if r.upnp {
		at := loopback
		if r.at != "" {
			at = netip.MustParseAddr(r.at)
		}
		r.web = httptest.NewUnstartedServer(http.HandlerFunc(r.soap))
		r.web.Listener.Close()
		if r.web.Listener, err = net.Listen("tcp4", netip.AddrPortFrom(at, 0).String()); err != nil {
			t.Fatal(err)
		}
		r.web.Start()
		t.Cleanup(r.web.Close)
		if r.ssdp, err = net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at, 0))); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { r.ssdp.Close() })
		go serve(r.ssdp, func(b []byte) []byte {
			if !bytes.HasPrefix(b, []byte("M-SEARCH * HTTP/1.1\r\n")) {
				return nil
			}
			return fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nST: %s\r\nLOCATION: %s/root.xml\r\n\r\n", ssdpTargets[1], r.web.URL)
		})
	}
	return r
}

func serve(c *net.UDPConn, answer func([]byte) []byte) {
	b := make([]byte, 2048)
	for {
		n, from, err := c.ReadFromUDP(b)
		if err != nil {
			return
		}
		if a := answer(b[:n]); a != nil {
			c.WriteToUDP(a, from)
		}
	}
}

// give opens a port, or closes it if lifetime is 0.
func (r *router) give(protocol string, inside, outside uint16, lifetime uint32) uint16 {
	r.mu.Lock()
	defer r.mu.Unlock()
	key := fmt.Sprintf("%s %d", protocol, inside)
	if lifetime == 0 {
		delete(r.ports, key)
		return 0
	}
	if outside == r.taken {
		outside++
	}
	r.ports[key] = outside
	return outside
}

func (r *router) open() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return fmt.Sprint(r.ports)
}

func (r *router) control(b []byte) []byte {
	switch {
	case b[0] == 2 && r.pcp && len(b) == pcpSize:
		a := bytes.Clone(b)
		a[1] |= answerBit
		lifetime := binary.BigEndian.Uint32(b[4:])
		// A mapping belongs to who knows its nonce (RFC 6887, 11.3).
		r.mu.Lock()
		key := fmt.Sprintf("%s %d", Protocol(b[36]), binary.BigEndian.Uint16(b[40:]))
		if _, there := r.ports[key]; there && r.owner[key] != [12]byte(b[24:36]) {
			a[3] = 2
			r.mu.Unlock()
			return a
		}
		r.owner[key] = [12]byte(b[24:36])
		r.mu.Unlock()
		if r.heard != nil {
			r.heard(Protocol(b[36]).String())
		}
		port := r.give(Protocol(b[36]).String(), binary.BigEndian.Uint16(b[40:]), binary.BigEndian.Uint16(b[42:]), lifetime)
		binary.BigEndian.PutUint16(a[42:], port)
		ip := outside.As16()
		copy(a[44:], ip[:])
		return a
	case b[0] == 2 && r.natpmp:
		return []byte{0, 0x81, 0, 1, 0, 0, 0, 9}
	case b[0] == 0 && b[1] == 0 && r.natpmp:
		return append([]byte{0, 0x80, 0, 0, 0, 0, 0, 9}, outside.AsSlice()...)
	case b[0] == 0 && r.natpmp && len(b) == 12:
		p := UDP
		if b[1] == 2 {
			p = TCP
		}
		port := r.give(p.String(), binary.BigEndian.Uint16(b[4:]), binary.BigEndian.Uint16(b[6:]), binary.BigEndian.Uint32(b[8:]))
		a := []byte{0, b[1] | 0x80, 0, 0, 0, 0, 0, 9, b[4], b[5], byte(port >> 8), byte(port)}
		return append(a, b[8:12]...)
	}
	return nil
}

const description = `<?xml version="1.0"?><root xmlns="urn:schemas-upnp-org:device-1-0"><device><deviceType>urn:schemas-upnp-org:device:InternetGatewayDevice:1</deviceType>
<deviceList><device><deviceList><device><serviceList>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:1</serviceType><controlURL>/ctl</controlURL></service>
<service><serviceType>urn:schemas-upnp-org:service:WANIPConnection:2</serviceType><controlURL>http://192.0.2.66/elsewhere</controlURL></service>
</serviceList></device></deviceList></device></deviceList></device></root>`

var argument = regexp.MustCompile(`<(New\w+)>([^<]*)</`)

func (r *router) soap(w http.ResponseWriter, req *http.Request) {
	if req.URL.Path == "/root.xml" {
		io.WriteString(w, description)
		return
	}
	body, _ := io.ReadAll(req.Body)
	args := map[string]string{}
	for _, m := range argument.FindAllStringSubmatch(string(body), -1) {
		args[m[1]] = m[2]
	}
	_, action, _ := strings.Cut(strings.Trim(req.Header.Get("SOAPAction"), `"`), "#")
	r.mu.Lock()
	r.calls = append(r.calls, action)
	r.mu.Unlock()
	number := func(name string) uint16 { n, _ := strconv.Atoi(args[name]); return uint16(n) }
	refuse := func(code int, text string) {
		w.WriteHeader(500)
		fmt.Fprintf(w, `<s:Envelope xmlns:s="x"><s:Body><s:Fault><detail><UPnPError><errorCode>%d</errorCode><errorDescription>%s</errorDescription></UPnPError></detail></s:Fault></s:Body></s:Envelope>`, code, text)
	}
	values := ""
	switch action {
	case "GetExternalIPAddress":
		values = "<NewExternalIPAddress>" + outside.String() + "</NewExternalIPAddress>"
	case "AddPortMapping":
		switch {
		case number("NewExternalPort") == r.taken && (!r.takenTCP || args["NewProtocol"] == "TCP"):
			refuse(718, "ConflictInMappingEntry")
			return
		case r.noTCP && args["NewProtocol"] == "TCP":
			refuse(606, "Action not authorized")
			return
		case r.permanent && args["NewLeaseDuration"] != "0":
			refuse(725, "OnlyPermanentLeasesSupported")
			return
		}
		r.give(args["NewProtocol"], number("NewInternalPort"), number("NewExternalPort"), 1)
	case "DeletePortMapping":
		r.mu.Lock()
		for k, v := range r.ports {
			if strings.HasPrefix(k, args["NewProtocol"]) && v == number("NewExternalPort") {
				delete(r.ports, k)
			}
		}
		r.mu.Unlock()
	default:
		refuse(401, "Invalid Action")
		return
	}
	fmt.Fprintf(w, `<s:Envelope xmlns:s="x"><s:Body><u:%sResponse xmlns:u="y">%s</u:%sResponse></s:Body></s:Envelope>`, action, values, action)
}

// ask runs a client against the router until it has an answer, and ends it.
func ask(t *testing.T, r *router, change func(*Config)) (mappings []Mapping, said []string) {
	got := make(chan []Mapping, 4)
	var mu sync.Mutex
	cfg := Config{Port: 655, Wait: 500 * time.Millisecond, Refresh: time.Minute, Name: "tincan <test>", Changed: func(m []Mapping) { got <- m },
		Log: func(_ int, format string, args ...any) {
			mu.Lock()
			defer mu.Unlock()
			said = append(said, fmt.Sprintf(format, args...))
		}}
	if change != nil {
		change(&cfg)
	}
	c := New(cfg)
	c.sites = func() []site { return []site{{loopback, loopback}} }
	c.control = r.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	c.ssdp = netip.AddrPortFrom(loopback, 9)
	if r.ssdp != nil {
		c.ssdp = r.ssdp.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); c.Run(ctx) }()
	select {
	case mappings = <-got:
	case <-c.Asked(): // the router has opened something, or there will be nothing
		select {
		case mappings = <-got:
		case <-time.After(time.Second):
		}
	}
	if len(mappings) > 0 && r.open() == "map[]" {
		t.Error("the router knows nothing of it")
	}
	cancel()
	<-ended
	if r.open() != "map[]" {
		t.Errorf("at the end there is still %v", r.open())
	}
	mu.Lock()
	defer mu.Unlock()
	return mappings, said
}

func TestRoutersOpenPorts(t *testing.T) {
	for _, c := range []struct {
		name   string
		router *router
		change func(*Config)
		want   string
	}{
		{"PCP", &router{pcp: true, natpmp: true, upnp: true}, nil, "[TCP 203.0.113.5:655 leads to 127.0.0.1:655 (PCP) UDP 203.0.113.5:655 leads to 127.0.0.1:655 (PCP)]"},
		{"NAT-PMP", &router{natpmp: true, upnp: true}, nil, "[TCP 203.0.113.5:655 leads to 127.0.0.1:655 (NAT-PMP) UDP 203.0.113.5:655 leads to 127.0.0.1:655 (NAT-PMP)]"},
		{"UPnP", &router{upnp: true}, nil, "[TCP 203.0.113.5:655 leads to 127.0.0.1:655 (UPnP) UDP 203.0.113.5:655 leads to 127.0.0.1:655 (UPnP)]"},
		{"UPnP without leases", &router{upnp: true, permanent: true}, nil, "[TCP 203.0.113.5:655 leads to 127.0.0.1:655 (UPnP) UDP 203.0.113.5:655 leads to 127.0.0.1:655 (UPnP)]"},
		{"UDP only", &router{pcp: true}, func(c *Config) { c.UDPOnly = true }, "[UDP 203.0.113.5:655 leads to 127.0.0.1:655 (PCP)]"},
		{"the port is taken: both get the same other one", &router{pcp: true, taken: 655}, nil, "[TCP 203.0.113.5:656 leads to 127.0.0.1:655 (PCP) UDP 203.0.113.5:656 leads to 127.0.0.1:655 (PCP)]"},
		{"nobody helps", &router{}, nil, "[]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			r := newRouter(t, c.router)
			got, said := ask(t, r, c.change)
			if fmt.Sprint(got) != c.want {
				t.Errorf("got %v\nsaid %q", got, said)
			}
		})
	}
}

func TestATakenPortWithUPnP(t *testing.T) {
	t.Parallel()
	got, said := ask(t, newRouter(t, &router{upnp: true, taken: 655}), nil)
	if len(got) != 2 || got[0].External.Port() < 32768 || got[0].External.Port() != got[1].External.Port() {
		t.Errorf("got %v, said %q", got, said)
	}
}

func TestRenewalAndAnotherNetwork(t *testing.T) {
	r := newRouter(t, &router{pcp: true})
	var last []Mapping
	c := New(Config{Port: 655, Refresh: time.Minute, Wait: 300 * time.Millisecond, Changed: func(m []Mapping) { last = m }})
	here := []site{{loopback, loopback}}
	c.sites = func() []site { return here }
	c.control = r.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	c.ssdp = netip.AddrPortFrom(loopback, 9)
	if next := c.round(t.Context()); len(last) != 2 || next != time.Minute {
		t.Fatalf("%v, next in %v", last, next)
	}
	// The router has been restarted and has forgotten: the same ports come back.
	r.mu.Lock()
	clear(r.ports)
	r.mu.Unlock()
	c.round(t.Context())
	if r.open() != "map[TCP 655:655 UDP 655:655]" {
		t.Errorf("after a restart: %v", r.open())
	}
	// In another network the old mappings are not ours any more.
	here = nil
	if c.round(t.Context()); len(last) != 0 {
		t.Errorf("in another network there is still %v", last)
	}
}

// client returns one that is run by hand, and what it says.
func client(r *router, here *[]site) (c *Client, said func() string) {
	var all []string
	c = New(Config{Port: 655, Refresh: time.Minute, Wait: 300 * time.Millisecond, Log: func(_ int, format string, args ...any) { all = append(all, fmt.Sprintf(format, args...)) }})
	c.sites = func() []site { return *here }
	c.control = r.conn.LocalAddr().(*net.UDPAddr).AddrPort().Port()
	c.ssdp = netip.AddrPortFrom(loopback, 9)
	if r.ssdp != nil {
		c.ssdp = r.ssdp.LocalAddr().(*net.UDPAddr).AddrPort()
	}
	return c, func() string {
		defer func() { all = nil }()
		return strings.Join(all, "\n")
	}
}

// When the default route was away for a moment, the router still has our ports, and gives them
// to nobody who cannot tell that they are his.
func TestAfterABreakThePortsAreStillOurs(t *testing.T) {
	t.Parallel()
	here := []site{{loopback, loopback}}
	c, said := client(newRouter(t, &router{pcp: true}), &here)
	c.round(t.Context())
	here = nil
	if c.round(t.Context()); len(c.last) != 0 {
		t.Errorf("without a default route: %v", c.last)
	}
	here = []site{{loopback, loopback}}
	if c.round(t.Context()); len(c.last) != 2 {
		t.Errorf("after it: %v, said %q", c.last, said())
	}
}

// Whoever waits for an answer is not kept waiting by another router, nor by none.
func TestTheFirstAnswerIsToldAtOnce(t *testing.T) {
	t.Parallel()
	for name, here := range map[string][]site{
		"one answers, one does not": {{loopback, loopback}, {netip.MustParseAddr("127.0.0.3"), loopback}},
		"there is none":             nil,
	} {
		c, _ := client(newRouter(t, &router{pcp: true}), &here)
		c.cfg.Wait = time.Minute
		ended := make(chan struct{})
		ctx, cancel := context.WithCancel(t.Context())
		go func() { defer close(ended); c.Run(ctx) }()
		select {
		case <-c.Asked():
		case <-time.After(30 * time.Second): // the search for the other one would take a minute
			t.Errorf("%s: nothing for half a minute", name)
		}
		cancel()
		<-ended
	}
}

func TestARefusalIsSaidOnceInEachNetwork(t *testing.T) {
	t.Parallel()
	here := []site{{loopback, loopback}}
	c, said := client(newRouter(t, &router{}), &here)
	for i := range 3 {
		c.round(t.Context())
		if got := said(); strings.Contains(got, "did not open a port") != (i == 0) {
			t.Errorf("round %d: %q", i, got)
		}
		clear(c.backoffs)
	}
	here = nil
	c.round(t.Context())
	if len(c.reported) != 0 {
		t.Errorf("remembered of a network that is gone: %v", c.reported)
	}
	here = []site{{loopback, loopback}}
	if c.round(t.Context()); !strings.Contains(said(), "did not open a port") {
		t.Error("in that network again nothing is said")
	}
}

// Where one router helps, as with IPv4, and another does not, as with IPv6, the other one is left
// alone nevertheless.
func TestARouterThatDoesNotHelpIsLeftAlone(t *testing.T) {
	t.Parallel()
	helps, other := site{loopback, loopback}, site{netip.MustParseAddr("127.0.0.3"), loopback}
	here := []site{helps, other}
	c, _ := client(newRouter(t, &router{pcp: true}), &here)
	for _, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute} {
		c.round(t.Context())
		if len(c.last) != 2 || c.backoffs[other].pause != want {
			t.Errorf("%v, and the next attempt with the other in %v, want %v", c.last, c.backoffs[other].pause, want)
		}
		before := c.backoffs[other]
		if next := c.round(t.Context()); c.backoffs[other] != before || next > time.Minute {
			t.Errorf("asked again: the back-off is %v, and was %v; next in %v", c.backoffs[other], before, next)
		}
		c.backoffs[other] = backoff{time.Now(), c.backoffs[other].pause} // that time has passed
	}
	c.backoffs[other] = backoff{time.Now(), maxPause}
	if c.round(t.Context()); c.backoffs[other].pause != maxPause {
		t.Errorf("the pause grows to %v", c.backoffs[other].pause)
	}
	here = nil
	if c.round(t.Context()); len(c.backoffs) != 0 {
		t.Errorf("remembered of networks that are gone: %v", c.backoffs)
	}
}

func TestAPortThatIsMissingIsSaidOnce(t *testing.T) {
	t.Parallel()
	here := []site{{loopback, loopback}}
	r := newRouter(t, &router{pcp: true, ports: map[string]uint16{"TCP 655": 655}}) // of somebody whose nonce is another
	c, said := client(r, &here)
	for i := range 3 {
		c.round(t.Context())
		if got := said(); strings.Contains(got, "did not open the TCP port: the router refuses: not authorized") != (i == 0) {
			t.Errorf("round %d: %q", i, got)
		}
	}
	if c.release(); r.open() != "map[TCP 655:655]" {
		t.Errorf("after the end: %v", r.open())
	}
}

// Ended in the middle of it, too, everything is given back.
func TestEndedWhileAsking(t *testing.T) {
	here := []site{{loopback, loopback}}
	ctx, cancel := context.WithCancel(t.Context())
	r := newRouter(t, &router{pcp: true, heard: func(protocol string) {
		if protocol == "TCP" {
			cancel()
			time.Sleep(50 * time.Millisecond)
		}
	}})
	c, _ := client(r, &here)
	c.Run(ctx)
	if strings.Contains(r.open(), "UDP") {
		t.Errorf("at the end there is still %v", r.open())
	}
}

// A port that we have not got is somebody else's, and one that we do not want any more is
// given back.
func TestWithUPnPOnlyOurOwnPortsAreGivenBack(t *testing.T) {
	t.Parallel()
	here := []site{{loopback, loopback}}
	r := newRouter(t, &router{upnp: true, permanent: true, taken: 655, takenTCP: true})
	c, _ := client(r, &here)
	c.round(t.Context())
	c.round(t.Context()) // UDP takes the port that TCP has got
	if len(c.last) != 2 || c.last[0].External.Port() != c.last[1].External.Port() {
		t.Errorf("%v", c.last)
	}
	r.mu.Lock()
	calls := fmt.Sprint(r.calls)
	r.mu.Unlock()
	if !strings.Contains(calls, "DeletePortMapping") {
		t.Errorf("the first port of UDP stays open for ever: %v", calls)
	}
	if c.release(); r.open() != "map[]" {
		t.Errorf("at the end there is still %v", r.open())
	}

	r = newRouter(t, &router{upnp: true, noTCP: true, ports: map[string]uint16{"TCP 22": 655}}) // of another machine
	c, _ = client(r, &here)
	c.round(t.Context())
	if c.release(); r.open() != "map[TCP 22:655]" {
		t.Errorf("at the end there is %v", r.open())
	}
}

func TestTheGatewayIsBelievedBeforeOthers(t *testing.T) {
	t.Parallel()
	liar, honest := newRouter(t, &router{upnp: true, at: "127.0.0.2"}), newRouter(t, &router{upnp: true})
	// Both hear the question, and the liar is the first to answer.
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(loopback, 0)))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		b := make([]byte, 2048)
		for {
			_, from, err := conn.ReadFromUDP(b)
			if err != nil {
				return
			}
			for _, r := range []*router{liar, honest} {
				r.ssdp.WriteToUDP(fmt.Appendf(nil, "HTTP/1.1 200 OK\r\nST: %s\r\nLOCATION: %s/root.xml\r\n\r\n", ssdpTargets[1], r.web.URL), from)
			}
		}
	}()
	to := conn.LocalAddr().(*net.UDPAddr).AddrPort()
	list, err := search(t.Context(), to, site{loopback, loopback}, time.Second)
	if err != nil || len(list) != 1 || !strings.HasPrefix(list[0].control, honest.web.URL) {
		t.Errorf("%v, %v; want that of %s", list, err, honest.web.URL)
	}
	// In the same network the router may also be somebody else.
	list, err = search(t.Context(), to, site{netip.MustParseAddr("127.0.0.9"), loopback}, 300*time.Millisecond)
	if err != nil || len(list) != 1 {
		t.Errorf("%v, %v", list, err)
	}
	for a, want := range map[string]bool{"127.0.0.2": true, "192.0.2.1": false, "10.1.2.3": false} {
		if got := inNetworkOf(loopback, netip.MustParseAddr(a)); got != want {
			t.Errorf("%s is in our network: %t", a, got)
		}
	}
}

func TestOnlyAnswersToOurQuestionCount(t *testing.T) {
	r := request{protocol: UDP, nonce: [12]byte{1, 2, 3}, client: netip.MustParseAddr("192.168.1.2"), internal: 655, external: 655, lifetime: 2 * time.Minute}
	good := appendPCP(nil, r)
	if want := "020100000000007800000000000000000000ffffc0a80102" + "010203000000000000000000" + "11000000" + "028f028f" + "00000000000000000000ffff00000000"; hex.EncodeToString(good) != want {
		t.Errorf("the request is %x", good)
	}
	good[1] |= answerBit
	if a, err := parsePCP(good, r); err != nil || a.external.Port() != 655 || a.lifetime != 2*time.Minute {
		t.Errorf("%v, %v", a, err)
	}
	for name, at := range map[string]int{"another nonce": 24, "another protocol": 36, "another port": 41, "another version": 0, "a request": 1} {
		b := bytes.Clone(good)
		b[at] ^= 0x83
		if _, err := parsePCP(b, r); !errors.Is(err, errNotOurs) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := parsePCP([]byte{0, 0x81, 0, 1}, r); !errors.Is(err, errOldVersion) {
		t.Errorf("NAT-PMP: %v", err)
	}
	if b := appendNATPMP(nil, r); hex.EncodeToString(b) != "00010000028f028f00000078" {
		t.Errorf("the request of NAT-PMP is %x", b)
	}
}

func TestADescriptionElsewhereIsNotFetched(t *testing.T) {
	for name, at := range map[string]string{"another machine": "http://192.0.2.1/x", "a name": "http://router.lan/x", "a file": "file:///etc/passwd", "https": "https://127.0.0.1/x"} {
		if _, err := describe(t.Context(), at, loopback); err == nil || !strings.Contains(err.Error(), "its description is") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestARouterThatTalksTooMuch(t *testing.T) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		for range 64 {
			w.Write(make([]byte, 16<<10))
		}
	}))
	defer s.Close()
	if _, err := describe(t.Context(), s.URL, loopback); err == nil || !strings.Contains(err.Error(), "is longer than") {
		t.Errorf("%v", err)
	}
}

func FuzzAnswers(f *testing.F) {
	r := request{protocol: UDP, nonce: [12]byte{1}, client: netip.MustParseAddr("192.168.1.2"), internal: 655, external: 655, lifetime: time.Minute}
	b := appendPCP(nil, r)
	b[1] |= answerBit
	f.Add(b)
	f.Add([]byte{0, 0x81, 0, 0, 0, 0, 0, 9, 2, 0x8f, 2, 0x8f, 0, 0, 0, 60})
	f.Add([]byte{0, 0x80, 0, 0, 0, 0, 0, 9, 203, 0, 113, 5})
	f.Fuzz(func(t *testing.T, b []byte) {
		if a, err := parsePCP(b, r); err == nil && a.lifetime > maxLifetime {
			t.Fatal(a)
		}
		if a, err := parseNATPMP(b, r); err == nil && a.lifetime > maxLifetime {
			t.Fatal(a)
		}
		parseNATPMPAddress(b)
	})
}

func FuzzXML(f *testing.F) {
	f.Add([]byte(description))
	f.Add([]byte(`<s:Envelope xmlns:s="x"><s:Body><errorCode>718</errorCode></s:Body></s:Envelope>`))
	at, _ := url.Parse("http://192.168.1.1:5000/root.xml")
	f.Fuzz(func(t *testing.T, b []byte) {
		list, err := parseDescription(b, at)
		for _, s := range list {
			if u, bad := url.Parse(s.control); err != nil || bad != nil || u.Hostname() != "192.168.1.1" {
				t.Fatalf("%+v", s)
			}
			s.version()
		}
		if m, err := parseReply(b); err == nil && len(m) > 65 {
			t.Fatal("too many values")
		}
	})
}

func FuzzSearch(f *testing.F) {
	f.Add([]byte("HTTP/1.1 200 OK\r\nST: urn:schemas-upnp-org:device:InternetGatewayDevice:1\r\nLOCATION: http://192.168.1.1/x\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if location, ok := parseSearch(b); ok && (location == "" || strings.ContainsAny(location, "\r\n")) {
			t.Fatalf("%q", location)
		}
	})
}
