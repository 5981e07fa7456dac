package geospatial

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/secret"
)

// keyActions are what the execution role must be allowed on the job's key.
//
// Source: Amazon SageMaker Developer Guide, "Use AWS KMS Permissions for Amazon
// SageMaker geospatial capabilities", Key policy.
func keyActions() []string {
	return []string{"kms:CreateGrant", "kms:GenerateDataKey", "kms:Decrypt", "kms:GenerateDataKeyWithoutPlaintext"}
}

// grantOperations are what the service does under a job's grant: all of it.
func grantOperations() []kmsapi.GrantOperation {
	return []kmsapi.GrantOperation{kmsapi.GrantOperationDecrypt, kmsapi.GrantOperationGenerateDataKey}
}

// regional is the name that grants and service callers carry.
func regional(region string) string { return "sagemaker-geospatial." + region + ".amazonaws.com" }

// Session names of execution roles, as they stand in audit records.
const (
	startSession  = "SageMaker-Geospatial-StartEOJ-KMSAccess"
	exportSession = "SageMaker-Geospatial-ExportEOJ"
)

// assume returns the execution role's session.
//
// Errors: ValidationException.
func (s *Service) assume(ctx context.Context, roleARN, session string) (*identity.Caller, error) {
	role, err := s.cfg.Roles.AssumeForService(ctx, roleARN, session, Principal)
	if err != nil {
		if schema.AsError(err).Status >= 500 {
			return nil, err
		}
		return nil, geoapi.ValidationException("The execution role %s cannot be assumed: it must exist, and its trust policy must allow sts:AssumeRole to %s.", roleARN, Principal).Because(err)
	}
	return role, nil
}

// jobKey finds and checks the customer managed key of a new job. ctx carries the
// execution role, which must be allowed everything that the job will need before
// anything is made.
//
// Errors: ValidationException, AccessDeniedException.
func (s *Service) jobKey(ctx context.Context, keyID string) (arn string, err error) {
	call := identity.From(ctx)
	arn, symmetric, state, err := s.cfg.Keys.Describe(ctx, keyID)
	if err != nil {
		if e, ok := errors.AsType[*schema.Error](err); ok && e.Status < 500 {
			return "", geoapi.ValidationException("The KMS key %s cannot be used: %s", keyID, e.Message).Because(err)
		}
		return "", err
	}
	if !strings.HasPrefix(arn, "arn:aws:kms:"+call.Region+":"+call.Caller.Account+":") {
		return "", geoapi.ValidationException("The KMS key %s cannot be used: it must be in the account and the Region of the job.", keyID)
	}
	var missing []string
	for _, action := range keyActions() {
		c, err := s.cfg.Keys.Check(ctx, arn, action, nil)
		if err != nil {
			return "", err
		}
		c.Action = action
		if action == "kms:CreateGrant" {
			grantConditions(&c, call.Region)
		}
		err = s.cfg.Authorizer.Authorize(ctx, kmsapi.Service, &c)
		if err == nil {
			continue
		}
		if schema.AsError(err).Status >= 500 {
			return "", err
		}
		missing = append(missing, action)
	}
	if len(missing) > 0 {
		return "", geoapi.AccessDeniedException("The execution role %s is not authorized to perform %s on the KMS key %s.",
			call.Caller.RoleARN, strings.Join(missing, ", "), arn)
	}
	if !symmetric {
		return "", geoapi.ValidationException("The KMS key %s cannot be used: only symmetric encryption keys are supported.", arn)
	}
	if state != string(kmsapi.KeyStateEnabled) {
		return "", geoapi.ValidationException("The KMS key %s cannot be used: its state is %s.", arn, state)
	}
	return arn, nil
}

// grantConditions adds the condition keys that the call of CreateGrant will have.
func grantConditions(c *protocol.Check, region string) {
	if c.Context.Len() == 0 {
		c.Context = authz.NewContext()
	}
	c.Context.SetBool("kms:GrantIsForAWSResource", true)
	c.Context.Set("kms:GranteePrincipal", regional(region))
	c.Context.Set("kms:RetiringPrincipal", regional(region))
	var ops []string
	for _, op := range grantOperations() {
		ops = append(ops, string(op))
	}
	c.Context.SetMulti("kms:GrantOperations", ops...)
}

// serviceCaller is the service principal acting for one job, under its grant.
func serviceCaller(job *jobRow) *identity.Caller {
	return &identity.Caller{
		Type: identity.Service, ServiceName: regional(job.Ref.Region),
		SourceARN: job.Ref.jobARN(), SourceAccount: job.Ref.Account, GrantID: job.GrantID,
	}
}

// asService returns a context in which the service acts for the job.
func (s *Service) asService(ctx context.Context, job *jobRow) context.Context {
	return identity.With(ctx, &identity.Call{
		Caller: serviceCaller(job), Region: job.Ref.Region, RequestID: s.cfg.NewID(), Time: s.cfg.Now().UTC(),
	})
}

// serviceBucket is where AWS keeps results; its prefix is reserved here.
const serviceBucket = "axis-earth-observation-job-378778860802"

// encryptionContext binds a data key to the one object it is for.
func (r ref) encryptionContext(object string) map[string]string {
	return map[string]string{"aws:s3:arn": "arn:aws:s3:::" + serviceBucket + "/" + r.Account + "/" + r.ID + "/" + object}
}

// heldKey is an unwrapped data key and what it was decided under.
type heldKey struct {
	key   secret.Key
	epoch uint64 // of the KMS key
	since time.Time
}

