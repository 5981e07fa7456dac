package iam

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/store"
)

// linkedPath begins the paths of service-linked roles, and of no others.
const linkedPath = "/aws-service-role/"

// deletionKept is how long the outcome of a deletion can be asked for.
const deletionKept = 30 * 24 * time.Hour

// LinkedRoleUse is what still needs a service-linked role, in one region.
type LinkedRoleUse struct {
	Region    string
	Resources []string // ARNs
}

// deletionRow is one deletion of a service-linked role, keyed by account and
// task id.
type deletionRow struct {
	Account string                        `json:"account"`
	ID      string                        `json:"id"`
	Status  iamapi.DeletionTaskStatusType `json:"status"`
	Reason  string                        `json:"reason,omitempty"` // of a failure
	Use     []LinkedRoleUse               `json:"use,omitempty"`
	Created int64                         `json:"created"` // µs UTC
}

func deletionTable() *store.Table[deletionRow] {
	return store.Hashed[deletionRow]("iam.linkedroledeletion")
}

// registerLinkedRoles adds the operations on service-linked roles.
func (s *Service) registerLinkedRoles(r *protocol.Registry) {
	protocol.Handle(r, iamapi.CreateServiceLinkedRole, s.resolveCreateLinkedRole, s.CreateServiceLinkedRole)
	protocol.Handle(r, iamapi.DeleteServiceLinkedRole, of(s, s.roles, func(in *iamapi.DeleteServiceLinkedRoleInput) string { return in.RoleName }), s.DeleteServiceLinkedRole)
	protocol.Handle(r, iamapi.GetServiceLinkedRoleDeletionStatus, s.resolveDeletionStatus, s.GetServiceLinkedRoleDeletionStatus)
}

// resolveCreateLinkedRole names the role that the service has.
func (s *Service) resolveCreateLinkedRole(ctx context.Context, in *iamapi.CreateServiceLinkedRoleInput) ([]protocol.Check, error) {
	name := ""
	if l, ok := linkedService(in.AWSServiceName); ok {
		name = l.role
	}
	c := authz.NewContext()
	c.Set("iam:AWSServiceName", in.AWSServiceName)
	account := accountOf(ctx)
	return []protocol.Check{{Resource: s.roles.arnOf(account, linkedPath+in.AWSServiceName+"/", name), Account: account, Context: c}}, nil
}

// resolveDeletionStatus names the role that a task id holds; it may be gone.
func (s *Service) resolveDeletionStatus(ctx context.Context, in *iamapi.GetServiceLinkedRoleDeletionStatusInput) ([]protocol.Check, error) {
	account := accountOf(ctx)
	service, role, ok := parseDeletionTask(in.DeletionTaskId)
	if !ok {
		return []protocol.Check{{Resource: s.roles.arnOf(account, linkedPath, ""), Account: account}}, nil
	}
	return []protocol.Check{{Resource: s.roles.arnOf(account, linkedPath+service+"/", role), Account: account}}, nil
}

// newDeletionTask returns task/aws-service-role/SERVICE/ROLE/UUID.
func newDeletionTask(e *entity) string {
	return "task" + e.Path + e.Name + "/" + newUUID()
}

func parseDeletionTask(id string) (service, role string, ok bool) {
	rest, ok := strings.CutPrefix(id, "task"+linkedPath)
	p := strings.Split(rest, "/")
	if !ok || len(p) != 3 || p[0] == "" || p[1] == "" || p[2] == "" {
		return "", "", false
	}
	return p[0], p[1], true
}

// checkModifiable refuses what nobody but AWS may do to a service-linked role.
func checkModifiable(e *entity) error {
	if e.Linked != "" {
		return iamapi.UnmodifiableEntityException("Cannot perform the operation on the protected role '%s' - this role is only modifiable by AWS", e.Name)
	}
	return nil
}

