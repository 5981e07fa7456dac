package kms

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
)

// quota is one request quota: operations that share a rate.
type quota uint8

// The quotas of cryptographic operations; those of single operations follow.
const (
	noQuota quota = iota
	symmetricQuota
	rsaQuota
	eccQuota
	mldsaQuota
	mlkemQuota // not in AWS's table yet; the rate of the other one after quantum computers
	pairP256Quota
	pairP384Quota
	pairP521Quota
	pairK256Quota
	pairEdwardsQuota
	pairMLKEMQuota // neither
	pairRSA2048Quota
	pairRSA3072Quota
	pairRSA4096Quota
	firstOperationQuota
)

// cryptographicRates are the rates of the shared quotas, a second, but for the
// symmetric one, which depends on the Region.
var cryptographicRates = [firstOperationQuota]float64{
	rsaQuota: 1000, eccQuota: 1000, mldsaQuota: 1000, mlkemQuota: 1000,
	pairP256Quota: 100, pairP384Quota: 100, pairP521Quota: 100, pairK256Quota: 100, pairEdwardsQuota: 100, pairMLKEMQuota: 100,
	pairRSA2048Quota: 20, pairRSA3072Quota: 4, pairRSA4096Quota: 1,
}

// operationRates are the quotas of single operations, a second.
//
// Source: AWS KMS Developer Guide, "Request quotas".
var operationRates = []struct {
	operation string
	rate      float64
}{
	{"CancelKeyDeletion", 5},
	{"ConnectCustomKeyStore", 5},
	{"CreateAlias", 5},
	{"CreateCustomKeyStore", 5},
	{"CreateGrant", 50},
	{"CreateKey", 5},
	{"DeleteAlias", 15},
	{"DeleteCustomKeyStore", 5},
	{"DeleteImportedKeyMaterial", 15},
	{"DescribeCustomKeyStores", 5},
	{"DescribeKey", 2000},
	{"DisableKey", 5},
	{"DisableKeyRotation", 5},
	{"DisconnectCustomKeyStore", 5},
	{"EnableKey", 5},
	{"EnableKeyRotation", 15},
	{"GetKeyLastUsage", 5},
	{"GetKeyPolicy", 1000},
	{"GetKeyRotationStatus", 1000},
	{"GetParametersForImport", 1},
	{"GetPublicKey", 2000},
	{"ImportKeyMaterial", 15},
	{"ListAliases", 500},
	{"ListGrants", 100},
	{"ListKeyPolicies", 100},
	{"ListKeyRotations", 100},
	{"ListKeys", 500},
	{"ListResourceTags", 2000},
	{"ListRetirableGrants", 100},
	{"PutKeyPolicy", 15},
	{"ReplicateKey", 5},
	{"RetireGrant", 50},
	{"RevokeGrant", 50},
	{"RotateKeyOnDemand", 5},
	{"ScheduleKeyDeletion", 15},
	{"TagResource", 10},
	{"UntagResource", 5},
	{"UpdateAlias", 5},
	{"UpdateCustomKeyStore", 5},
	{"UpdateKeyDescription", 5},
	{"UpdatePrimaryRegion", 5},
}

// symmetricRate is the quota of cryptographic operations with symmetric keys, a
// second.
func symmetricRate(region string) float64 {
	switch region {
	case "us-east-1", "us-west-2", "eu-west-1":
		return 100_000
	case "us-east-2", "ap-southeast-1", "ap-southeast-2", "ap-northeast-1", "eu-central-1", "eu-west-2":
		return 20_000
	}
	return 10_000
}

// maxRegions bounds the Regions that an account has buckets in: it may sign for
// any name. Those above share.
const maxRegions = 64

// quotaLimiter is the Limiter of ThrottleAWS.
type quotaLimiter struct {
	now func() time.Time
	// quotas are those of single operations, by name; rates are all, by quota.
	quotas map[string]quota
	rates  []float64

	mu      sync.RWMutex
	callers map[string]*quotaCaller // by account
}

// quotaCaller is an account. There are no more than accounts.
type quotaCaller struct {
	mu      sync.RWMutex
	regions map[string]*buckets
}

func newQuotaLimiter(now func() time.Time) *quotaLimiter {
	l := &quotaLimiter{now: now, quotas: map[string]quota{}, rates: cryptographicRates[:], callers: map[string]*quotaCaller{}}
	for _, o := range operationRates {
		l.quotas[o.operation] = quota(len(l.rates))
		l.rates = append(l.rates, o.rate)
	}
	return l
}

// Enter implements protocol.Limiter. Who calls pays, not who owns the key.
//
// Errors: ThrottlingException.
func (l *quotaLimiter) Enter(ctx context.Context, op *schema.Operation, in any) (protocol.Lease, error) {
	if !l.charge(l.caller(callerAccount(ctx)), identity.From(ctx).Region, op, in, l.now()) {
		return nil, throttled()
	}
	return noLease{}, nil
}

// noLease is a call of which nothing is remembered.
type noLease struct{}

// Leave implements protocol.Lease.
func (noLease) Leave() {}

