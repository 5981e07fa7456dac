package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/store"
)

// When a key was last used lies in memory, becomes a row every useInterval and
// at the end, and is read from the audit journal after a crash: the mark says
// how far into the journal the rows know every use.
const (
	useInterval  = 30 * time.Second
	lastFlush    = 10 * time.Second
	markInterval = 10 * time.Minute // of marks when no key was used
	useBatch     = 500              // rows of one transaction
)

// useRow is the last successful cryptographic operation with a key.
type useRow struct {
	Region, KeyID string
	Operation     string
	At            int64 // whole seconds since 1970, as the record has it
	EventID       string
	RequestID     string
}

// useMark is how far into the journal the rows know every use.
type useMark struct {
	Cursor []byte
}

var (
	useRows  = store.Hashed[useRow]("kms.use")
	useMarks = store.Hashed[useMark]("kms.usemark")
)

const useMarkKey = "journal"

// lastUses gathers uses since the last flush, by key ARN.
type lastUses struct {
	mu     sync.Mutex
	recent map[string]useRow

	// catching is held while the journal is read; caught says that it was.
	catching chan struct{}
	caught   atomic.Bool

	flushing sync.Mutex
	marked   time.Time // when the mark was last written; under flushing
}

func newLastUses() *lastUses {
	return &lastUses{recent: map[string]useRow{}, catching: make(chan struct{}, 1)}
}

// put keeps r unless a later use is known.
func (u *lastUses) put(arn string, r useRow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	if have, ok := u.recent[arn]; !ok || have.At <= r.At {
		u.recent[arn] = r
	}
}

// merge adds what the journal tells. Within the same second the process itself
// knows better.
func (u *lastUses) merge(found map[string]useRow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for arn, r := range found {
		if have, ok := u.recent[arn]; !ok || have.At < r.At {
			u.recent[arn] = r
		}
	}
}

func (u *lastUses) get(arn string) (useRow, bool) {
	u.mu.Lock()
	defer u.mu.Unlock()
	r, ok := u.recent[arn]
	return r, ok
}

func (u *lastUses) snapshot() map[string]useRow {
	u.mu.Lock()
	defer u.mu.Unlock()
	return maps.Clone(u.recent)
}

// forget drops what a snapshot held, unless it was used again since.
func (u *lastUses) forget(old map[string]useRow) {
	u.mu.Lock()
	defer u.mu.Unlock()
	for arn, r := range old {
		if u.recent[arn] == r {
			delete(u.recent, arn)
		}
	}
}

// tracked notes each success of a cryptographic operation for the keys that its
// record names: both keys of ReEncrypt. A dry run ends in an error and is no use.
//
// Source: AWS KMS Developer Guide, "Determine past usage of a KMS key", tracked
// cryptographic operations.
func tracked[In, Out any](s *Service, op schema.Op[In, Out], method func(context.Context, *In) (*Out, error)) func(context.Context, *In) (*Out, error) {
	name := op.Name
	if !isTracked(name) {
		panic("kms: " + name + " is no cryptographic operation")
	}
	return func(ctx context.Context, in *In) (*Out, error) {
		out, err := method(ctx, in)
		if err == nil {
			s.noteUse(ctx, name)
		}
		return out, err
	}
}

// isTracked reports whether an operation counts as a use of its keys.
func isTracked(operation string) bool {
	switch kmsapi.KeyLastUsageTrackingOperation(operation) {
	case kmsapi.KeyLastUsageTrackingOperationDecrypt, kmsapi.KeyLastUsageTrackingOperationDeriveSharedSecret,
		kmsapi.KeyLastUsageTrackingOperationEncrypt, kmsapi.KeyLastUsageTrackingOperationGenerateDataKey,
		kmsapi.KeyLastUsageTrackingOperationGenerateDataKeyPair,
		kmsapi.KeyLastUsageTrackingOperationGenerateDataKeyPairWithoutPlaintext,
		kmsapi.KeyLastUsageTrackingOperationGenerateDataKeyWithoutPlaintext, kmsapi.KeyLastUsageTrackingOperationGenerateMac,
		kmsapi.KeyLastUsageTrackingOperationReEncrypt, kmsapi.KeyLastUsageTrackingOperationSign,
		kmsapi.KeyLastUsageTrackingOperationVerify, kmsapi.KeyLastUsageTrackingOperationVerifyMac,
		kmsapi.KeyLastUsageTrackingOperationEncapsulate, kmsapi.KeyLastUsageTrackingOperationDecapsulate:
		return true
	}
	return false
}

// noteUse runs before the record is durable: whoever finds the record in the
// journal finds the use noted.
func (s *Service) noteUse(ctx context.Context, operation string) {
	e := audit.From(ctx)
	call := identity.From(ctx)
	for _, r := range e.Resources() {
		s.uses.put(r.ARN, useRow{
			Operation: operation, At: call.Time.Unix(), EventID: e.IDFor(r.AccountID), RequestID: call.RequestID,
		})
	}
}

