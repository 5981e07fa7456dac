// Package server is the only package that knows every service: it opens the
// data directory and the stores, wires the services to each other through small
// interfaces, and listens.
package server

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"
	"sync/atomic"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	s3api "github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/blob"
	"github.com/sagekeep/sagekeep/internal/cloudtrail"
	"github.com/sagekeep/sagekeep/internal/durable"
	"github.com/sagekeep/sagekeep/internal/evaluator"
	"github.com/sagekeep/sagekeep/internal/geospatial"
	"github.com/sagekeep/sagekeep/internal/iam"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/oidc"
	"github.com/sagekeep/sagekeep/internal/organizations"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/s3"
	"github.com/sagekeep/sagekeep/internal/seal"
	"github.com/sagekeep/sagekeep/internal/sigv4"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/store/pebblestore"
	"github.com/sagekeep/sagekeep/internal/sts"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// ErrInUse: another process has the data directory open.
var ErrInUse = errors.New("the data directory is in use by another process")

// maintenance is how often the services look for due work.
const maintenance = 10 * time.Minute

// Server is an opened data directory with every service wired to it.
type Server struct {
	cfg   Config
	dir   *dataDir
	store *store.Store
	// Each service has object files of its own, so that none sweeps another's.
	objects, scenes blob.Store

	registry      *protocol.Registry
	verifier      *sigv4.Verifier
	iam           *iam.Service
	sts           *sts.Service
	organizations *organizations.Service
	kms           *kms.Service
	s3            *s3.Service
	geospatial    *geospatial.Service
	jobs          *jobs.Runner

	creds   Credentials
	credsMu sync.Mutex

	sealMu sync.Mutex // of dir.seal, and of changes to it

	rsaHere atomic.Bool // RSA keys are made in this process, against the configuration

	stop context.CancelFunc // ends the background work
	work sync.WaitGroup
}

// Open opens or makes the data directory of cfg, which must be valid, and wires
// the services. Background work begins with Start.
func Open(ctx context.Context, cfg Config) (*Server, error) {
	spec, err := seal.Parse(cfg.Seal, cfg.DataDir)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUsage, err)
	}
	dir, err := openDir(ctx, cfg.DataDir, spec, cfg.Log)
	if err != nil {
		return nil, err
	}
	s := &Server{cfg: cfg, dir: dir}
	if err := s.open(ctx); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Server) open(ctx context.Context) error {
	if err := s.dir.makeRows(); err != nil {
		return err
	}
	keys := pebblestore.SingleKey(s.dir.keyring.Derive("files").Bytes())
	rows, err := pebblestore.Open(s.dir.file(rowsName), keys, pebblestore.Options{Log: s.cfg.Log})
	if err != nil {
		return fmt.Errorf("open the row store: %w", err)
	}
	s.store = store.New(rows, s.dir.keyring, store.Options{FreeSpace: s.cfg.freeSpace})
	if err := s.store.Prepare(ctx); err != nil {
		return fmt.Errorf("open the row store: %w", err)
	}
	if s.objects, err = s.openBlobs("s3"); err != nil {
		return err
	}
	if s.scenes, err = s.openBlobs("geospatial"); err != nil {
		return err
	}
	s.wire()
	if err := s.loadCredentials(ctx); err != nil {
		return err
	}
	return s.settleSeal(ctx)
}

// openBlobs opens the segment files of one service.
func (s *Server) openBlobs(service string) (blob.Store, error) {
	for _, dir := range []string{s.dir.file(objectsName), s.dir.file(tmpName)} {
		if err := durable.MakeDir(dir); err != nil {
			return nil, fmt.Errorf("make the object store: %w", err)
		}
	}
	var opt blob.LocalOptions
	if s.cfg.freeSpace != nil {
		opt.Space = func(string) (uint64, uint64, error) { return s.cfg.freeSpace() }
	}
	b, err := blob.Local(s.dir.file(objectsName, service), s.dir.file(tmpName, service), opt)
	if err != nil {
		return nil, fmt.Errorf("open the object store: %w", err)
	}
	return b, nil
}

