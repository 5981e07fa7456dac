package organizations

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/jobs"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// kindCreate is the task that makes an account.
const kindCreate = "organizations.create-account"

// defaultRole is the role of a new account that its management account may
// assume.
const defaultRole = "OrganizationAccountAccessRole"

// administrator is the policy that the role has.
const administrator = "arn:aws:iam::aws:policy/AdministratorAccess"

// creationTask is the payload of the task.
type creationTask struct {
	Organization string `json:"organization"`
	ID           string `json:"id"`
}

func (s *Service) registerTasks() {
	s.cfg.Jobs.Register(jobs.Kind{
		Name: kindCreate, Lane: jobs.Light, Run: s.runCreation,
		Failed: func(tx *store.Tx, t *jobs.Task, _ error) error { // the process ended each time
			c, err := s.creationOf(tx, t)
			if c == nil {
				return err
			}
			c.State, c.Failure, c.Completed = orgapi.CreateAccountStateFailed, orgapi.CreateAccountFailureReasonInternalFailure, s.stamp()
			return s.creations.Put(tx, *c, c.Organization, c.ID)
		},
	})
}

func (s *Service) creationShape(c *creationRow) *orgapi.CreateAccountStatus {
	shape := &orgapi.CreateAccountStatus{
		Id: &c.ID, AccountName: &c.Name, State: c.State, RequestedTimestamp: new(timeOf(c.Requested)), FailureReason: c.Failure,
	}
	if c.Account != "" {
		shape.AccountId = &c.Account
	}
	if c.Completed != 0 {
		shape.CompletedTimestamp = new(timeOf(c.Completed))
	}
	return shape
}

// CreateAccount begins to make an account and answers at once; DescribeCreate-
// AccountStatus tells how it ends. The account's root user has no access key:
// the account is entered through the role that is made in it, which principals
// of the management account may assume and which has AdministratorAccess.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException;
// InvalidInputException and ConstraintViolationException for tags. An address
// that is taken, and too many accounts, fail the request later.
func (s *Service) CreateAccount(ctx context.Context, in *orgapi.CreateAccountInput) (*orgapi.CreateAccountOutput, error) {
	tags, err := mergeTags(nil, in.Tags)
	if err != nil {
		return nil, err
	}
	role := defaultRole
	if in.RoleName != nil && *in.RoleName != "" {
		role = *in.RoleName
	}
	out := &orgapi.CreateAccountOutput{}
	err = s.change(ctx, func(tx *store.Tx, o *organizationRow) error {
		c := creationRow{
			Organization: o.ID, ID: newCreationID(), State: orgapi.CreateAccountStateInProgress,
			Name: in.AccountName, Email: in.Email, Role: role, Tags: tags, Requested: s.stamp(),
		}
		task, err := json.Marshal(creationTask{c.Organization, c.ID})
		if err != nil {
			return err
		}
		if _, err := s.cfg.Jobs.Submit(tx, jobs.Spec{Kind: kindCreate, Payload: task}); err != nil {
			return err
		}
		out.CreateAccountStatus = s.creationShape(&c)
		protocol.Respond(ctx, orgapi.CreateAccount, out)
		return s.creations.Put(tx, c, c.Organization, c.ID)
	})
	if err != nil {
		return nil, err
	}
	s.cfg.Jobs.Wake()
	return out, nil
}

// creationOf returns the request that a task is for, nil when it has ended or
// is gone.
func (s *Service) creationOf(tx *store.Tx, t *jobs.Task) (*creationRow, error) {
	var p creationTask
	if err := json.Unmarshal(t.Payload, &p); err != nil {
		return nil, jobs.Permanent(fmt.Errorf("organizations: read a task: %w", err))
	}
	c, err := s.creations.Get(tx, p.Organization, p.ID)
	if errors.Is(err, store.ErrNotFound) || err == nil && c.State != orgapi.CreateAccountStateInProgress {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read request: %w", err)
	}
	return &c, nil
}