// lastUse returns the last use of a key; the zero row for never.
func (s *Service) lastUse(ctx context.Context, k *keyRow) (useRow, error) {
	if err := s.catchUp(ctx); err != nil {
		return useRow{}, err
	}
	// Memory first: what a flush takes out of it is in the rows by then.
	recent, noted := s.uses.get(k.arn())
	var row useRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		row, err = useRows.Get(tx, k.Region, k.ID)
		return err
	})
	if err != nil && !isNotFound(err) {
		return useRow{}, fmt.Errorf("kms: read last use: %w", err)
	}
	if noted && recent.At >= row.At {
		return recent, nil
	}
	return row, nil
}

// GetKeyLastUsage tells of the last successful cryptographic operation with a
// key. Every use since the key was made is known: tracking starts then.
//
// Errors: NotFoundException.
//
// Source: AWS KMS API Reference, GetKeyLastUsage.
func (s *Service) GetKeyLastUsage(ctx context.Context, in *kmsapi.GetKeyLastUsageInput) (*kmsapi.GetKeyLastUsageOutput, error) {
	k, _, err := s.resolve(ctx, in.KeyId, byKey)
	if err != nil {
		return nil, err
	}
	u, err := s.lastUse(ctx, &k.keyRow)
	if err != nil {
		return nil, err
	}
	out := &kmsapi.GetKeyLastUsageOutput{
		KeyId: new(k.ID), KeyLastUsage: &kmsapi.KeyLastUsageData{}, TrackingStartDate: new(k.Created), KeyCreationDate: new(k.Created),
	}
	if u.At != 0 {
		out.KeyLastUsage = &kmsapi.KeyLastUsageData{
			Operation: kmsapi.KeyLastUsageTrackingOperation(u.Operation), Timestamp: new(time.Unix(u.At, 0).UTC()),
			CloudTrailEventId: new(u.EventID), KmsRequestId: new(u.RequestID),
		}
	}
	return out, nil
}

// unusedCondition sets kms:TrailingDaysWithoutKeyUsage: whole days since the
// last use or, if there was none, since the key was made. They are looked up only
// when a policy asks for them, for that may wait until the journal has been read.
// A request whose policies ask what cannot be answered fails.
//
// Source: AWS KMS Developer Guide, kms:TrailingDaysWithoutKeyUsage.
func (s *Service) unusedCondition(ctx context.Context, c authz.Context, k *cachedKey) {
	c.SetLater("kms:TrailingDaysWithoutKeyUsage", func() (string, error) {
		u, err := s.lastUse(ctx, &k.keyRow)
		if err != nil {
			return "", err
		}
		since := k.Created
		if u.At != 0 {
			since = time.Unix(u.At, 0)
		}
		n := max(s.cfg.Now().Sub(since), 0) / (24 * time.Hour)
		return strconv.FormatInt(int64(n), 10), nil
	})
}

// MaintainUses writes down when keys were used until ctx ends, and once more
// then. It begins with what the journal knows and the rows do not.
func (s *Service) MaintainUses(ctx context.Context, log *slog.Logger) {
	if err := s.catchUp(ctx); err != nil && ctx.Err() == nil {
		log.Error("the last uses of keys could not be read from the journal; it is tried again", "error", err)
	}
	t := time.NewTicker(useInterval)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			if err := s.flushLastUses(ctx); err != nil {
				log.Warn("when keys were last used could not be stored; the next start reads it from the journal", "error", err)
			}
			return
		case <-t.C:
		}
		if err := s.flushUses(ctx, false); err != nil && ctx.Err() == nil {
			log.Warn("when keys were last used could not be stored; it is tried again", "error", err)
		}
	}
}

// flushLastUses is flushUses when the server ends, which does not wait for it long.
func (s *Service) flushLastUses(ctx context.Context) error {
	if !s.uses.caught.Load() {
		return nil // the journal has it all
	}
	ctx, stop := context.WithTimeout(context.WithoutCancel(ctx), lastFlush)
	defer stop()
	return s.flushUses(ctx, true)
}

// flushUses writes down what was used since the last flush, and how far into the
// journal that is. Keys erased meanwhile leave no row.
func (s *Service) flushUses(ctx context.Context, last bool) error {
	if err := s.catchUp(ctx); err != nil {
		return err
	}
	s.uses.flushing.Lock()
	defer s.uses.flushing.Unlock()
	// The end of the journal comes first: each use up to there was noted before
	// its record was written.
	end, err := s.journalEnd(ctx)
	if err != nil {
		return err
	}
	recent := s.uses.snapshot()
	if len(recent) == 0 && !last && s.cfg.Now().Sub(s.uses.marked) < markInterval {
		return nil
	}
	arns := slices.Sorted(maps.Keys(recent))
	for batch := range slices.Chunk(arns, useBatch) {
		err := s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
			for _, arn := range batch {
				if err := putUse(tx, arn, recent[arn]); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("kms: store last uses: %w", err)
		}
	}
	if err := s.mark(ctx, end); err != nil {
		return fmt.Errorf("kms: store mark of last uses: %w", err)
	}
	s.uses.marked = s.cfg.Now()
	s.uses.forget(recent)
	return nil
}

