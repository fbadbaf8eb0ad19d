package cli

import (
	"strings"

	"github.com/spf13/cobra"
)

// examples are by the words of a command. A network is named only where that is needed.
var examples = map[string]string{
	"init":               "tincan -n home init alice --public vpn.example.org\ntincan -n home init alice --range 10.20.0.0/16",
	"invite":             "tincan invite bob\ntincan invite bob --address vpn.example.org:443",
	"join":               "tincan join URL\ntincan -n work join URL --service",
	"token new":          "tincan token new --uses 20 --expires 2h --label 'new office'\ntincan token new --for carol",
	"token list":         "tincan token list",
	"token revoke":       "tincan token revoke 'new office'",
	"up":                 "tincan up --detach\ntincan up --debug 3 -o Port=8000\ntincan up --boot :8655 --service",
	"down":               "tincan down",
	"restart":            "tincan -n home restart",
	"reload":             "tincan reload",
	"retry":              "tincan retry",
	"connect":            "tincan connect carol",
	"disconnect":         "tincan disconnect carol",
	"proxy":              "tincan proxy --socks 127.0.0.1:1080 --http 127.0.0.1:8080\ntincan proxy -L 8081:web:80 -R 22:127.0.0.1:22",
	"exec":               "tincan exec -- sh\ntincan exec -- ssh bob\ntincan exec -- ./server --listen :80",
	"service install":    "tincan service install\ntincan -n home service install --dry-run",
	"service uninstall":  "tincan service uninstall",
	"service status":     "tincan service status && echo it runs",
	"systemd-unit":       "tincan systemd-unit --install",
	"migrate":            "tincan -n home migrate\ntincan -n home migrate --back\ntincan migrate --names --dry-run",
	"status":             "tincan status\ntincan status bob\ntincan status 'db*' --unreachable\ntincan status --watch\ntincan status --json",
	"ping":               "tincan ping bob\ntincan ping 10.20.0.2 --count 0\ntincan ping bob --via carol",
	"why":                "tincan why bob\ntincan why 10.20.0.2\ntincan why web1:443",
	"ui":                 "tincan ui\ntincan ui --no-browser --port 7655",
	"netcheck":           "tincan netcheck",
	"top":                "tincan top",
	"dump":               "tincan dump nodes\ntincan dump reachable nodes\ntincan dump graph | dot -Tsvg >mesh.svg",
	"info":               "tincan info bob\ntincan info 10.20.0.2",
	"log":                "tincan log 3",
	"events":             "tincan events --json",
	"pcap":               "tincan pcap | tcpdump -n -r -",
	"check":              "tincan -c /etc/tinc/home check\ntincan check --fix",
	"get":                "tincan get Name\ntincan get --json Subnet\ntincan get bob.Address",
	"set":                "tincan set Address vpn.example.org\ntincan set PingInterval 30s\ntincan set bob.Weight 5",
	"add":                "tincan add ConnectTo bob\ntincan add Subnet 192.168.50.0/24",
	"del":                "tincan del ConnectTo bob\ntincan del Subnet",
	"export":             "tincan export >alice\ntincan export --all | ssh bob tincan import",
	"import":             "tincan import alice\nssh bob tincan export | tincan import",
	"exchange":           "tincan exchange <theirs >ours",
	"edit":               "tincan edit tinc.conf\nEDITOR=nano tincan edit bob",
	"accept":             "tincan accept\ntincan accept bob",
	"remove":             "tincan remove mallory\ntincan remove mallory --reason 'laptop stolen'",
	"members":            "tincan members\ntincan members --all --json",
	"admit":              "tincan admit bob\ntincan admit bob --group web --subnet 10.20.0.2",
	"approve":            "tincan approve carol",
	"deny":               "tincan deny mallory",
	"leave":              "tincan leave",
	"device add":         "tincan device add phone --qr\ntincan device add phone --group home --endpoint vpn.example.org",
	"device list":        "tincan device list",
	"device remove":      "tincan device remove phone --reason lost",
	"device rekey":       "tincan device rekey",
	"owners show":        "tincan owners show",
	"owners key":         "tincan owners key",
	"owners add":         "tincan owners add bob KEY\ntincan owners add bob --rights admit,remove",
	"owners threshold":   "tincan owners threshold 2",
	"owners retire":      "tincan owners retire bob",
	"owners compromised": "tincan owners compromised bob\ntincan owners compromised bob --drop mallory",
	"owners sign":        "tincan owners sign",
	"owners recover":     "tincan owners recover\ntincan owners recover --recovery-file FILE --lost alice",
	"roster adopt":       "tincan roster adopt\ntincan roster adopt --name olga --signed",
	"roster accept":      "tincan roster accept ID",
	"roster show":        "tincan roster show",
	"roster log":         "tincan roster log",
	"roster verify":      "tincan roster verify",
	"roster export":      "tincan roster export >roster.txt",
	"roster diff":        "ssh bob tincan roster export >bobs && tincan roster diff bobs",
	"policy show":        "tincan policy show\ntincan policy show --text >policy",
	"policy set":         "tincan policy set policy\ntincan policy show --text | sed 's/bob/carol/' | tincan policy set -",
	"policy edit":        "tincan policy edit\nEDITOR=nano tincan policy edit",
	"policy check":       "tincan policy check policy",
	"policy try":         "tincan policy try bob web1:443\ntincan policy try group:admin 10.20.0.2:53/udp --file policy",
	"policy clear":       "tincan policy clear",
	"sign":               "tincan sign letter >letter.signed",
	"verify":             "tincan verify bob letter.signed",
	"version":            "tincan version",
	"bootnode":           "tincan bootnode --token-file FILE\ntincan bootnode --service",
	"gen":                "tincan gen --standalone -a vpn.example.org\ntincan gen --token-file FILE vpn.example.org:8655",
}

// addExamples gives each command its examples.
func addExamples(root *cobra.Command) {
	for words, text := range examples {
		if c, rest, err := root.Find(strings.Fields(words)); err == nil && len(rest) == 0 && c != root {
			c.Example = "  " + strings.ReplaceAll(text, "\n", "\n  ")
		}
	}
}