func (l *quotaLimiter) caller(account string) *quotaCaller {
	l.mu.RLock()
	c := l.callers[account]
	l.mu.RUnlock()
	if c != nil {
		return c
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c = l.callers[account]; c == nil {
		c = &quotaCaller{regions: map[string]*buckets{}}
		l.callers[account] = c
	}
	return c
}

// charge takes a request from its quota.
func (l *quotaLimiter) charge(t *quotaCaller, region string, op *schema.Operation, in any, now time.Time) bool {
	at := now.UnixNano()
	b := t.buckets(region, len(l.rates))
	switch in := in.(type) {
	case *kmsapi.ReplicateKeyInput: // the replica is created twice, once to try
		there := t.buckets(in.ReplicaRegion, len(l.rates))
		return b.take(l, region, l.quotas[op.Name], at) &&
			there.take(l, in.ReplicaRegion, l.quotas["CreateKey"], at) && there.take(l, in.ReplicaRegion, l.quotas["CreateKey"], at)
	case *kmsapi.UpdatePrimaryRegionInput:
		return b.take(l, region, l.quotas[op.Name], at) && t.buckets(in.PrimaryRegion, len(l.rates)).take(l, in.PrimaryRegion, l.quotas[op.Name], at)
	}
	q := cryptographicQuota(in)
	if q == noQuota {
		q = l.quotas[op.Name]
	}
	return b.take(l, region, q, at)
}

// cryptographicQuota returns the shared quota of a cryptographic operation. The
// request tells the kind of its key, before the key is looked at.
func cryptographicQuota(in any) quota {
	switch in := in.(type) {
	case *kmsapi.EncryptInput:
		return encryptionQuota(in.EncryptionAlgorithm)
	case *kmsapi.DecryptInput:
		return encryptionQuota(in.EncryptionAlgorithm)
	case *kmsapi.ReEncryptInput:
		return encryptionQuota(in.SourceEncryptionAlgorithm)
	case *kmsapi.GenerateDataKeyInput, *kmsapi.GenerateDataKeyWithoutPlaintextInput, *kmsapi.GenerateMacInput,
		*kmsapi.VerifyMacInput, *kmsapi.GenerateRandomInput:
		return symmetricQuota
	case *kmsapi.SignInput:
		return signingQuota(in.SigningAlgorithm)
	case *kmsapi.VerifyInput:
		return signingQuota(in.SigningAlgorithm)
	case *kmsapi.DeriveSharedSecretInput:
		return eccQuota
	case *kmsapi.EncapsulateInput, *kmsapi.DecapsulateInput:
		return mlkemQuota
	case *kmsapi.GenerateDataKeyPairInput:
		return pairQuota(in.KeyPairSpec)
	case *kmsapi.GenerateDataKeyPairWithoutPlaintextInput:
		return pairQuota(in.KeyPairSpec)
	}
	return noQuota
}

func encryptionQuota(a kmsapi.EncryptionAlgorithmSpec) quota {
	if a == "" || a == symmetric {
		return symmetricQuota
	}
	return rsaQuota
}

func signingQuota(a kmsapi.SigningAlgorithmSpec) quota {
	switch {
	case strings.HasPrefix(string(a), "RSA"):
		return rsaQuota
	case strings.HasPrefix(string(a), "ML_DSA"):
		return mldsaQuota
	}
	return eccQuota
}

func pairQuota(spec kmsapi.DataKeyPairSpec) quota {
	switch spec {
	case kmsapi.DataKeyPairSpecRsa2048:
		return pairRSA2048Quota
	case kmsapi.DataKeyPairSpecRsa3072:
		return pairRSA3072Quota
	case kmsapi.DataKeyPairSpecRsa4096:
		return pairRSA4096Quota
	case kmsapi.DataKeyPairSpecEccNistP384:
		return pairP384Quota
	case kmsapi.DataKeyPairSpecEccNistP521:
		return pairP521Quota
	case kmsapi.DataKeyPairSpecEccSecgP256k1:
		return pairK256Quota
	case kmsapi.DataKeyPairSpecEccNistEdwards25519:
		return pairEdwardsQuota
	case kmsapi.DataKeyPairSpecMlKem512, kmsapi.DataKeyPairSpecMlKem768, kmsapi.DataKeyPairSpecMlKem1024:
		return pairMLKEMQuota
	}
	return pairP256Quota
}

// buckets are the token buckets of an account in a Region, by quota. Each is one
// number: the instant, in nanoseconds, at which it will be full again.
type buckets []atomic.Int64

func (t *quotaCaller) buckets(region string, n int) *buckets {
	t.mu.RLock()
	b := t.regions[region]
	t.mu.RUnlock()
	if b != nil {
		return b
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.regions) >= maxRegions {
		region = ""
	}
	if b = t.regions[region]; b == nil {
		made := make(buckets, n)
		b = &made
		t.regions[region] = b
	}
	return b
}

// take takes a token, unless the bucket is empty. A bucket holds the tokens of one
// second, at least one.
func (b *buckets) take(l *quotaLimiter, region string, q quota, now int64) bool {
	if q == noQuota {
		return true
	}
	rate := l.rates[q]
	if q == symmetricQuota {
		rate = symmetricRate(region)
	}
	step := int64(float64(time.Second) / rate)
	depth := max(int64(time.Second), step)
	full := &(*b)[q]
	for {
		was := full.Load()
		is := max(was, now) + step
		if is-now > depth {
			return false
		}
		if full.CompareAndSwap(was, is) {
			return true
		}
	}
}