// putUse stores a use, unless the key is gone or the row is newer.
func putUse(tx *store.Tx, arn string, r useRow) error {
	var ok bool
	if r.Region, r.KeyID, ok = splitKeyARN(arn); !ok {
		return nil
	}
	if live, err := keys.Exists(tx, r.Region, r.KeyID); err != nil || !live {
		return err
	}
	have, err := useRows.Get(tx, r.Region, r.KeyID)
	if err != nil && !isNotFound(err) {
		return err
	}
	if have.At > r.At {
		return nil
	}
	return useRows.Put(tx, r, r.Region, r.KeyID)
}

// mark stores the place in the journal, unless it is there already.
func (s *Service) mark(ctx context.Context, end []byte) error {
	if end == nil {
		return nil
	}
	var have useMark
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		have, err = useMarks.Get(tx, useMarkKey)
		return err
	})
	if err != nil && !isNotFound(err) || err == nil && bytes.Equal(have.Cursor, end) {
		return err
	}
	return s.cfg.Store.Update(ctx, func(tx *store.Tx) error { return useMarks.Put(tx, useMark{Cursor: end}, useMarkKey) })
}

// journalEnd returns the cursor of the last record, nil when there is none.
func (s *Service) journalEnd(ctx context.Context) ([]byte, error) {
	for rec, err := range s.cfg.Store.Journal().Scan(ctx, store.JournalScan{Reverse: true}) {
		if err != nil {
			return nil, fmt.Errorf("kms: find the end of the journal: %w", err)
		}
		return rec.Cursor, nil
	}
	return nil, nil
}

// catchUp reads from the journal, once, which uses the rows miss: after a crash
// those of the last seconds, in a directory without a mark all.
func (s *Service) catchUp(ctx context.Context) error {
	u := s.uses
	if u.caught.Load() {
		return nil
	}
	select {
	case u.catching <- struct{}{}:
		defer func() { <-u.catching }()
	case <-ctx.Done():
		return ctx.Err()
	}
	if u.caught.Load() {
		return nil
	}
	var from useMark
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		from, err = useMarks.Get(tx, useMarkKey)
		return err
	})
	if err != nil && !isNotFound(err) {
		return fmt.Errorf("kms: read mark of last uses: %w", err)
	}
	found := map[string]useRow{}
	for rec, err := range s.cfg.Store.Journal().Scan(ctx, store.JournalScan{After: from.Cursor}) {
		if err != nil {
			return fmt.Errorf("kms: read last uses from the journal: %w", err)
		}
		readUses(rec.Data, found)
	}
	u.merge(found)
	u.caught.Store(true)
	return nil
}

// usePrefix stands in the record of every call of KMS, before anything that a
// client wrote.
const usePrefix = `"eventSource":"kms.amazonaws.com","eventName":"`

// usedRecord is the part of a record that tells of a use.
type usedRecord struct {
	EventTime          string           `json:"eventTime"`
	EventName          string           `json:"eventName"`
	ErrorCode          string           `json:"errorCode"`
	RequestID          string           `json:"requestID"`
	EventID            string           `json:"eventID"`
	Resources          []audit.Resource `json:"resources"`
	RecipientAccountID string           `json:"recipientAccountId"`
}

// readUses adds the uses in a record to found, by key ARN. Records come oldest
// first. Each owner of a key has a record, whose event id is the one to tell.
func readUses(data []byte, found map[string]useRow) {
	_, rest, ok := bytes.Cut(data, []byte(usePrefix))
	if !ok {
		return
	}
	if name, _, _ := bytes.Cut(rest, []byte{'"'}); !isTracked(string(name)) {
		return
	}
	var r usedRecord
	if json.Unmarshal(data, &r) != nil || r.ErrorCode != "" {
		return
	}
	at, err := time.Parse(time.RFC3339, r.EventTime)
	if err != nil {
		return
	}
	for _, res := range r.Resources {
		if res.AccountID != r.RecipientAccountID {
			continue
		}
		if have, ok := found[res.ARN]; !ok || have.At <= at.Unix() {
			found[res.ARN] = useRow{Operation: r.EventName, At: at.Unix(), EventID: r.EventID, RequestID: r.RequestID}
		}
	}
}

// splitKeyARN returns region and id of a key ARN.
func splitKeyARN(arn string) (region, id string, ok bool) {
	p := strings.SplitN(arn, ":", 6)
	if len(p) != 6 || p[2] != "kms" {
		return "", "", false
	}
	id, ok = strings.CutPrefix(p[5], "key/")
	return p[3], id, ok
}
