package authz

import (
	"strings"
	"testing"
)

func TestRenamePrincipals(t *testing.T) {
	t.Parallel()
	const alice, bob = "arn:aws:iam::111122223333:user/alice", "arn:aws:iam::111122223333:role/bob"
	names := map[string]string{alice: "AIDAALICE", bob: "AROABOB"}
	for name, c := range map[string]struct{ doc, want string }{
		"one":           {`{"Statement":[{"Principal":{"AWS":"` + alice + `"}}]}`, `{"Statement":[{"Principal":{"AWS":"AIDAALICE"}}]}`},
		"list":          {`{"Statement":[{"Principal":{"AWS":["x", "` + alice + `" ,"` + bob + `"]}}]}`, `{"Statement":[{"Principal":{"AWS":["x", "AIDAALICE" ,"AROABOB"]}}]}`},
		"no list":       {`{"Statement":{"NotPrincipal":{"AWS":"` + bob + `"}}}`, `{"Statement":{"NotPrincipal":{"AWS":"AROABOB"}}}`},
		"space":         {"{ \"Version\": \"2012-10-17\",\n \"Statement\": [ {\"Principal\": {\n\"AWS\": \"" + alice + "\"\n}} ] }", "{ \"Version\": \"2012-10-17\",\n \"Statement\": [ {\"Principal\": {\n\"AWS\": \"AIDAALICE\"\n}} ] }"},
		"escaped":       {`{"Statement":[{"Principal":{"AWS":"arn:aws:iam::111122223333:user\/alice"}}]}`, `{"Statement":[{"Principal":{"AWS":"AIDAALICE"}}]}`},
		"a resource":    {`{"Statement":[{"Resource":"` + alice + `","Condition":{"ArnEquals":{"aws:PrincipalArn":"` + alice + `"}}}]}`, ""},
		"an id":         {`{"Id":"` + alice + `","Statement":[]}`, ""},
		"a sid":         {`{"Statement":[{"Sid":"` + alice + `","Principal":"*"}]}`, ""},
		"member's name": {`{"Statement":[{"Principal":{"` + alice + `":"x"}}]}`, ""},
		"outside":       {`{"Other":{"Principal":{"AWS":"` + alice + `"}}}`, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			want := c.want
			if want == "" {
				want = c.doc
			}
			got, err := RenamePrincipals(c.doc, names)
			if err != nil || got != want {
				t.Errorf("got %s (%v), want %s", got, err, want)
			}
		})
	}
	if _, err := RenamePrincipals(`{"Statement":`, names); err == nil {
		t.Error("half a document is no error")
	}
}

// FuzzRenamePrincipals: a document stays what it is when a name is replaced by
// itself, and no text of it but the name is lost.
func FuzzRenamePrincipals(f *testing.F) {
	f.Add(`{"Statement":[{"Principal":{"AWS":["a","b"]}}]}`, "a")
	f.Add(`{"Statement":[{"Principal":{"AWS":"\u0061"}}]}`, "a")
	f.Add(`{"Statement":{"NotPrincipal":"\"\\"}}`, `"\`)
	f.Fuzz(func(t *testing.T, doc, name string) {
		if len(doc) > 1<<16 {
			return
		}
		got, err := RenamePrincipals(doc, map[string]string{name: "REPLACED"})
		if err != nil {
			return
		}
		if n := strings.Count(got, "REPLACED"); n == 0 && got != doc {
			t.Errorf("%q became %q without a replacement", doc, got)
		}
		back, err := RenamePrincipals(got, map[string]string{"REPLACED": "REPLACED"})
		if err != nil || back != got {
			t.Errorf("%q became %q (%v)", got, back, err)
		}
	})
}
