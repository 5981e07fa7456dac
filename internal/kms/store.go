package kms

import (
	"strings"
	"time"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/internal/store"
)

// keyRow is one KMS key.
type keyRow struct {
	ID, Account, Region string
	Description         string
	Spec                kmsapi.KeySpec
	Usage               kmsapi.KeyUsageType
	Origin              kmsapi.OriginType
	Manager             kmsapi.KeyManagerType
	MultiRegion         bool
	State               kmsapi.KeyState
	Created             time.Time
	DeletionDate        time.Time
	WindowDays          int32
	Policy              string
	// PolicyPrincipals maps the ARNs in the policy to the unique ids that they
	// had when the policy was saved.
	PolicyPrincipals map[string]string
	Tags             map[string]string
	Materials        []materialRow // oldest first; the last one encrypts
	// Pending is imported material that the next rotation makes current, and
	// Lacking are the Regions of related keys into which it is not imported yet.
	Pending *materialRow
	Lacking []string
	// ImportSalt keys the ids of imported material: who reads an id cannot test guesses.
	ImportSalt []byte
	Rotation   rotationRow
	GrantCount int
	// PrimaryRegion and Replicas say where the primary and the replicas of a
	// multi-Region key are. Every row of the key has the same; "" is the row's own.
	PrimaryRegion string
	Replicas      []string // sorted
	// A key that is Creating or Updating becomes SettlesTo at this instant.
	Settles   time.Time
	SettlesTo kmsapi.KeyState
	// KeyStore and XksKeyID are the external key store and the external key of a
	// key in one, "" for others.
	KeyStore, XksKeyID string

	erased bool // not stored: see lose
}

// materialRow is one version of a key's backing key.
type materialRow struct {
	ID      string // 64 hex digits
	Created time.Time
	// Wrapped is the backing key under the deletion epoch; nil while imported
	// material is deleted, has expired or was not imported in this Region.
	Wrapped []byte
	// Private is the PKCS #8 private key or the MAC key, sealed under the
	// backing key; nil for symmetric encryption keys.
	Private []byte
	Public  []byte // SubjectPublicKeyInfo, asymmetric keys only
	// Rotation says how the version came to be; "" for the first.
	Rotation kmsapi.RotationType
	// Of imported material: what its owner says of it, and when it expires; zero
	// is never.
	Description string
	ValidTo     time.Time
}

// rotationRow is the rotation state of a key.
type rotationRow struct {
	Enabled    bool
	PeriodDays int32
	Next       time.Time
	OnDemand   int // rotations on demand so far
}

// aliasRow is one alias.
type aliasRow struct {
	Name, Account, Region string
	Target                string // key id
	Created, Updated      time.Time
}

// grantRow is one grant.
type grantRow struct {
	ID, KeyID, Region, Account string
	Name                       string
	Grantee, Retiring          string // ARNs, or service principals on the internal path
	GranteeService             string
	RetiringService            string
	// GranteeID and RetiringID are the unique ids of the principals when the
	// grant was made: a re-created role of the same name holds nothing.
	GranteeID, RetiringID string
	Operations            []kmsapi.GrantOperation
	Subset, Equals        map[string]string
	SourceARN             string
	Issuer                string // account of the caller that made it
	// ByIssuer says that a grant which a service may retire is listed by its issuer.
	// Grants of before are listed with those of all issuers.
	ByIssuer bool `json:",omitempty"`
	Created  time.Time
}

