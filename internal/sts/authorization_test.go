package sts_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	iamapi "github.com/sagekeep/sagekeep/api/iam"
	stsapi "github.com/sagekeep/sagekeep/api/sts"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/identity"
	"github.com/sagekeep/sagekeep/internal/protocol"
	"github.com/sagekeep/sagekeep/internal/sts"
)

// denial is what an error of a refused call carries.
func denial(t *testing.T, err error) *protocol.Denial {
	t.Helper()
	d, ok := errors.AsType[*protocol.Denial](err)
	if !ok {
		t.Fatalf("no denial in %v", err)
	}
	return d
}

// encode is EncodeDenial.
func (f *fixture) encode(d *protocol.Denial) string {
	f.t.Helper()
	text, err := f.sts.EncodeDenial(f.t.Context(), d)
	if err != nil {
		f.t.Fatal(err)
	}
	return text
}

// decoded is the message as the account's administrator reads it.
func (f *fixture) decoded(text string) map[string]any { return f.decodedFor(f.bob, text) }

func (f *fixture) decodedFor(ctx context.Context, text string) map[string]any {
	f.t.Helper()
	out := must(ctx, f, stsapi.DecodeAuthorizationMessage, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: text})
	m := map[string]any{}
	if err := json.Unmarshal([]byte(*out.DecodedMessage), &m); err != nil {
		f.t.Fatal(err)
	}
	return m
}

// TestDecodedMessages: the form of AWS's messages.
// Source: IAM User Guide, "Use DecodeAuthorizationMessage with a CLI".
func TestDecodedMessages(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	eve := f.nobody("eve")
	_, err := protocol.Call(eve, f.r, iamapi.ListUsers, &iamapi.ListUsersInput{})
	d := denial(t, err)
	m := f.decoded(f.encode(d))
	caller := identity.From(eve).Caller
	who := m["context"].(map[string]any)
	if m["allowed"] != false || m["explicitDeny"] != false || m["layer"] != authz.LayerIdentity ||
		jsonOf(t, m["matchedStatements"]) != `{"items":[]}` || jsonOf(t, m["failures"]) != `{"items":[]}` ||
		jsonOf(t, who["principal"]) != `{"arn":"`+caller.ARN+`","id":"`+caller.PrincipalID+`"}` ||
		who["action"] != "iam:ListUsers" || who["resource"] != "arn:aws:iam::111122223333:user/" {
		t.Errorf("implicit deny: %v", m)
	}

	f.policy("eve", `{"Sid":"NoUsers","Effect":"Deny","Action":"iam:*","Resource":"*"}`)
	_, err = protocol.Call(eve, f.r, iamapi.ListUsers, &iamapi.ListUsersInput{})
	m = f.decoded(f.encode(denial(t, err)))
	if m["explicitDeny"] != true || jsonOf(t, m["matchedStatements"]) != `{"items":[{"effect":"DENY","policy":"p","statementId":"NoUsers"}]}` {
		t.Errorf("explicit deny: %v", m)
	}

	f.policy("eve", `{"Effect":"Allow","Action":"sts:GetFederationToken","Resource":"*"}`)
	_, err = protocol.Call(eve, f.r, stsapi.GetFederationToken, &stsapi.GetFederationTokenInput{Name: "sue", Tags: []stsapi.Tag{{Key: "Team", Value: "geo"}, {Key: "stage", Value: "test"}}})
	m = f.decoded(f.encode(denial(t, err)))
	conditions := jsonOf(t, m["context"].(map[string]any)["conditions"])
	for _, want := range []string{
		`{"key":"aws:requesttag/team","values":{"items":[{"value":"geo"}]}}`,
		`{"key":"aws:tagkeys","values":{"items":[{"value":"Team"},{"value":"stage"}]}}`,
	} {
		if !strings.Contains(conditions, want) {
			t.Errorf("conditions %s lack %s", conditions, want)
		}
	}
}

