package authz

import "testing"

// TestRenamedUser: a policy that was saved for a user names that user whatever
// it is called today, and nobody who took the name.
// Source: IAM User Guide, "IAM identifiers", "AWS JSON policy elements: Principal".
func TestRenamedUser(t *testing.T) {
	t.Parallel()
	const was, is = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:user/team/alicia"
	p, err := Parse(ResourcePolicy, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Principal":{"AWS":"`+was+`"},"Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}`))
	if err != nil {
		t.Fatal(err)
	}
	p.Bind(map[string]string{was: "AIDAALICE"})
	for _, c := range []struct {
		name string
		who  Principal
		want Effect
	}{
		{"under the old name", Principal{Type: User, ARN: was, UserID: "AIDAALICE"}, Allowed},
		{"under a new name", Principal{Type: User, ARN: is, UserID: "AIDAALICE"}, Allowed},
		{"who took the name", Principal{Type: User, ARN: was, UserID: "AIDABOB"}, ImplicitlyDenied},
		{"somebody else", Principal{Type: User, ARN: is, UserID: "AIDABOB"}, ImplicitlyDenied},
		{"no id", Principal{Type: User, ARN: was}, ImplicitlyDenied},
	} {
		c.who.Account = "111122223333"
		req := &Request{Principal: c.who, Action: "s3:GetObject", Resource: "arn:aws:s3:::b/o", ResourceAccount: "111122223333", Context: NewContext()}
		if d := Decide(req, &Policies{Resource: p}, nil); d.Effect != c.want {
			t.Errorf("%s: %s (%s), want %s", c.name, d.Effect, d.Reason, c.want)
		}
	}
}
