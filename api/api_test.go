package api_test

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
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

// apiPackage is what one generated package exports.
type apiPackage struct {
	folder     string
	service    *schema.Service
	operations []*schema.Operation
	errors     map[string]func(string, ...any) *schema.Error
}

// generated is every generated package.
var generated = []apiPackage{
	{"cloudtrail", cloudtrail.Service, cloudtrail.Operations(), cloudtrail.Errors()},
	{"geospatial", geospatial.Service, geospatial.Operations(), geospatial.Errors()},
	{"iam", iam.Service, iam.Operations(), iam.Errors()},
	{"kms", kms.Service, kms.Operations(), kms.Errors()},
	{"organizations", organizations.Service, organizations.Operations(), organizations.Errors()},
	{"s3", s3.Service, s3.Operations(), s3.Errors()},
	{"sts", sts.Service, sts.Operations(), sts.Errors()},
}

// TestEveryPackageIsHere fails when a folder with an allow-list is missing from
// the table above.
func TestEveryPackageIsHere(t *testing.T) {
	t.Parallel()
	found, err := filepath.Glob("*/operations.txt")
	if err != nil || len(found) == 0 {
		t.Fatalf("found no package: %v", err)
	}
	for _, path := range found {
		folder := filepath.Dir(path)
		if !slices.ContainsFunc(generated, func(g apiPackage) bool { return g.folder == folder }) {
			t.Errorf("package %s is not tested", folder)
		}
	}
}

func TestService(t *testing.T) {
	t.Parallel()
	for _, g := range generated {
		t.Run(g.folder, func(t *testing.T) {
			t.Parallel()
			s := g.service
			doc, err := os.ReadFile(filepath.Join(g.folder, "doc.go"))
			if err != nil {
				t.Fatal(err)
			}
			if !strings.Contains(string(doc), s.APIVersion) {
				t.Errorf("doc.go does not name API version %s", s.APIVersion)
			}
			if !regexp.MustCompile(`\b[0-9a-f]{64}\b`).Match(doc) {
				t.Error("doc.go does not name the model's SHA-256")
			}
			for field, v := range map[string]string{"Name": s.Name, "ID": s.ID, "SigningName": s.SigningName, "EventSource": s.EventSource} {
				if v == "" {
					t.Errorf("%s is empty", field)
				}
			}
			if s.Protocol == 0 {
				t.Error("no protocol")
			}
			if (s.TargetPrefix != "") != (s.Protocol == schema.AWSJSON11) {
				t.Errorf("target prefix %q with protocol %d", s.TargetPrefix, s.Protocol)
			}
			if (s.XMLNamespace != "") != (s.Protocol == schema.RESTXML || s.Protocol == schema.AWSQuery) {
				t.Errorf("XML namespace %q with protocol %d", s.XMLNamespace, s.Protocol)
			}
			if !slices.IsSorted(s.Known) || len(slices.Compact(slices.Clone(s.Known))) != len(s.Known) {
				t.Error("known operations are not sorted or not unique")
			}
		})
	}
}

// TestOperations compares the operations with the allow-list and checks what
// holds for each of them.
func TestOperations(t *testing.T) {
	t.Parallel()
	for _, g := range generated {
		t.Run(g.folder, func(t *testing.T) {
			t.Parallel()
			var have []string
			for _, o := range g.operations {
				have = append(have, o.Name)
				if o.Service != g.service {
					t.Errorf("%s belongs to another service", o.Name)
				}
				if o.Method == "" || !strings.HasPrefix(o.Path, "/") || o.Status < 200 || o.Status > 299 {
					t.Errorf("%s: %s %s answers %d", o.Name, o.Method, o.Path, o.Status)
				}
				if _, found := slices.BinarySearch(g.service.Known, o.Name); !found {
					t.Errorf("%s is not known", o.Name)
				}
				checkLabels(t, o)
			}
			if want := allowList(t, g.folder); !slices.Equal(have, want) {
				t.Errorf("operations %v, operations.txt has %v", have, want)
			}
		})
	}
}

func allowList(t *testing.T, folder string) []string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(folder, "operations.txt"))
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(b)) {
		line, _, _ = strings.Cut(line, "#")
		if line = strings.TrimSpace(line); line != "" {
			all = append(all, line)
		}
	}
	slices.Sort(all)
	return all
}

