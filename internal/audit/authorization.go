package audit

import (
	"cmp"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// Authorization is why a call was refused. It stands in additionalEventData
// under "authorization"; AWS has no such member.
type Authorization struct {
	Action          string `json:"action"`
	Resource        string `json:"resource"`
	ResourceAccount string `json:"resourceAccount,omitempty"`
	Decision        string `json:"decision"` // ImplicitlyDenied or ExplicitlyDenied
	Layer           string `json:"layer"`
	Policy          string `json:"policy,omitempty"`
	Statement       string `json:"statement,omitempty"` // Sid, or index from 0
	Reason          string `json:"reason,omitempty"`
	// Lacking is the layer that Reason quotes when that is not Layer.
	Lacking string `json:"lacking,omitempty"`
	// Unmet is what kept the nearest statements from allowing, Changes what
	// would allow.
	Unmet   []authz.Fact   `json:"unmet,omitempty"`
	Changes []authz.Change `json:"changes,omitempty"`
}

// ofResource reports whether the layer belongs to the account of the resource,
// not to the caller's.
func ofResource(layer string) bool {
	return layer == authz.LayerResource || layer == authz.LayerRCP || layer == authz.LayerGrant
}

// SeenBy returns what one account may read when the caller belongs to another
// or the same: policies are quoted to their owner alone.
func (a *Authorization) SeenBy(account, caller string) *Authorization {
	owner := a.ResourceAccount
	if owner == "" || owner == caller {
		return a
	}
	hidden := func(layer string) bool {
		if ofResource(layer) {
			return account != owner
		}
		return account != caller
	}
	n := *a
	if quoted := cmp.Or(a.Lacking, a.Layer); hidden(quoted) {
		n.Policy, n.Statement, n.Reason = "", "", ""
	}
	n.Unmet = slices.DeleteFunc(slices.Clone(a.Unmet), func(f authz.Fact) bool { return hidden(f.Layer) })
	if account != owner {
		for i := range n.Unmet {
			if f := &n.Unmet[i]; f.Key != "" && !OfRequest(strings.ToLower(f.Key)) {
				f.Found = nil
			}
		}
	}
	for i := range n.Unmet { // variables may name the other side's tags
		n.Unmet[i].Resolved = nil
	}
	n.Changes = slices.Clone(a.Changes)
	for i := range n.Changes {
		if c := &n.Changes[i]; hidden(c.Layer) {
			c.Policy, c.Statement = "", ""
		}
	}
	return &n
}

// OfRequest reports whether a condition key, in lower case, says what the
// caller's account knows anyway: of the principal, of its session or of the
// request itself. All others may tell of the resource.
func OfRequest(key string) bool {
	switch key {
	case "aws:userid", "aws:username", "aws:currenttime", "aws:epochtime", "aws:tokenissuetime", "aws:requestedregion",
		"aws:securetransport", "aws:sourceip", "aws:useragent", "aws:viaawsservice", "aws:sourceidentity",
		"aws:federatedprovider", "aws:multifactorauthpresent", "aws:tagkeys", "aws:resourceaccount",
		"sts:rolesessionname", "sts:externalid", "sts:sourceidentity", "sts:durationseconds", "sts:transitivetagkeys":
		return true
	}
	return strings.HasPrefix(key, "aws:principal") || strings.HasPrefix(key, "aws:calledvia") || strings.HasPrefix(key, "aws:requesttag/")
}