// TestWhoDecodes: who may, in the account of the request, for a week.
// Source: AWS STS API Reference, DecodeAuthorizationMessage.
func TestWhoDecodes(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	eve := f.nobody("eve")
	_, err := protocol.Call(eve, f.r, iamapi.ListUsers, &iamapi.ListUsersInput{})
	text := f.encode(denial(t, err))
	in := &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: text}
	_, err = protocol.Call(eve, f.r, stsapi.DecodeAuthorizationMessage, in)
	wantError(t, err, "AccessDenied", "")
	f.policy("eve", `{"Effect":"Allow","Action":"sts:DecodeAuthorizationMessage","Resource":"*"}`)
	must(eve, f, stsapi.DecodeAuthorizationMessage, in)
	must(f.root, f, stsapi.DecodeAuthorizationMessage, in)
	const code, message = "InvalidAuthorizationMessageException", "The authorization message is not valid."
	_, err = protocol.Call(f.ann, f.r, stsapi.DecodeAuthorizationMessage, in)
	wantError(t, err, code, message)

	session := must(f.bob, f, stsapi.GetSessionToken, &stsapi.GetSessionTokenInput{}).Credentials.SessionToken
	bomb, err := f.keyring.SealToken(envelope.PageToken, envelope.Token{Account: ours, Payload: []byte("{}")})
	if err != nil {
		t.Fatal(err)
	}
	raw, err := f.keyring.SealToken(envelope.AuthorizationMessage, envelope.Token{Account: ours, Payload: []byte("not deflated")})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"nothing": "", "words": "not a message", "line break": text[:20] + "\n" + text[20:], "cut": text[:len(text)-1],
		"session token": session, "page token": bomb, "not deflated": raw, "too long": strings.Repeat("A", 10241),
	} {
		_, err := protocol.Call(f.bob, f.r, stsapi.DecodeAuthorizationMessage, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: text})
		if e := fmt.Sprint(err); !strings.HasPrefix(e, code) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for i := 0; i < len(text); i += 11 {
		b := []byte(text)
		b[i] ^= 1
		if out, err := protocol.Call(f.bob, f.r, stsapi.DecodeAuthorizationMessage, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: string(b)}); err == nil {
			t.Fatalf("message with byte %d changed: %v", i, out)
		}
	}
	// The other way round: a message opens no door of a session.
	if c, err := f.iam.Lookup(t.Context(), identity.From(f.bob).Caller.AccessKeyID, text); err == nil {
		t.Errorf("a message is taken for a session: %v", c)
	}

	f.clock = f.clock.Add(7*24*time.Hour - time.Second)
	must(f.bob, f, stsapi.DecodeAuthorizationMessage, in)
	f.clock = f.clock.Add(time.Second)
	_, err = protocol.Call(f.bob, f.r, stsapi.DecodeAuthorizationMessage, in)
	wantError(t, err, code, message)
}

// denied is a made-up denial of bob's.
func denied(f *fixture, owner string, d authz.Decision, set func(authz.Context)) *protocol.Denial {
	c := authz.NewContext()
	set(c)
	if d.Explanation == nil {
		d.Explanation = &authz.Explanation{}
	}
	d.Explanation.Request = &authz.Request{Context: c}
	return &protocol.Denial{
		Caller: identity.From(f.bob).Caller, Action: "kms:Decrypt", Resource: "arn:aws:kms:us-west-2:" + owner + ":key/k",
		ResourceAccount: owner, Decision: d,
	}
}

// TestMessagesKeepOtherAccountsApart: the caller's account learns nothing of
// policies and resources of another one.
func TestMessagesKeepOtherAccountsApart(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	decision := authz.Decision{
		Effect: authz.ExplicitlyDenied, Layer: authz.LayerResource, Policy: "SECRET", Statement: "SECRET", Reason: "SECRET",
		Explanation: &authz.Explanation{
			Facts: []authz.Fact{
				{Layer: authz.LayerResource, Policy: "SECRET", Element: "Condition", Wanted: []string{"SECRET"}},
				{Layer: authz.LayerIdentity, Policy: "mine", Element: "Condition", Key: "aws:ResourceTag/x", Wanted: []string{"mine"}, Found: []string{"SECRET"}},
				{Layer: authz.LayerIdentity, Policy: "mine", Element: "Condition", Key: "aws:PrincipalTag/x", Wanted: []string{"mine"}, Found: []string{"found"}},
			},
			Changes: []authz.Change{{Layer: authz.LayerResource, Policy: "SECRET", Statement: "SECRET"}},
		},
	}
	facts := func(c authz.Context) {
		c.Set("aws:ResourceTag/x", "SECRET")
		c.SetMulti("kms:ResourceAliases", "alias/SECRET")
		c.Set("aws:ResourceOrgID", "o-SECRET")
		c.Set("s3:ExistingObjectTag/x", "SECRET")
		c.Set("aws:PrincipalTag/x", "found")
		c.Set("aws:RequestedRegion", "us-west-2")
	}
	theirText := jsonOf(t, f.decoded(f.encode(denied(f, theirs, decision, facts))))
	if strings.Contains(theirText, "SECRET") {
		t.Errorf("the message tells of the other account: %s", theirText)
	}
	for _, want := range []string{`"explicitDeny":true`, `"mine"`, `"found"`, `"us-west-2"`, `"layer":"resource"`, `"changes":[{"layer":"resource"}]`} {
		if !strings.Contains(theirText, want) {
			t.Errorf("the message %s lacks %s", theirText, want)
		}
	}
	decision.Explanation = &authz.Explanation{Facts: decision.Explanation.Facts, Changes: decision.Explanation.Changes}
	ownText := jsonOf(t, f.decoded(f.encode(denied(f, ours, decision, facts))))
	if n := strings.Count(ownText, "SECRET"); n < 8 {
		t.Errorf("the account's own message lacks its own facts: %s", ownText)
	}
	nobody := denied(f, ours, decision, facts)
	nobody.Caller = &identity.Caller{Type: identity.WebIdentity, PrincipalID: "p"}
	if text := f.encode(nobody); text != "" {
		t.Errorf("a message for nobody's account: %s", text)
	}
}