// checkLabels compares the labels of the path with the members that travel there.
func checkLabels(t *testing.T, o *schema.Operation) {
	t.Helper()
	var inPath, inShape []string
	for _, m := range regexp.MustCompile(`\{([^}+]+)\+?\}`).FindAllStringSubmatch(o.Path, -1) {
		inPath = append(inPath, m[1])
	}
	if o.Input != nil {
		for _, m := range o.Input.Members {
			if m.In == schema.InURI {
				inShape = append(inShape, m.Wire())
				if !m.Required {
					t.Errorf("%s: label %s is optional", o.Name, m.Name)
				}
			}
		}
	}
	slices.Sort(inPath)
	slices.Sort(inShape)
	if !slices.Equal(inPath, inShape) {
		t.Errorf("%s: path has labels %v, input has %v", o.Name, inPath, inShape)
	}
}

// TestFieldsMatchMembers holds the rule of schema's package comment: one field
// per member, in order, of the type that the member asks for.
func TestFieldsMatchMembers(t *testing.T) {
	t.Parallel()
	for _, g := range generated {
		t.Run(g.folder, func(t *testing.T) {
			t.Parallel()
			for _, o := range g.operations {
				checkRoot(t, o.Name+" input", o.Input, o.NewInput())
				checkRoot(t, o.Name+" output", o.Output, o.NewOutput())
			}
		})
	}
}

func checkRoot(t *testing.T, where string, s *schema.Shape, fresh any) {
	t.Helper()
	if s == nil {
		if _, ok := fresh.(*schema.Nothing); !ok {
			t.Errorf("%s has no shape but type %T", where, fresh)
		}
		return
	}
	checkStruct(t, where, s, reflect.TypeOf(fresh).Elem())
}

func checkStruct(t *testing.T, where string, s *schema.Shape, typ reflect.Type) {
	t.Helper()
	if s.Kind != schema.Structure || typ.Kind() != reflect.Struct || typ.NumField() != len(s.Members) {
		t.Errorf("%s: %v does not fit shape %s of %d members", where, typ, s.Name, len(s.Members))
		return
	}
	if s.Payload < 0 || s.Payload > len(s.Members) {
		t.Errorf("%s: payload %d of %d members", where, s.Payload, len(s.Members))
	}
	for i, m := range s.Members {
		f := typ.Field(i)
		at := where + "." + m.Name
		if f.Name != strings.ToUpper(m.Name[:1])+m.Name[1:] {
			t.Errorf("%s: field %d is called %s", at, i, f.Name)
		}
		checkShape(t, at, m.Shape)
		if err := fits(f.Type, m.Shape, m.Required, true); err != nil {
			t.Errorf("%s: %v", at, err)
			continue
		}
		checkBelow(t, at, m.Shape, f.Type)
	}
}

// checkBelow descends into the structures below a value of type typ.
func checkBelow(t *testing.T, where string, s *schema.Shape, typ reflect.Type) {
	t.Helper()
	switch s.Kind {
	case schema.Structure:
		if typ.Kind() == reflect.Pointer {
			typ = typ.Elem()
		}
		checkStruct(t, where, s, typ)
	case schema.List, schema.Map:
		checkShape(t, where+"[]", s.Elem.Shape)
		checkBelow(t, where+"[]", s.Elem.Shape, typ.Elem())
	}
}

// goTypes are the Go types of scalar shapes.
var goTypes = map[schema.Kind]reflect.Type{
	schema.String: reflect.TypeFor[string](), schema.Boolean: reflect.TypeFor[bool](),
	schema.Integer: reflect.TypeFor[int32](), schema.Long: reflect.TypeFor[int64](),
	schema.Float: reflect.TypeFor[float32](), schema.Double: reflect.TypeFor[float64](),
	schema.Timestamp: reflect.TypeFor[time.Time](),
}

// fits says why typ is not the Go type of s; field tells fields from elements.
func fits(typ reflect.Type, s *schema.Shape, required, field bool) error {
	bad := fmt.Errorf("shape %s of kind %d has Go type %v (required %v, field %v)", s.Name, s.Kind, typ, required, field)
	ok := false
	switch {
	case s.Kind == schema.Structure:
		ok = typ.Kind() == reflect.Struct && !field || typ.Kind() == reflect.Pointer && field && typ.Elem().Kind() == reflect.Struct
	case s.Kind == schema.List:
		if typ.Kind() != reflect.Slice || s.Elem == nil || s.Key != nil {
			return bad
		}
		return fits(typ.Elem(), s.Elem.Shape, true, false)
	case s.Kind == schema.Map:
		if typ.Kind() != reflect.Map || typ.Key() != reflect.TypeFor[string]() || s.Elem == nil || s.Key == nil || s.Key.Shape.Kind != schema.String {
			return bad
		}
		return fits(typ.Elem(), s.Elem.Shape, true, false)
	case s.Kind == schema.Blob && s.Streaming:
		ok = field && typ == reflect.TypeFor[io.Reader]()
	case s.Kind == schema.Blob:
		ok = typ == reflect.TypeFor[[]byte]()
	case len(s.Enum) > 0:
		ok = typ.Kind() == reflect.String && typ.Name() != "string"
	case required || !field:
		ok = typ == goTypes[s.Kind]
	default:
		ok = typ.Kind() == reflect.Pointer && typ.Elem() == goTypes[s.Kind]
	}
	if !ok {
		return bad
	}
	return nil
}

