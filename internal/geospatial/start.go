package geospatial

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	geoapi "github.com/sagekeep/sagekeep/api/geospatial"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// StartEarthObservationJob starts a job. With a customer managed key the
// execution role must be allowed all four actions of keyActions; then grant, job
// and first task are one commit, so that a refused start leaves nothing.
//
// The same ClientToken with the same parameters returns the same job.
//
// Errors: ValidationException, AccessDeniedException,
// ResourceNotFoundException for an input that does not exist,
// ConflictException for a token used with other parameters.
//
// Source: SageMaker geospatial API Reference, StartEarthObservationJob.
func (s *Service) StartEarthObservationJob(ctx context.Context, in *geoapi.StartEarthObservationJobInput) (*geoapi.StartEarthObservationJobOutput, error) {
	call := identity.From(ctx)
	token, err := newToken(ctx, "Start", in.ClientToken, withoutToken(in))
	if err != nil {
		return nil, err
	}
	if out, err := s.started(ctx, token); out != nil || err != nil {
		return out, err
	}
	job := jobRow{
		Ref:  ref{Region: call.Region, Account: call.Caller.Account, ID: newResourceID()},
		Name: in.Name, Role: in.ExecutionRoleArn, Created: s.timestamp(),
		Status: geoapi.EarthObservationJobStatusInitializing, Config: in.JobConfig,
	}
	if job.Bands, err = bandsFor(in.JobConfig); err != nil {
		return nil, err
	}
	if job.Tags, err = addTags(nil, in.Tags); err != nil {
		return nil, err
	}
	if job.Input, err = s.checkInput(ctx, in.InputConfig); err != nil {
		return nil, err
	}
	role, err := s.assume(ctx, in.ExecutionRoleArn, startSession)
	if err != nil {
		return nil, err
	}
	if role.Account != job.Ref.Account {
		return nil, geoapi.ValidationException("The execution role %s must be a role of your account.", in.ExecutionRoleArn)
	}
	role.InvokedBy = "arn:aws:iam::" + job.Ref.Account + ":root"
	asRole := identity.As(ctx, role)
	if in.KmsKeyId != nil && *in.KmsKeyId != "" {
		job.KmsKeyID = *in.KmsKeyId
		if job.KeyARN, err = s.jobKey(asRole, job.KmsKeyID); err != nil {
			return nil, err
		}
	}
	var out *geoapi.StartEarthObservationJobOutput
	err = s.cfg.Store.Update(ctx, func(tx *store.Tx) error {
		out = nil
		row := job // fn may run again
		if other, err := token.used(tx); err != nil || other != nil {
			if other != nil {
				out = s.startOutput(other)
				protocol.Respond(ctx, geoapi.StartEarthObservationJob, out)
			}
			return err
		}
		if err := s.createGrant(tx.Context(asRole), &row); err != nil {
			return err
		}
		if err := token.use(tx, &row, row.Created); err != nil {
			return err
		}
		if err := putJob(tx, row); err != nil {
			return err
		}
		if _, err := s.cfg.Jobs.Submit(tx, beginTask(row.Ref)); err != nil {
			return err
		}
		out = s.startOutput(&row)
		protocol.Respond(ctx, geoapi.StartEarthObservationJob, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Jobs.Wake()
	return out, nil
}

// createGrant gives the service what the job needs of the customer's key, as the
// execution role in ctx, which is that of a request, as retireGrant says.
func (s *Service) createGrant(ctx context.Context, job *jobRow) error {
	if job.KeyARN == "" {
		return nil
	}
	service := regional(job.Ref.Region)
	grant, err := s.cfg.Keys.CreateGrant(ctx, &kmsapi.CreateGrantInput{
		KeyId: job.KeyARN, GranteePrincipal: &service, RetiringPrincipal: &service, Operations: grantOperations(),
	})
	if err != nil {
		return refusal(err, "kms:CreateGrant", job)
	}
	job.GrantID = *grant.GrantId
	// The first use of the key shows that it works before the job is accepted.
	_, err = s.cfg.Keys.GenerateDataKeyWithoutPlaintext(ctx, &kmsapi.GenerateDataKeyWithoutPlaintextInput{
		KeyId: job.KeyARN, KeySpec: kmsapi.DataKeySpecAes256,
	})
	if err != nil {
		return refusal(err, "kms:GenerateDataKeyWithoutPlaintext", job)
	}
	return nil
}

// refusal turns an error of KMS into one of this service.
func refusal(err error, action string, job *jobRow) error {
	e, ok := errors.AsType[*schema.Error](err)
	switch {
	case !ok || e.Status >= 500:
		return err
	case e.Code == "AccessDenied" || e.Code == "AccessDeniedException":
		return geoapi.AccessDeniedException("The execution role %s is not authorized to perform %s on the KMS key %s.", job.Role, action, job.KeyARN).Because(err)
	}
	return geoapi.ValidationException("%s on the KMS key %s failed: %s: %s", action, job.KeyARN, e.Code, e.Message).Because(err)
}

// checkInput checks where a job reads from and renders it for Get.
//
// Errors: ValidationException, ResourceNotFoundException.
func (s *Service) checkInput(ctx context.Context, in *geoapi.InputConfigInput) (*geoapi.InputConfigOutput, error) {
	if in == nil || (in.PreviousEarthObservationJobArn == nil) == (in.RasterDataCollectionQuery == nil) {
		return nil, geoapi.ValidationException("InputConfig must have exactly one of RasterDataCollectionQuery and PreviousEarthObservationJobArn.")
	}
	if in.PreviousEarthObservationJobArn != nil {
		arn := *in.PreviousEarthObservationJobArn
		err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
			previous, err := s.ownJob(ctx, tx, arn)
			if err != nil {
				return err
			}
			if previous.Status != geoapi.EarthObservationJobStatusCompleted {
				return geoapi.ValidationException("PreviousEarthObservationJobArn: the job %s is %s, not COMPLETED.", arn, previous.Status)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		return &geoapi.InputConfigOutput{PreviousEarthObservationJobArn: &arn}, nil
	}
	q := in.RasterDataCollectionQuery
	if _, err := newQuery(q.TimeRangeFilter, q.AreaOfInterest, q.PropertyFilters); err != nil {
		return nil, err
	}
	out := &geoapi.RasterDataCollectionQueryOutput{
		RasterDataCollectionArn: q.RasterDataCollectionArn, AreaOfInterest: q.AreaOfInterest, PropertyFilters: q.PropertyFilters,
		TimeRangeFilter: &geoapi.TimeRangeFilterOutput{StartTime: q.TimeRangeFilter.StartTime, EndTime: q.TimeRangeFilter.EndTime},
	}
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		c, err := s.ownCollection(ctx, tx, q.RasterDataCollectionArn)
		out.RasterDataCollectionName = c.Name
		return err
	})
	if err != nil {
		return nil, err
	}
	return &geoapi.InputConfigOutput{RasterDataCollectionQuery: out}, nil
}

// clientToken is a request's ClientToken; the zero value is a request without one.
type clientToken struct {
	key     store.Key
	region  string
	account string
	request []byte
}

// newToken binds a token to an operation's parameters.
func newToken(ctx context.Context, operation string, token *string, params any) (*clientToken, error) {
	t := &clientToken{}
	t.region, t.account = place(ctx)
	if token == nil || *token == "" {
		return t, nil
	}
	b, err := json.Marshal(params)
	if err != nil {
		return nil, fmt.Errorf("geospatial: encode a request: %w", err)
	}
	sum := sha256.Sum256(b)
	t.key, t.request = store.Key{t.region, t.account, operation, *token}, sum[:]
	return t, nil
}

func withoutToken(in *geoapi.StartEarthObservationJobInput) geoapi.StartEarthObservationJobInput {
	c := *in
	c.ClientToken = nil
	return c
}

// used returns the job that the token was used for; nil when there is none, or
// when it has been deleted since.
//
// Errors: ConflictException for other parameters.
func (t *clientToken) used(tx *store.Tx) (*jobRow, error) {
	if t.key == nil {
		return nil, nil
	}
	row, err := tokens.Get(tx, t.key...)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := ref{Region: t.region, Account: t.account, ID: row.Job}
	if string(row.Request) != string(t.request) {
		return nil, geoapi.ConflictException("The ClientToken was used with other parameters.").With("ResourceId", r.jobARN())
	}
	job, err := jobsTable.Get(tx, r.key()...)
	if errors.Is(err, store.ErrNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return &job, nil
}

// use binds the token to a job, whose row the caller stores.
func (t *clientToken) use(tx *store.Tx, job *jobRow, now time.Time) error {
	if t.key == nil {
		return nil
	}
	job.Tokens = append(job.Tokens, t.key)
	return tokens.Put(tx, tokenRow{Request: t.request, Job: job.Ref.ID, Created: now}, t.key...)
}

// started answers a repeated start.
func (s *Service) started(ctx context.Context, t *clientToken) (*geoapi.StartEarthObservationJobOutput, error) {
	var job *jobRow
	err := s.cfg.Store.View(ctx, func(tx *store.Tx) error {
		var err error
		job, err = t.used(tx)
		return err
	})
	if err != nil || job == nil {
		return nil, err
	}
	out := s.startOutput(job)
	protocol.Respond(ctx, geoapi.StartEarthObservationJob, out)
	return out, nil
}

func (s *Service) startOutput(job *jobRow) *geoapi.StartEarthObservationJobOutput {
	return &geoapi.StartEarthObservationJobOutput{
		Arn: job.Ref.jobARN(), CreationTime: job.Created, DurationInSeconds: s.duration(job), ExecutionRoleArn: job.Role,
		InputConfig: job.Input, JobConfig: job.Config, KmsKeyId: optional(job.KmsKeyID), Name: job.Name,
		Status: job.Status, Tags: job.Tags,
	}
}

// beginTask is a job's first task.
func beginTask(r ref) jobs.Spec { return task{Job: r}.spec(kindBegin) }
