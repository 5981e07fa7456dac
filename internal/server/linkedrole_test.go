package server

import (
	"sync"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/kms"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

// TestMultiRegionRole: the first multi-Region key of an account makes the
// service-linked role, by the right of whoever makes the key; the role stays as
// long as there are such keys.
func TestMultiRegionRole(t *testing.T) {
	t.Parallel()
	_, c := startServer(t)
	do(t, c, iamapi.CreateUser, &iamapi.CreateUserInput{UserName: "alice"})
	key := do(t, c, iamapi.CreateAccessKey, &iamapi.CreateAccessKeyInput{UserName: new("alice")}).AccessKey
	alice := c.As(sigv4.Credential{AccessKeyID: key.AccessKeyId, Secret: key.SecretAccessKey})
	permit := func(actions string) {
		t.Helper()
		do(t, c, iamapi.PutUserPolicy, &iamapi.PutUserPolicyInput{
			UserName: "alice", PolicyName: "p", PolicyDocument: `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":[` + actions + `],"Resource":"*"}]}`,
		})
	}
	multi := &kmsapi.CreateKeyInput{MultiRegion: new(true)}
	permit(`"kms:*"`)
	if _, err := client.Call(t.Context(), alice, kmsapi.CreateKey, multi); apiError(t, err).Code != "AccessDeniedException" {
		t.Errorf("without iam:CreateServiceLinkedRole: %v", err)
	}
	if keys := do(t, c, kmsapi.ListKeys, &kmsapi.ListKeysInput{}).Keys; len(keys) != 0 {
		t.Errorf("the refused call has left %d keys", len(keys))
	}
	permit(`"kms:*","iam:CreateServiceLinkedRole"`)
	do(t, alice, kmsapi.CreateKey, multi)
	role := do(t, c, iamapi.GetRole, &iamapi.GetRoleInput{RoleName: kms.MultiRegionRole}).Role
	if role.Path != "/aws-service-role/"+kms.MultiRegionPrincipal+"/" {
		t.Errorf("the role is %+v", role)
	}
	permit(`"kms:*"`)
	do(t, alice, kmsapi.CreateKey, multi) // the role is there
	task := do(t, c, iamapi.DeleteServiceLinkedRole, &iamapi.DeleteServiceLinkedRoleInput{RoleName: kms.MultiRegionRole}).DeletionTaskId
	got := do(t, c, iamapi.GetServiceLinkedRoleDeletionStatus, &iamapi.GetServiceLinkedRoleDeletionStatusInput{DeletionTaskId: task})
	if got.Status != "FAILED" || len(got.Reason.RoleUsageList) != 1 || len(got.Reason.RoleUsageList[0].Resources) != 2 {
		t.Errorf("the deletion of the role: %+v", got)
	}
}

// TestMultiRegionRoleRace: of two first uses at once both find the role.
func TestMultiRegionRoleRace(t *testing.T) {
	t.Parallel()
	s, _ := startServer(t)
	caller := &identity.Caller{Type: identity.Root, Account: DefaultAccount, ARN: "arn:aws:iam::" + DefaultAccount + ":root", PrincipalID: DefaultAccount}
	for range 5 {
		var uses sync.WaitGroup
		begin := make(chan struct{})
		for range 8 {
			ctx := identity.With(t.Context(), &identity.Call{Caller: caller, Region: DefaultRegion, RequestID: "r", Time: time.Now()})
			uses.Go(func() {
				<-begin
				if err := s.linkedRole(ctx, kms.MultiRegionPrincipal); err != nil {
					t.Errorf("a use at the same time: %v", err)
				}
			})
		}
		close(begin)
		uses.Wait()
		ctx := identity.With(t.Context(), &identity.Call{Caller: caller, Region: DefaultRegion, RequestID: "r", Time: time.Now()})
		if _, err := s.iam.DeleteServiceLinkedRole(ctx, &iamapi.DeleteServiceLinkedRoleInput{RoleName: kms.MultiRegionRole}); err != nil {
			t.Fatal(err)
		}
	}
}