// checkShape checks the constraints of one shape; Matches panics when a pattern
// does not compile.
func checkShape(t *testing.T, where string, s *schema.Shape) {
	t.Helper()
	s.Matches("x")
	if s.Min != nil && s.Max != nil && *s.Min > *s.Max {
		t.Errorf("%s: min %v is above max %v", where, *s.Min, *s.Max)
	}
	if len(s.Enum) > 0 && s.Kind != schema.String {
		t.Errorf("%s: an enumeration of kind %d", where, s.Kind)
	}
	if s.Pattern != "" && s.Kind != schema.String {
		t.Errorf("%s: a pattern on kind %d", where, s.Kind)
	}
}

// TestErrors: within a service one constructor makes one code.
func TestErrors(t *testing.T) {
	t.Parallel()
	for _, g := range generated {
		t.Run(g.folder, func(t *testing.T) {
			t.Parallel()
			if len(g.errors) == 0 {
				t.Fatal("no errors")
			}
			by := map[string]string{}
			for name, construct := range g.errors {
				e := construct("key %d", 7)
				if e.Message != "key 7" || e.Code == "" || e.Status < 300 || e.Status > 599 {
					t.Errorf("%s makes %+v", name, e)
				}
				if other := by[e.Code]; other != "" {
					t.Errorf("%s and %s both make %s", name, other, e.Code)
				}
				by[e.Code] = name
			}
		})
	}
}

// TestFacts pins what other packages build on.
func TestFacts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		op                  *schema.Operation
		readOnly, dataEvent bool
	}{
		{op: kms.GenerateDataKey.Operation, readOnly: true},
		{op: kms.Decrypt.Operation, readOnly: true},
		{op: kms.CreateGrant.Operation},
		{op: kms.GetPublicKey.Operation, readOnly: true},
		{op: sts.AssumeRole.Operation, readOnly: true},
		{op: iam.PutRolePolicy.Operation},
		{op: s3.ListBuckets.Operation, readOnly: true},
		{op: s3.GetObject.Operation, readOnly: true, dataEvent: true},
		{op: s3.PutObject.Operation, dataEvent: true},
		{op: s3.PutBucketPolicy.Operation},
		{op: cloudtrail.LookupEvents.Operation, readOnly: true},
		{op: geospatial.SearchRasterDataCollection.Operation, readOnly: true},
		{op: geospatial.StartEarthObservationJob.Operation},
	} {
		if c.op.ReadOnly != c.readOnly || c.op.DataEvent != c.dataEvent {
			t.Errorf("%s: read-only %v, data event %v; want %v, %v", c.op.Name, c.op.ReadOnly, c.op.DataEvent, c.readOnly, c.dataEvent)
		}
	}
	for _, c := range []struct {
		got    *schema.Error
		code   string
		status int
	}{
		{kms.NotFoundException(""), "NotFoundException", 400},
		{kms.DependencyTimeoutException(""), "DependencyTimeoutException", 500},
		{kms.ValidationException(""), "ValidationException", 400},
		{iam.NoSuchEntityException(""), "NoSuchEntity", 404},
		{sts.PackedPolicyTooLargeException(""), "PackedPolicyTooLarge", 400},
		{s3.NoSuchBucket(""), "NoSuchBucket", 404},
		{s3.KMSDisabledException(""), "KMS.DisabledException", 400},
		{geospatial.ServiceQuotaExceededException(""), "ServiceQuotaExceededException", 402},
	} {
		if c.got.Code != c.code || c.got.Status != c.status {
			t.Errorf("got %s with status %d, want %s with %d", c.got.Code, c.got.Status, c.code, c.status)
		}
	}
	window := kms.ScheduleKeyDeletion.Input.Members[kms.ScheduleKeyDeletion.Input.Member("PendingWindowInDays")].Shape
	if *window.Min != 1 || *window.Max != 365 {
		t.Errorf("deletion window %v to %v, want the model's 1 to 365", *window.Min, *window.Max)
	}
	if !s3.Service.Lenient || kms.Service.Lenient {
		t.Error("only S3 is lenient")
	}
}
