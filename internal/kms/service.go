package kms

import (
	"context"
	"crypto/rand"
	"crypto/rsa"
	"sync"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
	"github.com/sagekeep/sagekeep/internal/xks"
)

// principals is what KMS needs from IAM: whether an ARN names someone.
type principals interface {
	// PrincipalExists returns the unique id of the principal; accounts have none.
	PrincipalExists(ctx context.Context, arn string) (uniqueID string, ok bool)
	// NamesNow returns what stands today in place of ARNs that were bound to
	// unique ids, when that is not the ARN.
	NamesNow(ctx context.Context, bound map[string]string) (map[string]string, error)
}

// authorizer evaluates a check without a record: for the lock-out check and for
// the narrowing of child grants.
type authorizer interface {
	Authorize(ctx context.Context, svc *schema.Service, c *protocol.Check) error
}

// Config is what a Service is made of.
type Config struct {
	Store      *store.Store
	Keyring    *envelope.Keyring
	Epochs     *envelope.Epochs
	Principals principals
	Authorizer authorizer
	Now        func() time.Time // nil: time.Now
	Quotas     Quotas
	Throttling Throttling // "": ThrottleFair
	// Customer names the customer that an account belongs to; nil: each account is
	// one. What a busy server can do is divided among customers.
	Customer func(ctx context.Context, account string) string
	// LinkedRole makes the service-linked role of a service in the caller's account
	// unless it is there; nil: nothing. It is called in the commit that needs the role.
	LinkedRole func(ctx context.Context, service string) error
	// MakeRSA makes an RSA key of a size in bits, which is the caller's to overwrite;
	// nil: package crypto/rsa does.
	MakeRSA func(ctx context.Context, bits int) (*rsa.PrivateKey, error)
	// Proxies reaches the proxies of external key stores; nil: one with the
	// system's certificate authorities.
	Proxies *xks.Client
}

// Service is the Key Management Service. Its methods may be called concurrently.
type Service struct {
	cfg   Config
	cache keyCache
	// policies are key policies that many keys have, the default one above all.
	policies policyCache
	uses     *lastUses
	// connecting wakes whoever connects external key stores.
	connecting chan struct{}
	// erasing serialises erasures: two at once would destroy each other's epoch.
	erasing sync.Mutex
	// rested is when the next erasure of the maintenance may begin; under erasing.
	rested time.Time
	// wrapping is read-held from the wrapping of new key material until its
	// commit, so that an erasure sees what was wrapped under the old epoch.
	wrapping sync.RWMutex
	// making lets one RSA key be generated at a time.
	making *turnstile
	// indexing lets the grants of one key be read at a time where they are many.
	indexing *turnstile
	// room bounds what cached grants take.
	room grantRoom
}

// New returns the service.
func New(c Config) *Service {
	if c.Now == nil {
		c.Now = time.Now
	}
	if c.Customer == nil {
		c.Customer = ownCustomer
	}
	if c.MakeRSA == nil {
		c.MakeRSA = func(_ context.Context, bits int) (*rsa.PrivateKey, error) { return rsa.GenerateKey(rand.Reader, bits) }
	}
	c.Quotas.setDefaults()
	if c.Proxies == nil {
		c.Proxies = xks.New(xks.Config{})
	}
	return &Service{
		cfg: c, cache: keyCache{entries: map[string]*cachedKey{}}, making: newTurnstile(), indexing: newTurnstile(), room: usualRoom, uses: newLastUses(),
		connecting: make(chan struct{}, 1),
	}
}