// runCreation makes an account, its role and its membership in one commit, with
// the records of all that. What was tried in vain too often fails the request.
func (s *Service) runCreation(ctx context.Context, t *jobs.Task) error {
	ctx, pending := audit.WithPending(ctx)
	ctx = store.WithPending(ctx, pending)
	err := s.finishCreation(ctx, t, s.create)
	if err != nil && t.Attempt >= jobs.DefaultAttempts && ctx.Err() == nil {
		ferr := s.finishCreation(ctx, t, func(ctx context.Context, tx *store.Tx, o *organizationRow, c *creationRow) error {
			return s.endCreation(ctx, tx, o, c, orgapi.CreateAccountFailureReasonInternalFailure)
		})
		if ferr == nil {
			return nil
		}
		err = errors.Join(err, ferr)
	}
	return err
}

func (s *Service) finishCreation(ctx context.Context, t *jobs.Task, end func(context.Context, *store.Tx, *organizationRow, *creationRow) error) error {
	return t.Finish(ctx, func(tx *store.Tx) error {
		c, err := s.creationOf(tx, t)
		if c == nil {
			return err
		}
		o, err := s.organizations.Get(tx, c.Organization)
		if err != nil {
			return fmt.Errorf("read organization: %w", err)
		}
		return end(tx.Context(ctx), tx, &o, c)
	})
}

// create ends a request with an account, or with the reason why there is none.
func (s *Service) create(ctx context.Context, tx *store.Tx, o *organizationRow, c *creationRow) error {
	reason, err := s.obstacle(tx, o, c)
	if err != nil {
		return err
	}
	if reason == "" {
		if c.Account, err = s.newAccount(ctx, o, c.Role); err != nil {
			return err
		}
		// The evaluator has been asked about the account by now, as one in no
		// organization; the epoch that this commit raises voids the answer.
		a := accountRow{ID: c.Account, Name: c.Name, Email: c.Email, Tags: c.Tags}
		if err := s.join(ctx, tx, o, &a, orgapi.AccountJoinedMethodCreated); err != nil {
			return err
		}
		tx.Bump(epochName)
	}
	return s.endCreation(ctx, tx, o, c, reason)
}

// endCreation stores and records how a request ended; "" is success.
//
// Source: AWS Organizations User Guide, "Logging API calls with AWS CloudTrail",
// CreateAccountResult.
func (s *Service) endCreation(ctx context.Context, tx *store.Tx, o *organizationRow, c *creationRow, reason orgapi.CreateAccountFailureReason) error {
	c.State, c.Failure, c.Completed = orgapi.CreateAccountStateSucceeded, reason, s.stamp()
	if reason != "" {
		c.State = orgapi.CreateAccountStateFailed
	}
	status := map[string]any{
		"id": c.ID, "state": string(c.State), "accountName": "****",
		"requestedTimestamp": audit.Time(timeOf(c.Requested)), "completedTimestamp": audit.Time(timeOf(c.Completed)),
	}
	if c.Account != "" {
		status["accountId"] = c.Account
	}
	if reason != "" {
		status["failureReason"] = string(reason)
	}
	s.event(ctx, o, "CreateAccountResult", map[string]any{"createAccountStatus": status})
	return s.creations.Put(tx, *c, c.Organization, c.ID)
}

// obstacle returns why the account cannot be made, "" if it can.
func (s *Service) obstacle(tx *store.Tx, o *organizationRow, c *creationRow) (orgapi.CreateAccountFailureReason, error) {
	taken, err := some(tx, s.accounts, byEmail, strings.ToLower(c.Email))
	if err != nil {
		return "", err
	}
	if taken {
		return orgapi.CreateAccountFailureReasonEmailAlreadyExists, nil
	}
	n, err := count(tx, s.accounts, byOrganization, o.ID)
	if err != nil {
		return "", err
	}
	if n >= maxAccounts {
		return orgapi.CreateAccountFailureReasonAccountLimitExceeded, nil
	}
	return "", nil
}

