package main

import (
	"bytes"
	"fmt"
	"slices"
	"strings"
)

// kinds maps a model's type to the schema constant.
var kinds = map[string]string{
	"string": "String", "blob": "Blob", "boolean": "Boolean", "integer": "Integer", "long": "Long",
	"float": "Float", "double": "Double", "timestamp": "Timestamp", "list": "List", "map": "Map", "structure": "Structure",
}

// timeFormats maps timestampFormat to the schema constant.
var timeFormats = map[string]string{"unixTimestamp": "TimeEpoch", "iso8601": "TimeISO8601", "rfc822": "TimeRFC822"}

// locations maps location to the schema constant.
var locations = map[string]string{
	"uri": "InURI", "querystring": "InQuery", "header": "InHeader", "headers": "InHeaders", "statusCode": "InStatus",
}

// shapeValues renders one schema.Shape per reached shape.
func (pl *plan) shapeValues() string {
	var b bytes.Buffer
	all := slices.Concat(pl.roots, pl.shapes)
	slices.SortFunc(all, func(x, y *planShape) int { return strings.Compare(x.varName, y.varName) })
	for _, s := range all {
		pl.shapeValue(&b, s)
	}
	return pl.file(&b, schemaImport)
}

func (pl *plan) shapeValue(b *bytes.Buffer, s *planShape) {
	m := s.shape
	fmt.Fprintf(b, "var %s = &schema.Shape{\n\tName: %q,\n\tKind: schema.%s,\n", s.varName, s.name, kinds[m.Type])
	if m.Min != nil {
		fmt.Fprintf(b, "\tMin: new(%s),\n", number(*m.Min))
	}
	if m.Max != nil {
		fmt.Fprintf(b, "\tMax: new(%s),\n", number(*m.Max))
	}
	if s.pattern != "" {
		fmt.Fprintf(b, "\tPattern: %s,\n", quote(s.pattern))
	}
	if len(m.Enum) > 0 {
		fmt.Fprintf(b, "\tEnum: []string{\n")
		for _, v := range m.Enum {
			fmt.Fprintf(b, "\t\t%q,\n", v)
		}
		b.WriteString("\t},\n")
	}
	setLine(b, "Sensitive", m.Sensitive)
	if m.TimestampFormat != "" {
		fmt.Fprintf(b, "\tTime: schema.%s,\n", timeFormats[m.TimestampFormat])
	}
	setLine(b, "Streaming", s.stream)
	if len(m.Members) > 0 {
		b.WriteString("\tMembers: []schema.Member{\n")
		for _, member := range m.Members {
			b.WriteString("\t\t{")
			pl.member(b, s, member, slices.Contains(m.Required, member.Name))
			b.WriteString("},\n")
		}
		b.WriteString("\t},\n")
	}
	if m.Payload != "" {
		i := slices.IndexFunc(m.Members, func(r namedRef) bool { return r.Name == m.Payload })
		fmt.Fprintf(b, "\tPayload: %d,\n", i+1)
	}
	setLine(b, "Union", m.Union)
	if s.xmlName != "" {
		fmt.Fprintf(b, "\tXMLName: %q,\n", s.xmlName)
	}
	if s.xmlNS != "" {
		fmt.Fprintf(b, "\tXMLNS: %q,\n", s.xmlNS)
	}
	setLine(b, "Text", s.text)
	if m.Key != nil {
		b.WriteString("\tKey: &schema.Member{")
		pl.member(b, s, namedRef{"key", *m.Key}, false)
		b.WriteString("},\n")
	}
	if m.Member != nil {
		b.WriteString("\tElem: &schema.Member{")
		pl.member(b, s, namedRef{"member", *m.Member}, false)
		b.WriteString("},\n")
	}
	if m.Value != nil {
		b.WriteString("\tElem: &schema.Member{")
		pl.member(b, s, namedRef{"value", *m.Value}, false)
		b.WriteString("},\n")
	}
	setLine(b, "Flattened", m.Flattened)
	b.WriteString("}\n\n")
}

// member renders the fields of a schema.Member on one line.
func (pl *plan) member(b *bytes.Buffer, owner *planShape, r namedRef, required bool) {
	fmt.Fprintf(b, "Name: %q", r.Name)
	if r.LocationName != "" && r.LocationName != r.Name {
		fmt.Fprintf(b, ", WireName: %q", r.LocationName)
	}
	if r.QueryName != "" {
		fmt.Fprintf(b, ", QueryName: %q", r.QueryName)
	}
	fmt.Fprintf(b, ", Shape: %s", pl.use(r.modelRef).varName)
	inline(b, "Required", required)
	if r.Location != "" {
		fmt.Fprintf(b, ", In: schema.%s", locations[r.Location])
	}
	inline(b, "Sensitive", r.Sensitive)
	inline(b, "Flattened", r.Flattened)
	if r.TimestampFormat != "" {
		fmt.Fprintf(b, ", Time: schema.%s", timeFormats[r.TimestampFormat])
	}
	inline(b, "XMLAttribute", r.XMLAttribute)
	ns := r.XMLNamespace
	target := pl.use(r.modelRef).shape
	if ns == nil {
		ns = target.XMLNamespace
	}
	// The payload of an answer is a root element: it carries the service's namespace.
	if ns == nil && owner.output && pl.protocol == "RESTXML" && owner.shape.Payload == r.Name && target.Type == "structure" {
		ns = &xmlNamespace{URI: pl.xmlNamespace()}
	}
	if ns != nil {
		fmt.Fprintf(b, ", XMLNS: %q", ns.URI)
		if ns.Prefix != "" {
			fmt.Fprintf(b, ", XMLNSPrefix: %q", ns.Prefix)
		}
	}
	inline(b, "IdempotencyTok", r.IdempotencyToken)
	inline(b, "ContextParam", len(r.ContextParam) > 0)
}

func setLine(b *bytes.Buffer, name string, set bool) {
	if set {
		fmt.Fprintf(b, "\t%s: true,\n", name)
	}
}

func inline(b *bytes.Buffer, name string, set bool) {
	if set {
		fmt.Fprintf(b, ", %s: true", name)
	}
}

// quote prefers a raw literal, so that patterns stay readable.
func quote(s string) string {
	if strings.ContainsAny(s, "`\n\r") {
		return fmt.Sprintf("%q", s)
	}
	return "`" + s + "`"
}
