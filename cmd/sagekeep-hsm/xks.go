package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"regexp"
	"slices"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/token"
	"github.com/sagekeep/sagekeep/cmd/sagekeep-hsm/internal/xks"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// Limits of the HTTP server. A request is small, and KMS waits for 250 ms only.
const (
	headerTime = 5 * time.Second
	readTime   = 10 * time.Second
	writeTime  = 30 * time.Second
	idleTime   = 2 * time.Minute
	drainTime  = 10 * time.Second
	maxHeader  = 16 << 10
)

// xksFlags are those of the proxy.
type xksFlags struct {
	token                                     tokenFlags
	listen, cert, key, clientCA, clientName   string
	prefix                                    string
	accessKeyIDs, secretFiles, keys, accounts list
	timeout                                   time.Duration
}

func xksCommand() command {
	return command{
		name: "xks", short: "serve keys of the token to a KMS, as an external key store proxy",
		example: "  sagekeep-hsm xks --module M.so --token-label prod --pin-file pin --listen 127.0.0.1:8443 --tls-cert cert.pem --tls-key key.pem \\\n" +
			"      --access-key-id ABCDEFGHIJKLMNOPQRST --secret-file xks.secret --uri-path-prefix /prod",
		flags: func(fs *flag.FlagSet) func(context.Context, stdio) error {
			f := new(xksFlags)
			f.token.add(fs)
			f.token.addSessions(fs)
			fs.StringVar(&f.listen, "listen", "", "listen on `HOST:PORT`; required")
			fs.StringVar(&f.cert, "tls-cert", "", "PEM `FILE` with the certificate chain; may be left out on a loopback address")
			fs.StringVar(&f.key, "tls-key", "", "PEM `FILE` with the private key")
			fs.StringVar(&f.clientCA, "client-ca", "", "ask for client certificates of the authorities in the PEM `FILE`")
			fs.StringVar(&f.clientName, "client-name", "", "the subject common `NAME` that a client certificate must have; needs --client-ca")
			fs.Var(&f.accessKeyIDs, "access-key-id", "the `ID` of the credential that requests are signed with: 20 to 30 of A-Z 2-7; may be repeated")
			fs.Var(&f.secretFiles, "secret-file", "`FILE` with the secret of the credential: 43 to 64 characters of base64; one for each --access-key-id, in the same order")
			fs.StringVar(&f.prefix, "uri-path-prefix", "", "the `PATH` before /kms/xks/v1, such as /prod")
			fs.Var(&f.keys, "key-label", "serve the key with this `LABEL` alone; may be repeated; all keys otherwise")
			fs.Var(&f.accounts, "kms-account", "serve KMS keys of this account `ID` alone; may be repeated; all accounts otherwise")
			fs.DurationVar(&f.timeout, "timeout", 2*time.Second, "give a request up after this time")
			return f.run
		},
	}
}

func (f *xksFlags) check() error {
	switch {
	case f.listen == "":
		return usagef("--listen is missing")
	case len(f.accessKeyIDs) == 0 || len(f.accessKeyIDs) != len(f.secretFiles):
		return usagef("want --access-key-id and --secret-file, one of each for every credential")
	case (f.cert == "") != (f.key == ""):
		return usagef("--tls-cert and --tls-key go together")
	case f.cert == "" && f.clientCA != "":
		return usagef("--client-ca needs --tls-cert")
	case (f.clientCA == "") != (f.clientName == ""):
		return usagef("--client-ca and --client-name go together")
	case f.cert == "" && !loopback(f.listen):
		return usagef("%s is not a loopback address: --tls-cert and --tls-key are needed", f.listen)
	case f.timeout <= 0:
		return usagef("--timeout is not positive")
	}
	for _, id := range f.accessKeyIDs {
		if !accessKeyID.MatchString(id) {
			return usagef("the access key id %q is not of 20 to 30 characters A-Z 2-7", id)
		}
	}
	for _, k := range f.keys {
		if err := token.CheckLabel(k); err != nil {
			return usagef("--key-label: %s", err)
		}
	}
	for _, a := range f.accounts {
		if !account.MatchString(a) {
			return usagef("--kms-account: %q is not an account id of 12 digits", a)
		}
	}
	if err := xks.CheckPrefix(f.prefix); err != nil {
		return usagef("--uri-path-prefix: %s", err)
	}
	return nil
}

func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// The forms of XksProxyAuthenticationCredential in the AWS KMS API.
var (
	accessKeyID = regexp.MustCompile(`^[A-Z2-7]{20,30}$`)
	secretKey   = regexp.MustCompile(`^[a-zA-Z0-9/+=]{43,64}$`)
	account     = regexp.MustCompile(`^[0-9]{12}$`)
)