// attemptsAtID bounds the search for an account id that is free.
const attemptsAtID = 64

// newAccount makes an account and the role in it. The role is made by calls
// through the pipeline as the new account's root user, on behalf of the service:
// authorised like any, and recorded in the new account.
func (s *Service) newAccount(ctx context.Context, o *organizationRow, role string) (string, error) {
	var id string
	for ok, n := false, 0; !ok; n++ {
		if n == attemptsAtID {
			return "", errors.New("organizations: no free account id was found")
		}
		id = newAccountID()
		var err error
		if ok, err = s.cfg.Accounts.Add(ctx, id); err != nil {
			return "", fmt.Errorf("create account: %w", err)
		}
	}
	ctx = identity.With(ctx, &identity.Call{
		Caller: &identity.Caller{
			Type: identity.Root, Account: id, ARN: "arn:aws:iam::" + id + ":root", PrincipalID: id, InvokedBy: Principal,
		},
		Region: homeRegion, RequestID: s.cfg.NewID(), SourceIP: Principal, UserAgent: Principal, Time: s.cfg.Now().UTC(),
	})
	trust := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"arn:aws:iam::` + o.Management + `:root"},"Action":"sts:AssumeRole"}]}`
	if _, err := s.cfg.Accounts.CreateRole(ctx, &iamapi.CreateRoleInput{RoleName: role, AssumeRolePolicyDocument: trust}); err != nil {
		return "", fmt.Errorf("create role %s: %w", role, err)
	}
	if _, err := s.cfg.Accounts.AttachRolePolicy(ctx, &iamapi.AttachRolePolicyInput{RoleName: role, PolicyArn: administrator}); err != nil {
		return "", fmt.Errorf("attach the policy of role %s: %w", role, err)
	}
	return id, nil
}

// DescribeCreateAccountStatus tells how a request to create an account stands.
//
// Errors: CreateAccountStatusNotFoundException;
// AWSOrganizationsNotInUseException; AccessDeniedException.
func (s *Service) DescribeCreateAccountStatus(ctx context.Context, in *orgapi.DescribeCreateAccountStatusInput) (*orgapi.DescribeCreateAccountStatusOutput, error) {
	out := &orgapi.DescribeCreateAccountStatusOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) error {
		c, err := s.creations.Get(tx, o.ID, in.CreateAccountRequestId)
		if err != nil {
			return missing(err, "request", orgapi.CreateAccountStatusNotFoundException("You specified a create account request that doesn't exist."))
		}
		out.CreateAccountStatus = s.creationShape(&c)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// ListCreateAccountStatus lists the requests in the given states, in all states
// when none is given.
//
// Errors: AWSOrganizationsNotInUseException; AccessDeniedException;
// InvalidInputException.
func (s *Service) ListCreateAccountStatus(ctx context.Context, in *orgapi.ListCreateAccountStatusInput) (*orgapi.ListCreateAccountStatusOutput, error) {
	states := slices.Compact(slices.Sorted(slices.Values(in.States)))
	out := &orgapi.ListCreateAccountStatusOutput{}
	err := s.read(ctx, func(tx *store.Tx, o *organizationRow) (err error) {
		part := func(key ...string) stage[orgapi.CreateAccountStatus] {
			return rows(s.creations, byState, key, func(_ *store.Tx, c *creationRow) (orgapi.CreateAccountStatus, bool, error) {
				return *s.creationShape(c), true, nil
			})
		}
		parts := []stage[orgapi.CreateAccountStatus]{part(o.ID)}
		if len(states) > 0 {
			parts = nil
		}
		for _, state := range states {
			parts = append(parts, part(o.ID, string(state)))
		}
		l := listing{name: fmt.Sprintf("ListCreateAccountStatus|%v", states), token: in.NextToken, max: in.MaxResults}
		out.CreateAccountStatuses, out.NextToken, err = list(ctx, s, tx, l, parts...)
		return err
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}
