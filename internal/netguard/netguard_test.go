package netguard

import (
	"errors"
	"net"
	"net/netip"
	"testing"
	"time"
)

func TestForbidden(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, address string
		want          bool
	}{
		{"public", "198.41.0.4", false},
		{"public IPv6", "2606:4700::1111", false},
		{"loopback", "127.0.0.1", false},
		{"loopback, the last", "127.255.255.254", false},
		{"loopback IPv6", "::1", false},
		{"private, class A", "10.1.2.3", false},
		{"private, class B", "172.16.0.1", false},
		{"private, class C", "192.168.0.1", false},
		{"unique local", "fd00::1", false},
		{"documentation", "203.0.113.7", false},
		{"documentation IPv6", "2001:db8::1", false},
		{"carrier-grade NAT", "100.64.0.1", false},
		{"link-local", "169.254.0.1", true},
		{"link-local IPv6", "fe80::1", true},
		{"link-local with a zone", "fe80::1%eth0", true},
		{"AWS metadata", "169.254.169.254", true},
		{"AWS container credentials", "169.254.170.2", true},
		{"AWS metadata IPv6", "fd00:ec2::254", true},
		{"AWS pod credentials IPv6", "fd00:ec2::23", true},
		{"Google metadata IPv6", "fd20:ce::254", true},
		{"Oracle metadata", "192.0.0.192", true},
		{"Oracle metadata IPv6", "fd00:c1::a9fe:a9fe", true},
		{"Alibaba metadata", "100.100.100.200", true},
		{"Azure host", "168.63.129.16", true},
		{"multicast", "224.0.0.1", true},
		{"multicast, the last", "239.255.255.255", true},
		{"multicast IPv6", "ff02::1", true},
		{"broadcast", "255.255.255.255", true},
		{"unspecified", "0.0.0.0", true},
		{"this network", "0.0.0.1", true},
		{"unspecified IPv6", "::", true},

		{"mapped metadata", "::ffff:169.254.169.254", true},
		{"mapped metadata with a zone", "::ffff:169.254.169.254%1", true},
		{"mapped public", "::ffff:198.41.0.4", false},
		{"mapped loopback", "::ffff:127.0.0.1", false},
		{"compatible metadata", "::169.254.169.254", true},
		{"compatible multicast", "::224.0.0.1", true},
		{"compatible public", "::198.41.0.4", false},
		{"translated metadata", "::ffff:0:169.254.169.254", true},
		{"translated private", "::ffff:0:10.0.0.1", false},
		{"NAT64 metadata", "64:ff9b::169.254.169.254", true},
		{"NAT64 Alibaba", "64:ff9b::100.100.100.200", true},
		{"NAT64 unspecified", "64:ff9b::", true},
		{"NAT64 private", "64:ff9b::10.0.0.1", false},
		{"NAT64 public", "64:ff9b::198.41.0.4", false},
		{"local NAT64 metadata, 48 bits", "64:ff9b:1:a9fe:a9:fe00::", true},
		{"local NAT64 metadata, 56 bits", "64:ff9b:1:a9:fe:a9fe::", true},
		{"local NAT64 metadata, 64 bits", "64:ff9b:1::a9:fea9:fe00:0", true},
		{"local NAT64 metadata, 96 bits", "64:ff9b:1::169.254.169.254", true},
		{"local NAT64 metadata, 96 bits and a subnet", "64:ff9b:1:5::169.254.169.254", true},
		{"local NAT64 private, 48 bits", "64:ff9b:1:a01:2:300::", false},
		{"local NAT64 public, 96 bits", "64:ff9b:1::198.41.0.4", false},
		{"6to4 metadata", "2002:a9fe:a9fe::1", true},
		{"6to4 multicast", "2002:e000:1::1", true},
		{"6to4 public", "2002:c629:4::1", false},
		{"6to4 private", "2002:a00:1::1", false},
		{"Teredo client metadata", "2001:0:c629:4::5601:5601", true},
		{"Teredo server metadata", "2001:0:a9fe:a9fe::39d6:fffb", true},
		{"Teredo public", "2001:0:c629:4::39d6:fffb", false},
		{"ISATAP metadata", "2001:db8::5efe:169.254.169.254", true},
		{"ISATAP metadata, a global id", "2001:db8::200:5efe:169.254.169.254", true},
		{"ISATAP private", "2001:db8::5efe:10.0.0.1", false},
		{"the metadata's bytes elsewhere", "2001:db8::a9fe:a9fe", false},
	} {
		a := netip.MustParseAddr(c.address)
		if got := Forbidden(a); got != c.want {
			t.Errorf("%s: Forbidden(%s) = %t, want %t", c.name, c.address, got, c.want)
		}
		want := error(nil)
		if c.want {
			want = ErrForbidden
		}
		if got := Control("tcp", netip.AddrPortFrom(a, 443).String(), nil); !errors.Is(got, want) {
			t.Errorf("%s: Control(%s) = %v, want %v", c.name, c.address, got, want)
		}
	}
	if !Forbidden(netip.Addr{}) {
		t.Error("no address is allowed")
	}
}

func TestControl(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"", "127.0.0.1", "localhost:443", "/run/socket", "2130706433:80"} {
		if err := Control("tcp", address, nil); !errors.Is(err, ErrForbidden) {
			t.Errorf("Control(%q) = %v, want ErrForbidden", address, err)
		}
	}
	d := net.Dialer{Timeout: time.Second, Control: Control}
	if _, err := d.DialContext(t.Context(), "tcp", "[2002:a9fe:a9fe::1]:443"); !errors.Is(err, ErrForbidden) {
		t.Errorf("dial: %v, want ErrForbidden", err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	conn, err := d.DialContext(t.Context(), "tcp", l.Addr().String())
	if err != nil {
		t.Fatalf("dial loopback: %v", err)
	}
	conn.Close()
}
