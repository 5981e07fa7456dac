package server

import (
	"context"
	"crypto/rsa"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// Config is everything that `sagekeep serve` can be told. The zero value needs a
// data directory; every other field has a default.
type Config struct {
	// DataDir holds everything; it is made when missing.
	DataDir string
	// Listen is the address of the API, 127.0.0.1:4566 by default; port 0 picks
	// a free one.
	Listen string
	// Account is the 12-digit id of the first account, made on the first start;
	// 111122223333 by default.
	Account string
	// Seal says who holds the root key; see package seal. Empty: a key file in
	// the data directory, which is allowed on loopback only.
	Seal string
	// TLSCert and TLSKey are PEM files; TLSSelfSigned makes a certificate at
	// each start instead.
	TLSCert, TLSKey string
	TLSSelfSigned   bool
	// TrustedProxies are the networks whose X-Forwarded-For is believed; with one
	// of them plain HTTP is allowed off loopback.
	TrustedProxies []netip.Prefix
	// KMSQuotas says how fast an account may call KMS: default, aws or off; see
	// package kms.
	KMSQuotas string
	// KeyProxies says how the proxies of external key stores are reached: at
	// another address than port 443 of their name, and how long they have.
	KeyProxies xks.Config
	// MakeRSA makes an RSA key of a size in bits elsewhere than in this process,
	// which it would hold up; nil: here.
	MakeRSA func(ctx context.Context, bits int) (*rsa.PrivateKey, error)
	Log     *slog.Logger

	// freeSpace replaces the file system's answer, to test what a full disk does.
	freeSpace func() (free, total uint64, err error)
}

// Defaults.
const (
	DefaultListen  = "127.0.0.1:4566"
	DefaultAccount = "111122223333"
	DefaultRegion  = "us-west-2"
)

// What a proxy of an external key store may be given: less than a round trip is
// of no use, and callers of KMS wait meanwhile.
const (
	minKeyProxyTimeout = 50 * time.Millisecond
	maxKeyProxyTimeout = 10 * time.Second
)

// ErrUsage marks mistakes in the configuration: exit code 2.
var ErrUsage = errors.New("wrong usage")

// Validate fills in defaults and reports every problem at once.
func (c *Config) Validate() error {
	if c.Listen == "" {
		c.Listen = DefaultListen
	}
	if c.Account == "" {
		c.Account = DefaultAccount
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	if c.KMSQuotas == "" {
		c.KMSQuotas = string(kms.ThrottleFair)
	}
	var problems []string
	if !kms.Throttling(c.KMSQuotas).Valid() {
		problems = append(problems, fmt.Sprintf("kms-quotas: %q is not default, aws or off", c.KMSQuotas))
	}
	if c.DataDir == "" {
		problems = append(problems, "data-dir: name the directory that holds the data")
	}
	if len(c.Account) != 12 || strings.Trim(c.Account, "0123456789") != "" {
		problems = append(problems, fmt.Sprintf("account: %q is not a 12-digit account id", c.Account))
	}
	if (c.TLSCert == "") != (c.TLSKey == "") {
		problems = append(problems, "tls-cert and tls-key: give both or neither")
	}
	if c.TLSCert != "" && c.TLSSelfSigned {
		problems = append(problems, "tls-self-signed: not together with tls-cert")
	}
	for name, address := range c.KeyProxies.ConnectTo {
		if host, port, err := net.SplitHostPort(address); err != nil || name == "" || strings.ToLower(name) != name || host == "" || port == "" {
			problems = append(problems, fmt.Sprintf("xks-connect: %q is not NAME=HOST:PORT", name+"="+address))
		}
	}
	if t := c.KeyProxies.Timeout; t != 0 && (t < minKeyProxyTimeout || t > maxKeyProxyTimeout) {
		problems = append(problems, fmt.Sprintf("xks-timeout: %v is not between %v and %v", t, minKeyProxyTimeout, maxKeyProxyTimeout))
	}
	host, _, err := net.SplitHostPort(c.Listen)
	if err != nil {
		problems = append(problems, fmt.Sprintf("listen: %q is not HOST:PORT", c.Listen))
	} else if !loopback(host) && !c.tls() && len(c.TrustedProxies) == 0 {
		problems = append(problems, fmt.Sprintf("listen: plain HTTP on %s would show data and signatures to the network: "+
			"give --tls-cert and --tls-key, --tls-self-signed, or --trusted-proxy", c.Listen))
	}
	if len(problems) > 0 {
		return fmt.Errorf("%w: %s", ErrUsage, strings.Join(problems, "; "))
	}
	return nil
}

func (c *Config) tls() bool { return c.TLSCert != "" || c.TLSSelfSigned }

// loopback reports whether host is reachable from this machine alone.
func loopback(host string) bool {
	if host == "localhost" {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}
