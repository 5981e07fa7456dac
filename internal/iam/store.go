package iam

import (
	"errors"
	"fmt"
	"strings"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/internal/store"
)

// accountRow is one account, keyed by its id.
type accountRow struct {
	ID      string `json:"id"`
	Created int64  `json:"created"` // µs UTC
	Alias   string `json:"alias,omitempty"`
}

// aliasRow is one account alias, keyed by itself: an alias belongs to one
// account of all.
type aliasRow struct {
	Alias   string `json:"alias"`
	Account string `json:"account"`
}

// accessKeyRow is one long-term access key, keyed by its id. The secret lies
// in sealed rows only.
type accessKeyRow struct {
	ID       string `json:"id"`
	Secret   string `json:"secret"`
	Account  string `json:"account"`
	UserName string `json:"userName,omitempty"` // "" = the root user
	UserID   string `json:"userId,omitempty"`
	Active   bool   `json:"active"`
	Created  int64  `json:"created"`
}

// owner is the last component of the key's owner index.
func (k *accessKeyRow) owner() string { return ownerKey(k.UserID) }

// ownerKey maps a user's unique id, "" for the root user, to the index.
func ownerKey(userID string) string {
	if userID == "" {
		return "root"
	}
	return userID
}

// entity is one user, group or role, keyed by account and lower-case name:
// names are unique whatever their case.
type entity struct {
	Account  string            `json:"account"`
	Name     string            `json:"name"`
	Path     string            `json:"path"` // begins and ends with a slash
	ID       string            `json:"id"`
	Created  int64             `json:"created"`
	Inline   map[string]string `json:"inline,omitempty"`   // documents by policy name
	Attached []string          `json:"attached,omitempty"` // managed policy ARNs
	Boundary string            `json:"boundary,omitempty"` // managed policy ARN
	Tags     []iamapi.Tag      `json:"tags,omitempty"`

	// Users only.
	Groups []string `json:"groups,omitempty"` // unique ids, in the order of joining

	// Roles only.
	Linked      string            `json:"linked,omitempty"` // the service that a service-linked role belongs to
	Trust       string            `json:"trust,omitempty"`
	TrustIDs    map[string]string `json:"trustIds,omitempty"` // unique ids of principals, by ARN
	Description *string           `json:"description,omitempty"`
	MaxSession  int32             `json:"maxSession,omitempty"` // seconds
}

// policyRow is one managed policy with its versions, keyed by account and
// lower-case name.
type policyRow struct {
	Account     string          `json:"account"` // "aws" for AWS managed policies, which are no rows
	Name        string          `json:"name"`
	Path        string          `json:"path"`
	ID          string          `json:"id"`
	Description *string         `json:"description,omitempty"`
	Created     int64           `json:"created"`
	Updated     int64           `json:"updated"`
	Default     string          `json:"default"` // version id
	Next        int             `json:"next"`    // number of the next version
	Versions    []policyVersion `json:"versions"`
	Tags        []iamapi.Tag    `json:"tags,omitempty"`
}

type policyVersion struct {
	ID       string `json:"id"` // v1, v2 …
	Document string `json:"document"`
	Created  int64  `json:"created"`
}

func (p *policyRow) arn() string { return "arn:aws:iam::" + p.Account + ":policy" + p.Path + p.Name }

// version returns the named version, or nil.
func (p *policyRow) version(id string) *policyVersion {
	for i := range p.Versions {
		if p.Versions[i].ID == id {
			return &p.Versions[i]
		}
	}
	return nil
}

func accountTable() *store.Table[accountRow] { return store.Hashed[accountRow]("iam.account") }

const byOwner = "owner"

func accessKeyTable() *store.Table[accessKeyRow] {
	return store.Hashed[accessKeyRow]("iam.accesskey",
		store.WithIndex(byOwner, func(k accessKeyRow) []store.Key { return []store.Key{{k.Account, k.owner()}} }))
}

func policyTable() *store.Table[policyRow] { return store.Hashed[policyRow]("iam.policy") }

func aliasTable() *store.Table[aliasRow] { return store.Hashed[aliasRow]("iam.alias") }

// Indexes of users, groups and roles.
const (
	byAttached = "attached" // account, policy ARN
	byBoundary = "boundary" // account, policy ARN
	byGroup    = "group"    // account, unique id of a group that the user is in
	byID       = "id"       // unique id
)

