package server

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// SealCopy is one wrapped copy of the keys of a data directory.
type SealCopy struct {
	Generation uint64    `json:"generation"`
	Seal       string    `json:"seal"` // file, passphrase, exec, awskms, pkcs11
	KeyID      string    `json:"keyId"`
	Algorithm  string    `json:"algorithm"`
	FIPS       string    `json:"fips"` // approved, not approved, unknown
	Since      time.Time `json:"since,omitzero"`
}

func sealCopy(c envelope.Copy) SealCopy {
	return SealCopy{
		Generation: c.Generation, Seal: string(c.Kind), KeyID: c.Info.KeyID, Algorithm: c.Info.Algorithm,
		FIPS: string(c.Info.FIPS), Since: c.Since,
	}
}

// SealStatus is what the files of a data directory tell about who holds its root
// key, and what the holder says when it was named.
type SealStatus struct {
	DataDir string `json:"dataDir"` // id
	Format  int    `json:"format"`
	SealCopy

	// Others are copies that a change of the seal has left: the next start, or the
	// next change, destroys those that it does not need.
	Others []SealCopy `json:"others"`
	// Leftovers counts copies of deletion epochs that no root key opens any more.
	Leftovers int `json:"leftovers"`
	// Opens says whether the seal that was named opens the directory; nil when it
	// was not tried.
	Opens *bool `json:"opens"`
	// Problem says why it does not.
	Problem string `json:"problem,omitempty"`
	// PreviousKeys are the ids of keys that the holder keeps and that do not wrap.
	PreviousKeys []string `json:"previousKeys,omitempty"`
}

// ReadSealStatus reads the status of a data directory, which a server may have
// open, and writes nothing. An empty seal tries the key file in the directory, if
// that is what holds the root key, and nothing otherwise.
func ReadSealStatus(ctx context.Context, dir, sealText string) (SealStatus, error) {
	if _, err := seal.Parse(sealText, dir); err != nil {
		return SealStatus{}, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	st, err := envelope.ReadStatus(filesOf(dir))
	if err != nil {
		return SealStatus{}, fmt.Errorf("%s: %w", dir, err)
	}
	out := SealStatus{DataDir: st.ID, Format: st.Format, Others: []SealCopy{}, Leftovers: st.Leftovers, SealCopy: sealCopy(st.Copies[0])}
	for _, c := range st.Copies[1:] {
		out.Others = append(out.Others, sealCopy(c))
	}
	info, err := openSeal(ctx, dir, sealText)
	switch {
	case errors.Is(err, ErrSealElsewhere):
		return out, nil
	case err != nil:
		out.Opens, out.Problem = new(false), err.Error()
		return out, nil
	}
	out.Opens, out.PreviousKeys = new(true), info.Former
	if out.FIPS == string(seal.Unknown) {
		out.Algorithm, out.FIPS = info.Algorithm, string(info.FIPS)
	}
	return out, nil
}

// MigrateInput is the body of MigrateSeal.
type MigrateInput struct {
	To    string `json:"to"`              // a --seal value
	Proof string `json:"proof,omitempty"` // Running.Proof; of no use without a server
}

// RotateInput is the body of RotateSeal.
type RotateInput struct {
	// DestroyPrevious removes former keys from a key file outside of the data
	// directory, too. There, other directories may need them.
	DestroyPrevious bool   `json:"destroyPrevious"`
	Proof           string `json:"proof,omitempty"` // Running.Proof; of no use without a server
}

// SealChange is the answer of MigrateSeal and RotateSeal: the copy that opens the
// directory now.
type SealChange struct {
	SealCopy

	Next string `json:"next"` // what `serve --seal` must say from now on
	// PreviousKeys are the ids of keys that are still in the key file.
	PreviousKeys []string `json:"previousKeys,omitempty"`
	// FormerFile is the key file or passphrase file that opened the directory.
	FormerFile string `json:"formerFile,omitempty"`
}

// MigrateSeal opens the data directory of cfg, which no server may have open, and
// gives its root key to another holder.
func MigrateSeal(ctx context.Context, cfg Config, in MigrateInput) (SealChange, error) {
	return changeSeal(ctx, cfg, "MigrateSeal", func(s *Server, ctx context.Context) (SealChange, error) { return s.migrateSeal(ctx, in) })
}

// RotateSeal opens the data directory of cfg, which no server may have open, and
// replaces its root key under the same seal.
func RotateSeal(ctx context.Context, cfg Config, in RotateInput) (SealChange, error) {
	return changeSeal(ctx, cfg, "RotateSeal", func(s *Server, ctx context.Context) (SealChange, error) { return s.rotateSeal(ctx, in) })
}

func changeSeal(ctx context.Context, cfg Config, name string, change func(*Server, context.Context) (SealChange, error)) (SealChange, error) {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return SealChange{}, err
	}
	var done SealChange
	_, err = s.offline(ctx, name, func(ctx context.Context) (any, error) {
		done, err = change(s, ctx)
		return done, err
	})
	return done, errors.Join(err, s.Close())
}

