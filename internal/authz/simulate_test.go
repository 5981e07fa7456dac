package authz

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
)

// verdict is a line of the answer.
type verdict struct {
	ID        json.RawMessage
	Decision  string
	Layer     string
	Statement json.RawMessage
	Reason    string
}

func quote(s string) []byte { return appendJSON(nil, s) }

func simulate(t testing.TB, in string) (lines []string, bad int) {
	t.Helper()
	var out bytes.Buffer
	bad, err := Simulate(strings.NewReader(in), &out)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n"), bad
}

func TestSimulate(t *testing.T) {
	t.Parallel()
	const allow = `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"*","Resource":"*"}]}`
	const ann = `"principal":"arn:aws:iam::111122223333:user/ann"`
	const get = `"action":"s3:GetObject","resource":"arn:aws:s3:::b/k","resourceAccount":"111122223333"`
	const decrypt = `"action":"kms:Decrypt","resource":"` + keyARN + `","resourceAccount":"111122223333"`
	toRole := func(arn string) string {
		return `{"Statement":{"Sid":"S","Effect":"Allow","Principal":{"AWS":"` + arn + `"},"Action":"kms:*","Resource":"*"}}`
	}
	tests := []struct {
		name string
		in   string
		want string // decision layer statement
	}{
		{"identity", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `]}}`, `Allowed identity 0`},
		{"nothing", `{"request":{` + ann + `,` + get + `},"policies":{}}`, `ImplicitlyDenied identity null`},
		{"no policies member", `{"request":{` + ann + `,` + get + `}}`, `ImplicitlyDenied identity null`},
		{"null layers", `{"request":{` + ann + `,` + get + `,"context":null},"policies":{"identity":[` + allow + `],"resource":null,"boundary":null,"session":[],"scp":null,"rcp":[]},"grants":null}`, `Allowed identity 0`},
		{"document as text", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + string(quote(allow)) + `]}}`, `Allowed identity 0`},
		{"Sid", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[{"Statement":{"Sid":"No way","Effect":"Deny","Action":"s3:*","Resource":"*"}}]}}`, `ExplicitlyDenied identity "No way"`},
		{"other account's bucket", `{"request":{` + ann + `,"action":"s3:GetObject","resource":"arn:aws:s3:::b/k","resourceAccount":"444455556666"},"policies":{"identity":[` + allow + `]}}`, `ImplicitlyDenied resource null`},
		{"duplicate names", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `,{"Statement":[{"Effect":"Allow","Effect":"Deny","Action":"*","Resource":"*"}]}]}}`, `ExplicitlyDenied identity null`},
		{"unknown operator", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `,{"Statement":[{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringIs":{"a:b":"c"}}}]}]}}`, `ExplicitlyDenied identity null`},
		{"document is a number", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `],"boundary":[7]}}`, `ExplicitlyDenied boundary null`},
		{"document is null", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `,null]}}`, `ExplicitlyDenied identity null`},
		{"document too deep", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `],"scp":[[{"Statement":` + strings.Repeat(`[`, 40) + strings.Repeat(`]`, 40) + `}]]}}`, `ExplicitlyDenied scp null`},
		{"scp level", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `],"scp":[[` + allow + `],[]]}}`, `ImplicitlyDenied scp null`},
		{"rcp without principal", `{"request":{` + ann + `,` + get + `},"policies":{"identity":[` + allow + `],"rcp":[[` + allow + `]]}}`, `Allowed identity 0`},
		{"role path from aws:PrincipalArn", `{"request":{"principal":"` + sessR + `",` + decrypt + `,"context":{"aws:PrincipalArn":"` + roleR + `"}},"policies":{"resource":` + toRole(roleR) + `}}`, `Allowed resource "S"`},
		{"role without path", `{"request":{"principal":"` + sessR + `",` + decrypt + `},"policies":{"resource":` + toRole("arn:aws:iam::111122223333:role/R") + `}}`, `Allowed resource "S"`},
		{"path not known", `{"request":{"principal":"` + sessR + `",` + decrypt + `},"policies":{"resource":` + toRole(roleR) + `}}`, `ImplicitlyDenied resource null`},
		{"aws:PrincipalArn of another role", `{"request":{"principal":"` + sessR + `",` + decrypt + `,"context":{"aws:PrincipalArn":"arn:aws:iam::111122223333:role/Other"}},"policies":{"resource":` + toRole("arn:aws:iam::111122223333:role/Other") + `}}`, `ImplicitlyDenied resource null`},
		{"role by unique id", `{"request":{"principal":"` + sessR + `",` + decrypt + `,"context":{"aws:userid":"AROARRRRRRRRRRRRRRR1:s1"}},"policies":{"resource":` + toRole("AROARRRRRRRRRRRRRRR1") + `}}`, `Allowed resource "S"`},
		{"key needs its policy", `{"request":{` + ann + `,` + decrypt + `},"policies":{"identity":[` + allow + `]}}`, `ImplicitlyDenied resource null`},
		{"no key in ListKeys", `{"request":{` + ann + `,"action":"kms:ListKeys","resource":"*"},"policies":{"identity":[` + allow + `]}}`, `Allowed identity 0`},
		{"root user", `{"request":{"principal":"arn:aws:iam::111122223333:root",` + get + `},"policies":{}}`, `Allowed none null`},
		{"anonymous", `{"request":{"principal":"anonymous",` + get + `},"policies":{"identity":[` + allow + `]}}`, `ImplicitlyDenied resource null`},
		{"trust policy", `{"request":{` + ann + `,"action":"sts:AssumeRole","resource":"arn:aws:iam::111122223333:role/R"},"policies":{"resource":{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"AWS":"111122223333"}}}}}`, `ImplicitlyDenied identity null`},
		{"trusted service", `{"request":{"principal":"sagemaker.amazonaws.com","action":"sts:AssumeRole","resource":"arn:aws:iam::111122223333:role/R"},"policies":{"resource":{"Statement":{"Effect":"Allow","Action":"sts:AssumeRole","Principal":{"Service":"sagemaker.amazonaws.com"}}}}}`, `Allowed resource 0`},
		{"grant to a service", `{"request":{"principal":"` + geo + `",` + decrypt + `},"policies":{},"grants":[{"grantee":"` + geo + `","operations":["Decrypt"]}]}`, `Allowed grant null`},
		{"grant, context equal", `{"request":{` + ann + `,` + decrypt + `,"context":{"kms:EncryptionContext:aws:s3:arn":"arn:aws:s3:::b"}},"grants":[{"grantee":"` + userAnn + `","operations":["Decrypt"],"constraints":{"EncryptionContextEquals":{"aws:s3:arn":"arn:aws:s3:::b"}}}]}`, `Allowed grant null`},
		{"grant, context in another case", `{"request":{` + ann + `,` + decrypt + `,"context":{"kms:EncryptionContext:AWS:s3:arn":"arn:aws:s3:::b"}},"grants":[{"grantee":"` + userAnn + `","operations":["Decrypt"],"constraints":{"EncryptionContextSubset":{"aws:s3:arn":"arn:aws:s3:::b"}}}]}`, `ImplicitlyDenied resource null`},
		{"grant, source", `{"request":{"principal":"` + geo + `",` + decrypt + `,"context":{"aws:SourceArn":"arn:x"}},"grants":[{"grantee":"` + geo + `","operations":["Decrypt"],"constraints":{"SourceArn":"arn:y"}}]}`, `ImplicitlyDenied resource null`},
		{"grant, unknown constraint", `{"request":{` + ann + `,` + decrypt + `},"grants":[{"grantee":"` + userAnn + `","operations":["Decrypt"],"constraints":{"Until":"2027"}}]}`, `ImplicitlyDenied resource null`},
		{"set without set operator", `{"request":{` + ann + `,` + get + `,"context":{"aws:TagKeys":["a"]}},"policies":{"identity":[{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"StringEquals":{"aws:TagKeys":"a"}}}}]}}`, `ImplicitlyDenied identity null`},
		{"set operator", `{"request":{` + ann + `,` + get + `,"context":{"aws:TagKeys":["a"]}},"policies":{"identity":[{"Statement":{"Effect":"Allow","Action":"*","Resource":"*","Condition":{"ForAnyValue:StringEquals":{"aws:TagKeys":"a"}}}}]}}`, `Allowed identity 0`},
		{"notes at the top", `{"note":"x","request":{` + ann + `,` + get + `}}`, `ImplicitlyDenied identity null`},
	}
	var in strings.Builder
	for _, tt := range tests {
		in.WriteString(strings.Replace(tt.in, "{", `{"id":`+string(quote(tt.name))+`,`, 1) + "\n")
	}
	lines, bad := simulate(t, in.String())
	if bad != 0 || len(lines) != len(tests) {
		t.Fatalf("%d lines for %d cases, %d bad", len(lines), len(tests), bad)
	}
	for i, tt := range tests {
		var v verdict
		if err := json.Unmarshal([]byte(lines[i]), &v); err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s %s", v.Decision, v.Layer, v.Statement)
		if got != tt.want || string(v.ID) != string(quote(tt.name)) || v.Reason == "" {
			t.Errorf("%s: %s\nwant %s", tt.name, lines[i], tt.want)
		}
		if malformed := v.Decision == "ExplicitlyDenied" && string(v.Statement) == "null"; malformed != (v.Reason == "malformed policy") {
			t.Errorf("%s: reason %q", tt.name, v.Reason)
		}
	}
	// The exact form of a line.
	lines, _ = simulate(t, `{"id":7,"request":{"principal":"arn:aws:iam::111122223333:root","action":"s3:GetObject","resource":"arn:aws:s3:::b"},"policies":{}}`)
	if want := `{"id":7,"decision":"Allowed","layer":"none","statement":null,"reason":"root user of the account"}`; lines[0] != want {
		t.Errorf("line %s\nwant %s", lines[0], want)
	}
}

func TestSimulateBadLines(t *testing.T) {
	t.Parallel()
	const request = `"request":{"principal":"arn:aws:iam::111122223333:user/ann","action":"s3:GetObject","resource":"*"}`
	tests := []string{
		`{`, `[]`, `null`, `"x"`, `{}`, "\xff", strings.Repeat("[", 100_000),
		`{"id":"a","id":"b",` + request + `}`,
		`{"request":{"principal":"bob","action":"s3:GetObject","resource":"*"}}`,
		`{"request":{"principal":"arn:aws:iam::111122223333:group/g","action":"s3:GetObject","resource":"*"}}`,
		`{"request":{"principal":"arn:aws:sts::111122223333:assumed-role/R","action":"s3:GetObject","resource":"*"}}`,
		`{"request":{"principal":"anonymous","resource":"*"}}`,
		`{"request":{"principal":"anonymous","action":"GetObject","resource":"*"}}`,
		`{"request":{"principal":"anonymous","action":"s3:GetObject"}}`,
		`{"request":{"principal":"anonymous","action":"s3:GetObject","resource":"*","contxt":{}}}`,
		`{"request":{"principal":"anonymous","action":"s3:GetObject","resource":"*","context":{"a:b":"1","A:B":"2"}}}`,
		`{"request":{"principal":"anonymous","action":"s3:GetObject","resource":"*","context":{"a:b":{}}}}`,
		`{"request":{"principal":"anonymous","action":"s3:GetObject","resource":"*","context":{"a:b":[1]}}}`,
		`{` + request + `,"policies":{"boundry":[]}}`,
		`{` + request + `,"policies":{"identity":{}}}`,
		`{` + request + `,"policies":{"scp":[{}]}}`,
		`{` + request + `,"grants":{}}`,
		`{` + request + `,"grants":[{"operations":["Decrypt"]}]}`,
		`{` + request + `,"grants":[{"grantee":"x"}]}`,
		`{` + request + `,"grants":[{"grantee":"x","operations":["Decrypt"],"constrains":{}}]}`,
		`{` + request + `,"note":"` + strings.Repeat("a", maxCase) + `"}`,
	}
	lines, bad := simulate(t, strings.Join(tests, "\n")+"\n\n  \n"+`{"id":1,`+request+`}`)
	if bad != len(tests) || len(lines) != len(tests)+1 {
		t.Fatalf("%d lines and %d bad for %d bad cases", len(lines), bad, len(tests))
	}
	for i := range tests {
		if !strings.HasPrefix(lines[i], fmt.Sprintf(`{"id":null,"error":"line %d: `, i+1)) {
			t.Errorf("%.80s: %s", tests[i], lines[i])
		}
	}
	if !strings.HasPrefix(lines[len(tests)], `{"id":1,"decision"`) {
		t.Errorf("the good line after them: %s", lines[len(tests)])
	}
	broken := errors.New("broken")
	if _, err := Simulate(iotest.ErrReader(broken), &bytes.Buffer{}); !errors.Is(err, broken) {
		t.Errorf("broken reader: %v", err)
	}
}

func FuzzSimulate(f *testing.F) {
	f.Add([]byte(`{"id":1,"request":{"principal":"` + sessR + `","action":"kms:Decrypt","resource":"` + keyARN + `","context":{"a:b":["c"]}},"policies":{"resource":` + seedFeatureStore + `,"scp":[[]]},"grants":[{"grantee":"x.y","operations":["Decrypt"],"constraints":{"SourceArn":"z"}}]}`))
	f.Fuzz(func(t *testing.T, line []byte) {
		if len(line) > 8<<10 || bytes.ContainsAny(line, "\n") {
			return
		}
		var out bytes.Buffer
		bad, err := Simulate(bytes.NewReader(line), &out)
		if err != nil {
			t.Fatal(err)
		}
		if len(bytes.TrimSpace(line)) == 0 {
			return
		}
		// One line in, one line of JSON out, which is a verdict or an error.
		if bytes.Count(out.Bytes(), []byte("\n")) != 1 || !json.Valid(out.Bytes()) {
			t.Fatalf("%q gives %q", line, out.Bytes())
		}
		if isError := bytes.HasPrefix(out.Bytes(), []byte(`{"id":null,"error":`)); isError != (bad == 1) {
			t.Fatalf("bad %d: %s", bad, out.Bytes())
		}
	})
}

// TestSimulateKeepsOrder: whatever is worked on at the same time, the answers
// are those of the lines alone, in their order.
func TestSimulateKeepsOrder(t *testing.T) {
	t.Parallel()
	g := refGen{rand.New(rand.NewPCG(11, 12))}
	ps := newPools(t, g)
	var in strings.Builder
	var want []string
	for i := range 400 {
		line := fmt.Sprintf(`{"id":%d}`, i)
		if i%7 > 0 {
			c, req, _ := g.newCase(ps)
			line = strings.TrimSpace(string(caseLine(t, c, req, "")))
		}
		alone, _ := simulate(t, strings.Repeat("\n", i)+line) // errors tell the line's number
		want = append(want, alone...)
		in.WriteString(line + "\r\n")
	}
	got, bad := simulate(t, in.String())
	if !slices.Equal(got, want) || bad != 58 {
		t.Errorf("%d lines, %d bad, or in another order", len(got), bad)
	}
}

// TestSimulateAgrees: the simulator reads a case as the request it stands for.
func TestSimulateAgrees(t *testing.T) {
	t.Parallel()
	g := refGen{rand.New(rand.NewPCG(13, 14))}
	ps := newPools(t, g)
	var in bytes.Buffer
	var want []Decision
	for len(want) < 3_000 {
		c, req, pols := g.newCase(ps)
		if !c.key && len(c.grants) > 0 || c.grantID != "" || slices.ContainsFunc(c.grants, func(g Grant) bool { return g.GranteeID != "" || g.Account != "" }) {
			continue // no case can say that
		}
		in.Write(caseLine(t, c, req, ""))
		want = append(want, Decide(req, pols, c.grants))
	}
	lines, bad := simulate(t, in.String())
	if bad > 0 || len(lines) != len(want) {
		t.Fatalf("%d lines, %d bad", len(lines), bad)
	}
	for i, line := range lines {
		var v verdict
		if err := json.Unmarshal([]byte(line), &v); err != nil {
			t.Fatal(err)
		}
		if v.Decision != want[i].Effect.String() || v.Layer != want[i].Layer {
			t.Errorf("%s\nwant %+v\ncase %s", line, want[i], strings.Split(in.String(), "\n")[i])
		}
	}
}

// TestSimulateAnswersAtOnce: a line is answered before the next is there.
func TestSimulateAnswersAtOnce(t *testing.T) {
	t.Parallel()
	inR, inW := io.Pipe()
	outR, outW := io.Pipe()
	done := make(chan error, 1)
	go func() {
		_, err := Simulate(inR, outW)
		outW.Close()
		done <- err
	}()
	answers := bufio.NewScanner(outR)
	for i := range 3 {
		fmt.Fprintf(inW, `{"id":%d,"request":{"principal":"anonymous","action":"s3:GetObject","resource":"*"}}`+"\n", i)
		if !answers.Scan() || !strings.HasPrefix(answers.Text(), fmt.Sprintf(`{"id":%d,"decision"`, i)) {
			t.Fatalf("line %d is answered by %q", i, answers.Text())
		}
	}
	inW.Close()
	if err := <-done; err != nil || answers.Scan() {
		t.Errorf("at the end %v and %q", err, answers.Text())
	}
}

type brokenWriter struct{ error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.error }

func TestSimulateBrokenWriter(t *testing.T) {
	t.Parallel()
	broken := errors.New("broken")
	in := strings.Repeat("x\n", 100_000)
	if _, err := Simulate(strings.NewReader(in), brokenWriter{broken}); !errors.Is(err, broken) {
		t.Errorf("broken writer: %v", err)
	}
}
