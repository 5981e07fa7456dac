package archtest

import (
	"slices"
	"strings"
	"testing"
)

// layer is a group of packages with the same rights.
type layer string

const (
	api        layer = "api"        // generated shapes and what they are made of
	engine     layer = "engine"     // computation, free of AWS, HTTP and storage
	foundation layer = "foundation" // keys, rows, segments, jobs, policies, signatures
	pipeline   layer = "pipeline"   // bytes to shapes, and the one road of a request
	service    layer = "service"    // one AWS service each
	client     layer = "client"     // calls to a running server
	front      layer = "front"      // other origins: console, worker portal
	server     layer = "server"     // knows everybody
	command    layer = "command"
	outside    layer = "outside" // tests of the whole
)

// layers puts every package in its place. A folder stands for what is below it.
var layers = map[string]layer{
	"api": api,

	"internal/raster": engine,
	"internal/vector": engine,
	"internal/automl": engine,

	"internal/audit":    foundation,
	"internal/authz":    foundation,
	"internal/blob":     foundation,
	"internal/durable":  foundation,
	"internal/envelope": foundation,
	"internal/identity": foundation,
	"internal/jobs":     foundation,
	"internal/netguard": foundation,
	"internal/oidc":     foundation,
	"internal/rsakey":   foundation,
	"internal/sample":   foundation,
	"internal/seal":     foundation,
	"internal/secret":   foundation,
	"internal/sigv4":    foundation,
	"internal/store":    foundation,
	"internal/xks":      foundation,

	"internal/evaluator": pipeline,
	"internal/protocol":  pipeline,

	"internal/canvas":        service,
	"internal/catalog":       service,
	"internal/cloudtrail":    service,
	"internal/featurestore":  service,
	"internal/geospatial":    service,
	"internal/groundtruth":   service,
	"internal/iam":           service,
	"internal/kms":           service,
	"internal/logs":          service,
	"internal/organizations": service,
	"internal/s3":            service,
	"internal/sts":           service,

	"internal/client":  client,
	"internal/console": front,
	"internal/server":  server,
	"cmd":              command,

	"internal/archtest": outside,
	"e2e":               outside,
}

// may says which layers a layer imports besides the standard library.
var may = map[layer][]layer{
	api:        {api},
	engine:     {},
	foundation: {foundation, api},
	pipeline:   {pipeline, foundation, api},
	service:    {pipeline, foundation, api, engine},
	client:     {pipeline, foundation, api},
	front:      {client, pipeline, foundation, api},
	server:     {service, front, client, pipeline, foundation, api, engine},
	command:    {server, service, client, pipeline, foundation, api, engine},
	outside:    {command, server, service, front, client, pipeline, foundation, api, engine},
}

// between are the imports from one service to another, each with its reason.
// Everything else goes through a small interface and the pipeline.
var between = map[[2]string]string{
	{"internal/sts", "internal/iam"}: "a session is a role of IAM: STS has no state of its own and answers from IAM's types",
}

// place returns the layer of a package and the entry it came from.
func place(dir string) (layer, string) {
	for name := dir; ; {
		if l, ok := layers[name]; ok {
			return l, name
		}
		i := strings.LastIndexByte(name, '/')
		if i < 0 {
			return "", ""
		}
		name = name[:i]
	}
}

func TestEveryPackageHasALayer(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if l, _ := place(s.dir); l == "" {
			t.Errorf("%s: package %s is in no layer; put it into the table of layers_test.go", s.path, s.dir)
		}
	}
}

// TestLayers holds production code to the table. Tests may reach further: they
// join parts that meet only in internal/server otherwise.
func TestLayers(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test {
			continue
		}
		from, home := place(s.dir)
		for _, imp := range s.imports {
			dir, ours := strings.CutPrefix(imp, modulePath+"/")
			if !ours {
				continue
			}
			to, there := place(dir)
			if home == there && from != "" {
				continue
			}
			if from == service && to == service && between[[2]string{home, there}] != "" {
				continue
			}
			if !slices.Contains(may[from], to) {
				t.Errorf("%s (%s) imports %s (%s)", s.path, from, dir, to)
			}
		}
	}
}

// exclusive imports belong to few packages. A name ending in "/" stands for
// everything below it too.
var exclusive = []struct {
	imports string
	only    []string // packages, with what is below them
	tests   bool     // tests anywhere may use it
	why     string
}{
	{
		imports: "net/http/", only: []string{"internal/sigv4", "internal/oidc", "internal/seal", "internal/xks", "internal/protocol", "internal/client", "internal/console", "internal/server", "cmd"},
		tests: true, why: "services and engines know shapes, not HTTP",
	},
	{
		imports: "github.com/cockroachdb/pebble/v2/", only: []string{"internal/store/pebblestore", "internal/store/memstore"},
		tests: true, why: "the row engine can be replaced; benchmarks may compare with it",
	},
	{
		imports: modulePath + "/internal/store/pebblestore/", only: []string{"internal/store/memstore", "internal/server"},
		tests: true, why: "drivers are chosen in internal/server",
	},
	{
		imports: modulePath + "/internal/store/memstore/", only: nil,
		tests: true, why: "an in-memory store is for tests",
	},
	{
		imports: modulePath + "/internal/store/driver/", only: []string{"internal/store", "internal/server"},
		tests: true, why: "rows are reached through internal/store, which seals them",
	},
	{
		imports: "github.com/aws/", only: []string{"internal/seal"},
		tests: true, why: "AWS's SDKs judge us in tests; a seal may ask another KMS with them",
	},
}

func TestExclusiveImports(t *testing.T) {
	t.Parallel()
	for _, rule := range exclusive {
		for _, s := range sources(t) {
			if s.test && rule.tests || below(s.dir, rule.only) {
				continue
			}
			for _, imp := range s.imports {
				if strings.HasPrefix(imp+"/", rule.imports) {
					t.Errorf("%s imports %s: %s", s.path, imp, rule.why)
				}
			}
		}
	}
}

func below(dir string, roots []string) bool {
	return slices.ContainsFunc(roots, func(r string) bool { return dir == r || strings.HasPrefix(dir, r+"/") })
}

// TestAPIPackagesStandAlone: one service's shapes never reach another's. The
// generators have a package in common.
func TestAPIPackagesStandAlone(t *testing.T) {
	t.Parallel()
	for _, s := range sources(t) {
		if s.test || !below(s.dir, []string{"api"}) {
			continue
		}
		for _, imp := range s.imports {
			if imp == modulePath+"/api/internal/lockfile" && below(s.dir, []string{"api/internal"}) {
				continue
			}
			if strings.HasPrefix(imp, modulePath+"/") && imp != modulePath+"/api/schema" {
				t.Errorf("%s imports %s; API packages know api/schema alone", s.path, imp)
			}
		}
	}
}