// onThisMachine refuses a call from elsewhere: a seal names programs and files of
// this machine, which the operator key alone must not reach over the network. A
// proxy on this machine makes every caller's address look like this machine's, and
// need not say so, so that the proof decides: it is in a file of the data
// directory that only its owner can read.
func (s *Server) onThisMachine(ctx context.Context, proof string) error {
	refuse := func(why string) error {
		return schema.NewError("AccessDenied", 403, "the seal is changed on the machine of the server alone: %s", why)
	}
	own, _ := ctx.Value(http.LocalAddrContextKey).(*net.TCPAddr)
	peer := identity.From(ctx).SourceIP
	if ip := net.ParseIP(peer); !loopback(peer) && (ip == nil || own == nil || !own.IP.Equal(ip)) {
		return refuse("the call comes from another one")
	}
	if subtle.ConstantTimeCompare([]byte(proof), []byte(s.dir.proof)) != 1 {
		return refuse("the call does not prove that its caller reads " + serverName + " in the data directory, as `sagekeep seal` does")
	}
	return nil
}

func (s *Server) operatorMigrateSeal(ctx context.Context, body []byte) (any, error) {
	var in MigrateInput
	invalid := json.Unmarshal(body, &in)
	if err := s.onThisMachine(ctx, in.Proof); err != nil {
		return nil, err
	}
	if invalid != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	return s.migrateSeal(ctx, in)
}

func (s *Server) operatorRotateSeal(ctx context.Context, body []byte) (any, error) {
	var in RotateInput
	invalid := json.Unmarshal(body, &in)
	if err := s.onThisMachine(ctx, in.Proof); err != nil {
		return nil, err
	}
	if invalid != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	return s.rotateSeal(ctx, in)
}

func (s *Server) migrateSeal(ctx context.Context, in MigrateInput) (SealChange, error) {
	if in.To == "" {
		return SealChange{}, schema.NewError("InvalidSeal", 400, "name the seal to migrate to")
	}
	spec, err := seal.Parse(in.To, s.dir.path)
	if err != nil {
		return SealChange{}, schema.NewError("InvalidSeal", 400, "%s", err.Error()).Because(err)
	}
	audit.From(ctx).SetRequest(MigrateInput{To: spec.String()})
	if host, _, err := net.SplitHostPort(s.cfg.Listen); spec.Inside(s.dir.path) && (err != nil || !loopback(host)) {
		return SealChange{}, schema.NewError("InvalidSeal", 400, "the secret of %s lies in the data directory, which is allowed on loopback only", spec.String())
	}
	s.sealMu.Lock()
	defer s.sealMu.Unlock()
	former := s.dir.seal
	create := true // the key file of the new seal, by the first of the two that are opened
	open := func() (seal.Seal, error) {
		defer func() { create = false }()
		return s.elsewhere(spec.Open(seal.Options{Create: create, Log: s.cfg.Log}))
	}
	c, err := s.dir.keys.Reseal(ctx, open, s.sealStep(ctx))
	if c.Generation > 0 { // the new seal opens the directory, whatever followed
		s.dir.seal = spec
	}
	if err != nil {
		return SealChange{}, sealFailed(err)
	}
	out := SealChange{SealCopy: sealCopy(c), Next: spec.String()}
	if former.Path() != spec.Path() {
		out.FormerFile = former.Path()
	}
	audit.From(ctx).SetResponse(out)
	return out, nil
}

func (s *Server) rotateSeal(ctx context.Context, in RotateInput) (SealChange, error) {
	s.sealMu.Lock()
	defer s.sealMu.Unlock()
	spec := s.dir.seal
	audit.From(ctx).SetRequest(map[string]any{"seal": spec.String(), "destroyPrevious": in.DestroyPrevious})
	if err := s.renewSeal(ctx); err != nil {
		return SealChange{}, sealFailed(err)
	}
	open := func() (seal.Seal, error) { return s.elsewhere(s.dir.reopen()) }
	c, err := s.dir.keys.Reseal(ctx, open, s.sealStep(ctx))
	if err != nil {
		return SealChange{}, sealFailed(err)
	}
	out := SealChange{SealCopy: sealCopy(c), Next: spec.String()}
	if out.PreviousKeys, err = s.destroyPrevious(ctx, in.DestroyPrevious || spec.Inside(s.dir.path)); err != nil {
		return SealChange{}, sealFailed(err)
	}
	audit.From(ctx).SetResponse(out)
	return out, nil
}

// elsewhereSeal is a seal that does not wrap under a key of this server's own
// store. Such a copy opens, and passes for verified, as long as the server runs;
// once it has stopped, the key that opens the directory lies in the directory.
//
// What was wrapped is looked at, and not where the holder is: a server has many
// addresses, and proxies in front of it, and a plugin may ask it as well.
type elsewhereSeal struct {
	seal.Seal
	ownKey func(ctx context.Context, ciphertext []byte) (bool, error)
}

