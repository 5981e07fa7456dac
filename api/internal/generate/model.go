package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// apiModel is a service-2.json model. Documentation is not read.
type apiModel struct {
	SHA256   string `json:"-"` // of the uncompressed file
	Metadata struct {
		APIVersion     string `json:"apiVersion"`
		EndpointPrefix string `json:"endpointPrefix"`
		Protocol       string `json:"protocol"`
		JSONVersion    string `json:"jsonVersion"`
		ServiceID      string `json:"serviceId"`
		SigningName    string `json:"signingName"`
		TargetPrefix   string `json:"targetPrefix"`
		XMLNamespace   string `json:"xmlNamespace"`
	} `json:"metadata"`
	Operations map[string]*modelOperation `json:"operations"`
	Shapes     map[string]*modelShape     `json:"shapes"`
}

type modelOperation struct {
	HTTP struct {
		Method       string `json:"method"`
		RequestURI   string `json:"requestUri"`
		ResponseCode int    `json:"responseCode"`
	} `json:"http"`
	Input                *modelRef         `json:"input"`
	Output               *modelRef         `json:"output"`
	Errors               []modelRef        `json:"errors"`
	AuthType             string            `json:"authtype"`
	Auth                 []string          `json:"auth"`
	HTTPChecksumRequired bool              `json:"httpChecksumRequired"`
	HTTPChecksum         modelHTTPChecksum `json:"httpChecksum"`
	Endpoint             *json.RawMessage  `json:"endpoint"`
}

type modelHTTPChecksum struct {
	RequestChecksumRequired bool `json:"requestChecksumRequired"`
}

type xmlNamespace struct {
	URI    string `json:"uri"`
	Prefix string `json:"prefix"`
}

// modelRef is a use of a shape: a member, an element, an input.
type modelRef struct {
	Shape            string          `json:"shape"`
	Location         string          `json:"location"`
	LocationName     string          `json:"locationName"`
	QueryName        string          `json:"queryName"`
	ResultWrapper    string          `json:"resultWrapper"`
	Flattened        bool            `json:"flattened"`
	Streaming        bool            `json:"streaming"`
	Sensitive        bool            `json:"sensitive"`
	TimestampFormat  string          `json:"timestampFormat"`
	XMLAttribute     bool            `json:"xmlAttribute"`
	XMLNamespace     *xmlNamespace   `json:"xmlNamespace"`
	IdempotencyToken bool            `json:"idempotencyToken"`
	ContextParam     json.RawMessage `json:"contextParam"`
	JSONValue        bool            `json:"jsonvalue"`
	EventPayload     bool            `json:"eventpayload"`
}

type modelShape struct {
	Type            string        `json:"type"`
	Required        []string      `json:"required"`
	Members         orderedRefs   `json:"members"`
	Member          *modelRef     `json:"member"`
	Key             *modelRef     `json:"key"`
	Value           *modelRef     `json:"value"`
	Min             *float64      `json:"min"`
	Max             *float64      `json:"max"`
	Pattern         string        `json:"pattern"`
	Enum            []string      `json:"enum"`
	Sensitive       bool          `json:"sensitive"`
	TimestampFormat string        `json:"timestampFormat"`
	Streaming       bool          `json:"streaming"`
	Payload         string        `json:"payload"`
	Union           bool          `json:"union"`
	Flattened       bool          `json:"flattened"`
	LocationName    string        `json:"locationName"`
	XMLNamespace    *xmlNamespace `json:"xmlNamespace"`
	EventStream     bool          `json:"eventstream"`
	Document        bool          `json:"document"`
	Exception       bool          `json:"exception"`
	Fault           bool          `json:"fault"`
	Error           *struct {
		Code           string `json:"code"`
		HTTPStatusCode int    `json:"httpStatusCode"`
		Fault          bool   `json:"fault"`
	} `json:"error"`
}

// namedRef is a member of a structure.
type namedRef struct {
	Name string
	modelRef
}

// orderedRefs is a JSON object of members in the order of the text, which is
// the order of fields in our structures and of elements in XML answers.
type orderedRefs []namedRef

// UnmarshalJSON reads an object and keeps the order of its names.
func (o *orderedRefs) UnmarshalJSON(b []byte) error {
	d := json.NewDecoder(bytes.NewReader(b))
	if t, err := d.Token(); err != nil || t != json.Delim('{') {
		return errors.New("members: want an object")
	}
	for d.More() {
		t, err := d.Token()
		if err != nil {
			return err
		}
		r := namedRef{Name: t.(string)} // a name: More was true inside an object
		if err := d.Decode(&r.modelRef); err != nil {
			return fmt.Errorf("member %s: %w", r.Name, err)
		}
		*o = append(*o, r)
	}
	return nil
}

func parseModel(b []byte) (*apiModel, error) {
	m := &apiModel{SHA256: digest(b)}
	if err := json.Unmarshal(b, m); err != nil {
		return nil, err
	}
	if len(m.Operations) == 0 || len(m.Shapes) == 0 {
		return nil, errors.New("has no operations or no shapes")
	}
	return m, nil
}

// shape returns the named shape or an error that says who asked.
func (m *apiModel) shape(name string) (*modelShape, error) {
	s, ok := m.Shapes[name]
	if !ok {
		return nil, fmt.Errorf("shape %s is not in the model", name)
	}
	return s, nil
}
