package report

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"text/tabwriter"
	"time"

	"tincan/internal/members"
	"tincan/internal/node"
)

// AddedDevice is what "device add --json" prints.
type AddedDevice struct {
	Name      node.Name `json:"name"`
	Key       string    `json:"key"`      // public, of the device
	DoorKey   string    `json:"door_key"` // public, of all doors
	Addresses []string  `json:"addresses"`
	Endpoint  string    `json:"endpoint"`      // where the device finds a door
	Config    string    `json:"configuration"` // for WireGuard; secret, if the private key is in it
}

// NewAddedDevice makes one.
func NewAddedDevice(name node.Name, key, doorKey string, addrs []netip.Addr, endpoint, config string) AddedDevice {
	a := AddedDevice{Name: name, Key: key, DoorKey: doorKey, Addresses: []string{}, Endpoint: endpoint, Config: config}
	for _, addr := range addrs {
		a.Addresses = append(a.Addresses, addr.String())
	}
	return a
}

// Devices is what "device list --json" prints.
type Devices struct {
	DoorKey string           `json:"door_key,omitempty"` // public, of all doors
	Devices []members.Device `json:"devices"`
}

// NewDevices takes the devices out of v.
func NewDevices(v members.View) Devices {
	return Devices{v.DoorKey, append([]members.Device{}, v.Devices...)}
}

// WriteDevices writes the devices for people.
func WriteDevices(w io.Writer, v members.View, f Form) error {
	var b strings.Builder
	if len(v.Devices) == 0 {
		fmt.Fprintf(&b, "there are no devices; to add one: %s device add NAME\n", f.command())
	} else {
		t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
		fmt.Fprintln(t, "NAME\tFINGERPRINT\tADDRESSES\tGROUPS\tADDED BY\tDOOR\tHANDSHAKE")
		for _, d := range v.Devices {
			fmt.Fprintf(t, "%s\t%s\t%s\t%s\t%s\t%s\t%s\n", d.Name, d.Fingerprint, list(d.Addresses), list(d.Groups), d.By, cmp.Or(string(d.Door), "-"), handshake(d, f.Now))
		}
		t.Flush()
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func handshake(d members.Device, now time.Time) string {
	if d.Handshake == nil {
		return "-"
	}
	return fmt.Sprintf("%s ago from %s", max(0, now.Sub(*d.Handshake)).Round(time.Second), d.Endpoint)
}
