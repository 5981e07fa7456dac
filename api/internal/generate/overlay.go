package main

import (
	"bytes"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
)

//go:embed overlay.json
var overlayJSON []byte

// serviceOverlay is what the model of one service lacks or gets wrong. Every
// entry names its source; an entry that applies to nothing in the model is an
// error, so that the overlay shrinks when the model catches up.
type serviceOverlay struct {
	XMLNamespace *overlayText        `json:"xmlNamespace"` // of the service's documents
	Lenient      *overlayFlag        `json:"lenient"`      // schema.Service.Lenient
	ReadOnly     *overlayOperations  `json:"readOnly"`     // read-only in CloudTrail besides Get*, List* and the like
	Changing     *overlayOperations  `json:"changing"`     // not read-only there, though named Get* and the like
	DataEvents   *overlayOperations  `json:"dataEvents"`   // CloudTrail data events
	Roots        *overlayRoots       `json:"roots"`        // XML root element of outputs, by operation
	TextOutputs  *overlayOperations  `json:"textOutputs"`  // the root element holds the only member's text
	Patterns     []overlayPattern    `json:"patterns"`     // RE2 form of a shape's pattern
	Sensitive    []overlaySensitive  `json:"sensitive"`    // shapes that no record or error text may show
	Headers      []overlayHeaders    `json:"headers"`      // headers that an operation reads besides the model's
	Drop         []overlayMember     `json:"drop"`         // members that generated code cannot express
	Optional     []overlayMember     `json:"optional"`     // members that the model requires and an answer leaves out
	Errors       []overlayErrorGroup `json:"errors"`       // errors the model does not declare, or not for our operations
}

type overlayMember struct {
	Shape  string `json:"shape"`
	Member string `json:"member"`
	Source string `json:"source"`
}

type overlayText struct {
	Value  string `json:"value"`
	Source string `json:"source"`
}

type overlayFlag struct {
	Value  bool   `json:"value"`
	Source string `json:"source"`
}

type overlayOperations struct {
	Operations []string `json:"operations"`
	Source     string   `json:"source"`
}

type overlayRoots struct {
	Outputs map[string]string `json:"outputs"` // operation → element
	Source  string            `json:"source"`
}

type overlayPattern struct {
	Shape   string `json:"shape"`
	Pattern string `json:"pattern"`
	Source  string `json:"source"`
}

type overlaySensitive struct {
	Shapes []string `json:"shapes"`
	Source string   `json:"source"`
}

type overlayHeaders struct {
	Shapes  []string          `json:"shapes"`  // input shapes
	Members map[string]string `json:"members"` // member → shape; the header is that of Like
	Like    string            `json:"like"`    // the input shape whose members these are
	Source  string            `json:"source"`
}

type overlayErrorGroup struct {
	Errors []overlayError `json:"errors"`
	Source string         `json:"source"`
}

type overlayError struct {
	Name      string `json:"name"`      // of the constructor
	Code      string `json:"code"`      // on the wire; the name when empty
	Status    int    `json:"status"`    // HTTP
	AuditCode string `json:"auditCode"` // in CloudTrail records; the code when empty
}

// readOverlay decodes and checks the overlay; the keys are package folders.
func readOverlay(b []byte) (map[string]*serviceOverlay, error) {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	var all map[string]*serviceOverlay
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("overlay: %w", err)
	}
	for folder, o := range all {
		for _, source := range o.sources() {
			if strings.TrimSpace(source) == "" {
				return nil, fmt.Errorf("overlay: %s has an entry without a source", folder)
			}
		}
	}
	return all, nil
}

func (o *serviceOverlay) sources() []string {
	var all []string
	if o.XMLNamespace != nil {
		all = append(all, o.XMLNamespace.Source)
	}
	if o.Lenient != nil {
		all = append(all, o.Lenient.Source)
	}
	if o.ReadOnly != nil {
		all = append(all, o.ReadOnly.Source)
	}
	if o.Changing != nil {
		all = append(all, o.Changing.Source)
	}
	if o.DataEvents != nil {
		all = append(all, o.DataEvents.Source)
	}
	if o.Roots != nil {
		all = append(all, o.Roots.Source)
	}
	if o.TextOutputs != nil {
		all = append(all, o.TextOutputs.Source)
	}
	for _, p := range o.Patterns {
		all = append(all, p.Source)
	}
	for _, s := range o.Sensitive {
		all = append(all, s.Source)
	}
	for _, h := range o.Headers {
		all = append(all, h.Source)
	}
	for _, d := range o.Drop {
		all = append(all, d.Source)
	}
	for _, m := range o.Optional {
		all = append(all, m.Source)
	}
	for _, e := range o.Errors {
		all = append(all, e.Source)
	}
	return all
}

