package main

import (
	"bytes"
	"compress/gzip"
	"flag"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/sagekeep/sagekeep/api/internal/generate/testdata/tinyquery"
	"github.com/sagekeep/sagekeep/api/internal/generate/testdata/tinyxml"
	"github.com/sagekeep/sagekeep/api/schema"
)

var update = flag.Bool("update", false, "rewrite the golden packages below testdata")

// planTiny plans a made-up service of testdata.
func planTiny(t *testing.T, folder string) *plan {
	t.Helper()
	dir := filepath.Join("testdata", folder)
	b, err := os.ReadFile(filepath.Join(dir, "service-2.json"))
	if err != nil {
		t.Fatal(err)
	}
	model, err := parseModel(b)
	if err != nil {
		t.Fatal(err)
	}
	list, err := os.ReadFile(filepath.Join(dir, "operations.txt"))
	if err != nil {
		t.Fatal(err)
	}
	allowed, err := parseAllowList(string(list))
	if err != nil {
		t.Fatal(err)
	}
	var over map[string]*serviceOverlay
	if b, err := os.ReadFile(filepath.Join(dir, "overlay.json")); err == nil {
		if over, err = readOverlay(b); err != nil {
			t.Fatal(err)
		}
	}
	pl, err := newPlan(apiPackage{Folder: folder, Model: folder, Name: folder}, model, over[folder], allowed)
	if err != nil {
		t.Fatal(err)
	}
	return pl
}

// TestGolden compares the output for the made-up models with the packages below
// testdata, which this test imports: what is compared also compiles.
func TestGolden(t *testing.T) {
	t.Parallel()
	for _, folder := range []string{"tinyxml", "tinyquery"} {
		t.Run(folder, func(t *testing.T) {
			t.Parallel()
			files, err := planTiny(t, folder).render()
			if err != nil {
				t.Fatal(err)
			}
			dir := filepath.Join("testdata", folder)
			if *update {
				if err := write(dir, files); err != nil {
					t.Fatal(err)
				}
			}
			if err := compare(dir, files); err != nil {
				t.Fatalf("%v (run this test with -update and review the difference)", err)
			}
		})
	}
}

// TestGoldenValues reads a few facts back through the schema types.
func TestGoldenValues(t *testing.T) {
	t.Parallel()
	get := tinyxml.GetBox
	switch {
	case get.Status != 200 || !get.ReadOnly || !get.DataEvent || get.Unsigned:
		t.Errorf("GetBox = %+v", get.Operation)
	case get.Output.Payload != 1 || !get.Output.Members[0].Shape.Streaming:
		t.Errorf("GetBox output is not one streaming payload: %+v", get.Output)
	case !tinyxml.PutBox.Unsigned || !tinyxml.PutBox.ChecksumRequired || tinyxml.PutBox.Status != 204 || tinyxml.PutBox.Output != nil:
		t.Errorf("PutBox = %+v", tinyxml.PutBox.Operation)
	case !tinyxml.GetPlace.Output.Text || tinyxml.GetPlace.Output.XMLName != "Place" || tinyxml.GetPlace.Output.XMLNS != "urn:tiny":
		t.Errorf("GetPlace output = %+v", tinyxml.GetPlace.Output)
	case !slices.Equal(tinyxml.Service.Known, []string{"GetBox", "GetPlace", "PutBox", "Unused"}):
		t.Errorf("known = %v", tinyxml.Service.Known)
	case tinyxml.Service.SigningName != "tiny-signing" || tinyquery.Service.SigningName != "tinyq":
		t.Errorf("signing names %q and %q", tinyxml.Service.SigningName, tinyquery.Service.SigningName)
	}
	if raw := tinyxml.PutBox.Input.Members[tinyxml.PutBox.Input.Member("Raw")].Shape; raw.Streaming {
		t.Error("a blob that streams elsewhere streams as PutBox's Raw")
	}
	for _, e := range []struct {
		err    *schema.Error
		code   string
		audit  string
		status int
	}{
		{tinyxml.NoSuchBox("box %d", 3), "NoSuchBox", "", 404},
		{tinyxml.Label("x"), "Label", "", 400},
		{tinyxml.Broken("x"), "Broken", "", 500},
		{tinyxml.ItemError("x"), "Tiny.Item", "TinyItem", 400},
		{tinyquery.NoThingException("x"), "NoThing", "", 404},
		{tinyquery.PlainException("x"), "PlainException", "", 400},
	} {
		if e.err.Code != e.code || e.err.Status != e.status || e.err.AuditCode != e.audit {
			t.Errorf("error %+v, want code %s, audit code %q, status %d", e.err, e.code, e.audit, e.status)
		}
	}
	if got := reflect.TypeOf(tinyquery.ListNothing.NewInput()); got != reflect.TypeFor[*schema.Nothing]() {
		t.Errorf("ListNothing takes %v, want *schema.Nothing", got)
	}
}