var (
	keys = store.Hashed("kms.key",
		store.WithIndex("account", func(k keyRow) []store.Key { return []store.Key{{k.Region, k.Account, k.ID}} }),
		store.WithIndex("due", func(k keyRow) []store.Key {
			if k.State != kmsapi.KeyStatePendingDeletion {
				return nil
			}
			return []store.Key{{"due", k.Region, k.ID}}
		}),
		store.WithIndex("multiregion", func(k keyRow) []store.Key {
			if !k.MultiRegion {
				return nil
			}
			return []store.Key{{k.Account, k.Region, k.ID}}
		}),
		store.WithIndex("turning", func(k keyRow) []store.Key {
			if k.nextChange().IsZero() {
				return nil
			}
			return []store.Key{{"turning", k.Region, k.ID}}
		}),
		store.WithIndex("rotating", func(k keyRow) []store.Key {
			if !k.Rotation.Enabled {
				return nil
			}
			return []store.Key{{"rotating", k.Region, k.ID}}
		}),
		store.WithIndex("keystore", func(k keyRow) []store.Key {
			if !k.external() {
				return nil
			}
			return []store.Key{{k.Region, k.KeyStore, k.XksKeyID, k.ID}}
		}))
	aliases = store.Hashed("kms.alias",
		store.WithIndex("key", func(a aliasRow) []store.Key { return []store.Key{{a.Region, a.Target, a.Name}} }))
	grants = store.Hashed("kms.grant",
		store.WithIndex("grantee", func(g grantRow) []store.Key {
			names := []store.Key{{g.Region, g.KeyID, g.granteeName(), g.ID}}
			if strings.Contains(g.Grantee, ":user/") && g.GranteeID != "" { // a user may be renamed
				names = append(names, store.Key{g.Region, g.KeyID, g.GranteeID, g.ID})
			}
			return names
		}),
		store.WithIndex("retiring", func(g grantRow) []store.Key {
			switch {
			case g.retiringName() == "":
				return nil
			case g.ByIssuer && g.retiredByService():
				return []store.Key{{g.Region, retiringOf(g.retiringName(), g.Issuer), g.ID}}
			}
			return []store.Key{{g.Region, g.retiringName(), g.ID}}
		}),
		store.WithIndex("id", func(g grantRow) []store.Key { return []store.Key{{g.Region, g.ID}} }),
		store.WithIndex("name", func(g grantRow) []store.Key {
			if g.Name == "" {
				return nil
			}
			return []store.Key{{g.Region, g.KeyID, g.Name, g.ID}}
		}))
)

// granteeName is the principal that the grant names, of either form.
func (g *grantRow) granteeName() string {
	if g.GranteeService != "" {
		return g.GranteeService
	}
	return g.Grantee
}

// retiringOf names a service principal and an account that made grants which it may
// retire: who lists the one's grants meets no others.
func retiringOf(service, issuer string) string { return service + " " + issuer }

func (g *grantRow) retiredByService() bool { return g.RetiringService != "" || isService(g.Retiring) }

func (g *grantRow) retiringName() string {
	if g.RetiringService != "" {
		return g.RetiringService
	}
	return g.Retiring
}

// epoch names the counter that every change of a key, its policy, tags, aliases
// or grants bumps.
func epoch(region, id string) string { return "kms/" + region + "/" + id }

func keyARN(region, account, id string) string {
	return "arn:aws:kms:" + region + ":" + account + ":key/" + id
}

func aliasARN(region, account, name string) string {
	return "arn:aws:kms:" + region + ":" + account + ":" + name
}

func (k *keyRow) arn() string { return keyARN(k.Region, k.Account, k.ID) }

// material returns the version with the id, or nil.
func (k *keyRow) material(id string) *materialRow {
	for i := range k.Materials {
		if k.Materials[i].ID == id {
			return &k.Materials[i]
		}
	}
	return nil
}

// current returns the version that encrypts; nil when the key has none.
func (k *keyRow) current() *materialRow {
	if len(k.Materials) == 0 {
		return nil
	}
	return &k.Materials[len(k.Materials)-1]
}

// currentID is the id of the current version; "" when the key has none.
func (k *keyRow) currentID() string {
	if m := k.current(); m != nil {
		return m.ID
	}
	return ""
}

// aad binds a wrapped backing key to its place.
func (k *keyRow) aad(material string) []byte {
	return []byte("sagekeep kms backing key v1|" + k.Account + "|" + k.Region + "|" + k.ID + "|" + material)
}
