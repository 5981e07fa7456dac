package kms

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

const tooFast = "You have exceeded the rate at which you may call KMS. Reduce the frequency of your calls."

// limited is a fixture under AWS's quotas.
func limited(t testing.TB) *fixture {
	f := newFixture(t)
	c := f.s.cfg
	c.Throttling = ThrottleAWS
	f.start(c)
	return f
}

// TestEveryOperationHasAQuota: a new operation is in the table, too.
func TestEveryOperationHasAQuota(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := newQuotaLimiter(f.now)
	for _, op := range f.r.Operations()["kms"] {
		if q := cryptographicQuota(op.NewInput()); q == noQuota && l.quotas[op.Name] == noQuota {
			t.Errorf("%s has no quota", op.Name)
		} else if q != noQuota && l.quotas[op.Name] != noQuota {
			t.Errorf("%s has two quotas", op.Name)
		}
	}
	for q, rate := range l.rates {
		if rate <= 0 && quota(q) != noQuota && quota(q) != symmetricQuota {
			t.Errorf("quota %d has the rate %v", q, rate)
		}
	}
}

// TestSharedQuotas: which quota a cryptographic operation is charged to, and how
// many of it go in a second.
func TestSharedQuotas(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, region string
		in           any
		want         int
	}{
		{"symmetric in a large Region", "us-west-2", &kmsapi.DecryptInput{}, 100_000},
		{"symmetric in a middle one", "eu-central-1", &kmsapi.GenerateDataKeyInput{}, 20_000},
		{"symmetric in another", "eu-north-1", &kmsapi.GenerateRandomInput{}, 10_000},
		{"MAC", "eu-north-1", &kmsapi.VerifyMacInput{}, 10_000},
		{"named symmetric", "eu-north-1", &kmsapi.ReEncryptInput{SourceEncryptionAlgorithm: symmetric}, 10_000},
		{"RSA decryption", "us-west-2", &kmsapi.DecryptInput{EncryptionAlgorithm: oaepSHA256}, 1000},
		{"RSA signature", "us-west-2", &kmsapi.SignInput{SigningAlgorithm: "RSASSA_PSS_SHA_256"}, 1000},
		{"ECC signature", "us-west-2", &kmsapi.VerifyInput{SigningAlgorithm: "ECDSA_SHA_256"}, 1000},
		{"ML-DSA signature", "us-west-2", &kmsapi.SignInput{SigningAlgorithm: "ML_DSA_SHAKE_256"}, 1000},
		{"agreement", "us-west-2", &kmsapi.DeriveSharedSecretInput{}, 1000},
		{"ECC pair", "us-west-2", &kmsapi.GenerateDataKeyPairInput{KeyPairSpec: "ECC_NIST_P384"}, 100},
		{"RSA_2048 pair", "us-west-2", &kmsapi.GenerateDataKeyPairInput{KeyPairSpec: "RSA_2048"}, 20},
		{"RSA_3072 pair", "us-west-2", &kmsapi.GenerateDataKeyPairWithoutPlaintextInput{KeyPairSpec: "RSA_3072"}, 4},
		{"RSA_4096 pair", "us-west-2", &kmsapi.GenerateDataKeyPairInput{KeyPairSpec: "RSA_4096"}, 1},
	} {
		l := newQuotaLimiter(time.Now)
		now, n := time.Unix(1_800_000_000, 0), 0
		caller := l.caller(home)
		for ; n <= c.want && l.charge(caller, c.region, kmsapi.Decrypt.Operation, c.in, now); n++ {
		}
		if n != c.want {
			t.Errorf("%s: %d requests at once, want %d", c.name, n, c.want)
		}
		for n = 0; n <= c.want && l.charge(caller, c.region, kmsapi.Decrypt.Operation, c.in, now.Add(500*time.Millisecond)); n++ {
		}
		if n != c.want/2 {
			t.Errorf("%s: %d requests half a second later, want %d", c.name, n, c.want/2)
		}
	}
}

