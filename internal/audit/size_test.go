package audit_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/identity"
)

// TestRecordsAreBounded: what somebody sends does not make records long, and
// least of all for those who have proven nothing.
func TestRecordsAreBounded(t *testing.T) {
	t.Parallel()
	text := func(n int) map[string]string { return map[string]string{"v": strings.Repeat("x", n)} }
	for _, tc := range []struct {
		name              string
		caller            *identity.Caller
		request, response int
		message           string
		most              int // bytes of the whole record
		omitted           string
	}{
		{name: "usual", caller: &identity.Caller{Type: identity.Root, Account: account}, request: 90_000, response: 90_000, most: 200_000},
		{name: "long", caller: &identity.Caller{Type: identity.Root, Account: account}, request: 4 << 20, response: 4 << 20, most: 2000, omitted: "requestParameters responseElements"},
		{name: "message", caller: &identity.Caller{Type: identity.Root, Account: account}, message: strings.Repeat("é", 10_000), most: 4000},
		{name: "anonymous", caller: &identity.Caller{Type: identity.Anonymous}, request: 3000, most: 5000},
		{name: "anonymous and long", caller: &identity.Caller{Type: identity.Anonymous}, request: 60_000, message: strings.Repeat("é", 10_000), most: 4000, omitted: "requestParameters"},
	} {
		ctx := identity.With(t.Context(), &identity.Call{Caller: tc.caller, Region: "us-west-2", Time: time.Date(2026, 11, 21, 10, 0, 0, 0, time.UTC)})
		ctx, p := audit.WithPending(ctx)
		_, e := p.Begin(ctx, "test.amazonaws.com", "Put", false, false, "id")
		e.SetRequest(text(tc.request))
		e.SetResponse(text(tc.response))
		if tc.message != "" {
			e.Fail("Denied", tc.message)
		}
		all, err := p.Rest()
		if err != nil || len(all) != 1 {
			t.Fatalf("%s: %d records, %v", tc.name, len(all), err)
		}
		var r struct {
			ErrorMessage                        string
			RequestParameters, ResponseElements struct {
				V            string
				Omitted      bool
				OriginalSize int
				Reason       string
			}
		}
		if err := json.Unmarshal(all[0], &r); err != nil {
			t.Fatalf("%s: %v", tc.name, err)
		}
		if len(all[0]) > tc.most {
			t.Errorf("%s: a record of %d bytes", tc.name, len(all[0]))
		}
		if want := strings.Contains(tc.omitted, "requestParameters"); r.RequestParameters.Omitted != want || !want && len(r.RequestParameters.V) != tc.request ||
			want && (r.RequestParameters.OriginalSize < tc.request || r.RequestParameters.Reason != "requestParameters too large") {
			t.Errorf("%s: requestParameters %.200s", tc.name, all[0])
		}
		if want := strings.Contains(tc.omitted, "responseElements"); r.ResponseElements.Omitted != want {
			t.Errorf("%s: responseElements %.200s", tc.name, all[0])
		}
		if !strings.HasPrefix(tc.message, r.ErrorMessage) || tc.message != "" && len(r.ErrorMessage) != 1024 {
			t.Errorf("%s: errorMessage of %d bytes", tc.name, len(r.ErrorMessage))
		}
	}
}
