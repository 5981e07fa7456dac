package wire

import (
	"encoding/json"
	"io"
	"math/rand/v2"
	"net/http/httptest"
	"reflect"
	"regexp/syntax"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/api/cloudtrail"
	"github.com/sagekeep/sagekeep/api/geospatial"
	"github.com/sagekeep/sagekeep/api/iam"
	"github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/organizations"
	"github.com/sagekeep/sagekeep/api/s3"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/api/sts"
)

// filler makes random values that meet every constraint of their shapes.
type filler struct {
	*rand.Rand
	protocol schema.Protocol
	stuck    bool // a pattern for which no text was found
	repeat   int  // how often what may be repeated is; 0 = at random
}

func (f *filler) structure(shape *schema.Shape, v reflect.Value, depth int) {
	only := -1
	if shape.Union {
		only = f.IntN(len(shape.Members))
	}
	for i := range shape.Members {
		m := &shape.Members[i]
		wanted := m.Required || m.IdempotencyTok || m.Shape.Streaming || depth < 4 && (f.IntN(10) < 7 ||
			f.protocol == schema.AWSQuery && m.Shape.Kind >= schema.List)
		if only >= 0 {
			wanted = i == only
		}
		if wanted {
			f.value(m, v.Field(i), depth)
		}
	}
}

func (f *filler) value(m *schema.Member, fv reflect.Value, depth int) {
	shape := m.Shape
	if shape.Streaming {
		if fv.Kind() == reflect.Interface {
			fv.Set(reflect.ValueOf(strings.NewReader("a streamed body")))
			return
		}
	}
	low, high := f.bounds(shape)
	switch shape.Kind {
	case schema.Structure:
		f.structure(shape, target(fv), depth+1)
	case schema.List:
		n := max(low, 1)
		if high > n {
			n += f.IntN(2)
		}
		v := target(fv)
		v.Set(reflect.MakeSlice(v.Type(), n, n))
		for i := range n {
			f.value(&schema.Member{Shape: shape.Elem.Shape, In: m.In}, v.Index(i), depth+1)
		}
	case schema.Map:
		v := target(fv)
		v.Set(reflect.MakeMap(v.Type()))
		for range max(low, 1) {
			k, e := reflect.New(v.Type().Key()).Elem(), reflect.New(v.Type().Elem()).Elem()
			f.value(&schema.Member{Shape: shape.Key.Shape, In: m.In}, k, depth+1)
			f.value(&schema.Member{Shape: shape.Elem.Shape, In: m.In}, e, depth+1)
			v.SetMapIndex(k, e)
		}
	case schema.String:
		target(fv).SetString(f.text(m, low, high))
	case schema.Boolean:
		target(fv).SetBool(f.IntN(2) == 0)
	case schema.Integer, schema.Long:
		n := int64(f.IntN(1000))
		switch {
		case m.In == schema.InStatus:
			n = 200
		case m.Wire() == "Content-Length":
			n = int64(len("a streamed body"))
		case shape.Min != nil:
			n = int64(low)
		case shape.Max != nil:
			n = min(n, int64(high))
		}
		target(fv).SetInt(n)
	case schema.Float, schema.Double:
		x := float64(f.Float32())
		if shape.Min != nil {
			x = *shape.Min
		}
		target(fv).SetFloat(x)
	case schema.Timestamp:
		t := time.Unix(f.Int64N(4e9), 0).UTC()
		if f.protocol == schema.AWSJSON11 {
			t = t.Add(time.Duration(f.IntN(1000)) * time.Millisecond)
		}
		setTime(target(fv), t)
	case schema.Blob:
		b := make([]byte, max(low, 1)+f.IntN(max(min(high-low, 8), 1)))
		for i := range b {
			b[i] = byte(f.IntN(256))
		}
		fv.SetBytes(b)
	}
}

