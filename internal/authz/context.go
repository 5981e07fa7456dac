package authz

import (
	"fmt"
	"iter"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Value is what a condition key holds in a request.
type Value struct {
	Vals []string
	// Ambiguous marks the key of a tag that the request has in several spellings,
	// which differ in case. Nobody can tell which of the values counts: a
	// condition on it, Null aside, cannot be evaluated, so that an Allow does not
	// apply and a Deny does.
	// Source: IAM User Guide, "AWS global condition context keys",
	// aws:ResourceTag/tag-key: "TagKey1 or tagkey1, but not both".
	Ambiguous bool
	// Multi marks a key that holds a set, such as aws:TagKeys, whatever the
	// number of its members. Without ForAllValues or ForAnyValue no operator
	// but Null matches such a key.
	Multi bool
	// Defaulted marks the default of an optional parameter: conditions see the
	// value, Null sees none.
	// Source: AWS KMS Developer Guide, "AWS KMS condition keys",
	// kms:BypassPolicyLockoutSafetyCheck.
	Defaulted bool

	spelled string // the key of a tag as it was set
}

// Context is the condition context of a request: what every condition key
// holds. Key names are case-insensitive, their values are not. The zero
// Context is empty and can be read; make one to fill with [NewContext].
// Filling it is not safe for concurrent use, reading it is.
type Context struct {
	vals map[string]Value // by lower-case key
	room *room
}

// room holds the values of single-valued keys, which a request has two dozen of,
// and the keys whose values are not known yet.
type room struct {
	used  int
	at    [24]string
	later *later
}

// later is a key whose value is looked up when a policy asks for it.
type later struct {
	key   string // in lower case
	look  func() (string, error)
	once  sync.Once
	known atomic.Bool
	value Value
	err   error
	next  *later
}

// get looks the value up the first time.
func (l *later) get() Value {
	l.once.Do(func() {
		v, err := l.look()
		l.value, l.err = Value{Vals: []string{v}, Ambiguous: err != nil}, err
		l.known.Store(true)
	})
	return l.value
}

// NewContext returns an empty Context.
func NewContext() Context { return Context{vals: make(map[string]Value, 16), room: new(room)} }

// one is a list of one value. Nothing can be added to it in place.
func (c Context) one(value string) []string {
	r := c.room
	if r == nil || r.used == len(r.at) {
		return []string{value}
	}
	n := r.used
	r.at[n], r.used = value, n+1
	return r.at[n : n+1 : n+1]
}

// Set gives a single-valued key its value, replacing an earlier one. The key of a
// tag (aws:ResourceTag/team …) that is there in another spelling becomes
// ambiguous: a service whose tags differ in case alone may have both.
func (c Context) Set(key, value string) {
	v, name := Value{Vals: c.one(value)}, folded(key)
	if strings.IndexByte(key, '/') >= 0 {
		v.spelled = key
		have, ok := c.vals[name]
		v.Ambiguous = ok && (have.Ambiguous || have.spelled != key)
	}
	c.vals[name] = v
}

// SetMulti gives a multi-valued key its values, replacing earlier ones. A key
// without values counts as absent.
func (c Context) SetMulti(key string, values ...string) {
	c.vals[folded(key)] = Value{Vals: slices.Clone(values), Multi: true}
}

// SetBool gives a Boolean key its value.
func (c Context) SetBool(key string, value bool) { c.Set(key, strconv.FormatBool(value)) }

// SetFlag gives a Boolean key the value of an optional parameter. Nil and false are
// its default, which the operator Null takes for absent.
func (c Context) SetFlag(key string, flag *bool) {
	set := flag != nil && *flag
	c.vals[folded(key)] = Value{Vals: c.one(strconv.FormatBool(set)), Defaulted: !set}
}

// SetTime gives a date key its value, in ISO 8601 and UTC.
func (c Context) SetTime(key string, t time.Time) {
	c.Set(key, t.UTC().Format("2006-01-02T15:04:05Z"))
}

// SetLater gives a single-valued key, which the context does not have otherwise, a
// value that costs something to know: look is called, at most once, when a policy
// in play mentions the key. When it fails, a condition on the key cannot be
// evaluated, as for [Value.Ambiguous]. c must come from [NewContext].
func (c Context) SetLater(key string, look func() (string, error)) {
	c.room.later = &later{key: lower(key), look: look, next: c.room.later}
}

// Failed returns why a value could not be looked up that a policy asked for. A
// decision that was made without it does not count.
func (c Context) Failed() error {
	if c.room == nil {
		return nil
	}
	for l := c.room.later; l != nil; l = l.next {
		if l.known.Load() && l.err != nil {
			return fmt.Errorf("look up %s: %w", l.key, l.err)
		}
	}
	return nil
}

// Delete removes a key.
func (c Context) Delete(key string) { delete(c.vals, lower(key)) }

// Get returns what a key holds, and whether the request has it.
func (c Context) Get(key string) (Value, bool) { return c.lookup(lower(key)) }

// Len is the number of keys.
func (c Context) Len() int {
	n := len(c.vals)
	if c.room != nil {
		for l := c.room.later; l != nil; l = l.next {
			n++
		}
	}
	return n
}

// All yields every key, in lower case and no particular order; of those of
// SetLater the ones that were looked up.
func (c Context) All() iter.Seq2[string, Value] {
	return func(yield func(string, Value) bool) {
		for key, v := range c.vals {
			if !yield(key, v) {
				return
			}
		}
		if c.room == nil {
			return
		}
		for l := c.room.later; l != nil; l = l.next {
			if l.known.Load() && !l.value.Ambiguous && !yield(l.key, l.value) {
				return
			}
		}
	}
}

// Clone returns a copy that can be filled on its own.
func (c Context) Clone() Context {
	n := NewContext()
	maps.Copy(n.vals, c.vals)
	if c.room != nil {
		n.room.later = c.room.later
	}
	return n
}

// folded is lower, without a new string for the keys that every request has.
func folded(key string) string {
	switch key {
	case "aws:CurrentTime":
		return "aws:currenttime"
	case "aws:EpochTime":
		return "aws:epochtime"
	case "aws:RequestedRegion":
		return "aws:requestedregion"
	case "aws:ResourceAccount":
		return "aws:resourceaccount"
	case "aws:PrincipalIsAWSService":
		return "aws:principalisawsservice"
	case "aws:PrincipalAccount":
		return "aws:principalaccount"
	case "aws:PrincipalType":
		return "aws:principaltype"
	case "aws:PrincipalArn":
		return "aws:principalarn"
	case "aws:TokenIssueTime":
		return "aws:tokenissuetime"
	case "aws:MultiFactorAuthPresent":
		return "aws:multifactorauthpresent"
	case "aws:ViaAWSService":
		return "aws:viaawsservice"
	case "aws:SecureTransport":
		return "aws:securetransport"
	case "aws:SourceIp":
		return "aws:sourceip"
	case "aws:UserAgent":
		return "aws:useragent"
	case "aws:CalledVia":
		return "aws:calledvia"
	case "aws:CalledViaFirst":
		return "aws:calledviafirst"
	case "aws:CalledViaLast":
		return "aws:calledvialast"
	case "aws:FederatedProvider":
		return "aws:federatedprovider"
	case "kms:CallerAccount":
		return "kms:calleraccount"
	case "kms:KeySpec":
		return "kms:keyspec"
	case "kms:CustomerMasterKeySpec":
		return "kms:customermasterkeyspec"
	case "kms:KeyUsage":
		return "kms:keyusage"
	case "kms:CustomerMasterKeyUsage":
		return "kms:customermasterkeyusage"
	case "kms:KeyOrigin":
		return "kms:keyorigin"
	case "kms:MultiRegion":
		return "kms:multiregion"
	case "kms:EncryptionAlgorithm":
		return "kms:encryptionalgorithm"
	case "kms:EncryptionContextKeys":
		return "kms:encryptioncontextkeys"
	case "kms:ResourceAliases":
		return "kms:resourcealiases"
	case "kms:RequestAlias":
		return "kms:requestalias"
	case "kms:ViaService":
		return "kms:viaservice"
	}
	return lower(key)
}

// lookup is Get for a key in lower case. A key without values is absent.
func (c Context) lookup(key string) (Value, bool) {
	v, ok := c.vals[key]
	if !ok && c.room != nil && c.room.later != nil {
		v, ok = c.room.lookup(key)
	}
	return v, ok && len(v.Vals) > 0
}

// lookup is Context.lookup for the keys of SetLater.
func (r *room) lookup(key string) (Value, bool) {
	for l := r.later; l != nil; l = l.next {
		if l.key == key {
			return l.get(), true
		}
	}
	return Value{}, false
}

// single returns the value of a single-valued key, or "".
func (c Context) single(key string) string {
	v, ok := c.lookup(key)
	if !ok || v.Multi || v.Ambiguous || len(v.Vals) != 1 {
		return ""
	}
	return v.Vals[0]
}
