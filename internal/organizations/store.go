package organizations

import (
	"slices"
	"strings"

	orgapi "github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/internal/store"
)

// attachments are the ids of the policies attached to one target, by type, in
// the order in which they were attached.
type attachments map[orgapi.PolicyType][]string

// keys are the index keys of what the policies are attached to.
func (a attachments) keys(organization string) []store.Key {
	var keys []store.Key
	for _, ids := range a {
		for _, id := range ids {
			keys = append(keys, store.Key{organization, id})
		}
	}
	return keys
}

func (a attachments) has(t orgapi.PolicyType, id string) bool { return slices.Contains(a[t], id) }

// organizationRow is one organization with its root, keyed by its id.
type organizationRow struct {
	ID         string                        `json:"id"`
	Management string                        `json:"management"` // account id
	Features   orgapi.OrganizationFeatureSet `json:"features"`
	Created    int64                         `json:"created"` // µs UTC

	Root     string              `json:"root"` // r-…
	Enabled  []orgapi.PolicyType `json:"enabled,omitempty"`
	Attached attachments         `json:"attached,omitempty"` // to the root
	Tags     []orgapi.Tag        `json:"tags,omitempty"`     // of the root
}

func (o *organizationRow) enabled(t orgapi.PolicyType) bool { return slices.Contains(o.Enabled, t) }

// defaults are the attachments that a new unit or account begins with.
func (o *organizationRow) defaults() attachments {
	if len(o.Enabled) == 0 {
		return nil
	}
	a := attachments{}
	for _, t := range o.Enabled {
		a[t] = []string{fullAccess(t)}
	}
	return a
}

// unitRow is one organizational unit, keyed by organization and id.
type unitRow struct {
	Organization string       `json:"organization"`
	ID           string       `json:"id"`
	Name         string       `json:"name"`
	Parent       string       `json:"parent"` // r-… or ou-…
	Created      int64        `json:"created"`
	Attached     attachments  `json:"attached,omitempty"`
	Tags         []orgapi.Tag `json:"tags,omitempty"`
}

// accountRow is what Organizations knows of an account, keyed by its id. It
// stays when the account leaves, for name and address are the account's.
type accountRow struct {
	ID           string                     `json:"id"`
	Name         string                     `json:"name"`
	Email        string                     `json:"email"`
	Organization string                     `json:"organization,omitempty"` // "" = in none
	Parent       string                     `json:"parent,omitempty"`
	JoinedMethod orgapi.AccountJoinedMethod `json:"joinedMethod,omitempty"`
	Joined       int64                      `json:"joined,omitempty"`
	Attached     attachments                `json:"attached,omitempty"`
	Tags         []orgapi.Tag               `json:"tags,omitempty"`
}

// leave takes the account out of its organization.
func (a *accountRow) leave() {
	*a = accountRow{ID: a.ID, Name: a.Name, Email: a.Email}
}

// policyRow is one policy of a customer, keyed by organization and id. AWS
// managed policies are no rows.
type policyRow struct {
	Organization string            `json:"organization"`
	ID           string            `json:"id"`
	Type         orgapi.PolicyType `json:"type"`
	Name         string            `json:"name"`
	Description  string            `json:"description"`
	Content      string            `json:"content"`
	Tags         []orgapi.Tag      `json:"tags,omitempty"`
}

// handshakeRow is one invitation, keyed by its id.
type handshakeRow struct {
	ID           string                `json:"id"`
	Organization string                `json:"organization"`
	Account      string                `json:"account"` // who is invited
	State        orgapi.HandshakeState `json:"state"`   // as stored; an open one may have expired
	Requested    int64                 `json:"requested"`
	Expires      int64                 `json:"expires"`
	Resolved     int64                 `json:"resolved,omitempty"`
	Notes        string                `json:"notes,omitempty"`
	Tags         []orgapi.Tag          `json:"tags,omitempty"` // of the account, once it has joined
}