func TestThrottlingByAWSQuotas(t *testing.T) {
	t.Parallel()
	f := limited(t)
	create := func(ctx context.Context) error {
		return second(try(ctx, f, kmsapi.CreateKey, &kmsapi.CreateKeyInput{}))
	}
	for range 5 {
		wantError(t, "CreateKey", create(f.admin()), "", "")
	}
	before := len(f.records())
	wantError(t, "the sixth CreateKey", create(f.admin()), "ThrottlingException", tooFast)
	if n := len(f.records()) - before; n != 1 {
		t.Errorf("%d records of a throttled request", n)
	}
	if r := f.last("CreateKey"); r["errorCode"] != "ThrottlingException" || r["errorMessage"] != tooFast || r["requestParameters"] != nil {
		t.Errorf("the record: %v", r)
	}
	wantError(t, "by another account", create(f.by(root(abroad))), "", "")
	wantError(t, "in another Region", create(f.in(elsewhere, root(home))), "", "")
	wantError(t, "by a principal of the account without permission", create(f.by(f.user(home, "nobody", ""))), "ThrottlingException", tooFast)
	f.pass(200 * time.Millisecond)
	wantError(t, "after a fifth of a second", create(f.admin()), "", "")
	wantError(t, "a seventh", create(f.admin()), "ThrottlingException", tooFast)
	f.pass(time.Second)

	// Quotas are apart, services' calls count, and the caller pays.
	id := f.key(doc(to(rootARN(home), "kms:*"), to(rootARN(abroad), "kms:*")))
	pair := func(ctx context.Context) error {
		return second(try(ctx, f, kmsapi.GenerateDataKeyPair, &kmsapi.GenerateDataKeyPairInput{KeyId: arnOf(id), KeyPairSpec: "RSA_4096", DryRun: new(true)}))
	}
	wantError(t, "a pair, by a service", pair(f.by(via(root(home), "s3", region))), "DryRunOperationException", "")
	wantError(t, "the second pair", pair(f.admin()), "ThrottlingException", tooFast)
	wantError(t, "a pair, by another account", pair(f.by(root(abroad))), "DryRunOperationException", "")
	wantError(t, "another operation", second(try(f.admin(), f, kmsapi.GenerateDataKey, &kmsapi.GenerateDataKeyInput{KeyId: id, KeySpec: "AES_256"})), "", "")
	svc := service(home, "none")
	f.pass(time.Second)
	wantError(t, "a pair for a service's resource", pair(f.by(svc)), denied, "")
	wantError(t, "a pair by the account of the resource", pair(f.admin()), "ThrottlingException", tooFast)
}

// Operations in two Regions are charged in both.
func TestQuotasOfTwoRegions(t *testing.T) {
	t.Parallel()
	now := time.Unix(1_800_000_000, 0)
	l := newQuotaLimiter(time.Now)
	caller := l.caller(home)
	replicate := &kmsapi.ReplicateKeyInput{ReplicaRegion: elsewhere}
	n := 0
	for ; l.charge(caller, region, kmsapi.ReplicateKey.Operation, replicate, now); n++ {
	}
	if n != 2 { // five CreateKey requests there, two for each
		t.Errorf("%d replicas in a second, want 2", n)
	}
	if l.charge(caller, elsewhere, kmsapi.CreateKey.Operation, &kmsapi.CreateKeyInput{}, now) {
		t.Error("CreateKey in the replicas' Region was not charged")
	}
	if !l.charge(caller, region, kmsapi.CreateKey.Operation, &kmsapi.CreateKeyInput{}, now) {
		t.Error("CreateKey in the primaries' Region was charged")
	}
	move := &kmsapi.UpdatePrimaryRegionInput{PrimaryRegion: elsewhere}
	for n = 0; l.charge(caller, region, kmsapi.UpdatePrimaryRegion.Operation, move, now); n++ {
	}
	if n != 5 || l.charge(caller, elsewhere, kmsapi.UpdatePrimaryRegion.Operation, &kmsapi.UpdatePrimaryRegionInput{PrimaryRegion: "eu-west-3"}, now) {
		t.Errorf("%d moves in a second, want 5 in each Region", n)
	}
}