// keyCache holds data keys in use. It is bounded: an overfull cache starts anew.
type keyCache struct {
	mu      sync.Mutex
	entries map[string]heldKey
}

const (
	maxHeldKeys = 1024
	keyLasts    = 5 * time.Minute
)

func (c *keyCache) get(name string) (heldKey, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.entries[name]
	return k, ok
}

func (c *keyCache) put(name string, k heldKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.entries) >= maxHeldKeys {
		clear(c.entries)
	}
	c.entries[name] = k
}

// drop forgets the keys whose name begins with prefix.
func (c *keyCache) drop(prefix string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for name := range c.entries {
		if strings.HasPrefix(name, prefix) {
			delete(c.entries, name)
		}
	}
}

// holder names who uses a data key and what for: another use asks KMS anew, so
// that each leaves its own record.
func holder(user ref, purpose string) string {
	return user.Region + "/" + user.Account + "/" + user.ID + "/" + purpose + "/"
}

// newDataKey makes the data key of one object of the job.
func (s *Service) newDataKey(ctx context.Context, job *jobRow, object, by string) (wrapped []byte, err error) {
	if job.KeyARN == "" {
		return nil, nil
	}
	epoch := s.cfg.KeyEpoch(job.Ref.Region, job.KeyARN)
	ec := job.Ref.encryptionContext(object)
	out, err := s.cfg.Keys.GenerateDataKey(s.asService(ctx, job), &kmsapi.GenerateDataKeyInput{
		KeyId: job.KeyARN, KeySpec: kmsapi.DataKeySpecAes256, EncryptionContext: ec,
	})
	if err != nil {
		return nil, keyError(err, "kms:GenerateDataKey", job)
	}
	k, err := secret.New(out.Plaintext)
	clear(out.Plaintext)
	if err != nil {
		return nil, fmt.Errorf("geospatial: data key of %s: %w", object, err)
	}
	s.keys.put(by+ec["aws:s3:arn"], heldKey{k, epoch, s.cfg.Now()})
	return out.CiphertextBlob, nil
}

// dataKey unwraps the data key of one object of the job, or returns the zero Key
// for jobs without a customer managed key. A key that is already held is used
// only while nothing about the KMS key has changed: a revoked grant, a disabled
// key or a new policy is noticed at the next block.
//
// Errors: a permanent *jobError that says what was taken away.
func (s *Service) dataKey(ctx context.Context, job *jobRow, out *outputRow, by string) (secret.Key, error) {
	if out.Wrapped == nil {
		return secret.Key{}, nil
	}
	ec := job.Ref.encryptionContext(out.Object)
	name := by + ec["aws:s3:arn"]
	// The epoch is read first: what changes later makes the entry stale.
	epoch := s.cfg.KeyEpoch(job.Ref.Region, job.KeyARN)
	if k, ok := s.keys.get(name); ok && k.epoch == epoch && s.cfg.Now().Sub(k.since) < keyLasts {
		return k.key, nil
	}
	got, err := s.cfg.Keys.Decrypt(s.asService(ctx, job), &kmsapi.DecryptInput{CiphertextBlob: out.Wrapped, EncryptionContext: ec})
	if err != nil {
		return secret.Key{}, keyError(err, "kms:Decrypt", job)
	}
	k, err := secret.New(got.Plaintext)
	clear(got.Plaintext)
	if err != nil {
		return secret.Key{}, fmt.Errorf("geospatial: data key of %s: %w", out.Object, err)
	}
	s.keys.put(name, heldKey{k, epoch, s.cfg.Now()})
	return k, nil
}

// jobError is a reason for a job's failure that its owner may read.
type jobError struct {
	failure
	cause error
}

func (e *jobError) Error() string {
	if e.cause != nil {
		return e.Message + " (" + e.cause.Error() + ")"
	}
	return e.Message
}

func (e *jobError) Unwrap() error { return e.cause }

// clientError is a failure that the job's owner can cure; no retry does.
func clientError(cause error, format string, args ...any) error {
	return jobs.Permanent(&jobError{failure{Message: fmt.Sprintf(format, args...)}, cause})
}

// failureOf renders the end of a task for the owner of the job.
func failureOf(cause error) *failure {
	if e, ok := errors.AsType[*jobError](cause); ok {
		return &e.failure
	}
	return &failure{Server: true, Message: "An internal error occurred."}
}

// keyError explains a refusal of AWS KMS. Other errors stay as they are, to be
// tried again.
func keyError(err error, action string, job *jobRow) error {
	e, ok := errors.AsType[*schema.Error](err)
	if !ok {
		return err
	}
	switch e.Code {
	case "AccessDenied", "AccessDeniedException":
		return clientError(err, "%s on the KMS key %s was refused: the job's grant %s was revoked or retired, or a policy denies it.",
			action, job.KeyARN, job.GrantID)
	case "DisabledException":
		return clientError(err, "%s on the KMS key %s was refused: the key is disabled.", action, job.KeyARN)
	case "KMSInvalidStateException", "InvalidStateException":
		return clientError(err, "%s on the KMS key %s was refused: the key is pending deletion or cannot be used in its state.", action, job.KeyARN)
	case "NotFoundException":
		return clientError(err, "%s on the KMS key %s was refused: the key does not exist.", action, job.KeyARN)
	case "InvalidCiphertextException", "IncorrectKeyException":
		return clientError(err, "%s on the KMS key %s was refused: the key's material is not the one that the data was encrypted under.", action, job.KeyARN)
	}
	return err
}
