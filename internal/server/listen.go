package server

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/netip"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/seal"
)

// HTTP limits.
const (
	headerTimeout = 30 * time.Second
	idleTimeout   = 2 * time.Minute
	maxHeader     = 64 << 10 // bytes; session tokens travel in headers
	drainTimeout  = 30 * time.Second
	drainPatience = time.Second      // before whoever waits is told what for
	bodyTimeout   = 30 * time.Second // of bodies that the pipeline does not read
	writeTimeout  = time.Minute      // of one write: a client takes something within it
)

// Run serves until ctx ends, then drains. ready is told the URL once requests
// are answered. The port is taken before anything is written, so that a taken
// one changes nothing.
func Run(ctx context.Context, cfg Config, ready func(url string)) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	keyInside, err := checkSealPlace(&cfg)
	if err != nil {
		return err
	}
	tlsConfig, ca, err := tlsOf(&cfg)
	if err != nil {
		return err
	}
	l, err := net.Listen(network(cfg.Listen), cfg.Listen)
	if err != nil {
		return fmt.Errorf("listen: %w", err)
	}
	defer l.Close()
	s, err := Open(ctx, cfg)
	if ctx.Err() != nil && errors.Is(err, context.Canceled) {
		return nil // told to end before it was ready; the next start goes on
	}
	if err != nil {
		return err
	}
	if keyInside {
		cfg.Log.Warn("the root key lies in the data directory: who copies the directory copies the key")
	}
	l, scheme := net.Listener(stallListener{l, writeTimeout}), "http"
	if tlsConfig != nil {
		l, scheme = tls.NewListener(l, tlsConfig), "https"
	}
	url := scheme + "://" + reachable(l.Addr()).String()
	return errors.Join(s.serve(ctx, l, url, ca, ready), s.Close())
}

// network keeps an address of IPv4 to IPv4: package net takes 0.0.0.0 for the
// addresses of both.
func network(listen string) string {
	host, _, _ := net.SplitHostPort(listen)
	if a, err := netip.ParseAddr(host); err == nil && a.Is4() {
		return "tcp4"
	}
	return "tcp"
}

// reachable is an address for clients on this machine: that of the loopback
// interface in place of all.
func reachable(a net.Addr) net.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok || !t.IP.IsUnspecified() {
		return a
	}
	if t.IP.To4() != nil {
		return &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: t.Port}
	}
	return &net.TCPAddr{IP: net.IPv6loopback, Port: t.Port}
}

func (s *Server) serve(ctx context.Context, l net.Listener, url, ca string, ready func(string)) error {
	if err := s.Start(); err != nil {
		return err
	}
	srv := &http.Server{
		Handler: s.Handler(), ReadHeaderTimeout: headerTimeout, IdleTimeout: idleTimeout, MaxHeaderBytes: maxHeader,
		ErrorLog: slog.NewLogLogger(s.cfg.Log.Handler(), slog.LevelWarn),
	}
	if err := writeRunning(s.dir.path, &Running{PID: os.Getpid(), URL: url, CA: ca, Proof: s.dir.proof}); err != nil {
		return err
	}
	defer s.removeRunning()
	ended := make(chan error, 1)
	go func() { ended <- srv.Serve(l) }()
	ready(url)
	select {
	case err := <-ended:
		return fmt.Errorf("serve: %w", err)
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
	defer cancel()
	told := time.AfterFunc(drainPatience, func() {
		s.cfg.Log.Info("stopping: requests under way are finished first; a further signal ends them", "at most", drainTimeout)
	})
	defer told.Stop()
	if err := srv.Shutdown(drain); err != nil {
		s.cfg.Log.Warn("requests were cut after the drain time", "error", err)
		return srv.Close()
	}
	return nil
}

// Handler is the HTTP side: health, operator endpoint, and AWS's wire for
// everything else.
func (s *Server) Handler() http.Handler {
	api := &protocol.Handler{
		Registry: s.registry, Verifier: s.verifier, Region: DefaultRegion, Log: s.cfg.Log, TrustedProxies: s.cfg.TrustedProxies,
		EncodeDenial: s.sts.EncodeDenial,
		Used:         s.iam.Used,
	}
	operator := s.operatorHandler()
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		// The pipeline has deadlines of its own for bodies.
		if r.Body != http.NoBody {
			setReadDeadline(w, time.Now().Add(bodyTimeout))
		}
		if r.TLS == nil && !s.plainPeer(r.RemoteAddr) {
			http.Error(w, "plain HTTP is for this machine and for the trusted proxies", http.StatusForbidden)
			return
		}
		// Not a ServeMux: it would clean paths that are signed as sent.
		path := r.URL.Path
		if protocol.HostBucket(r.Host) != "" {
			path = "" // an object's name, and nothing of ours
		}
		switch {
		case path == "/healthz" && unsigned(r):
			health(w, nil)
		case path == "/readyz" && unsigned(r):
			health(w, s.store.WaitDurable(r.Context()))
		case strings.HasPrefix(path, operatorPath):
			operator.ServeHTTP(w, r)
		default:
			api.ServeHTTP(w, r)
		}
	})
}

