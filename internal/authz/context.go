package authz

import (
	"iter"
	"maps"
	"slices"
	"strconv"
	"time"
)

// Value is what a condition key holds in a request.
type Value struct {
	Vals []string
	// Multi marks a key that holds a set, such as aws:TagKeys, whatever the
	// number of its members. Without ForAllValues or ForAnyValue no operator
	// but Null matches such a key.
	Multi bool
}

// Context is the condition context of a request: what every condition key
// holds. Key names are case-insensitive, their values are not. The zero
// Context is empty and can be read; make one to fill with [NewContext].
// Filling it is not safe for concurrent use, reading it is.
type Context struct {
	vals map[string]Value // by lower-case key
}

// NewContext returns an empty Context.
func NewContext() Context { return Context{vals: make(map[string]Value, 16)} }

// Set gives a single-valued key its value, replacing an earlier one.
func (c Context) Set(key, value string) {
	c.vals[folded(key)] = Value{Vals: []string{value}}
}

// SetMulti gives a multi-valued key its values, replacing earlier ones. A key
// without values counts as absent.
func (c Context) SetMulti(key string, values ...string) {
	c.vals[folded(key)] = Value{Vals: slices.Clone(values), Multi: true}
}

// SetBool gives a Boolean key its value.
func (c Context) SetBool(key string, value bool) { c.Set(key, strconv.FormatBool(value)) }

// SetTime gives a date key its value, in ISO 8601 and UTC.
func (c Context) SetTime(key string, t time.Time) {
	c.Set(key, t.UTC().Format("2006-01-02T15:04:05Z"))
}

// Delete removes a key.
func (c Context) Delete(key string) { delete(c.vals, lower(key)) }

// Get returns what a key holds, and whether the request has it.
func (c Context) Get(key string) (Value, bool) { return c.lookup(lower(key)) }

// Len is the number of keys.
func (c Context) Len() int { return len(c.vals) }

// All yields every key, in lower case and no particular order.
func (c Context) All() iter.Seq2[string, Value] { return maps.All(c.vals) }

// Clone returns a copy that can be filled on its own.
func (c Context) Clone() Context {
	n := NewContext()
	maps.Copy(n.vals, c.vals)
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
	}
	return lower(key)
}

// lookup is Get for a key in lower case. A key without values is absent.
func (c Context) lookup(key string) (Value, bool) {
	v, ok := c.vals[key]
	return v, ok && len(v.Vals) > 0
}

// single returns the value of a single-valued key, or "".
func (c Context) single(key string) string {
	v, ok := c.lookup(key)
	if !ok || v.Multi || len(v.Vals) != 1 {
		return ""
	}
	return v.Vals[0]
}
