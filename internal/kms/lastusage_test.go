package kms

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/store"
)

// lastUsage asks as the home account's root.
func (f *fixture) lastUsage(id string) *kmsapi.GetKeyLastUsageOutput {
	f.Helper()
	return must(f.admin(), f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: id})
}

// wantUse checks the last use of a key against the newest record that its
// account has of the operation; "" means that there was none.
func (f *fixture) wantUse(what, id, operation string) {
	f.Helper()
	got := f.lastUsage(id).KeyLastUsage
	if operation == "" {
		if *got != (kmsapi.KeyLastUsageData{}) {
			f.Errorf("%s: the key was used: %+v", what, *got)
		}
		return
	}
	var want audit.Record
	all := f.records()
	for i := len(all) - 1; i >= 0; i-- {
		var r audit.Record
		if err := json.Unmarshal(all[i], &r); err != nil {
			f.Fatal(err)
		}
		if r.EventName == operation && r.ErrorCode == "" && r.RecipientAccountID == home && bytes.Contains(all[i], []byte(arnOf(id))) {
			want = r
			break
		}
	}
	switch {
	case got.Operation != kmsapi.KeyLastUsageTrackingOperation(operation):
		f.Errorf("%s: last operation %q, want %s", what, got.Operation, operation)
	case audit.Time(*got.Timestamp) != want.EventTime:
		f.Errorf("%s: last use at %s, the record says %s", what, got.Timestamp, want.EventTime)
	case *got.CloudTrailEventId != want.EventID:
		f.Errorf("%s: event id %s, the record's is %s", what, *got.CloudTrailEventId, want.EventID)
	case *got.KmsRequestId != want.RequestID:
		f.Errorf("%s: request id %s, the record's is %s", what, *got.KmsRequestId, want.RequestID)
	}
}

// restart is the service anew on the same store: after a crash, or after flush,
// which a clean end does.
func (f *fixture) restart() {
	f.Helper()
	f.start(f.s.cfg)
}

func (f *fixture) flush() {
	f.Helper()
	if err := f.s.flushUses(f.Context(), true); err != nil {
		f.Fatal(err)
	}
}

func TestLastUsageOfEveryOperation(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	nobody := f.user(home, "nobody", "")
	for _, u := range keyUses {
		id := f.newKey(u.spec, u.usage)
		f.wantUse("before "+u.operation, id, "")
		var given []byte
		if u.prepare != nil {
			given = u.prepare(f, id)
		}
		f.pass(time.Minute)
		made := *f.lastUsage(id).KeyLastUsage // by prepare
		wantError(t, u.operation+" as a dry run", u.run(f.admin(), f, id, given, nil, new(true)), "DryRunOperationException", "")
		wantError(t, u.operation+" by nobody", u.run(f.by(nobody), f, id, given, nil, nil), denied, "")
		if now := *f.lastUsage(id).KeyLastUsage; now.Operation != made.Operation || now.Timestamp != nil && !now.Timestamp.Equal(*made.Timestamp) {
			t.Errorf("a failed %s counts as a use: %+v", u.operation, now)
		}
		wantError(t, u.operation, u.run(f.admin(), f, id, given, nil, nil), "", "")
		if u.operation == "GetPublicKey" {
			f.wantUse("GetPublicKey, which is no use", id, "")
			continue
		}
		f.wantUse(u.operation, id, u.operation)
	}
}