func (f *filler) bounds(s *schema.Shape) (low, high int) {
	high = 1 << 20
	if s.Min != nil {
		low = int(*s.Min)
	}
	if s.Max != nil {
		high = int(min(*s.Max, 1<<20))
	}
	return low, high
}

func (f *filler) text(m *schema.Member, low, high int) string {
	shape := m.Shape
	if len(shape.Enum) > 0 {
		return shape.Enum[f.IntN(len(shape.Enum))]
	}
	if shape.Pattern != "" {
		re, err := syntax.Parse(shape.Pattern, syntax.Perl)
		if err != nil {
			panic(err)
		}
		for try := range 200 {
			if f.repeat = 0; try >= 100 {
				f.repeat = low // for patterns whose texts have one length
			}
			var b strings.Builder
			f.expression(&b, re.Simplify(), try/20)
			s := b.String()
			n := len([]rune(s))
			plain := !strings.ContainsFunc(s, func(r rune) bool { return r < ' ' || r > 0x7e }) && strings.TrimSpace(s) == s && s != ""
			if n >= low && n <= high && shape.Matches(s) && plain {
				return s
			}
		}
		f.stuck = true
		return ""
	}
	alphabet := []rune("aZ09-_.~/ +&%<>=?#'\"é🚲")
	switch {
	case m.In == schema.InHeaders:
		alphabet = []rune("abc-9")
	case m.In == schema.InHeader:
		alphabet = []rune("aZ09-_.~/+&%<>=?#';")
	case f.protocol == schema.AWSJSON11:
		alphabet = append(alphabet, 0, '\n', '\\', 0x7f, 0x2028)
	case m.In == schema.InBody:
		alphabet = append(alphabet, '\n', '\r', '\t')
	}
	if m.In != schema.InBody {
		low = max(low, 1)
	}
	r := make([]rune, min(max(low, 1+f.IntN(8)), max(high, low)))
	for i := range r {
		r[i] = alphabet[f.IntN(len(alphabet))]
	}
	return string(r)
}

// expression writes a random text that matches re; more says how long
// repetitions become.
func (f *filler) expression(b *strings.Builder, re *syntax.Regexp, more int) {
	switch re.Op {
	case syntax.OpLiteral:
		b.WriteString(string(re.Rune))
	case syntax.OpCharClass:
		for range 50 {
			i := f.IntN(len(re.Rune)/2) * 2
			lo, hi := max(re.Rune[i], '!'), min(re.Rune[i+1], '~')
			if lo <= hi {
				b.WriteRune(lo + f.Int32N(hi-lo+1))
				return
			}
		}
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		b.WriteRune('a' + f.Int32N(26))
	case syntax.OpConcat, syntax.OpCapture:
		for _, s := range re.Sub {
			f.expression(b, s, more)
		}
	case syntax.OpAlternate:
		f.expression(b, re.Sub[f.IntN(len(re.Sub))], more)
	case syntax.OpStar, syntax.OpPlus, syntax.OpQuest:
		n := f.IntN(2)
		switch re.Op {
		case syntax.OpStar:
			n = f.IntN(4*more + 8)
		case syntax.OpPlus:
			n = 1 + f.IntN(4*more+8)
		}
		if f.repeat > 0 {
			n = f.repeat
		}
		for range n {
			f.expression(b, re.Sub[0], more)
		}
	}
}

// drain takes the content out of every reader, so that values compare.
func drain(v reflect.Value) (content string) {
	for _, field := range v.Fields() {
		if r := readerOf(field); r != nil {
			b, _ := io.ReadAll(r)
			content += string(b)
			field.SetZero()
		}
	}
	return content
}

func sameStruct(t *testing.T, what string, want, got any) {
	t.Helper()
	w, g := reflect.ValueOf(want).Elem(), reflect.ValueOf(got).Elem()
	if a, b := drain(w), drain(g); a != b {
		t.Errorf("%s: streamed %q, want %q", what, b, a)
	}
	if reflect.DeepEqual(want, got) {
		return
	}
	for i := range w.NumField() {
		if a, b := w.Field(i).Interface(), g.Field(i).Interface(); !reflect.DeepEqual(a, b) {
			t.Errorf("%s, %s:\ngot  %s\nwant %s", what, w.Type().Field(i).Name, show(b), show(a))
		}
	}
}

