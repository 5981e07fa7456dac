package wire

import (
	"io"
	"time"

	"github.com/sagekeep/sagekeep/api/schema"
)

// The shapes of a made-up service, in every kind and place the codecs know.

type level string

type tag struct {
	TagKey   string
	TagValue *string
}

type point struct {
	X float64
	Y *float32
}

type choice struct {
	Point *point
	Text  *string
}

type everything struct {
	Name    string
	Note    *string
	Level   level
	Flag    *bool
	Count   *int32
	Big     *int64
	Ratio   *float64
	At      *time.Time
	When    *time.Time
	Data    []byte
	Names   []string
	Levels  []level
	Tags    []tag
	Context map[string]string
	Points  map[string]point
	Rings   [][]float64
	Choice  *choice
	Self    *everything
	Secret  *string
}

func str() *schema.Shape { return &schema.Shape{Name: "String", Kind: schema.String} }

func of(s *schema.Shape) *schema.Member { return &schema.Member{Shape: s} }

func tagShape() *schema.Shape {
	return &schema.Shape{Name: "Tag", Kind: schema.Structure, Members: []schema.Member{
		{Name: "TagKey", Required: true, Shape: &schema.Shape{Name: "TagKey", Kind: schema.String, Min: new(float64(1)), Max: new(float64(8))}},
		{Name: "TagValue", Shape: str()},
	}}
}

func everythingShape() *schema.Shape {
	double := &schema.Shape{Name: "Double", Kind: schema.Double}
	levels := &schema.Shape{Name: "Level", Kind: schema.String, Enum: []string{"LOW", "HIGH"}}
	p := &schema.Shape{Name: "Point", Kind: schema.Structure, Members: []schema.Member{
		{Name: "X", Shape: double, Required: true},
		{Name: "Y", Shape: &schema.Shape{Name: "Float", Kind: schema.Float}},
	}}
	s := &schema.Shape{Name: "Everything", Kind: schema.Structure}
	s.Members = []schema.Member{
		{Name: "Name", Required: true, Shape: &schema.Shape{Name: "Name", Kind: schema.String, Min: new(float64(1)), Max: new(float64(16)), Pattern: "[a-z ]*"}},
		{Name: "Note", Shape: str()},
		{Name: "Level", Shape: levels},
		{Name: "Flag", Shape: &schema.Shape{Name: "Flag", Kind: schema.Boolean}},
		{Name: "Count", Shape: &schema.Shape{Name: "Count", Kind: schema.Integer, Min: new(float64(1)), Max: new(float64(1000))}},
		{Name: "Big", Shape: &schema.Shape{Name: "Big", Kind: schema.Long}},
		{Name: "Ratio", Shape: double},
		{Name: "At", Shape: &schema.Shape{Name: "Date", Kind: schema.Timestamp}},
		{Name: "When", Shape: &schema.Shape{Name: "ISODate", Kind: schema.Timestamp, Time: schema.TimeISO8601}},
		{Name: "Data", Shape: &schema.Shape{Name: "Data", Kind: schema.Blob, Max: new(float64(16))}},
		{Name: "Names", Shape: &schema.Shape{
			Name: "Names", Kind: schema.List, Max: new(float64(3)),
			Elem: of(&schema.Shape{Name: "Short", Kind: schema.String, Min: new(float64(1)), Max: new(float64(4))}),
		}},
		{Name: "Levels", Shape: &schema.Shape{Name: "Levels", Kind: schema.List, Elem: of(levels)}},
		{Name: "Tags", Shape: &schema.Shape{Name: "TagList", Kind: schema.List, Elem: of(tagShape())}},
		{Name: "Context", Shape: &schema.Shape{
			Name: "Context", Kind: schema.Map, Key: of(str()),
			Elem: of(&schema.Shape{Name: "ContextValue", Kind: schema.String, Max: new(float64(8))}),
		}},
		{Name: "Points", Shape: &schema.Shape{Name: "Points", Kind: schema.Map, Key: of(str()), Elem: of(p)}},
		{Name: "Rings", Shape: &schema.Shape{
			Name: "Rings", Kind: schema.List,
			Elem: of(&schema.Shape{Name: "Ring", Kind: schema.List, Elem: of(double), Min: new(float64(2))}),
		}},
		{Name: "Choice", Shape: &schema.Shape{Name: "Choice", Kind: schema.Structure, Union: true, Members: []schema.Member{
			{Name: "Point", Shape: p}, {Name: "Text", Shape: str()},
		}}},
		{Name: "Self", Shape: s},
		{Name: "Secret", Shape: &schema.Shape{Name: "Secret", Kind: schema.String, Sensitive: true, Max: new(float64(4))}},
	}
	return s
}