func TestLastUsage(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	created := f.now()
	one, two := f.key(""), f.key("")
	out := f.lastUsage(one)
	if *out.KeyId != one || !out.KeyCreationDate.Equal(created) || !out.TrackingStartDate.Equal(created) || out.KeyLastUsage == nil {
		t.Errorf("an unused key: %+v", out)
	}
	f.wantUse("unused", one, "")

	f.pass(time.Hour + time.Millisecond*300)
	sealed := f.encrypted(f.admin(), one, nil)
	f.wantUse("Encrypt", one, "Encrypt")
	if at := f.lastUsage(one).KeyLastUsage.Timestamp; at.Nanosecond() != 0 {
		t.Errorf("a timestamp of %s, want whole seconds as in the record", at)
	}
	f.pass(time.Minute)
	for name, err := range map[string]error{
		"damaged":     second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: append([]byte(nil), sealed[:len(sealed)-1]...)})),
		"wrong key":   second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, KeyId: &two})),
		"wrong words": second(try(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed, EncryptionContext: map[string]string{"a": "b"}})),
	} {
		if err == nil {
			t.Errorf("%s succeeded", name)
		}
	}
	must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: one})
	f.wantUse("after failures", one, "Encrypt")
	f.wantUse("after failures", two, "")

	f.pass(time.Minute)
	must(f.admin(), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: sealed, DestinationKeyId: two})
	f.wantUse("source", one, "ReEncrypt")
	f.wantUse("destination", two, "ReEncrypt")

	// In every state, and for the owner alone: by id or ARN.
	must(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: one})
	f.wantUse("disabled", one, "ReEncrypt")
	must(f.admin(), f, kmsapi.CreateAlias, &kmsapi.CreateAliasInput{AliasName: "alias/k", TargetKeyId: one})
	ask := func(ctx context.Context, key string) error {
		return second(try(ctx, f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: key}))
	}
	wantError(t, "by ARN", ask(f.admin(), arnOf(one)), "", "")
	wantError(t, "by alias", ask(f.admin(), "alias/k"), "NotFoundException", "Invalid keyId 'alias/k'")
	wantError(t, "unknown", ask(f.admin(), unknownKey), "NotFoundException", "")
	wantError(t, "without permission", ask(f.by(f.user(home, "alice", "")), one), denied, "")
	wantError(t, "with permission", ask(f.by(f.user(home, "ian", doc(allow("kms:GetKeyLastUsage")))), one), "", "")
	must(f.admin(), f, kmsapi.PutKeyPolicy, &kmsapi.PutKeyPolicyInput{KeyId: two, Policy: doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), "kms:*"))})
	wantError(t, "from another account", ask(f.by(root(abroad)), arnOf(two)), denied, "")
}

// TestLastUsageAbroad: the owner of a key is told the id of its own record.
func TestLastUsageAbroad(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	bob := f.user(abroad, "bob", doc(allow("kms:*")))
	theirs := f.keyOf(f.by(root(abroad)), "")
	shared := f.key(doc(to(rootARN(home), "kms:*"), to(bob.ARN, "kms:*")))
	sealed := must(f.by(bob), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: arnOf(shared), Plaintext: []byte("p")}).CiphertextBlob
	f.wantUse("by another account", shared, "Encrypt")
	f.pass(time.Second)
	must(f.by(bob), f, kmsapi.ReEncrypt, &kmsapi.ReEncryptInput{CiphertextBlob: sealed, SourceKeyId: new(arnOf(shared)), DestinationKeyId: theirs})
	f.wantUse("the source of another account's ReEncrypt", shared, "ReEncrypt")
	mine := must(f.by(root(abroad)), f, kmsapi.GetKeyLastUsage, &kmsapi.GetKeyLastUsageInput{KeyId: theirs}).KeyLastUsage
	if *mine.CloudTrailEventId == *f.lastUsage(shared).KeyLastUsage.CloudTrailEventId {
		t.Error("two accounts are told the same event id")
	}
	f.flush()
	f.restart()
	f.wantUse("after a restart", shared, "ReEncrypt")
	f.pass(time.Second)
	must(f.by(bob), f, kmsapi.Encrypt, &kmsapi.EncryptInput{KeyId: arnOf(shared), Plaintext: []byte("p")})
	f.restart()
	f.wantUse("after a crash", shared, "Encrypt")
}

