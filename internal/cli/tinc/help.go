package tinc

import "fmt"

// usage prints the help text.
func (c *call) usage() {
	fmt.Fprintf(c.Out, `Usage: %s [OPTION]... COMMAND [ARGUMENT]...

Sets up and controls a tinc network, as part of tincan.

Valid options are (before the command):
  -c, --config=DIR   the configuration is in DIR
  -n, --net=NET      the network NET: /etc/tinc/NET
      --pidfile=FILE pid file of the daemon
  -b, --batch        ask no questions
      --force        do it despite warnings
      --help         show this text
      --version      show the version

Configuration:
  init [NAME]                       create a new node
  get VARIABLE                      show a variable, [HOST.]VARIABLE
  set VARIABLE VALUE                give it this value only
  add VARIABLE VALUE                give it one more value
  del VARIABLE [VALUE]              remove it, or one of its values
  generate-keys [BITS]              make new keys of both kinds
  generate-rsa-keys [BITS]          make a new RSA key, for nodes of tinc 1.0
  generate-ed25519-keys             make a new Ed25519 key
  edit FILE                         open a file in $VISUAL, $EDITOR or vi
  export, export-all                print own host file, all host files
  import                            read host files that export printed
  exchange, exchange-all            export, then import, over a pipe
  invite NAME                       print a URL that lets a new node in, once
  join [URL]                        become a node of a network
  fsck                              look for errors in the files, and offer to
                                    fix them (--force: fix them)
  network [NET]                     list the networks of this machine, or
                                    switch to one (in the shell)
  sign [FILE]                       print data with this node's signature
  verify NODE [FILE]                check it, and print the data; NODE may be .
                                    for this node and * for any

The daemon:
  start [TINCD OPTION]...           start it
  stop, restart                     stop it, stop and start it
  reload                            make it read its configuration again
  pid                               print its process number
  debug LEVEL                       change how much it logs
  retry                             dial all waiting nodes now
  purge                             forget nodes that are gone
  connect NODE, disconnect NODE     open or close a connection
  dump [reachable] nodes            list what it knows: nodes, edges, subnets,
                                    connections, graph, digraph, invitations
  info NODE|SUBNET|ADDRESS          show one of them
  log [LEVEL]                       show its log as it grows
  pcap [SNAPLEN]                    print the VPN's packets, for tcpdump -r -

Others:
  version, help
  exit, quit                        leave the shell

Without a command it is a shell: it reads commands from standard input.
`, c.prog)
}
