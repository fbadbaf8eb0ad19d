package netconf

var system = freeBSD
