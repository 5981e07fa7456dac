package wire

import (
	"net/http"
	"reflect"
	"strconv"

	"github.com/sagekeep/sagekeep/api/schema"
)

const contentJSON11 = "application/x-amz-json-1.1"

// encodeJSONOutput writes an awsJson1.1 answer. Operations without output, such
// as KMS EnableKey, answer an empty body.
func encodeJSONOutput(op *schema.Operation, w http.ResponseWriter, requestID string, v reflect.Value) error {
	var body []byte
	switch {
	case v.IsValid():
		body = appendJSONStruct(make([]byte, 0, 512), op.Output, v, false)
	case op.Output != nil:
		body = []byte("{}")
	}
	// The body may hold a plaintext data key.
	defer clear(body)
	h := w.Header()
	h["X-Amzn-Requestid"] = []string{requestID}
	h["Content-Type"] = []string{contentJSON11}
	return writeBody(w, successStatus(op), body)
}

func successStatus(op *schema.Operation) int {
	if op.Status == 0 {
		return http.StatusOK
	}
	return op.Status
}

// writeBody sends status and a whole body. Statuses that allow none get none.
func writeBody(w http.ResponseWriter, status int, body []byte) error {
	if status == http.StatusNoContent || status == http.StatusNotModified {
		w.WriteHeader(status)
		return nil
	}
	w.Header()["Content-Length"] = []string{strconv.Itoa(len(body))}
	w.WriteHeader(status)
	_, err := w.Write(body)
	return err
}