// material is what comes from files and can be read again while the proxy runs.
type material struct {
	credentials map[string]*sigv4.Credential
	certificate *tls.Certificate
}

func (f *xksFlags) read() (*material, error) {
	m := &material{credentials: map[string]*sigv4.Credential{}}
	for i, id := range f.accessKeyIDs {
		secret, err := readSecret(f.secretFiles[i])
		if err != nil {
			return nil, fmt.Errorf("read the secret of %s: %w", id, err)
		}
		if !secretKey.MatchString(secret) {
			return nil, fmt.Errorf("the secret in %s is not of 43 to 64 characters a-z A-Z 0-9 / + =", f.secretFiles[i])
		}
		if m.credentials[id] != nil {
			return nil, usagef("the access key id %s is given twice", id)
		}
		m.credentials[id] = &sigv4.Credential{AccessKeyID: id, Secret: secret}
	}
	if f.cert != "" {
		c, err := tls.LoadX509KeyPair(f.cert, f.key)
		if err != nil {
			return nil, fmt.Errorf("read the certificate: %w", err)
		}
		m.certificate = &c
	}
	return m, nil
}

func (f *xksFlags) run(ctx context.Context, std stdio) error {
	if err := f.check(); err != nil {
		return err
	}
	var held atomic.Pointer[material]
	m, err := f.read()
	if err != nil {
		return err
	}
	held.Store(m)
	config, err := f.tls(&held)
	if err != nil {
		return err
	}
	t, err := f.token.open(std)
	if err != nil {
		return err
	}
	defer t.Close()
	log := std.log()
	proxy, err := xks.New(xks.Config{
		Token: t, Prefix: f.prefix, Keys: f.keys, Accounts: f.accounts, Timeout: f.timeout, Version: version(), Log: log,
		Lookup: func(_ context.Context, id, sessionToken string) (*sigv4.Credential, error) {
			if sessionToken != "" {
				return nil, sigv4.ErrTokenInvalid
			}
			if c := held.Load().credentials[id]; c != nil {
				return c, nil
			}
			return nil, sigv4.ErrUnknownKey
		},
	})
	if err != nil {
		return err
	}
	l, err := net.Listen("tcp", f.listen)
	if err != nil {
		return err
	}
	scheme := "http"
	if config != nil {
		scheme, l = "https", tls.NewListener(l, config)
	}
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	go proxy.Watch(ctx)
	hup := make(chan os.Signal, 1)
	signal.Notify(hup, syscall.SIGHUP)
	defer signal.Stop(hup)
	go f.reload(ctx, hup, &held, log)
	if _, err := fmt.Fprintf(std.out, "ready %s://%s\n", scheme, l.Addr()); err != nil {
		return fmt.Errorf("print the ready line: %w", err)
	}
	return serve(ctx, l, proxy, log)
}

// tls returns nil when there is no certificate.
func (f *xksFlags) tls(held *atomic.Pointer[material]) (*tls.Config, error) {
	if f.cert == "" {
		return nil, nil
	}
	c := &tls.Config{
		MinVersion: tls.VersionTLS12,
		NextProtos: []string{"h2", "http/1.1"},
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
			return held.Load().certificate, nil
		},
	}
	if f.clientCA == "" {
		return c, nil
	}
	pem, err := os.ReadFile(f.clientCA)
	if err != nil {
		return nil, fmt.Errorf("read the client authorities: %w", err)
	}
	c.ClientCAs = x509.NewCertPool()
	if !c.ClientCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s holds no certificate", f.clientCA)
	}
	c.ClientAuth = tls.RequireAndVerifyClientCert
	c.VerifyConnection = func(s tls.ConnectionState) error {
		if got := s.PeerCertificates[0].Subject.CommonName; got != f.clientName {
			return fmt.Errorf("the client certificate is of %q", got)
		}
		return nil
	}
	return c, nil
}

// reload reads secrets and certificate again at SIGHUP. When that fails the former
// ones stay.
func (f *xksFlags) reload(ctx context.Context, hup <-chan os.Signal, held *atomic.Pointer[material], log *slog.Logger) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-hup:
		}
		m, err := f.read()
		if err != nil {
			log.Error("kept the former secrets and certificate", "error", err)
			continue
		}
		held.Store(m)
		log.Info("read secrets and certificate again", "access_key_ids", slices.Sorted(slices.Values(f.accessKeyIDs)))
	}
}

func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	s := &http.Server{
		Handler: h, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		return err
	case <-ctx.Done():
	}
	drain, cancel := context.WithTimeout(context.Background(), drainTime)
	defer cancel()
	if err := s.Shutdown(drain); err != nil && !errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("end: %w", err)
	}
	return nil
}