// By default one account has the server to itself, and two share it when there
// is more to do than it can.
func TestThrottlingIsFair(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := newFairLimiter(f.now, ownCustomer)
	enter := func(account string) (protocol.Lease, error) {
		return l.Enter(f.by(root(account)), kmsapi.Decrypt.Operation, &kmsapi.DecryptInput{})
	}
	var ours, theirs []protocol.Lease
	fill := func(account string, into *[]protocol.Lease, most int64) (n int64) {
		for range most {
			lease, err := enter(account)
			if err != nil {
				wantError(t, account, err, "ThrottlingException", tooFast)
				return n
			}
			*into = append(*into, lease)
			n++
		}
		return n
	}
	if n := fill(home, &ours, 3*l.most); n != 3*l.most {
		t.Fatalf("an account alone got %d of %d requests", n, 3*l.most)
	}
	if n := fill(abroad, &theirs, l.most); n != l.most/2 {
		t.Errorf("the second account got %d requests beside, want its half of %d", n, l.most)
	}
	if n := fill(home, &ours, 1); n != 0 {
		t.Error("the first account got more than its half while there are two")
	}
	for _, x := range append(ours, theirs...) {
		x.Leave()
	}
	if w := l.working.Load(); w != 0 {
		t.Errorf("%d requests are at work after the last", w)
	}
	ours, theirs = nil, nil
	if n := fill(home, &ours, l.most); n != l.most {
		t.Errorf("the first account got %d of %d requests of an idle server", n, l.most)
	}
	f.pass(2 * time.Second)
	if n := fill(home, &ours, l.most); n != l.most {
		t.Errorf("an account alone got %d of %d requests after the other one left", n, l.most)
	}
}

// An organization with many accounts is one customer: it does not take the server
// from an account that is alone.
func TestThrottlingIsFairToCustomers(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	customerOf := func(_ context.Context, account string) string {
		if strings.HasPrefix(account, "5") {
			return "o-many"
		}
		return account
	}
	l := newFairLimiter(f.now, customerOf)
	enter := func(account string) protocol.Lease {
		lease, err := l.Enter(f.by(root(account)), kmsapi.Decrypt.Operation, &kmsapi.DecryptInput{})
		if err != nil {
			wantError(t, account, err, "ThrottlingException", tooFast)
		}
		return lease
	}
	var leases []protocol.Lease
	many := func() (n int64) {
		for i := range 4 * l.most {
			if lease := enter(fmt.Sprintf("5%011d", i%200)); lease != nil {
				leases = append(leases, lease)
				n++
			}
		}
		return n
	}
	if n := many(); n < l.most {
		t.Errorf("the accounts of an organization got %d of %d requests of an idle server", n, l.most)
	}
	var alone int64
	for range l.most {
		if lease := enter(home); lease != nil {
			leases = append(leases, lease)
			alone++
		}
	}
	if alone != l.most/2 {
		t.Errorf("the account beside got %d requests, want its half of %d", alone, l.most)
	}
	if n := many(); n != 0 {
		t.Errorf("the organization got %d more than its half", n)
	}
	for _, lease := range leases {
		lease.Leave()
	}
	if l.working.Load() != 0 || l.tenant(home, home).customer.working.Load() != 0 {
		t.Error("requests are at work after the last")
	}
	// Organizations come and go; what is kept of them does not grow.
	for i := range 1000 {
		l.tenant(home, fmt.Sprint("o-", i))
	}
	if len(l.buyers) > 2*len(l.tenants)+1 {
		t.Errorf("%d customers of %d accounts", len(l.buyers), len(l.tenants))
	}
}

func TestThrottlingOff(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	c := f.s.cfg
	c.Throttling = ThrottleOff
	f.start(c)
	for range 20 {
		f.key("")
	}
	if !ThrottleOff.Valid() || !ThrottleAWS.Valid() || !ThrottleFair.Valid() || Throttling("some").Valid() {
		t.Error("Valid is wrong")
	}
}