// CreateServiceLinkedRole adds the role that one of our services acts under in
// the caller's account. It trusts that service alone and has the service's own
// policy; both can never change.
//
// Errors: InvalidInput for a service that has no such role or takes no suffix,
// and when the role is there.
//
// Source: IAM User Guide, "Create a service-linked role".
func (s *Service) CreateServiceLinkedRole(ctx context.Context, in *iamapi.CreateServiceLinkedRoleInput) (*iamapi.CreateServiceLinkedRoleOutput, error) {
	l, ok := linkedService(in.AWSServiceName)
	switch {
	case !ok:
		return nil, iamapi.InvalidInputException("Service principal %s has no service-linked role.", in.AWSServiceName)
	case value(in.CustomSuffix) != "":
		return nil, iamapi.InvalidInputException("Custom suffix is not allowed for %s", in.AWSServiceName)
	}
	e := entity{
		Account: accountOf(ctx), Name: l.role, Path: linkedPath + l.service + "/", ID: newUniqueID(s.roles.idPrefix), Created: s.stamp(),
		Description: in.Description, MaxSession: defaultMaxSession, Linked: l.service, Attached: []string{l.policyARN()}, Trust: l.trust(),
	}
	out := &iamapi.CreateServiceLinkedRoleOutput{Role: s.roleShape(&e, e.Trust)}
	err := s.update(ctx, e.Account, func(tx *store.Tx) error {
		err := s.create(tx, s.roles, &e)
		if errors.Is(err, iamapi.EntityAlreadyExistsException("")) {
			return iamapi.InvalidInputException("Service role name %s has been taken in this account, please try a different suffix.", e.Name)
		}
		if err != nil {
			return err
		}
		protocol.Respond(ctx, iamapi.CreateServiceLinkedRole, out)
		return nil
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

// DeleteServiceLinkedRole deletes a service-linked role, unless its service
// still needs it, which the status of the returned task then says.
//
// Errors: NoSuchEntity, also for a role that is not service-linked.
func (s *Service) DeleteServiceLinkedRole(ctx context.Context, in *iamapi.DeleteServiceLinkedRoleInput) (*iamapi.DeleteServiceLinkedRoleOutput, error) {
	account := accountOf(ctx)
	out := new(iamapi.DeleteServiceLinkedRoleOutput)
	err := s.update(ctx, account, func(tx *store.Tx) error {
		e, err := s.roles.get(tx, account, in.RoleName)
		if err != nil {
			return err
		}
		if e.Linked == "" {
			return notLinked(in.RoleName)
		}
		// In this transaction: what comes to need the role meanwhile would be left
		// without it.
		use, err := s.linkedRoleUse(tx.Context(ctx), account, e.Linked)
		if err != nil {
			return err
		}
		if err := s.forgetDeletions(tx, account); err != nil {
			return err
		}
		task := deletionRow{Account: account, ID: newDeletionTask(&e), Status: iamapi.DeletionTaskStatusTypeSucceeded, Created: s.stamp()}
		if len(use) > 0 {
			task.Status, task.Use = iamapi.DeletionTaskStatusTypeFailed, use
			task.Reason = "The role is in use by resources of " + e.Linked + "."
		} else {
			if err := s.roles.table.Delete(tx, account, strings.ToLower(e.Name)); err != nil {
				return err
			}
			if err := s.forgetUse(tx, account, e.ID); err != nil {
				return err
			}
		}
		out.DeletionTaskId = task.ID
		protocol.Respond(ctx, iamapi.DeleteServiceLinkedRole, out)
		return s.linked.Put(tx, task, account, task.ID)
	})
	if err != nil {
		return nil, err
	}
	return out, nil
}

func notLinked(role string) error {
	return iamapi.NoSuchEntityException("The service-linked role with name %s cannot be found.", role)
}

func (s *Service) linkedRoleUse(ctx context.Context, account, service string) ([]LinkedRoleUse, error) {
	if s.linkUse == nil {
		return nil, nil
	}
	use, err := s.linkUse(ctx, account, service)
	if err != nil {
		return nil, fmt.Errorf("use of a service-linked role: %w", err)
	}
	return use, nil
}

// forgetDeletions removes the outcomes that nobody will ask for any more.
func (s *Service) forgetDeletions(tx *store.Tx, account string) error {
	before := s.now().Add(-deletionKept).UnixMicro()
	var old []string
	for row, err := range s.linked.Scan(tx, store.Key{account}, store.ScanOptions{}) {
		if err != nil {
			return fmt.Errorf("list deletions of service-linked roles: %w", err)
		}
		if row.Value.Created < before {
			old = append(old, row.Value.ID)
		}
	}
	for _, id := range old {
		if err := s.linked.Delete(tx, account, id); err != nil {
			return err
		}
	}
	return nil
}

// GetServiceLinkedRoleDeletionStatus tells how a deletion went, for 30 days.
//
// Errors: NoSuchEntity; InvalidInput for what is no task id.
func (s *Service) GetServiceLinkedRoleDeletionStatus(ctx context.Context, in *iamapi.GetServiceLinkedRoleDeletionStatusInput) (*iamapi.GetServiceLinkedRoleDeletionStatusOutput, error) {
	if _, _, ok := parseDeletionTask(in.DeletionTaskId); !ok {
		return nil, iamapi.InvalidInputException("Deletion task id %s is not valid.", in.DeletionTaskId)
	}
	var task deletionRow
	err := s.view(ctx, func(tx *store.Tx) (err error) {
		task, err = s.linked.Get(tx, accountOf(ctx), in.DeletionTaskId)
		return err
	})
	if errors.Is(err, store.ErrNotFound) {
		return nil, iamapi.NoSuchEntityException("Deletion task %s cannot be found.", in.DeletionTaskId)
	}
	if err != nil {
		return nil, err
	}
	out := &iamapi.GetServiceLinkedRoleDeletionStatusOutput{Status: task.Status}
	if task.Reason != "" {
		out.Reason = &iamapi.DeletionTaskFailureReasonType{Reason: &task.Reason}
		for _, u := range task.Use {
			out.Reason.RoleUsageList = append(out.Reason.RoleUsageList, iamapi.RoleUsageType{Region: &u.Region, Resources: u.Resources})
		}
	}
	return out, nil
}