// Register adds every implemented operation.
func (s *Service) Register(r *protocol.Registry) {
	protocol.Handle(r, kmsapi.CreateKey, s.resolveCreateKey, s.CreateKey)
	protocol.Handle(r, kmsapi.DescribeKey, s.describeChecks(), s.DescribeKey)
	protocol.Handle(r, kmsapi.ListKeys, accountWide, s.ListKeys)
	onKey(r, s, kmsapi.EnableKey, byKey, func(in *kmsapi.EnableKeyInput) call { return call{key: &in.KeyId} }, s.EnableKey)
	onKey(r, s, kmsapi.DisableKey, byKey, func(in *kmsapi.DisableKeyInput) call { return call{key: &in.KeyId, unused: true} }, s.DisableKey)
	onKey(r, s, kmsapi.ScheduleKeyDeletion, byKey, scheduleCall, s.ScheduleKeyDeletion)
	onKey(r, s, kmsapi.CancelKeyDeletion, byKey, func(in *kmsapi.CancelKeyDeletionInput) call { return call{key: &in.KeyId} }, s.CancelKeyDeletion)
	onKey(r, s, kmsapi.UpdateKeyDescription, byKey, func(in *kmsapi.UpdateKeyDescriptionInput) call { return call{key: &in.KeyId} }, s.UpdateKeyDescription)

	onKey(r, s, kmsapi.Encrypt, byAlias|crossAccount, encryptCall, tracked(s, kmsapi.Encrypt, s.Encrypt))
	protocol.Handle(r, kmsapi.Decrypt, s.decryptChecks, tracked(s, kmsapi.Decrypt, s.Decrypt))
	protocol.Handle(r, kmsapi.ReEncrypt, s.reEncryptChecks, tracked(s, kmsapi.ReEncrypt, s.ReEncrypt))
	onKey(r, s, kmsapi.GenerateDataKey, byAlias|crossAccount, dataKeyCall, tracked(s, kmsapi.GenerateDataKey, s.GenerateDataKey))
	onKey(r, s, kmsapi.GenerateDataKeyWithoutPlaintext, byAlias|crossAccount, dataKeyWithoutCall, tracked(s, kmsapi.GenerateDataKeyWithoutPlaintext, s.GenerateDataKeyWithoutPlaintext))
	protocol.Handle(r, kmsapi.GenerateRandom, accountWide, s.GenerateRandom)
	onKey(r, s, kmsapi.GetPublicKey, byAlias|crossAccount, func(in *kmsapi.GetPublicKeyInput) call { return call{key: &in.KeyId, tokens: &in.GrantTokens} }, s.GetPublicKey)

	onKey(r, s, kmsapi.GenerateDataKeyPair, byAlias|crossAccount, keyPairCall, tracked(s, kmsapi.GenerateDataKeyPair, s.GenerateDataKeyPair))
	onKey(r, s, kmsapi.GenerateDataKeyPairWithoutPlaintext, byAlias|crossAccount, keyPairWithoutCall, tracked(s, kmsapi.GenerateDataKeyPairWithoutPlaintext, s.GenerateDataKeyPairWithoutPlaintext))
	onKey(r, s, kmsapi.Sign, byAlias|crossAccount, signCall, tracked(s, kmsapi.Sign, s.Sign))
	onKey(r, s, kmsapi.Verify, byAlias|crossAccount, verifyCall, tracked(s, kmsapi.Verify, s.Verify))
	onKey(r, s, kmsapi.GenerateMac, byAlias|crossAccount, generateMacCall, tracked(s, kmsapi.GenerateMac, s.GenerateMac))
	onKey(r, s, kmsapi.VerifyMac, byAlias|crossAccount, verifyMacCall, tracked(s, kmsapi.VerifyMac, s.VerifyMac))
	onKey(r, s, kmsapi.DeriveSharedSecret, byAlias|crossAccount, deriveCall, tracked(s, kmsapi.DeriveSharedSecret, s.DeriveSharedSecret))
	onKey(r, s, kmsapi.Encapsulate, byAlias|crossAccount, encapsulateCall, tracked(s, kmsapi.Encapsulate, s.Encapsulate))
	onKey(r, s, kmsapi.Decapsulate, byAlias|crossAccount, decapsulateCall, tracked(s, kmsapi.Decapsulate, s.Decapsulate))

	onKey(r, s, kmsapi.GetKeyLastUsage, byKey, func(in *kmsapi.GetKeyLastUsageInput) call { return call{key: &in.KeyId} }, s.GetKeyLastUsage)
	onKey(r, s, kmsapi.GetKeyPolicy, byKey, func(in *kmsapi.GetKeyPolicyInput) call { return call{key: &in.KeyId} }, s.GetKeyPolicy)
	onKey(r, s, kmsapi.PutKeyPolicy, byKey, putPolicyCall, s.PutKeyPolicy)
	onKey(r, s, kmsapi.ListKeyPolicies, byKey, func(in *kmsapi.ListKeyPoliciesInput) call { return call{key: &in.KeyId} }, s.ListKeyPolicies)

	protocol.Handle(r, kmsapi.CreateCustomKeyStore, accountWide, s.CreateCustomKeyStore)
	protocol.Handle(r, kmsapi.UpdateCustomKeyStore, accountWide, s.UpdateCustomKeyStore)
	protocol.Handle(r, kmsapi.DeleteCustomKeyStore, accountWide, s.DeleteCustomKeyStore)
	protocol.Handle(r, kmsapi.ConnectCustomKeyStore, accountWide, s.ConnectCustomKeyStore)
	protocol.Handle(r, kmsapi.DisconnectCustomKeyStore, accountWide, s.DisconnectCustomKeyStore)
	protocol.Handle(r, kmsapi.DescribeCustomKeyStores, accountWide, s.DescribeCustomKeyStores)

	protocol.Handle(r, kmsapi.CreateAlias, s.createAliasChecks, s.CreateAlias)
	protocol.Handle(r, kmsapi.UpdateAlias, s.updateAliasChecks, s.UpdateAlias)
	protocol.Handle(r, kmsapi.DeleteAlias, s.deleteAliasChecks, s.DeleteAlias)
	protocol.Handle(r, kmsapi.ListAliases, accountWide, s.ListAliases)

	onKey(r, s, kmsapi.CreateGrant, crossAccount, createGrantCall, s.CreateGrant)
	onKey(r, s, kmsapi.ListGrants, crossAccount, func(in *kmsapi.ListGrantsInput) call { return call{key: &in.KeyId, awsResource: true} }, s.ListGrants)
	onKey(r, s, kmsapi.RevokeGrant, crossAccount, func(in *kmsapi.RevokeGrantInput) call { return call{key: &in.KeyId, awsResource: true} }, s.RevokeGrant)
	protocol.Handle(r, kmsapi.RetireGrant, s.retireGrantChecks, s.RetireGrant)
	protocol.Handle(r, kmsapi.ListRetirableGrants, accountWide, s.ListRetirableGrants)

	onKey(r, s, kmsapi.TagResource, byKey, tagCall, s.TagResource)
	onKey(r, s, kmsapi.UntagResource, byKey, untagCall, s.UntagResource)
	onKey(r, s, kmsapi.ListResourceTags, byKey, func(in *kmsapi.ListResourceTagsInput) call { return call{key: &in.KeyId} }, s.ListResourceTags)

	onKey(r, s, kmsapi.GetParametersForImport, byKey, importParametersCall, s.GetParametersForImport)
	onKey(r, s, kmsapi.ImportKeyMaterial, byKey, importCall, s.ImportKeyMaterial)
	onKey(r, s, kmsapi.DeleteImportedKeyMaterial, byKey, func(in *kmsapi.DeleteImportedKeyMaterialInput) call { return call{key: &in.KeyId} }, s.DeleteImportedKeyMaterial)
	onKey(r, s, kmsapi.ReplicateKey, byKey, replicateCall, s.ReplicateKey)
	onKey(r, s, kmsapi.UpdatePrimaryRegion, byKey, updatePrimaryCall, s.UpdatePrimaryRegion)

	onKey(r, s, kmsapi.GetKeyRotationStatus, crossAccount, func(in *kmsapi.GetKeyRotationStatusInput) call { return call{key: &in.KeyId} }, s.GetKeyRotationStatus)
	onKey(r, s, kmsapi.EnableKeyRotation, byKey, enableRotationCall, s.EnableKeyRotation)
	onKey(r, s, kmsapi.DisableKeyRotation, byKey, func(in *kmsapi.DisableKeyRotationInput) call { return call{key: &in.KeyId} }, s.DisableKeyRotation)
	onKey(r, s, kmsapi.RotateKeyOnDemand, byKey, func(in *kmsapi.RotateKeyOnDemandInput) call { return call{key: &in.KeyId} }, s.RotateKeyOnDemand)
	onKey(r, s, kmsapi.ListKeyRotations, byKey, func(in *kmsapi.ListKeyRotationsInput) call { return call{key: &in.KeyId} }, s.ListKeyRotations)

	if l := newLimiter(s.cfg.Throttling, s.cfg.Now, s.cfg.Customer); l != nil {
		r.Limit(kmsapi.Service, l)
	}
}

// onKey adds an operation on one key.
func onKey[In, Out any](r *protocol.Registry, s *Service, op schema.Op[In, Out], may use, of func(*In) call, method func(context.Context, *In) (*Out, error)) {
	protocol.Handle(r, op, keyOf(s, op, may, of), method)
}

// resourceType is CloudTrail's type of a key.
const resourceType = "AWS::KMS::Key"

// timestamp is an instant as rows hold it: UTC, whole microseconds.
func (s *Service) timestamp() time.Time { return s.cfg.Now().UTC().Truncate(time.Microsecond) }
