package portmap

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
)

const (
	maxXML   = 256 << 10 // largest document of a router, in bytes
	httpTime = 3 * time.Second
	maxDepth = 8 // of devices within devices
)

// service is one of the router's services that we can use.
type service struct {
	kind    string // such as urn:schemas-upnp-org:service:WANIPConnection:1
	control string // URL
}

// is reports whether the service is of the kind with the name, such as WANIPConnection.
func (s service) is(name string) bool {
	return strings.HasPrefix(s.kind, "urn:schemas-upnp-org:service:"+name+":")
}

// version is the number after the name, 1 if there is none.
func (s service) version() int {
	n, err := strconv.Atoi(s.kind[strings.LastIndexByte(s.kind, ':')+1:])
	if err != nil {
		return 1
	}
	return n
}

// upnpDevice is what counts of a device description.
type upnpDevice struct {
	Services []struct {
		Type    string `xml:"serviceType"`
		Control string `xml:"controlURL"`
	} `xml:"serviceList>service"`
	Devices []upnpDevice `xml:"deviceList>device"`
}

// parseDescription finds the services in the description that was fetched from at. Control
// URLs that lead to another machine are left out.
func parseDescription(b []byte, at *url.URL) ([]service, error) {
	var root struct {
		Device upnpDevice `xml:"device"`
	}
	if err := decode(b, &root); err != nil {
		return nil, fmt.Errorf("read its description: %w", err)
	}
	var out []service
	var walk func(upnpDevice, int)
	walk = func(d upnpDevice, depth int) {
		for _, s := range d.Services {
			control, err := at.Parse(strings.TrimSpace(s.Control))
			if err != nil || control.Hostname() != at.Hostname() || control.Scheme != "http" || len(out) >= 64 {
				continue
			}
			out = append(out, service{strings.TrimSpace(s.Type), control.String()})
		}
		if depth < maxDepth {
			for _, child := range d.Devices {
				walk(child, depth+1)
			}
		}
	}
	walk(root.Device, 0)
	return out, nil
}

// decode reads XML. Whatever the encoding is called, names and numbers are ASCII.
func decode(b []byte, into any) error {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	return d.Decode(into)
}

// arg is an argument of an action; they are sent in order.
type arg struct{ name, value string }

// appendCall appends the body of a request.
func appendCall(b []byte, s service, action string, args []arg) []byte {
	w := bytes.NewBuffer(b)
	w.WriteString(`<?xml version="1.0"?>` + "\r\n" +
		`<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/" s:encodingStyle="http://schemas.xmlsoap.org/soap/encoding/"><s:Body>` +
		`<u:` + action + ` xmlns:u="`)
	_ = xml.EscapeText(w, []byte(s.kind))
	w.WriteString(`">`)
	for _, a := range args {
		w.WriteString("<" + a.name + ">")
		_ = xml.EscapeText(w, []byte(a.value))
		w.WriteString("</" + a.name + ">")
	}
	w.WriteString(`</u:` + action + `></s:Body></s:Envelope>`)
	return w.Bytes()
}

// fault is an error that the router reports.
type fault struct {
	code int
	text string
}

func (f *fault) Error() string { return fmt.Sprintf("the router refuses: %.80q (%d)", f.text, f.code) }

// parseReply returns the values of a reply by their names.
func parseReply(b []byte) (map[string]string, error) {
	d := xml.NewDecoder(bytes.NewReader(b))
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil }
	out := map[string]string{}
	name := ""
	envelope := false
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, fmt.Errorf("read the router's reply: %w", err)
		}
		switch t := token.(type) {
		case xml.StartElement:
			name = t.Name.Local
			envelope = envelope || name == "Envelope"
		case xml.CharData:
			if name != "" && len(out) < 64 {
				out[name] += strings.TrimSpace(string(t))
			}
		case xml.EndElement:
			name = ""
		}
	}
	if !envelope {
		return nil, errors.New("the router's reply is not of UPnP")
	}
	if code, ok := out["errorCode"]; ok {
		n, _ := strconv.Atoi(code)
		return nil, &fault{n, out["errorDescription"]}
	}
	return out, nil
}

