package netconf

var system = macOS