// amend changes the model where the overlay says so.
func (o *serviceOverlay) amend(m *apiModel) error {
	for _, s := range o.Sensitive {
		for _, name := range s.Shapes {
			shape := m.Shapes[name]
			if shape == nil || shape.Sensitive {
				return fmt.Errorf("overlay: sensitive names %s, which is no shape of the model or sensitive in it", name)
			}
			shape.Sensitive = true
		}
	}
	for _, h := range o.Headers {
		if err := h.amend(m); err != nil {
			return err
		}
	}
	for _, d := range o.Drop {
		shape := m.Shapes[d.Shape]
		if shape == nil || !slices.ContainsFunc(shape.Members, func(r namedRef) bool { return r.Name == d.Member }) {
			return fmt.Errorf("overlay: drop names %s of %s, which is not in the model", d.Member, d.Shape)
		}
		shape.Members = slices.DeleteFunc(shape.Members, func(r namedRef) bool { return r.Name == d.Member })
	}
	for _, e := range o.Optional {
		shape := m.Shapes[e.Shape]
		if shape == nil || !slices.Contains(shape.Required, e.Member) {
			return fmt.Errorf("overlay: optional names %s of %s, which the model does not require", e.Member, e.Shape)
		}
		shape.Required = slices.DeleteFunc(shape.Required, func(name string) bool { return name == e.Member })
	}
	return nil
}

func (h *overlayHeaders) amend(m *apiModel) error {
	like := m.Shapes[h.Like]
	if like == nil {
		return fmt.Errorf("overlay: headers names %s, which is no shape of the model", h.Like)
	}
	for _, name := range h.Shapes {
		shape := m.Shapes[name]
		if shape == nil {
			return fmt.Errorf("overlay: headers names %s, which is no shape of the model", name)
		}
		for _, ref := range like.Members {
			if h.Members[ref.Name] != ref.Shape {
				continue
			}
			if slices.ContainsFunc(shape.Members, func(r namedRef) bool { return r.Name == ref.Name }) {
				return fmt.Errorf("overlay: %s has the member %s in the model", name, ref.Name)
			}
			shape.Members = append(shape.Members, ref)
		}
	}
	return nil
}

// check reports entries that name nothing in the model.
func (o *serviceOverlay) check(m *apiModel) error {
	var errs []error
	operation := func(section, name string) {
		if m.Operations[name] == nil {
			errs = append(errs, fmt.Errorf("overlay: %s names %s, which is no operation of the model", section, name))
		}
	}
	for section, list := range map[string]*overlayOperations{"readOnly": o.ReadOnly, "changing": o.Changing, "dataEvents": o.DataEvents, "textOutputs": o.TextOutputs} {
		for _, name := range list.names() {
			operation(section, name)
		}
	}
	if o.Roots != nil {
		for name := range o.Roots.Outputs {
			operation("roots", name)
		}
	}
	for _, p := range o.Patterns {
		if s := m.Shapes[p.Shape]; s == nil || s.Pattern == "" {
			errs = append(errs, fmt.Errorf("overlay: patterns names %s, which has no pattern in the model", p.Shape))
		}
	}
	return errors.Join(errs...)
}

func (l *overlayOperations) names() []string {
	if l == nil {
		return nil
	}
	return l.Operations
}

func (l *overlayOperations) has(operation string) bool {
	return slices.Contains(l.names(), operation)
}

// readPrefixes start the names of operations that change nothing.
var readPrefixes = []string{"Get", "List", "Describe", "Head", "Lookup", "Search", "Simulate", "BatchGet", "BatchDescribe"}

// readOnly is CloudTrail's flag: by the operation's name, or by the overlay.
func (o *serviceOverlay) readOnly(operation string) bool {
	return !o.Changing.has(operation) && (o.ReadOnly.has(operation) || slices.ContainsFunc(readPrefixes, func(p string) bool {
		return strings.HasPrefix(operation, p)
	}))
}

// pattern returns the overlay's RE2 pattern of a shape.
func (o *serviceOverlay) pattern(shape string) (string, bool) {
	for _, p := range o.Patterns {
		if p.Shape == shape {
			return p.Pattern, true
		}
	}
	return "", false
}