// elsewhere returns an opened seal, or the error of its opening, for a change of
// the seal of this server.
func (s *Server) elsewhere(h seal.Seal, err error) (seal.Seal, error) {
	if err != nil {
		return nil, err
	}
	return elsewhereSeal{Seal: h, ownKey: s.kms.NamesOwnKey}, nil
}

// Wrap is that of the seal, unless a key of the server's own has wrapped.
func (e elsewhereSeal) Wrap(ctx context.Context, key secret.Key, at seal.Context) ([]byte, error) {
	b, err := e.Seal.Wrap(ctx, key, at)
	if err != nil {
		return nil, err
	}
	own, err := e.ownKey(ctx, seal.HeldOutside(b))
	if err != nil {
		return nil, fmt.Errorf("see whether the key of the seal is one of this server: %w", err)
	}
	if !own {
		return b, nil
	}
	_, info, err := seal.Describe(b)
	if err != nil {
		return nil, fmt.Errorf("read the new copy: %w", err)
	}
	return nil, fmt.Errorf("the key of the seal, %s, is a key of this very server, which could never start again: "+
		"what opens its data directory would lie in it; name a key that is kept elsewhere", info.KeyID)
}

// renewSeal makes a new key where this program makes them, unless there is one
// already that does not wrap anything yet: a rotation was interrupted, or the
// operator put a new key in front of the file.
func (s *Server) renewSeal(ctx context.Context) error {
	active, err := s.dir.keys.Active()
	if err != nil {
		return err
	}
	h, err := s.dir.reopen()
	if err != nil {
		return err
	}
	defer h.Close()
	keys, ok := h.(seal.Rotator)
	if !ok {
		return nil
	}
	info, err := h.Info(ctx)
	if err != nil || info.KeyID != active.Info.KeyID {
		return err
	}
	return keys.Renew()
}

// destroyPrevious removes the former keys from the key file, if there is one and
// allowed says so, and returns the ids of those that stay.
func (s *Server) destroyPrevious(ctx context.Context, allowed bool) ([]string, error) {
	h, err := s.dir.reopen()
	if err != nil {
		return nil, err
	}
	defer h.Close()
	keys, ok := h.(seal.Rotator)
	if !ok {
		return nil, nil
	}
	info, err := h.Info(ctx)
	if err != nil || len(info.Former) == 0 || !allowed {
		return info.Former, err
	}
	if err := s.sealRecord(ctx, "DestroyPreviousRootKeys", map[string]any{"keyIds": info.Former}); err != nil {
		return nil, err
	}
	return nil, keys.Settle()
}

const sealFailedCode = "SealFailed"

// sealFailed gives the failure of a change of the seal a public text: the
// operator needs it, and it holds no secret.
func sealFailed(err error) error {
	return schema.NewError(sealFailedCode, 400, "%s", err.Error()).Because(err)
}

// sealStep makes a durable record of each step of a change; of a destruction,
// before it.
func (s *Server) sealStep(ctx context.Context) func(envelope.Step, envelope.Copy) error {
	names := map[envelope.Step]string{
		envelope.Added: "AddSealedCopy", envelope.Verified: "VerifySealedCopy", envelope.Destroy: "DestroySealedCopy",
	}
	return func(step envelope.Step, c envelope.Copy) error { return s.sealRecord(ctx, names[step], sealCopy(c)) }
}

// sealRecord journals a record of its own within an operator call.
func (s *Server) sealRecord(ctx context.Context, name string, request any) error {
	p := audit.NewPending()
	call := *identity.From(ctx)
	call.Time = s.registry.Now().UTC()
	_, e := p.Begin(identity.With(ctx, &call), "sagekeep.operator", name, false, false, s.registry.NewID())
	e.SetRequest(request)
	rest, err := p.Rest()
	if err != nil {
		return err
	}
	// Whoever asked may be gone; what was done stays done.
	return s.store.Journal().Append(context.WithoutCancel(ctx), rest...)
}

// settleSeal ends a change of the seal that was interrupted, in favour of the seal
// that has just opened everything: the copies under the other one go, after a
// record that says so.
func (s *Server) settleSeal(ctx context.Context) error {
	others := s.dir.keys.Others()
	p := audit.NewPending()
	for _, c := range others {
		s.cfg.Log.Warn("a change of the seal was interrupted: the copy under the other seal is destroyed", "seal", c.Kind, "key_id", c.Info.KeyID)
		p.AddEvent(audit.Event{
			Source: "sagekeep.operator", Name: "DestroySealedCopy", Region: DefaultRegion, Account: s.firstAccount(),
			Time: s.registry.Now(), ID: s.registry.NewID(), Details: map[string]any{"copy": sealCopy(c)},
		})
	}
	rest, err := p.Rest()
	if err == nil && len(rest) > 0 {
		err = s.store.Journal().Append(ctx, rest...)
	}
	if err == nil {
		err = s.dir.keys.Settle()
	}
	if err != nil {
		return fmt.Errorf("end an interrupted change of the seal: %w", err)
	}
	return nil
}
