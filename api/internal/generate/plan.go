package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// plan is everything the files of one package say, with every name decided.
type plan struct {
	pkg   apiPackage
	model *apiModel
	over  *serviceOverlay
	names names

	protocol   string // schema constant
	operations []*planOperation
	roots      []*planShape // inputs and outputs, sorted by Go name
	shapes     []*planShape // what they reach, sorted by model name
	byUse      map[shapeUse]*planShape
	errors     []*planError
	known      []string
}

// shapeUse is a shape as a member uses it: streaming is said by the use in some
// models and by the shape in others.
type shapeUse struct {
	name      string
	streaming bool
}

type planOperation struct {
	name          string
	op            *modelOperation
	input, output *planShape // nil = none
}

// planShape is one schema value and, for structures and enumerations, one Go type.
type planShape struct {
	name    string // schema.Shape.Name
	shape   *modelShape
	goType  string // structures and enumerations
	varName string
	doc     string
	stream  bool
	pattern string
	xmlName string
	xmlNS   string
	text    bool
	fields  []string // Go names of the members
	consts  []string // Go names of the enumeration values
	output  bool     // root of an output
}

type planError struct {
	name, code, auditCode string
	status                int
}

// protocols maps metadata.protocol to the schema constant.
var protocols = map[string]string{"json": "AWSJSON11", "rest-json": "RESTJSON1", "rest-xml": "RESTXML", "query": "AWSQuery"}

// newPlan decides what is generated for the allowed operations. Names are given
// in this order: the package's own, operations, inputs and outputs, structures,
// enumerations, enumeration values, errors; a later one that collides gets
// Shape, Enum or Error appended, values a number.
func newPlan(pkg apiPackage, model *apiModel, over *serviceOverlay, allowed []string) (*plan, error) {
	if over == nil {
		over = &serviceOverlay{}
	}
	if err := over.amend(model); err != nil {
		return nil, err
	}
	if err := over.check(model); err != nil {
		return nil, err
	}
	pl := &plan{pkg: pkg, model: model, over: over, names: names{}, byUse: map[shapeUse]*planShape{}}
	pl.known = slices.Sorted(maps.Keys(model.Operations))
	md := model.Metadata
	pl.protocol = protocols[md.Protocol]
	if pl.protocol == "" || md.Protocol == "json" && md.JSONVersion != "1.1" {
		return nil, fmt.Errorf("protocol %s %s is not supported", md.Protocol, md.JSONVersion)
	}
	for _, own := range []string{"Service", "Operations", "Errors", "schema", "time", "io"} {
		pl.names.take("the package's own", own)
	}
	for _, name := range allowed {
		op := model.Operations[name]
		if op == nil {
			return nil, fmt.Errorf("operations.txt names %s, which is no operation of the model", name)
		}
		if op.Endpoint != nil {
			return nil, fmt.Errorf("operation %s uses a host prefix, which is not supported", name)
		}
		pl.names.take("operation", name)
		pl.operations = append(pl.operations, &planOperation{name: name, op: op})
	}
	for _, o := range pl.operations {
		if err := pl.addRoots(o); err != nil {
			return nil, fmt.Errorf("operation %s: %w", o.name, err)
		}
	}
	for _, o := range pl.operations {
		for _, root := range []*planShape{o.input, o.output} {
			if root == nil {
				continue
			}
			if err := pl.reach(root.shape, []string{root.name}); err != nil {
				return nil, fmt.Errorf("operation %s: %w", o.name, err)
			}
		}
	}
	if err := pl.finish(); err != nil {
		return nil, err
	}
	return pl, pl.planErrors()
}

