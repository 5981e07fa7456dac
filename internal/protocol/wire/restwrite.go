package wire

import (
	"io"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"

	"github.com/sagekeep/sagekeep/api/schema"
)

// encodeRESTOutput writes a restJson1 or restXml answer.
func encodeRESTOutput(op *schema.Operation, w http.ResponseWriter, requestID string, v reflect.Value) error {
	h := w.Header()
	xml := op.Service.Protocol == schema.RESTXML
	if xml {
		h["X-Amz-Request-Id"] = []string{requestID}
	} else {
		h["X-Amzn-Requestid"] = []string{requestID}
	}
	status := successStatus(op)
	if !v.IsValid() {
		return writeBody(w, status, nil)
	}
	for i := range op.Output.Members {
		m := &op.Output.Members[i]
		fv, ok := held(m.Shape, v.Field(i))
		if !ok {
			continue
		}
		switch m.In {
		case schema.InStatus:
			if n := fv.Int(); n >= 200 && n <= 599 {
				status = int(n)
			}
		case schema.InHeader, schema.InHeaders:
			writeHeader(h, op.Service.Protocol, m, fv)
		}
	}
	// A range read answers 206, which the S3 model does not say.
	if xml && status == http.StatusOK && h.Get("Content-Range") != "" {
		status = http.StatusPartialContent
	}
	if p := op.Output.Payload; p > 0 && op.Output.Members[p-1].Shape.Streaming {
		if h.Get("Content-Type") == "" {
			h["Content-Type"] = []string{defaultContentType(xml)}
		}
		return writeStream(w, status, readerOrBytes(v.Field(p-1)))
	}
	body, contentType := encodeRESTBody(op, op.Output, v, true)
	defer clear(body)
	if contentType != "" && h.Get("Content-Type") == "" {
		h["Content-Type"] = []string{contentType}
	}
	// A HEAD answer has no body; the length it tells is the object's.
	if op.Method == http.MethodHead {
		w.WriteHeader(status)
		return nil
	}
	return writeBody(w, status, body)
}

// defaultContentType is that of a payload whose type nobody told; without one
// net/http would guess from the content.
func defaultContentType(s3 bool) string {
	if s3 {
		return "binary/octet-stream"
	}
	return "application/octet-stream"
}

// encodeRESTBody returns the body of a message that does not stream, and its
// content type; both are empty when the shape has no body.
func encodeRESTBody(op *schema.Operation, shape *schema.Shape, v reflect.Value, output bool) ([]byte, string) {
	xml := op.Service.Protocol == schema.RESTXML
	if p := shape.Payload; p > 0 {
		m := &shape.Members[p-1]
		fv, ok := held(m.Shape, v.Field(p-1))
		switch {
		case !ok:
			return nil, ""
		case m.Shape.Kind == schema.Blob:
			return append([]byte(nil), fv.Bytes()...), "application/octet-stream"
		case m.Shape.Kind == schema.String && xml:
			return []byte(fv.String()), "application/json" // a bucket policy
		case m.Shape.Kind == schema.String:
			return []byte(fv.String()), "text/plain"
		case xml:
			return appendXMLDocument(nil, op, payloadRoot(m), m.XMLNS, m, fv), "application/xml"
		}
		return appendJSON(make([]byte, 0, 512), m, fv), "application/json"
	}
	if xml {
		if !hasBody(shape) {
			return nil, ""
		}
		root := schema.Member{Shape: shape}
		return appendXMLDocument(nil, op, bodyRoot(op, shape, output), shape.XMLNS, &root, v), "application/xml"
	}
	if !output && !hasBody(shape) {
		return nil, ""
	}
	return appendJSONStruct(make([]byte, 0, 512), shape, v, true), "application/json"
}

// writeHeader sets the header, or the headers, of one member.
func writeHeader(h http.Header, p schema.Protocol, m *schema.Member, v reflect.Value) {
	if m.In == schema.InHeaders {
		// Lower case on the wire: botocore keeps the case of metadata names.
		prefix := strings.ToLower(m.Wire())
		for it := v.MapRange(); it.Next(); {
			h[prefix+strings.ToLower(it.Key().String())] = []string{it.Value().String()}
		}
		return
	}
	h[http.CanonicalHeaderKey(m.Wire())] = []string{headerText(p, m, v)}
}

func headerText(p schema.Protocol, m *schema.Member, v reflect.Value) string {
	if m.Shape.Kind != schema.List {
		return string(appendText(nil, m.Shape, v, timeFormat(m, schema.TimeRFC822), fractionOf(p)))
	}
	var b []byte
	for i := range v.Len() {
		if i > 0 {
			b = append(b, ',')
		}
		item := string(appendText(nil, m.Shape.Elem.Shape, v.Index(i), timeFormat(m.Shape.Elem, schema.TimeRFC822), fractionOf(p)))
		if strings.ContainsAny(item, `,"`) || item == "" || strings.TrimSpace(item) != item {
			item = `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(item) + `"`
		}
		b = append(b, item...)
	}
	return string(b)
}

// addQuery appends the parameters of one query member.
func addQuery(q url.Values, p schema.Protocol, m *schema.Member, v reflect.Value) {
	text := func(e *schema.Member, v reflect.Value) string {
		return string(appendText(nil, e.Shape, v, timeFormat(e, schema.TimeISO8601), fractionOf(p)))
	}
	switch m.Shape.Kind {
	case schema.List:
		for i := range v.Len() {
			q.Add(m.Wire(), text(m.Shape.Elem, v.Index(i)))
		}
	case schema.Map:
		for it := v.MapRange(); it.Next(); {
			if it.Value().Kind() != reflect.Slice {
				q.Add(it.Key().String(), it.Value().String())
				continue
			}
			for i := range it.Value().Len() {
				q.Add(it.Key().String(), it.Value().Index(i).String())
			}
		}
	default:
		q.Add(m.Wire(), text(m, v))
	}
}

// readerOrBytes returns the content of a streaming member, nil when absent.
func readerOrBytes(fv reflect.Value) io.Reader {
	if fv.Kind() == reflect.Slice {
		return strings.NewReader(string(fv.Bytes()))
	}
	return readerOf(fv)
}

const copySize = 64 << 10

// copyBuffers holds *[copySize]byte. What was read into one is cleared before
// it goes back: it was a customer's plaintext.
var copyBuffers = sync.Pool{New: func() any { return new([copySize]byte) }}

// writeStream sends headers and then all of src, which it closes when it can.
func writeStream(w http.ResponseWriter, status int, src io.Reader) (err error) {
	h := w.Header()
	if src == nil {
		if h.Get("Content-Length") == "" && status != http.StatusNoContent && status != http.StatusNotModified {
			h["Content-Length"] = []string{"0"}
		}
		w.WriteHeader(status)
		return nil
	}
	if c, ok := src.(io.Closer); ok {
		defer func() {
			if cerr := c.Close(); err == nil {
				err = cerr
			}
		}()
	}
	w.WriteHeader(status)
	return copyBody(w, src)
}

func copyBody(w io.Writer, src io.Reader) error {
	if t, ok := src.(io.WriterTo); ok {
		_, err := t.WriteTo(w)
		return err
	}
	buf := copyBuffers.Get().(*[copySize]byte)
	used := 0
	defer func() {
		clear(buf[:used])
		copyBuffers.Put(buf)
	}()
	for {
		n, err := src.Read(buf[:])
		used = max(used, n)
		if n > 0 {
			if _, werr := w.Write(buf[:n]); werr != nil {
				return werr
			}
		}
		switch err {
		case nil:
		case io.EOF:
			return nil
		default:
			return err
		}
	}
}