// plainPeer reports whether a peer may talk plain HTTP: one on this machine, or a
// trusted proxy, which has the TLS connection of the client.
func (s *Server) plainPeer(remote string) bool {
	a, err := netip.ParseAddrPort(remote)
	if err != nil {
		return false
	}
	ip := a.Addr().Unmap()
	return ip.IsLoopback() || slices.ContainsFunc(s.cfg.TrustedProxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// setReadDeadline bounds the reading of a request's body; zero ends that.
func setReadDeadline(w http.ResponseWriter, at time.Time) {
	_ = http.NewResponseController(w).SetReadDeadline(at) // not supported in tests, or the connection is gone
}

// stallListener ends connections whose client takes no more of an answer.
type stallListener struct {
	net.Listener
	limit time.Duration // of one write
}

func (l stallListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if t, ok := c.(*net.TCPConn); ok {
		return stallConn{t, l.limit}, nil
	}
	return c, err
}

type stallConn struct {
	*net.TCPConn
	limit time.Duration
}

func (c stallConn) Write(p []byte) (int, error) {
	if err := c.SetWriteDeadline(time.Now().Add(c.limit)); err != nil {
		return 0, err
	}
	return c.TCPConn.Write(p)
}

func unsigned(r *http.Request) bool {
	return r.Header.Get("Authorization") == "" && r.URL.RawQuery == ""
}

func health(w http.ResponseWriter, err error) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		fmt.Fprintln(w, "not ready")
		return
	}
	fmt.Fprintln(w, "ok")
}

// checkSealPlace refuses a seal inside the data directory off loopback: whoever
// copies the directory would copy the key. inside reports that the key lies there.
func checkSealPlace(cfg *Config) (inside bool, err error) {
	spec, err := seal.Parse(cfg.Seal, cfg.DataDir)
	if err != nil {
		return false, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	if !spec.Inside(cfg.DataDir) {
		return false, nil
	}
	host, _, err := net.SplitHostPort(cfg.Listen)
	if err != nil {
		return false, fmt.Errorf("%w: listen: %w", ErrUsage, err)
	}
	if !loopback(host) {
		return false, fmt.Errorf("%w: the root key lies in the data directory, which is allowed on loopback only: "+
			"give a --seal outside of %s, such as file:PATH or passphrase-file:PATH", ErrUsage, cfg.DataDir)
	}
	return true, nil
}

// tlsOf returns the TLS configuration, nil for plain HTTP, and the certificate
// that our own client must trust when it was made here.
func tlsOf(cfg *Config) (*tls.Config, string, error) {
	switch {
	case cfg.TLSCert != "":
		pair, err := tls.LoadX509KeyPair(cfg.TLSCert, cfg.TLSKey)
		if err != nil {
			return nil, "", fmt.Errorf("load the certificate: %w", err)
		}
		return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, "", nil
	case cfg.TLSSelfSigned:
		return selfSigned(cfg.Listen)
	}
	return nil, "", nil
}

// selfSigned makes a certificate for localhost and the listen address, the machine's
// own when that is every address, valid for a year.
func selfSigned(listen string) (*tls.Config, string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	now := time.Now()
	c := &x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "sagekeep"}, NotBefore: now.Add(-time.Hour), NotAfter: now.AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, BasicConstraintsValid: true, IsCA: true,
		DNSNames: []string{"localhost", "*.localhost"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	host, _, err := net.SplitHostPort(listen)
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	switch ip := net.ParseIP(host); {
	case host == "" || ip.IsUnspecified():
		if err := everyAddress(c); err != nil {
			return nil, "", fmt.Errorf("make a certificate: %w", err)
		}
	case ip != nil:
		c.IPAddresses = append(c.IPAddresses, ip)
	default:
		c.DNSNames = append(c.DNSNames, host)
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		return nil, "", fmt.Errorf("make a certificate: %w", err)
	}
	pair := tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
	text := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	return &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}, string(text), nil
}

// everyAddress adds the addresses and the name of this machine to a certificate.
func everyAddress(c *x509.Certificate) error {
	all, err := net.InterfaceAddrs()
	if err != nil {
		return err
	}
	for _, a := range all {
		if n, ok := a.(*net.IPNet); ok && !n.IP.IsLoopback() {
			c.IPAddresses = append(c.IPAddresses, n.IP)
		}
	}
	if name, err := os.Hostname(); err == nil && name != "" {
		c.DNSNames = append(c.DNSNames, name)
	}
	return nil
}