// web fetches from the router: directly, without redirects, and not for long.
var web = &http.Client{
	Timeout:       httpTime,
	Transport:     &http.Transport{Proxy: nil, DisableKeepAlives: true, ResponseHeaderTimeout: httpTime, MaxResponseHeaderBytes: 16 << 10},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// describe fetches the description at location, which the machine at from has named.
func describe(ctx context.Context, location string, from netip.Addr) ([]service, error) {
	at, err := url.Parse(location)
	if err != nil || at.Scheme != "http" {
		return nil, errors.New("its description is not at an http address")
	}
	if ip, err := netip.ParseAddr(at.Hostname()); err != nil || ip.Unmap() != from {
		return nil, errors.New("its description is on another machine")
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	b, status, err := fetch(req)
	if err != nil {
		return nil, err
	} else if status != http.StatusOK {
		return nil, fmt.Errorf("its description: status %d", status)
	}
	return parseDescription(b, at)
}

func fetch(req *http.Request) (body []byte, status int, err error) {
	resp, err := web.Do(req)
	if err != nil {
		return nil, 0, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxXML+1))
	if err == nil && len(b) > maxXML {
		err = fmt.Errorf("the router's reply is longer than %d bytes", maxXML)
	}
	return b, resp.StatusCode, err
}

// call carries out an action.
func (s service) call(ctx context.Context, action string, args ...arg) (map[string]string, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, s.control, bytes.NewReader(appendCall(nil, s, action, args)))
	if err != nil {
		return nil, err
	}
	req.Header.Set("Content-Type", `text/xml; charset="utf-8"`)
	req.Header["SOAPAction"] = []string{`"` + s.kind + "#" + action + `"`}
	b, status, err := fetch(req)
	if err != nil {
		return nil, err
	}
	if status != http.StatusOK && status != http.StatusInternalServerError {
		return nil, fmt.Errorf("the router answers %s with status %d", action, status)
	}
	return parseReply(b)
}

// ---------------------------------------------------------------- discovery

// ssdpTargets are what is searched for, newest first.
var ssdpTargets = []string{
	"urn:schemas-upnp-org:device:InternetGatewayDevice:2",
	"urn:schemas-upnp-org:device:InternetGatewayDevice:1",
}

// appendSearch appends a search for target.
func appendSearch(b []byte, to netip.AddrPort, target string) []byte {
	return fmt.Appendf(b, "M-SEARCH * HTTP/1.1\r\nHOST: %s\r\nMAN: \"ssdp:discover\"\r\nMX: 1\r\nST: %s\r\n\r\n", to, target)
}

// parseSearch returns where the description is, from the answer to a search. Control
// characters are in no URL, so an answer with one in it is none.
func parseSearch(b []byte) (location string, ok bool) {
	line, rest, _ := strings.Cut(string(b), "\n")
	if !strings.HasPrefix(line, "HTTP/1.") || !strings.Contains(line, " 200") {
		return "", false
	}
	gateway := false
	for field := range strings.Lines(rest) {
		name, value, _ := strings.Cut(field, ":")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "location":
			location = value
		case "st":
			gateway = strings.Contains(value, ":InternetGatewayDevice:")
		}
	}
	strange := strings.ContainsFunc(location, unicode.IsControl)
	return location, gateway && location != "" && len(location) < 1024 && !strange
}

// search asks in the local network for routers with UPnP, and returns the services of the first
// one that has any. The gateway has precedence over other routers that answer meanwhile; those are
// accepted only from our own network.
func search(ctx context.Context, to netip.AddrPort, at site, wait time.Duration) ([]service, error) {
	conn, err := net.ListenUDP("udp4", net.UDPAddrFromAddrPort(netip.AddrPortFrom(at.local, 0)))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	end := time.Now().Add(wait)
	type other struct {
		location string
		from     netip.Addr
	}
	var others []other
	asked := map[string]bool{} // of the gateway
	failed := errors.New("no router with UPnP answers")
	try := func(location string, from netip.Addr) []service {
		list, err := describe(ctx, location, from)
		if err != nil {
			failed = fmt.Errorf("UPnP: %w", err)
		}
		return list
	}
	buf := make([]byte, 2048)
	for n := 0; time.Now().Before(end) && ctx.Err() == nil; n++ {
		if n < 2 { // datagrams get lost
			for _, target := range ssdpTargets {
				if _, err := conn.WriteToUDPAddrPort(appendSearch(nil, to, target), to); err != nil {
					return nil, err
				}
			}
		}
		until := end
		if n < 1 {
			until = time.Now().Add(wait / 3)
		}
		conn.SetReadDeadline(until)
		for ctx.Err() == nil {
			size, source, err := conn.ReadFromUDPAddrPort(buf)
			if err != nil {
				break
			}
			location, ok := parseSearch(buf[:size])
			from := source.Addr().Unmap()
			switch {
			case !ok:
			case from == at.gateway && !asked[location] && len(asked) < maxAsked:
				asked[location] = true
				if list := try(location, from); len(list) > 0 {
					return list, nil
				}
			case from != at.gateway && len(others) < maxAsked && !slices.Contains(others, other{location, from}) && inNetworkOf(at.local, from):
				others = append(others, other{location, from})
			}
		}
	}
	for _, o := range others {
		if list := try(o.location, o.from); len(list) > 0 {
			return list, nil
		}
	}
	return nil, failed
}

// maxAsked is how many descriptions are fetched from the gateway, and from others.
const maxAsked = 4

// inNetworkOf reports whether a is in the network of our address local. Source addresses can be
// spoofed: a reply must not make us send requests to machines elsewhere, or inside a VPN.
func inNetworkOf(local, a netip.Addr) bool {
	list, _ := net.InterfaceAddrs()
	for _, x := range list {
		if n, ok := x.(*net.IPNet); ok && n.IP.Equal(local.AsSlice()) && n.Contains(a.AsSlice()) {
			return true
		}
	}
	return false
}