func TestLastUsageSurvives(t *testing.T) {
	t.Parallel()
	for name, flush := range map[string]bool{"a clean end": true, "a crash": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			early, late, never := f.key(""), f.key(""), f.key("")
			f.encrypted(f.admin(), early, nil)
			sealed := f.encrypted(f.admin(), late, nil)
			f.flush() // both have rows, the mark is here
			f.pass(time.Minute)
			must(f.admin(), f, kmsapi.Decrypt, &kmsapi.DecryptInput{CiphertextBlob: sealed})
			if flush {
				f.flush()
			}
			f.restart()
			if len(f.s.uses.recent) != 0 {
				t.Fatal("the new process knows uses")
			}
			f.wantUse("before the mark", early, "Encrypt")
			f.wantUse("after the mark", late, "Decrypt")
			f.wantUse("never", never, "")
			if got, want := len(f.s.uses.recent), map[bool]int{true: 0, false: 1}[flush]; got != want {
				t.Errorf("%d uses were read from the journal, want %d: it is read from the mark on", got, want)
			}
			f.pass(time.Minute)
			f.encrypted(f.admin(), late, nil)
			f.wantUse("after the start", late, "Encrypt")
			f.flush()
			if len(f.s.uses.recent) != 0 {
				t.Error("memory holds what rows have")
			}
			f.wantUse("from its row", late, "Encrypt")
			f.restart()
			f.wantUse("after another start", late, "Encrypt")
			f.wantUse("after another start", early, "Encrypt")
		})
	}
}

// A directory of an older version has no mark: everything is in the journal.
func TestLastUsageWithoutMark(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.encrypted(f.admin(), id, nil)
	for range 3 {
		f.restart()
		f.wantUse("from the journal", id, "Encrypt")
	}
}