// Names of Regions fill no memory.
func TestBucketsAreBounded(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	l := newQuotaLimiter(f.now)
	refused := 0
	for i := range 10 * maxRegions {
		lease, err := l.Enter(f.in(fmt.Sprint("region-", i), root(home)), kmsapi.CreateKey.Operation, &kmsapi.CreateKeyInput{})
		if err != nil {
			refused++
			continue
		}
		lease.Leave()
	}
	if n := len(l.caller(home).regions); n > maxRegions+1 {
		t.Errorf("buckets of %d Regions", n)
	}
	if refused == 0 {
		t.Error("invented Regions have no limit together")
	}
}

// await waits until n requests wait.
func (t *turnstile) await(tb testing.TB, n int) {
	tb.Helper()
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(time.Millisecond) {
		t.mu.Lock()
		waiting := t.waiting
		t.mu.Unlock()
		if waiting == n {
			return
		}
		if time.Now().After(deadline) {
			tb.Fatalf("%d requests wait, want %d", waiting, n)
		}
	}
}

// RSA keys are made for the accounts in turn.
func TestTurnstile(t *testing.T) {
	t.Parallel()
	gate := newTurnstile()
	leave, err := gate.enter(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	var mu sync.Mutex
	var order []string
	var wg sync.WaitGroup
	wait := func(ctx context.Context, account string) {
		gate.mu.Lock()
		n := gate.waiting
		gate.mu.Unlock()
		wg.Go(func() {
			leave, err := gate.enter(ctx, account)
			if err != nil {
				return
			}
			mu.Lock()
			order = append(order, account)
			mu.Unlock()
			leave()
		})
		gate.await(t, n+1)
	}
	gone, cancel := context.WithCancel(t.Context())
	for range 4 {
		wait(t.Context(), "a")
	}
	wait(gone, "c")
	wait(t.Context(), "b")
	wait(gone, "b")
	wait(t.Context(), "b")
	cancel()
	gate.await(t, 6)
	leave()
	wg.Wait()
	if got := strings.Join(order, ""); got != "ababaa" {
		t.Errorf("the order is %s, want ababaa", got)
	}
	if gate.busy || gate.waiting != 0 || len(gate.queues) != 0 || len(gate.order) != 0 {
		t.Errorf("after the last: %+v", gate)
	}
	leave, err = gate.enter(t.Context(), home)
	if err != nil {
		t.Fatal(err)
	}
	for range maxWaiting {
		wait(t.Context(), "many")
	}
	_, err = gate.enter(t.Context(), "many")
	wantError(t, "one too many of an account", err, "ThrottlingException", tooFast)
	wait(t.Context(), "another")
	for i := range maxWaitingAll / maxWaiting {
		for range maxWaiting {
			if gate.waiting < maxWaitingAll {
				wait(t.Context(), fmt.Sprint("crowd", i))
			}
		}
	}
	wait(t.Context(), "the last") // who has nothing waiting always may
	_, err = gate.enter(t.Context(), "the last")
	wantError(t, "one too many of all", err, "ThrottlingException", tooFast)
	leave()
	wg.Wait()
	if i := slices.Index(order, "another"); i < 0 || i > 8 {
		t.Errorf("the other account was number %d: %v", i, order)
	}
}

// BenchmarkThrottle is what the limiter costs a request.
func BenchmarkThrottle(b *testing.B) {
	for _, kind := range []Throttling{ThrottleFair, ThrottleAWS} {
		b.Run(string(kind), func(b *testing.B) {
			f := newFixture(b)
			l := newLimiter(kind, time.Now, ownCustomer)
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				ctx := f.by(root(home))
				in := &kmsapi.DecryptInput{}
				for pb.Next() {
					if lease, err := l.Enter(ctx, kmsapi.Decrypt.Operation, in); err == nil {
						lease.Leave()
					}
				}
			})
		})
	}
}
