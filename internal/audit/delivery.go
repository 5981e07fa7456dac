package audit

import (
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/sagekeep/sagekeep/internal/identity"
)

// deliveries returns the records of one event: the caller's, and one for every
// other account whose resource the event touched. They share sharedEventID, and
// each has an event id and a recipient of its own. What nobody's account called
// (an unsigned request) goes to the owner of the resource alone; of a call that
// [Entry.TellCallerAlone] was said of, owners get nothing.
//
// Source: AWS CloudTrail User Guide, "CloudTrail record contents",
// sharedEventID and recipientAccountId.
func (r *Record) deliveries() []*Record {
	all := r.copies()
	if r.authorization == nil {
		return all
	}
	for i, n := range all {
		c := *n
		c.AdditionalEventData = maps.Clone(n.AdditionalEventData)
		if c.AdditionalEventData == nil {
			c.AdditionalEventData = map[string]any{}
		}
		c.AdditionalEventData["authorization"] = r.authorization.SeenBy(c.RecipientAccountID, r.RecipientAccountID)
		all[i] = &c
	}
	return all
}

func (r *Record) copies() []*Record {
	if r.callerAlone && r.RecipientAccountID != "" {
		return []*Record{r}
	}
	owners := r.owners()
	if r.RecipientAccountID == "" && len(owners) > 0 {
		n := *r
		n.RecipientAccountID, owners = owners[0], owners[1:]
		r = &n
	}
	if len(owners) == 0 && !r.namesMissing() {
		return []*Record{r}
	}
	first := *r
	first.SharedEventID = derivedID("shared", r.EventID)
	out := []*Record{&first}
	for _, owner := range owners {
		n := first
		n.EventID, n.RecipientAccountID = derivedID(owner, r.EventID), owner
		n.UserIdentity = r.UserIdentity.abroad()
		n.Resources = nil
		for _, res := range r.Resources {
			if res.AccountID == owner && !res.missing {
				n.Resources = append(n.Resources, res)
			}
		}
		out = append(out, &n)
	}
	return out
}

// owners lists the accounts of the resources, without the recipient.
func (r *Record) owners() []string {
	var out []string
	seen := map[string]bool{"": true, r.RecipientAccountID: true}
	for _, res := range r.Resources {
		if !seen[res.AccountID] && !res.missing {
			seen[res.AccountID] = true
			out = append(out, res.AccountID)
		}
	}
	return out
}

// namesMissing reports whether there would be another delivery if all resources
// were there: the caller's record does not tell.
func (r *Record) namesMissing() bool {
	return slices.ContainsFunc(r.Resources, func(res Resource) bool {
		return res.missing && res.AccountID != "" && r.RecipientAccountID != "" && res.AccountID != r.RecipientAccountID
	})
}

// abroad is what another account learns of the caller.
func (u UserIdentity) abroad() UserIdentity {
	switch identity.Type(u.Type) {
	case identity.Root, identity.User, identity.AssumedRole, identity.FederatedUser:
		return UserIdentity{
			Type: "AWSAccount", PrincipalID: u.PrincipalID, AccountID: u.AccountID, InvokedBy: u.InvokedBy,
		}
	}
	return u
}

// derivedID makes an event id from another one, so that an event encoded twice
// is the same event.
func derivedID(purpose, eventID string) string {
	b := sha256.Sum256([]byte("sagekeep event id v1|" + purpose + "|" + eventID))
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	h := hex.EncodeToString(b[:16])
	return h[:8] + "-" + h[8:12] + "-" + h[12:16] + "-" + h[16:20] + "-" + h[20:]
}
