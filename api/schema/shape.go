package schema

import (
	"regexp"
	"sync"
)

// Kind is the JSON-model type of a shape.
type Kind uint8

// The kinds of shapes. A string with Enum set is an enumeration.
const (
	String Kind = iota + 1
	Blob
	Boolean
	Integer // 32 bits
	Long    // 64 bits
	Float
	Double
	Timestamp
	List
	Map
	Structure
)

// TimeFormat is the wire form of a timestamp.
type TimeFormat uint8

// Timestamp forms. TimeDefault means: epoch seconds in JSON bodies, ISO 8601 in
// XML, query and URI positions, RFC 822 in headers.
const (
	TimeDefault TimeFormat = iota
	TimeEpoch
	TimeISO8601
	TimeRFC822
)

// Location is where a member of an input or output travels over HTTP.
type Location uint8

// Member locations; everything but InBody occurs in REST protocols only.
const (
	InBody    Location = iota
	InURI              // a {Label} or {Label+} of the path
	InQuery            // one query parameter, or all remaining ones for a map
	InHeader           // one header
	InHeaders          // every header with the prefix WireName: a map
	InStatus           // the HTTP status code
)

// Shape is one type of an API. Shapes are immutable once built.
type Shape struct {
	Name      string
	Kind      Kind
	Min, Max  *float64 // length for strings (characters), blobs (bytes), lists and maps; value for numbers; nil = unbounded
	Pattern   string   // RE2 form of the model's pattern, matched against the whole value; "" = none
	Enum      []string
	Sensitive bool // never in records, logs or error texts
	Time      TimeFormat
	Streaming bool // a blob that is not buffered

	Members []Member // Structure
	Payload int      // Structure: 1 + index of the member that is the whole body; 0 = none
	Union   bool     // Structure: exactly one member is set
	XMLName string   // Structure used as XML root: element name when it differs
	XMLNS   string   // namespace to write on the element
	Text    bool     // Structure used as XML root: its only member is the element's text (S3 GetBucketLocation)

	Key, Elem *Member // List: Elem; Map: Key and Elem
	Flattened bool    // List, Map: XML and query without the wrapping element

	once sync.Once
	re   *regexp.Regexp
}

// Member is one field of a structure, or the element of a list or map.
type Member struct {
	Name           string // as in the model, also the JSON name unless WireName is set
	WireName       string // locationName; "" = Name
	QueryName      string // name in the query protocol when it differs
	Shape          *Shape
	Required       bool
	In             Location
	Sensitive      bool
	Flattened      bool       // the reference is flattened, not the shape
	Time           TimeFormat // overrides the shape's
	XMLAttribute   bool
	XMLNS          string // xmlNamespace uri of the reference
	XMLNSPrefix    string
	IdempotencyTok bool // SDKs fill it in when absent
	ContextParam   bool
}

// Wire returns the member's name on the wire outside the query protocol.
func (m *Member) Wire() string {
	if m.WireName != "" {
		return m.WireName
	}
	return m.Name
}

// Matches reports whether v meets the shape's pattern; true without one.
func (s *Shape) Matches(v string) bool {
	if s.Pattern == "" {
		return true
	}
	s.once.Do(func() { s.re = regexp.MustCompile(`^(?:` + s.Pattern + `)$`) })
	return s.re.MatchString(v)
}

// Member returns the index of the named member, or -1.
func (s *Shape) Member(name string) int {
	for i := range s.Members {
		if s.Members[i].Name == name {
			return i
		}
	}
	return -1
}