// addRoots plans the input and output of one operation.
func (pl *plan) addRoots(o *planOperation) error {
	add := func(ref *modelRef, suffix, doc string) (*planShape, error) {
		if ref == nil {
			return nil, nil
		}
		s, err := pl.model.shape(ref.Shape)
		if err != nil {
			return nil, err
		}
		if s.Type != "structure" {
			return nil, fmt.Errorf("%s is a %s, want a structure", ref.Shape, s.Type)
		}
		if err := supported(*ref, s); err != nil {
			return nil, err
		}
		goType := pl.names.take("structure", o.name+suffix)
		root := &planShape{
			name: goType, shape: s, goType: goType, varName: "shape" + goType,
			doc: goType + " is the " + doc + " of " + o.name + ".", xmlName: s.LocationName,
			output: suffix == "Output",
		}
		if ref.LocationName != "" {
			root.xmlName = ref.LocationName
		}
		for _, ns := range []*xmlNamespace{s.XMLNamespace, ref.XMLNamespace} {
			if ns != nil {
				root.xmlNS = ns.URI
			}
		}
		pl.roots = append(pl.roots, root)
		return root, nil
	}
	var err error
	if o.input, err = add(o.op.Input, "Input", "input"); err != nil {
		return err
	}
	if o.output, err = add(o.op.Output, "Output", "output"); err != nil {
		return err
	}
	if o.output == nil {
		return nil
	}
	if pl.over.Roots != nil && pl.over.Roots.Outputs[o.name] != "" {
		o.output.xmlName = pl.over.Roots.Outputs[o.name]
	}
	if pl.over.TextOutputs.has(o.name) {
		if len(o.output.shape.Members) != 1 {
			return fmt.Errorf("overlay: textOutputs needs an output of one member")
		}
		o.output.text = true
	}
	if pl.protocol == "RESTXML" && o.output.xmlNS == "" && o.output.shape.Payload == "" {
		o.output.xmlNS = pl.xmlNamespace()
	}
	return nil
}

// refs lists the uses of other shapes in s.
func (s *modelShape) refs() []modelRef {
	var all []modelRef
	for _, m := range s.Members {
		all = append(all, m.modelRef)
	}
	for _, r := range []*modelRef{s.Member, s.Key, s.Value} {
		if r != nil {
			all = append(all, *r)
		}
	}
	return all
}

// reach plans every shape below s. path is the way there, to report recursion,
// which schema values built by package initialisation cannot express.
func (pl *plan) reach(s *modelShape, path []string) error {
	for _, r := range s.refs() {
		switch {
		case slices.Contains(path, r.Shape):
			return fmt.Errorf("shape %s is recursive (%s), which is not supported", r.Shape, strings.Join(path, " > "))
		case r.JSONValue || r.EventPayload:
			return fmt.Errorf("%s: a member of shape %s has a trait that is not supported", strings.Join(path, " > "), r.Shape)
		}
		t, err := pl.model.shape(r.Shape)
		if err != nil {
			return fmt.Errorf("%s: %w", strings.Join(path, " > "), err)
		}
		if err := supported(r, t); err != nil {
			return err
		}
		use := shapeUse{r.Shape, r.Streaming && !t.Streaming}
		if pl.byUse[use] != nil {
			continue // its own shapes are planned, and it cannot lie on its own path
		}
		p := &planShape{name: r.Shape, shape: t, stream: r.Streaming || t.Streaming}
		if t.Type == "structure" {
			p.xmlName = t.LocationName
			if t.XMLNamespace != nil && t.XMLNamespace.Prefix == "" { // with a prefix it stands on the members
				p.xmlNS = t.XMLNamespace.URI
			}
		}
		if p.stream && t.Type != "blob" {
			return fmt.Errorf("shape %s streams but is a %s", r.Shape, t.Type)
		}
		if t.Pattern != "" {
			if p.pattern, err = pl.patternOf(r.Shape, t); err != nil {
				return err
			}
		}
		if err := pl.reach(t, append(slices.Clip(path), r.Shape)); err != nil {
			return err
		}
		pl.byUse[use] = p
		pl.shapes = append(pl.shapes, p)
	}
	return nil
}

// supported reports a use of shape t that the files could not express.
func supported(r modelRef, t *modelShape) error {
	hasMember := func(m namedRef) bool { return m.Name == t.Payload }
	switch {
	case t.EventStream || t.Document:
		return fmt.Errorf("shape %s is an event stream or a document, which is not supported", r.Shape)
	case kinds[t.Type] == "":
		return fmt.Errorf("shape %s has the unknown type %q", r.Shape, t.Type)
	case r.Location != "" && locations[r.Location] == "":
		return fmt.Errorf("a member of shape %s has the unknown location %q", r.Shape, r.Location)
	case t.Payload != "" && !slices.ContainsFunc(t.Members, hasMember):
		return fmt.Errorf("shape %s names the payload %s, which is no member", r.Shape, t.Payload)
	}
	for _, f := range []string{r.TimestampFormat, t.TimestampFormat} {
		if f != "" && timeFormats[f] == "" {
			return fmt.Errorf("shape %s has the unknown timestamp format %q", r.Shape, f)
		}
	}
	return nil
}