func entityTable(class string) *store.Table[entity] {
	return store.Hashed[entity](class,
		store.WithIndex(byAttached, func(e entity) []store.Key {
			keys := make([]store.Key, len(e.Attached))
			for i, arn := range e.Attached {
				keys[i] = store.Key{e.Account, arn}
			}
			return keys
		}),
		store.WithIndex(byBoundary, func(e entity) []store.Key {
			if e.Boundary == "" {
				return nil
			}
			return []store.Key{{e.Account, e.Boundary}}
		}),
		store.WithIndex(byGroup, func(e entity) []store.Key {
			keys := make([]store.Key, len(e.Groups))
			for i, id := range e.Groups {
				keys[i] = store.Key{e.Account, id}
			}
			return keys
		}),
		store.WithIndex(byID, func(e entity) []store.Key { return []store.Key{{e.ID}} }),
	)
}

// kind is what differs between users, groups and roles.
type kind struct {
	noun        string // "user", in ARNs and texts
	title       string // "User"
	idPrefix    string // of unique ids
	inlineQuota int    // characters of all inline policies together, without white space
	quota       int    // in an account
	table       *store.Table[entity]
}

// userPrefix begins the unique ids of users.
const userPrefix = "AIDA"

func userKind() *kind {
	return &kind{noun: "user", title: "User", idPrefix: userPrefix, inlineQuota: userPolicySize, quota: usersPerAccount, table: entityTable("iam.user")}
}

func roleKind() *kind {
	return &kind{noun: "role", title: "Role", idPrefix: "AROA", inlineQuota: rolePolicySize, quota: rolesPerAccount, table: entityTable("iam.role")}
}

func groupKind() *kind {
	return &kind{noun: "group", title: "Group", idPrefix: "AGPA", inlineQuota: groupPolicySize, quota: groupsPerAccount, table: entityTable("iam.group")}
}

func (k *kind) arn(e *entity) string { return k.arnOf(e.Account, e.Path, e.Name) }

func (k *kind) arnOf(account, path, name string) string {
	return "arn:aws:iam::" + account + ":" + k.noun + path + name
}

// get returns the user, group or role, or NoSuchEntity.
func (k *kind) get(tx *store.Tx, account, name string) (entity, error) {
	e, err := k.table.Get(tx, account, strings.ToLower(name))
	if errors.Is(err, store.ErrNotFound) {
		return entity{}, iamapi.NoSuchEntityException("The %s with name %s cannot be found.", k.noun, name)
	}
	if err != nil {
		return entity{}, fmt.Errorf("read %s: %w", k.noun, err)
	}
	return e, nil
}

func (k *kind) put(tx *store.Tx, e entity) error {
	return k.table.Put(tx, e, e.Account, strings.ToLower(e.Name))
}

// list returns every user, group or role of the account below the path prefix,
// without policies, tags and groups: an account can have thousands, and each of
// them much of these.
func (k *kind) list(tx *store.Tx, account, pathPrefix string) ([]entity, error) {
	var all []entity
	for row, err := range k.table.Scan(tx, store.Key{account}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list %ss: %w", k.noun, err)
		}
		if e := row.Value; strings.HasPrefix(e.Path, pathPrefix) {
			e.Inline, e.Attached, e.Tags, e.Groups = nil, nil, nil, nil
			all = append(all, e)
		}
	}
	return all, nil
}

// having returns the users, groups or roles of the account with the value in
// the index: those with a policy, those in a group.
func (k *kind) having(tx *store.Tx, index, account, value string) ([]entity, error) {
	var all []entity
	for row, err := range k.table.ByIndex(tx, index, store.Key{account, value}, store.ScanOptions{}) {
		if err != nil {
			return nil, fmt.Errorf("list %ss by %s: %w", k.noun, index, err)
		}
		all = append(all, row.Value)
	}
	return all, nil
}

// withID returns the user, group or role of a unique id, which may have
// another name by now. Its last known name, if any, saves a look at the index.
//
// Errors: store.ErrNotFound.
func (k *kind) withID(tx *store.Tx, account, name, id string) (entity, error) {
	if name != "" {
		e, err := k.table.Get(tx, account, strings.ToLower(name))
		if err == nil && e.ID == id {
			return e, nil
		}
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return entity{}, err
		}
	}
	for row, err := range k.table.ByIndex(tx, byID, store.Key{id}, store.ScanOptions{Limit: 1}) {
		if err != nil || row.Value.Account == account {
			return row.Value, err
		}
	}
	return entity{}, fmt.Errorf("%s %s: %w", k.noun, id, store.ErrNotFound)
}

// idExists reports whether a user, group or role has the unique id.
func (k *kind) idExists(tx *store.Tx, id string) (bool, error) {
	for _, err := range k.table.ByIndex(tx, byID, store.Key{id}, store.ScanOptions{Limit: 1}) {
		return err == nil, err
	}
	return false, nil
}