func service(p schema.Protocol) *schema.Service {
	return &schema.Service{
		Name: "made-up", Protocol: p, APIVersion: "2026-01-02", TargetPrefix: "MadeUp",
		XMLNamespace: "https://made-up.example/doc/",
	}
}

func jsonOp() *schema.Operation {
	return &schema.Operation{
		Service: service(schema.AWSJSON11), Name: "DoIt", Method: "POST", Path: "/", Status: 200,
		Input: everythingShape(), Output: everythingShape(),
	}
}

// rested has a member in every place of a REST message.
type rested struct {
	Id      string
	Rest    string
	Max     *int32
	Keys    []string
	Since   *time.Time
	Extra   map[string]string
	Token   string
	Parts   []string
	Changed *time.Time
	Meta    map[string]string
	Title   *string
	Tags    []tag
}

func restedShape() *schema.Shape {
	names := &schema.Shape{Name: "Names", Kind: schema.List, Elem: of(str())}
	date := &schema.Shape{Name: "Date", Kind: schema.Timestamp}
	texts := &schema.Shape{Name: "Texts", Kind: schema.Map, Key: of(str()), Elem: of(str())}
	return &schema.Shape{Name: "Rested", Kind: schema.Structure, Members: []schema.Member{
		{Name: "Id", Shape: str(), In: schema.InURI, Required: true},
		{Name: "Rest", Shape: str(), In: schema.InURI, Required: true},
		{Name: "Max", WireName: "max-items", In: schema.InQuery, Shape: &schema.Shape{Name: "Max", Kind: schema.Integer, Max: new(float64(20))}},
		{Name: "Keys", WireName: "tagKeys", In: schema.InQuery, Shape: names},
		{Name: "Since", WireName: "since", In: schema.InQuery, Shape: date},
		{Name: "Extra", In: schema.InQuery, Shape: texts},
		{Name: "Token", WireName: "x-amz-token", In: schema.InHeader, Shape: str(), Required: true},
		{Name: "Parts", WireName: "x-amz-parts", In: schema.InHeader, Shape: names},
		{Name: "Changed", WireName: "x-amz-changed", In: schema.InHeader, Shape: date},
		{Name: "Meta", WireName: "x-amz-meta-", In: schema.InHeaders, Shape: texts},
		{Name: "Title", WireName: "title", Shape: str()},
		{Name: "Tags", Shape: &schema.Shape{Name: "Tags", Kind: schema.List, Flattened: true, Elem: of(tagShape())}},
	}}
}

func restOp(p schema.Protocol) *schema.Operation {
	return &schema.Operation{
		Service: service(p), Name: "PutThing", Method: "POST", Path: "/things/{Id}/{Rest+}?op=1", Status: 201,
		Input: restedShape(), Output: restedOutputShape(),
	}
}

type restedOutput struct {
	Status  *int32
	Token   *string
	Changed *time.Time
	Meta    map[string]string
	Title   *string
	Tags    []tag
	At      *time.Time
}

func restedOutputShape() *schema.Shape {
	in := restedShape()
	pick := func(name string) schema.Member { return in.Members[in.Member(name)] }
	token := pick("Token")
	token.Required = false
	return &schema.Shape{Name: "RestedOutput", XMLName: "RestedResult", Kind: schema.Structure, Members: []schema.Member{
		{Name: "Status", In: schema.InStatus, Shape: &schema.Shape{Name: "Status", Kind: schema.Integer}},
		token, pick("Changed"), pick("Meta"), pick("Title"), pick("Tags"),
		{Name: "At", Shape: &schema.Shape{Name: "Date", Kind: schema.Timestamp}},
	}}
}

type streamed struct {
	Bucket string
	Length *int64
	Body   io.Reader
}

func streamOp() *schema.Operation {
	shape := func(in schema.Location) *schema.Shape {
		return &schema.Shape{Name: "Streamed", Kind: schema.Structure, Payload: 3, Members: []schema.Member{
			{Name: "Bucket", WireName: "x-bucket", Shape: str(), In: in, Required: true},
			{Name: "Length", WireName: "Content-Length", In: schema.InHeader, Shape: &schema.Shape{Name: "Length", Kind: schema.Long}},
			{Name: "Body", Shape: &schema.Shape{Name: "Body", Kind: schema.Blob, Streaming: true}},
		}}
	}
	return &schema.Operation{
		Service: service(schema.RESTXML), Name: "PutStream", Method: "PUT", Path: "/{x-bucket}", Status: 200,
		Input: shape(schema.InURI), Output: shape(schema.InHeader),
	}
}