// A later flush overwrites no newer row, and a key that is gone has none.
func TestLastUsageRows(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.pass(time.Hour)
	f.encrypted(f.admin(), id, nil)
	f.flush()
	f.s.uses.put(arnOf(id), useRow{Operation: "Decrypt", At: f.now().Add(-time.Minute).Unix()})
	f.flush()
	f.wantUse("an older use", id, "Encrypt")

	f.schedule(id)
	f.pass(7 * day)
	f.erase()
	rows := func() (n int) {
		err := f.store.View(t.Context(), func(tx *store.Tx) error {
			n = 0
			for _, err := range useRows.Scan(tx, nil, store.ScanOptions{}) {
				if err != nil {
					return err
				}
				n++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	if n := rows(); n != 0 {
		t.Errorf("%d rows of an erased key", n)
	}
	f.s.uses.put(arnOf(id), useRow{Operation: "Decrypt", At: f.now().Unix()})
	f.flush()
	if n := rows(); n != 0 {
		t.Errorf("%d rows of an erased key after a flush", n)
	}
}

// An idle server writes nothing, and one that ends writes down everything.
func TestMaintainUses(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	id := f.key("")
	f.flush()
	mark := func() (m useMark) {
		err := f.store.View(t.Context(), func(tx *store.Tx) (err error) {
			m, err = useMarks.Get(tx, useMarkKey)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		return m
	}
	before := mark()
	must(f.admin(), f, kmsapi.DescribeKey, &kmsapi.DescribeKeyInput{KeyId: id})
	for range 3 {
		if err := f.s.flushUses(t.Context(), false); err != nil {
			t.Fatal(err)
		}
	}
	if string(mark().Cursor) != string(before.Cursor) {
		t.Error("the mark was written though no key was used")
	}
	f.pass(markInterval)
	if err := f.s.flushUses(t.Context(), false); err != nil {
		t.Fatal(err)
	}
	if string(mark().Cursor) == string(before.Cursor) {
		t.Error("the mark stays behind for ever")
	}
	f.encrypted(f.admin(), id, nil)
	ctx, end := context.WithCancel(t.Context())
	end()
	f.s.MaintainUses(ctx, slog.New(slog.DiscardHandler))
	f.restart()
	f.wantUse("after the end", id, "Encrypt")
	if len(f.s.uses.recent) != 0 {
		t.Error("the end of a server leaves uses to the journal")
	}
}

// TestTrailingDays: kms:TrailingDaysWithoutKeyUsage counts whole days since the
// last use, or since the key was made.
func TestTrailingDays(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name    string
		used    time.Duration // after the creation; 0: never
		asked   time.Duration // after the creation
		refused bool          // by a deny of keys used in the last two days
	}{
		{"made now", 0, 0, true},
		{"made almost three days ago", 0, 3*day - time.Second, true},
		{"made three days ago", 0, 3 * day, false},
		{"used now", 10 * day, 10 * day, true},
		{"used almost three days ago", 10 * day, 13*day - time.Second, true},
		{"used three days ago", 10 * day, 13 * day, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id := f.key(doc(to(rootARN(home), "kms:*"), not("*", "kms:ScheduleKeyDeletion kms:DisableKey", when("NumericLessThanEquals", "kms:TrailingDaysWithoutKeyUsage", "2"))))
			f.pass(c.used)
			if c.used > 0 {
				f.encrypted(f.admin(), id, nil)
			}
			f.pass(c.asked - c.used)
			want := ""
			if c.refused {
				want = denied
			}
			wantError(t, "DisableKey", second(try(f.admin(), f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id})), want, "")
			wantError(t, "EnableKey", second(try(f.admin(), f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})), "", "")
			wantError(t, "ScheduleKeyDeletion", second(try(f.admin(), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id, PendingWindowInDays: new(int32(7))})), want, "")
		})
	}
}

// TestTrailingDaysWhenAsked: while the journal is read after a start, nobody waits
// for it whose policies do not ask when the key was used.
func TestTrailingDaysWhenAsked(t *testing.T) {
	t.Parallel()
	const unused = "kms:TrailingDaysWithoutKeyUsage"
	silent, asking := doc(to(rootARN(home), "kms:*")), doc(to(rootARN(home), "kms:*"), not("*", "kms:DisableKey kms:ScheduleKeyDeletion", when("NumericLessThan", unused, "2")))
	for _, c := range []struct {
		name, key, user string
		asks            bool
	}{
		{"nobody asks", silent, allow("kms:*"), false},
		{"the key policy asks of other actions", doc(to(rootARN(home), "kms:*"), not("*", "kms:EnableKey", when("NumericLessThan", unused, "2"))), allow("kms:*"), false},
		{"the key policy asks", asking, allow("kms:*"), true},
		{"the caller's policy asks", silent, allow("kms:*", when("NumericGreaterThanEquals", unused, "2")), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := newFixture(t)
			id := f.key(c.key)
			alice := f.user(home, "alice", doc(c.user))
			f.encrypted(f.admin(), id, nil)
			f.restart()
			f.s.uses.catching <- struct{}{} // as while the journal is read
			ctx, stop := context.WithTimeout(f.by(alice), 200*time.Millisecond)
			defer stop()
			err := second(try(ctx, f, kmsapi.DisableKey, &kmsapi.DisableKeyInput{KeyId: id}))
			if c.asks != (err != nil) {
				t.Errorf("DisableKey while the journal is read: %v", err)
			}
			if c.asks {
				f.wantState(id, "Enabled")
			}
			<-f.s.uses.catching
			wantError(t, "EnableKey", second(try(f.admin(), f, kmsapi.EnableKey, &kmsapi.EnableKeyInput{KeyId: id})), "", "")
			want := ""
			if c.asks {
				want = denied
			}
			wantError(t, "ScheduleKeyDeletion", second(try(f.by(alice), f, kmsapi.ScheduleKeyDeletion, &kmsapi.ScheduleKeyDeletionInput{KeyId: id})), want, "")
			if read := f.s.uses.caught.Load(); read != c.asks {
				t.Errorf("the journal was read: %t, want %t", read, c.asks)
			}
		})
	}
}

// BenchmarkNoteUse is what tracking costs a request.
func BenchmarkNoteUse(b *testing.B) {
	f := newFixture(b)
	ctx, p := audit.WithPending(f.admin())
	ctx, e := p.Begin(ctx, "kms.amazonaws.com", "Encrypt", true, false, "id")
	e.AddResource(home, resourceType, arnOf(unknownKey))
	b.ReportAllocs()
	for b.Loop() {
		f.s.noteUse(ctx, "Encrypt")
	}
}