func (pl *plan) patternOf(name string, s *modelShape) (string, error) {
	if p, ok := pl.over.pattern(name); ok {
		return p, nil
	}
	p, err := translatePattern(s.Pattern)
	if err != nil {
		return "", fmt.Errorf("pattern of shape %s %w; give its RE2 form in the overlay: %s", name, err, s.Pattern)
	}
	return p, nil
}

// finish gives the reached shapes their names.
func (pl *plan) finish() error {
	slices.SortFunc(pl.roots, func(a, b *planShape) int { return strings.Compare(a.goType, b.goType) })
	slices.SortFunc(pl.shapes, func(a, b *planShape) int {
		if c := strings.Compare(a.name, b.name); c != 0 {
			return c
		}
		return boolInt(a.stream) - boolInt(b.stream)
	})
	vars := names{}
	for _, s := range pl.roots {
		vars.take("root", s.varName)
	}
	for _, s := range pl.shapes {
		want := "shape" + exported(s.name)
		if s.stream && !s.shape.Streaming {
			want += "Stream"
		}
		s.varName = vars.take("shape", want)
		if s.shape.Type == "structure" {
			s.goType = pl.names.take("structure", exported(s.name), exported(s.name)+"Shape")
			s.doc = s.goType + " is a structure of the API."
			if s.shape.Union {
				s.doc = s.goType + " is a union of the API: exactly one field is set."
			}
		}
	}
	for _, s := range pl.shapes {
		if s.isEnum() {
			s.goType = pl.names.take("enumeration", exported(s.name), exported(s.name)+"Enum")
		}
	}
	for _, s := range pl.shapes {
		for _, v := range s.shape.Enum {
			s.consts = append(s.consts, pl.names.take("value", s.goType+enumSuffix(v)))
		}
	}
	for _, s := range slices.Concat(pl.roots, pl.shapes) {
		seen := names{}
		for _, m := range s.shape.Members {
			f := exported(m.Name)
			if seen.take(m.Name, f) != f {
				return fmt.Errorf("shape %s: two members are called %s", s.name, f)
			}
			s.fields = append(s.fields, f)
		}
	}
	return nil
}

func (s *planShape) isEnum() bool { return s.shape.Type == "string" && len(s.shape.Enum) > 0 }

// planErrors plans the errors that the operations declare and the overlay's.
func (pl *plan) planErrors() error {
	all := map[string]*planError{}
	for _, o := range pl.operations {
		for _, r := range o.op.Errors {
			s, err := pl.model.shape(r.Shape)
			if err != nil {
				return fmt.Errorf("operation %s: %w", o.name, err)
			}
			e := &planError{name: exported(r.Shape), code: r.Shape, status: 400}
			fault := s.Fault
			if s.Error != nil {
				fault = fault || s.Error.Fault
				if s.Error.Code != "" {
					e.code = s.Error.Code
				}
			}
			switch {
			case s.Error != nil && s.Error.HTTPStatusCode != 0:
				e.status = s.Error.HTTPStatusCode
			case fault:
				e.status = 500
			}
			all[e.name] = e
		}
	}
	for _, g := range pl.over.Errors {
		for _, oe := range g.Errors {
			if all[oe.Name] != nil {
				return fmt.Errorf("overlay: errors names %s, which the model declares for our operations", oe.Name)
			}
			if oe.Status < 300 || oe.Status > 599 {
				return fmt.Errorf("overlay: error %s has status %d", oe.Name, oe.Status)
			}
			e := &planError{name: oe.Name, code: oe.Code, auditCode: oe.AuditCode, status: oe.Status}
			if e.code == "" {
				e.code = e.name
			}
			all[e.name] = e
		}
	}
	codes := map[string]string{}
	for _, name := range slices.Sorted(maps.Keys(all)) {
		e := all[name]
		if other := codes[e.code]; other != "" {
			return fmt.Errorf("errors %s and %s share the code %s", other, name, e.code)
		}
		codes[e.code] = name
		e.name = pl.names.take("error", name, name+"Error")
		pl.errors = append(pl.errors, e)
	}
	return nil
}

func (pl *plan) xmlNamespace() string {
	if pl.over.XMLNamespace != nil {
		return pl.over.XMLNamespace.Value
	}
	return pl.model.Metadata.XMLNamespace
}

func boolInt(b bool) int {
	if b {
		return 1
	}
	return 0
}