func TestAllowList(t *testing.T) {
	t.Parallel()
	got, err := parseAllowList("# head\nB\n\n A # why\n")
	if err != nil || !slices.Equal(got, []string{"A", "B"}) {
		t.Errorf("got %v, %v; want [A B]", got, err)
	}
	for name, text := range map[string]string{"empty": "# nothing\n", "twice": "A\nA\n", "two on a line": "A B\n"} {
		if got, err := parseAllowList(text); err == nil {
			t.Errorf("%s: got %v, want an error", name, got)
		}
	}
}

// TestRefused holds models and overlays that must not turn into code.
func TestRefused(t *testing.T) {
	t.Parallel()
	const (
		head = `{"metadata":{"protocol":"json","jsonVersion":"1.1"},"operations":{"Do":{"http":{"method":"POST","requestUri":"/"},"input":{"shape":"In"}}},"shapes":{`
		tail = `}}`
	)
	for _, c := range []struct {
		name, model, overlay, want string
		allowed                    []string
	}{
		{name: "recursion", model: head + `"In":{"type":"structure","members":{"A":{"shape":"L"}}},"L":{"type":"list","member":{"shape":"S"}},"S":{"type":"structure","members":{"B":{"shape":"L"}}}` + tail, want: "recursive"},
		{name: "missing shape", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X"}}}` + tail, want: "X is not in the model"},
		{name: "input is a list", model: head + `"In":{"type":"list","member":{"shape":"In"}}` + tail, want: "want a structure"},
		{name: "unknown type", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X"}}},"X":{"type":"bigint"}` + tail, want: "unknown type"},
		{name: "unknown location", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X","location":"moon"}}},"X":{"type":"string"}` + tail, want: "unknown location"},
		{name: "unknown timestamp format", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X"}}},"X":{"type":"timestamp","timestampFormat":"lunar"}` + tail, want: "unknown timestamp format"},
		{name: "payload is no member", model: head + `"In":{"type":"structure","payload":"B","members":{}}` + tail, want: "no member"},
		{name: "streaming string", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X","streaming":true}}},"X":{"type":"string"}` + tail, want: "streams"},
		{name: "document", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X"}}},"X":{"type":"structure","document":true}` + tail, want: "not supported"},
		{name: "pattern beyond RE2", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X"}}},"X":{"type":"string","pattern":"(?!a)b"}` + tail, want: "pattern of shape X"},
		{name: "fields that collide", model: head + `"In":{"type":"structure","members":{"a":{"shape":"X"},"A":{"shape":"X"}}},"X":{"type":"string"}` + tail, want: "two members"},
		{name: "operation not in the model", model: head + `"In":{"type":"structure","members":{}}` + tail, allowed: []string{"Fly"}, want: "Fly"},
		{name: "overlay names no operation", model: head + `"In":{"type":"structure","members":{}}` + tail, overlay: `{"x":{"readOnly":{"operations":["Fly"],"source":"s"}}}`, want: "Fly"},
		{name: "overlay names no pattern", model: head + `"In":{"type":"structure","members":{}}` + tail, overlay: `{"x":{"patterns":[{"shape":"In","pattern":"a","source":"s"}]}}`, want: "no pattern"},
		{name: "overlay makes optional what is", model: head + `"In":{"type":"structure","members":{"A":{"shape":"X"}}},"X":{"type":"string"}` + tail, overlay: `{"x":{"optional":[{"shape":"In","member":"A","source":"s"}]}}`, want: "does not require"},
		{name: "overlay error without status", model: head + `"In":{"type":"structure","members":{}}` + tail, overlay: `{"x":{"errors":[{"errors":[{"name":"E"}],"source":"s"}]}}`, want: "status 0"},
		{name: "overlay without source", model: head + `"In":{"type":"structure","members":{}}` + tail, overlay: `{"x":{"lenient":{"value":true}}}`, want: "without a source"},
		{name: "overlay with a misspelt section", model: head + `"In":{"type":"structure","members":{}}` + tail, overlay: `{"x":{"lenien":{}}}`, want: "unknown field"},
		{name: "protocol", model: strings.Replace(head, "1.1", "1.0", 1) + `"In":{"type":"structure","members":{}}` + tail, want: "protocol"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			model, err := parseModel([]byte(c.model))
			if err != nil {
				t.Fatal(err)
			}
			if c.overlay == "" {
				c.overlay = "{}"
			}
			if c.allowed == nil {
				c.allowed = []string{"Do"}
			}
			over, err := readOverlay([]byte(c.overlay))
			if err == nil {
				_, err = newPlan(apiPackage{Folder: "x", Name: "x"}, model, over["x"], c.allowed)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got error %v, want one with %q", err, c.want)
			}
		})
	}
}

// TestOverlayIsReadable checks the committed overlay, whose entries are checked
// against the models when they are at hand.
func TestOverlayIsReadable(t *testing.T) {
	t.Parallel()
	over, err := readOverlay(overlayJSON)
	if err != nil {
		t.Fatal(err)
	}
	for folder := range over {
		if !slices.ContainsFunc(packages, func(p apiPackage) bool { return p.Folder == folder }) {
			t.Errorf("overlay for %s, which is no package", folder)
		}
	}
}

func TestModelSource(t *testing.T) {
	t.Parallel()
	const plain = `{"metadata":{"apiVersion":"@"},"operations":{"A":{}},"shapes":{"S":{"type":"string"}}}`
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	if _, err := w.Write([]byte(strings.Replace(plain, "@", "new", 1))); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	s := modelSource{fstest.MapFS{
		"a/2001-01-01/service-2.json":    {Data: []byte(strings.Replace(plain, "@", "old", 1))},
		"a/2002-01-01/service-2.json.gz": {Data: z.Bytes()},
		"b/2001-01-01/service-2.json":    {Data: []byte(`{}`)},
		"c/2001-01-01/other.json":        {Data: []byte(`{}`)},
	}}
	m, err := s.model("a")
	if err != nil {
		t.Fatal(err)
	}
	if m.Metadata.APIVersion != "new" || len(m.SHA256) != 64 {
		t.Errorf("model %q with hash %q, want the newest", m.Metadata.APIVersion, m.SHA256)
	}
	for _, name := range []string{"b", "c", "d"} {
		if _, err := s.model(name); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}

func TestLock(t *testing.T) {
	t.Parallel()
	l, err := parseLock(lockText)
	if err != nil || l.Name != "botocore" {
		t.Fatalf("committed lock: %+v, %v", l, err)
	}
	hash := strings.Repeat("ab", 32)
	for name, text := range map[string]string{
		"no version":  "name n\nsha256 " + hash,
		"short hash":  "name n\nversion 1\nsha256 abcd",
		"unknown key": "name n\nversion 1\nsha256 " + hash + "\nurl u",
		"three words": "name n m\nversion 1\nsha256 " + hash,
	} {
		if l, err := parseLock(text); err == nil {
			t.Errorf("%s: got %+v, want an error", name, l)
		}
	}
}

// TestFetchWheelFromCache finds a whole wheel in the cache without running pip.
func TestFetchWheelFromCache(t *testing.T) {
	t.Parallel()
	dir, content := t.TempDir(), []byte("wheel")
	l := lock{Name: "n", Version: "1", SHA256: digest(content)}
	if err := os.WriteFile(filepath.Join(dir, "n-1-py3-none-any.whl"), content, 0o644); err != nil {
		t.Fatal(err)
	}
	got, err := fetchWheel(t.Context(), l, dir)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestCompareAndWrite(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	put := func(name, text string) {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	put("old_gen.go", "x")
	put("types_gen.go", "edited")
	put("doc.go", "by hand")
	files := map[string][]byte{"types_gen.go": []byte("t"), "enums_gen.go": []byte("e")}
	err := compare(dir, files)
	if err == nil || !strings.Contains(err.Error(), "enums_gen.go, old_gen.go, types_gen.go") {
		t.Errorf("compare = %v, want the missing, the left over and the edited file", err)
	}
	if err := write(dir, files); err != nil {
		t.Fatal(err)
	}
	if err := compare(dir, files); err != nil {
		t.Errorf("after write: %v", err)
	}
	found, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil || len(found) != 3 {
		t.Errorf("folder holds %v, %v; want doc.go and %v", found, err, slices.Sorted(maps.Keys(files)))
	}
}

func TestCheckDoc(t *testing.T) {
	t.Parallel()
	m := &apiModel{SHA256: "abc"}
	m.Metadata.APIVersion = "2001-01-01"
	path := filepath.Join(t.TempDir(), "doc.go")
	for text, ok := range map[string]bool{"2001-01-01 abc": true, "2001-01-01": false, "abc": false} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if err := checkDoc(path, m); (err == nil) != ok {
			t.Errorf("%q: %v", text, err)
		}
	}
}
