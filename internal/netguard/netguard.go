// Package netguard refuses the addresses that no name of a caller's may lead
// to: those of the local link, of everybody at once, and of a cloud's metadata,
// which gives a machine its cloud's credentials. Loopback and private networks
// are allowed: a team's own key managers and identity providers stand there.
//
// An IPv6 address that embeds an IPv4 address for a translator or a tunnel is
// judged by both. A network's own translation prefix cannot be told from other
// addresses: a machine behind one needs a firewall of its own.
package netguard

import (
	"errors"
	"net/netip"
	"slices"
	"syscall"
)

// ErrForbidden says that a connection was refused for its address.
var ErrForbidden = errors.New("netguard: an address of the local link or of a cloud's metadata")

// Control is a [net.Dialer]'s Control that refuses forbidden addresses. It runs
// after a name was resolved, so that no name leads to one.
//
// Errors: ErrForbidden, also for what is no IP address with a port.
func Control(_, address string, _ syscall.RawConn) error {
	a, err := netip.ParseAddrPort(address)
	if err != nil || Forbidden(a.Addr()) {
		return ErrForbidden
	}
	return nil
}

// Forbidden reports whether an address, or an IPv4 address that it embeds, must
// not be connected to. The invalid address is forbidden.
func Forbidden(a netip.Addr) bool {
	a = a.Unmap().WithZone("")
	return !a.IsValid() || forbidden(a) || slices.ContainsFunc(embedded(a), forbidden)
}

// forbidden judges an address by itself.
//
// Source: RFC 6890 for the special ones; the clouds' documentation of their
// instance metadata for the others.
func forbidden(a netip.Addr) bool {
	switch a {
	case netip.MustParseAddr("100.100.100.200"), // Alibaba
		netip.MustParseAddr("168.63.129.16"),      // Azure
		netip.MustParseAddr("192.0.0.192"),        // Oracle
		netip.MustParseAddr("fd00:c1::a9fe:a9fe"), // Oracle
		netip.MustParseAddr("fd20:ce::254"),       // Google
		netip.MustParseAddr("255.255.255.255"):
		return true
	}
	return a.IsLinkLocalUnicast() || a.IsMulticast() || a.IsUnspecified() || thisNetwork(a) ||
		netip.MustParsePrefix("fd00:ec2::/32").Contains(a) // AWS
}

// thisNetwork reports whether a is in 0.0.0.0/8, which systems may take for
// themselves.
func thisNetwork(a netip.Addr) bool { return a.Is4() && a.As4()[0] == 0 }

// embedded returns the IPv4 addresses that an IPv6 address may lead to.
func embedded(a netip.Addr) []netip.Addr {
	if !a.Is6() || a.IsLoopback() || a.IsUnspecified() {
		return nil
	}
	b := a.As16()
	at := func(i, j, k, l int) netip.Addr { return netip.AddrFrom4([4]byte{b[i], b[j], b[k], b[l]}) }
	last := at(12, 13, 14, 15)
	var all []netip.Addr
	for _, prefix := range []string{
		"::/96",           // IPv4-compatible, RFC 4291 section 2.5.5.1
		"::ffff:0:0:0/96", // IPv4-translated, RFC 2765 section 2.1
		"64:ff9b::/96",    // NAT64, RFC 6052 section 2.1
	} {
		if netip.MustParsePrefix(prefix).Contains(a) {
			all = append(all, last)
		}
	}
	switch {
	case netip.MustParsePrefix("2002::/16").Contains(a): // 6to4, RFC 3056 section 2
		all = append(all, at(2, 3, 4, 5))
	case netip.MustParsePrefix("2001::/32").Contains(a): // Teredo, RFC 4380 section 4: server and client
		all = append(all, at(4, 5, 6, 7), netip.AddrFrom4([4]byte{^b[12], ^b[13], ^b[14], ^b[15]}))
	case netip.MustParsePrefix("64:ff9b:1::/48").Contains(a): // local NAT64, RFC 8215
		// The network chooses how long its prefix is: RFC 6052 section 2.2 has a
		// place for each length. Zeros are what another length leaves there.
		for _, v4 := range []netip.Addr{at(6, 7, 9, 10), at(7, 9, 10, 11), at(9, 10, 11, 12), last} {
			if !thisNetwork(v4) {
				all = append(all, v4)
			}
		}
	}
	if b[8]&^2 == 0 && b[9] == 0 && b[10] == 0x5e && b[11] == 0xfe { // ISATAP, RFC 5214 section 6.1
		all = append(all, last)
	}
	return all
}