// wire makes the services. Services meet only here, and only through the
// pipeline: a call between two of them is authorised and recorded like one from
// outside.
func (s *Server) wire() {
	s.iam = iam.New(iam.Deps{
		Store: s.store, Keyring: s.dir.keyring, LinkedRoleUse: s.linkedRoleUse,
		Controls: func(ctx context.Context, account string) ([][]*authz.Policy, error) {
			m, err := s.organizations.MembershipOf(ctx, account)
			return m.SCP, err
		},
	})
	s.jobs = jobs.New(jobs.Config{Store: s.store, Log: s.cfg.Log})
	s.organizations = organizations.New(organizations.Config{
		Store: s.store, Keyring: s.dir.keyring, Jobs: s.jobs, Accounts: memberAccounts{s},
	})
	s.registry = protocol.NewRegistry(evaluator.New(s.iam, s.organizations), s.store.Journal())
	s.verifier = &sigv4.Verifier{Lookup: s.iam.Lookup}
	s.kms = kms.New(kms.Config{
		Store: s.store, Keyring: s.dir.keyring, Epochs: s.dir.epochs, Principals: s.iam, Authorizer: s.registry,
		LinkedRole: s.linkedRole,
		Throttling: kms.Throttling(s.cfg.KMSQuotas),
		Customer:   s.customer,
		Proxies:    xks.New(s.cfg.KeyProxies),
		MakeRSA:    s.makeRSA,
	})
	s.iam.Register(s.registry)
	s.organizations.Register(s.registry)
	s.sts = sts.New(sts.Config{Roles: s.iam, Keyring: s.dir.keyring, Tokens: oidc.New(oidc.Config{Log: s.cfg.Log})})
	s.sts.Register(s.registry)
	s.kms.Register(s.registry)
	keys := keyCalls{registry: s.registry, kms: s.kms}
	s.s3 = s3.New(s3.Config{
		Store: s.store, Keyring: s.dir.keyring, Blobs: s.objects, Keys: keys, Principals: s.iam, Authorizer: s.registry,
		KeyEpoch: s.kms.Epoch,
		IAMEpoch: func(account string) uint64 { return bothEpochs(s.store.Epoch("iam/"+account), s.organizations.Epoch()) },
	})
	s.s3.Register(s.registry)
	s.geospatial = geospatial.New(geospatial.Config{
		Store: s.store, Keyring: s.dir.keyring, Blobs: s.scenes, Jobs: s.jobs, Roles: executionRoles{s.iam}, Keys: keys,
		Objects: objectCalls{s.registry}, Authorizer: s.registry, Account: s.firstAccount, Log: s.cfg.Log,
		KeyEpoch: func(region, keyARN string) uint64 {
			return bothEpochs(s.kms.Epoch(region, keyARN), s.organizations.Epoch())
		},
	})
	s.geospatial.Register(s.registry)
	s.registry.Know(s3api.Operations()...)
	s.registry.Know(geoapi.Operations()...)
	cloudtrail.New(cloudtrail.Config{Store: s.store, Keyring: s.dir.keyring}).Register(s.registry)
	s.registry.Finish()
}

// bothEpochs changes when either counter does, for what is kept under both. The
// odd factor keeps a step of one from undoing a step of the other.
func bothEpochs(a, b uint64) uint64 { return a*0x9e3779b97f4a7c15 + b }

// Start begins the background work.
func (s *Server) Start() error {
	ctx, stop := context.WithCancel(context.Background())
	s.stop = stop
	s.work.Go(func() { s.kms.Maintain(ctx, maintenance, s.cfg.Log) })
	s.work.Go(func() { s.kms.MaintainUses(ctx, s.cfg.Log) })
	s.work.Go(func() { s.iam.Maintain(ctx, s.cfg.Log) })
	s.work.Go(func() { s.s3.Maintain(ctx, maintenance, s.cfg.Log) })
	s.work.Go(func() { s.sweepScenes(ctx) })
	if err := s.jobs.Start(ctx); err != nil {
		return fmt.Errorf("start the job runner: %w", err)
	}
	return nil
}

// orphanAge is how old a segment must be before it counts as left behind: longer
// than any import or task takes between writing it and committing its row.
const orphanAge = 24 * time.Hour

// sweepScenes removes what imports and jobs that did not finish left behind.
func (s *Server) sweepScenes(ctx context.Context) {
	for {
		if n, err := s.geospatial.Sweep(ctx, orphanAge); err != nil && ctx.Err() == nil {
			s.cfg.Log.Error("sweep of geospatial segments failed; it is tried again", "error", err)
		} else if n > 0 {
			s.cfg.Log.Info("geospatial segments left behind were removed", "segments", n)
		}
		t := time.NewTimer(maintenance)
		select {
		case <-ctx.Done():
			t.Stop()
			return
		case <-t.C:
		}
	}
}

// Close ends the background work and closes the stores. It may be called on a
// server that opened halfway.
func (s *Server) Close() error {
	var errs []error
	if s.stop != nil {
		drain, cancel := context.WithTimeout(context.Background(), drainTimeout)
		errs = append(errs, s.jobs.Close(drain))
		cancel()
		s.stop()
	}
	s.work.Wait()
	for _, b := range []blob.Store{s.objects, s.scenes} {
		if b != nil {
			errs = append(errs, b.Close())
		}
	}
	if s.store != nil {
		errs = append(errs, s.store.Close())
	}
	if s.dir.lock != nil {
		errs = append(errs, s.dir.lock.Close())
	}
	return errors.Join(errs...)
}

// firstAccount owns what operator commands make.
func (s *Server) firstAccount() string {
	s.credsMu.Lock()
	defer s.credsMu.Unlock()
	if len(s.creds.Accounts) == 0 {
		return s.cfg.Account
	}
	return s.creds.Accounts[0].Account
}

// removeRunning drops DIR/server.json.
func (s *Server) removeRunning() {
	if err := os.Remove(s.dir.file(serverName)); err != nil {
		s.cfg.Log.Warn("server.json was not removed", "error", err)
	}
}