func show(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(b)
}

// TestEveryOperation sends random values of every generated operation from
// client to server and back.
func TestEveryOperation(t *testing.T) {
	t.Parallel()
	for _, ops := range [][]*schema.Operation{
		cloudtrail.Operations(), geospatial.Operations(), iam.Operations(), kms.Operations(), organizations.Operations(), s3.Operations(), sts.Operations(),
	} {
		router := NewRouter(ops)
		for _, op := range ops {
			t.Run(op.Service.Name+"/"+op.Name, func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(12) {
					walk(t, router, op, seed)
					if t.Failed() {
						t.Fatalf("with seed %d", seed)
					}
				}
			})
		}
	}
}

func walk(t *testing.T, router *Router, op *schema.Operation, seed uint64) {
	f := &filler{Rand: rand.New(rand.NewPCG(seed, 1)), protocol: op.Service.Protocol}
	in := op.NewInput()
	content := "a streamed body"
	if v, ok := structOf(op.Input, in); ok {
		f.structure(op.Input, v, 0)
	}
	if f.stuck {
		t.Fatalf("found no text for a pattern")
	}
	if op.Input != nil && !op.Service.Lenient {
		if bad := Validate(op.Input, in); bad != nil {
			t.Fatalf("filled badly: %v", bad)
		}
	}
	req, body, err := EncodeInput(op, "http://h", in)
	if err != nil {
		t.Fatal(err)
	}
	r := &Request{HTTP: req, Body: body}
	if body == nil {
		r.Stream = req.Body
	}
	if p := op.Service.Protocol; p == schema.RESTJSON1 || p == schema.RESTXML {
		got, labels, _ := router.MatchHeader(req.Method, req.URL.EscapedPath(), req.URL.Query(), req.Header)
		if got != op {
			t.Fatalf("%s %s routes to %v", req.Method, req.URL, got)
		}
		r.Labels = labels
	}
	back := op.NewInput()
	if err := DecodeInput(op, r, back); err != nil {
		t.Fatalf("%v\n%s %s\n%s", err, req.Method, req.URL, body)
	}
	if v, ok := structOf(op.Input, in); ok {
		rewind(v, content)
		noLength(op.Input, v)
		b, _ := structOf(op.Input, back)
		noLength(op.Input, b)
		sameStruct(t, "input", in, back)
	}

	out := op.NewOutput()
	if v, ok := structOf(op.Output, out); ok {
		f.structure(op.Output, v, 0)
	}
	w := httptest.NewRecorder()
	if err := EncodeOutput(op, w, "r", out); err != nil {
		t.Fatal(err)
	}
	again := op.NewOutput()
	text := w.Body.String()
	if err := DecodeOutput(op, w.Result(), again); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	if v, ok := structOf(op.Output, out); ok {
		rewind(v, content)
		g, _ := structOf(op.Output, again)
		for i := range op.Output.Members {
			if op.Output.Members[i].Wire() == "Content-Type" && v.Field(i).IsZero() {
				g.Field(i).SetZero() // a stream always has a type
			}
		}
		sameStruct(t, "output", out, again)
		AuditView(op.Output, out)
	}
}

// rewind gives every reader its content again.
func rewind(v reflect.Value, content string) {
	for _, field := range v.Fields() {
		if readerOf(field) != nil {
			field.Set(reflect.ValueOf(strings.NewReader(content)))
		}
	}
}

// noLength clears a Content-Length member: the request itself tells it.
func noLength(shape *schema.Shape, v reflect.Value) {
	for i := range shape.Members {
		if shape.Members[i].Wire() == "Content-Length" {
			v.Field(i).SetZero()
		}
	}
}