// creationRow is one request to create an account, keyed by organization and
// id.
type creationRow struct {
	Organization string                            `json:"organization"`
	ID           string                            `json:"id"`
	State        orgapi.CreateAccountState         `json:"state"`
	Name         string                            `json:"name"`
	Email        string                            `json:"email"`
	Role         string                            `json:"role"`
	Tags         []orgapi.Tag                      `json:"tags,omitempty"`
	Requested    int64                             `json:"requested"`
	Completed    int64                             `json:"completed,omitempty"`
	Account      string                            `json:"account,omitempty"`
	Failure      orgapi.CreateAccountFailureReason `json:"failure,omitempty"`
}

// Indexes. Each begins with the organization unless it says otherwise.
const (
	byParent       = "parent"       // parent id
	byPolicy       = "policy"       // id of an attached policy
	byOrganization = "organization" // nothing more
	byName         = "name"         // type, name of a policy; parent, name of a unit
	byEmail        = "email"        // address alone
	byAccount      = "account"      // account alone
	byState        = "state"        // state of a request to create an account
)

type tables struct {
	organizations *store.Table[organizationRow]
	units         *store.Table[unitRow]
	accounts      *store.Table[accountRow]
	policies      *store.Table[policyRow]
	handshakes    *store.Table[handshakeRow]
	creations     *store.Table[creationRow]
}

func newTables() tables {
	return tables{
		organizations: store.Hashed[organizationRow]("organizations.organization"),
		units: store.Hashed("organizations.unit",
			store.WithIndex(byParent, func(u unitRow) []store.Key { return []store.Key{{u.Organization, u.Parent}} }),
			store.WithIndex(byName, func(u unitRow) []store.Key { return []store.Key{{u.Organization, u.Parent, u.Name}} }),
			store.WithIndex(byPolicy, func(u unitRow) []store.Key { return u.Attached.keys(u.Organization) })),
		accounts: store.Hashed("organizations.account",
			store.WithIndex(byOrganization, func(a accountRow) []store.Key { return memberKey(&a, a.Organization) }),
			store.WithIndex(byParent, func(a accountRow) []store.Key { return memberKey(&a, a.Organization, a.Parent) }),
			store.WithIndex(byPolicy, func(a accountRow) []store.Key { return a.Attached.keys(a.Organization) }),
			store.WithIndex(byEmail, func(a accountRow) []store.Key { return []store.Key{{strings.ToLower(a.Email)}} })),
		policies: store.Hashed("organizations.policy",
			store.WithIndex(byName, func(p policyRow) []store.Key { return []store.Key{{p.Organization, string(p.Type), p.Name}} })),
		handshakes: store.Hashed("organizations.handshake",
			store.WithIndex(byOrganization, func(h handshakeRow) []store.Key { return []store.Key{{h.Organization}} }),
			store.WithIndex(byAccount, func(h handshakeRow) []store.Key { return []store.Key{{h.Account}} })),
		creations: store.Hashed("organizations.creation",
			store.WithIndex(byState, func(c creationRow) []store.Key { return []store.Key{{c.Organization, string(c.State)}} })),
	}
}

// memberKey is the index key of an account that is in an organization.
func memberKey(a *accountRow, key ...string) []store.Key {
	if a.Organization == "" {
		return nil
	}
	return []store.Key{key}
}

// count counts the rows below an index key.
func count[T any](tx *store.Tx, t *store.Table[T], index string, key ...string) (n int, err error) {
	for _, err := range t.ByIndex(tx, index, key, store.ScanOptions{}) {
		if err != nil {
			return 0, err
		}
		n++
	}
	return n, nil
}

// some reports whether there is a row below an index key.
func some[T any](tx *store.Tx, t *store.Table[T], index string, key ...string) (bool, error) {
	for _, err := range t.ByIndex(tx, index, key, store.ScanOptions{Limit: 1}) {
		return err == nil, err
	}
	return false, nil
}