// TestMessageLengths: the length of a message does not tell a key that is there,
// in another account, from one that is not.
func TestMessageLengths(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	lengths := map[int]bool{}
	for n := range 10 {
		decision := authz.Decision{Effect: authz.ImplicitlyDenied, Layer: authz.LayerIdentity, Reason: fmt.Sprint(rand.Uint64(), strings.Repeat(fmt.Sprint(rand.Uint64()), n))}
		lengths[len(f.encode(denied(f, theirs, decision, func(authz.Context) {})))] = true
	}
	if len(lengths) != 1 {
		t.Errorf("messages have %d lengths: %v", len(lengths), lengths)
	}
}

// TestMessagesStayShort: whatever a request holds, its message can be decoded.
func TestMessagesStayShort(t *testing.T) {
	t.Parallel()
	f := newFixture(t)
	random := rand.New(rand.NewPCG(1, 2))
	noise := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('0' + random.IntN(75))
		}
		return string(b)
	}
	facts := make([]authz.Fact, 100)
	for i := range facts {
		facts[i] = authz.Fact{Layer: authz.LayerIdentity, Policy: noise(128), Wanted: []string{noise(200)}}
	}
	for _, test := range []struct {
		name           string
		keys, size     int
		facts          []authz.Fact
		truncated, all bool // all: every condition key is there
	}{
		{name: "short", keys: 10, size: 20, all: true},
		{name: "long values", keys: 20, size: 2000, truncated: true, all: true},
		{name: "many keys", keys: 2000, size: 40, truncated: true},
		{name: "many facts", keys: 10, size: 20, facts: facts, truncated: true},
	} {
		d := denied(f, ours, authz.Decision{Reason: "because", Explanation: &authz.Explanation{Facts: test.facts}}, func(c authz.Context) {
			for i := range test.keys {
				c.Set(fmt.Sprintf("aws:RequestTag/%04d", i), "é"+noise(test.size))
			}
		})
		text := f.encode(d)
		if len(text) > 10240 {
			t.Errorf("%s: %d characters", test.name, len(text))
		}
		m := f.decoded(text)
		got := m["context"].(map[string]any)
		items := got["conditions"].(map[string]any)["items"].([]any)
		if (m["truncated"] == true) != test.truncated || test.all != (len(items) == test.keys) || got["action"] != "kms:Decrypt" {
			t.Errorf("%s: truncated %v, %d conditions", test.name, m["truncated"], len(items))
		}
	}
	d := denied(f, ours, authz.Decision{}, func(authz.Context) {})
	d.Resource = noise(20000)
	if text, err := f.sts.EncodeDenial(t.Context(), d); err == nil {
		t.Errorf("a message of %d characters", len(text))
	}
}

// FuzzDecodeAuthorizationMessage: only a message that was sealed here opens.
func FuzzDecodeAuthorizationMessage(f *testing.F) {
	fx := newMessages(f)
	f.Add(fx.text)
	f.Add(fx.text[:len(fx.text)-1])
	f.Add("AQ")
	f.Fuzz(func(t *testing.T, text string) {
		if len(text) > 1<<15 {
			return
		}
		out, err := fx.s.DecodeAuthorizationMessage(fx.ctx, &stsapi.DecodeAuthorizationMessageInput{EncodedMessage: text})
		if err == nil && text != fx.text {
			t.Fatalf("%q opens as %s", text, *out.DecodedMessage)
		}
	})
}

// messages is a service with one message, for fuzzing.
type messages struct {
	s    *sts.Service
	ctx  context.Context
	text string
}

func newMessages(f *testing.F) messages {
	f.Helper()
	caller := &identity.Caller{Type: identity.User, Account: ours, ARN: "arn:aws:iam::111122223333:user/bob"}
	m := messages{
		s:   sts.New(sts.Config{Keyring: envelope.NewMemory()}),
		ctx: identity.With(f.Context(), &identity.Call{Caller: caller}),
	}
	var err error
	m.text, err = m.s.EncodeDenial(m.ctx, &protocol.Denial{Caller: caller, Action: "kms:Decrypt", Resource: "*"})
	if err != nil {
		f.Fatal(err)
	}
	return m
}
