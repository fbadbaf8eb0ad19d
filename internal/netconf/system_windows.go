package netconf

var system = windows
