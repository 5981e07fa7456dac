package xks

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/sagekeep/sagekeep/internal/netguard"
)

func name(err error) Name {
	if e, ok := errors.AsType[*Error](err); ok {
		return e.Name
	}
	return ""
}

func TestParseHealth(t *testing.T) {
	t.Parallel()
	good := `{"xksProxyFleetSize":2,"xksProxyVendor":"Acme","xksProxyModel":"Acme 1","ekmVendor":"Thales","ekmFleetDetails":[{"id":"a","model":"m","healthStatus":"DEGRADED"},{"id":"b","model":"m","healthStatus":"UNAVAILABLE"}]}`
	h, err := parseHealth([]byte(good))
	if err != nil || h.FleetSize != 2 || !h.Available() {
		t.Fatalf("%+v, %v", h, err)
	}
	if h, err := parseHealth([]byte(strings.Replace(good, "DEGRADED", "UNAVAILABLE", 1))); err != nil || h.Available() {
		t.Errorf("all managers unavailable: %+v, %v", h, err)
	}
	for what, bad := range map[string]string{
		"fleet of none":    strings.Replace(good, ":2", ":0", 1),
		"half a fleet":     strings.Replace(good, ":2", ":1.5", 1),
		"no vendor":        strings.Replace(good, `"Acme"`, `""`, 1),
		"unknown status":   strings.Replace(good, "DEGRADED", "FINE", 1),
		"no managers":      good[:strings.Index(good, "[")] + "[]}",
		"eleven managers":  good[:strings.Index(good, "[")] + "[" + strings.Repeat(`{"id":"a","model":"m","healthStatus":"ACTIVE"},`, 10) + `{"id":"a","model":"m","healthStatus":"ACTIVE"}]}`,
		"manager lacks id": strings.Replace(good, `"id":"a",`, "", 1),
		"trailing bytes":   good + "x",
		"an array":         "[]",
		"nothing":          "",
	} {
		if _, err := parseHealth([]byte(bad)); name(err) != InvalidResponse {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParseKeyMetadata(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		body   string
		bad    bool
		usable bool
	}{
		"good":             {`{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT","WRAP"],"keyStatus":"ENABLED"}`, false, true},
		"other spec":       {`{"keySpec":"RSA_2048","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`, false, false},
		"encrypts only":    {`{"keySpec":"AES_256","keyUsage":["ENCRYPT"],"keyStatus":"ENABLED"}`, false, false},
		"disabled":         {`{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"DISABLED"}`, false, false},
		"unknown status":   {`{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"on"}`, true, false},
		"no usage":         {`{"keySpec":"AES_256","keyStatus":"ENABLED"}`, true, false},
		"eleven usages":    {`{"keySpec":"AES_256","keyUsage":["1","2","3","4","5","6","7","8","9","10","11"],"keyStatus":"ENABLED"}`, true, false},
		"usage is no list": {`{"keySpec":"AES_256","keyUsage":"ENCRYPT","keyStatus":"ENABLED"}`, true, false},
	} {
		k, err := parseKeyMetadata([]byte(c.body))
		if c.bad != (name(err) == InvalidResponse) || !c.bad && k.Usable() != c.usable {
			t.Errorf("%s: %+v, %v", what, k, err)
		}
	}
}

// The example of the specification's appendix C.
func TestParseCiphertextPublished(t *testing.T) {
	t.Parallel()
	aad := []byte("project=nile,department=marketing")
	good := `{"authenticationTag":"vBxN2ncH1oEkR8WVXpmyYQ==","ciphertext":"ghxkK1txeDNn3q8Y","ciphertextDataIntegrityValue":"qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=","ciphertextMetadata":"a2V5X3ZlcnNpb249MQ==","initializationVector":"HMrlRw85cAJUd5Ax"}`
	c, err := parseCiphertext([]byte(good), 12, aad)
	if err != nil || string(c.Metadata) != "key_version=1" {
		t.Fatalf("%+v, %v", c, err)
	}
	for what, try := range map[string]func() error{
		"other context": func() error { _, err := parseCiphertext([]byte(good), 12, aad[1:]); return err },
		"other length":  func() error { _, err := parseCiphertext([]byte(good), 13, aad); return err },
		"flipped bit": func() error {
			_, err := parseCiphertext([]byte(strings.Replace(good, "ghxk", "ghxj", 1)), 12, aad)
			return err
		},
		"no integrity value": func() error {
			_, err := parseCiphertext([]byte(strings.Replace(good, "DataIntegrityValue", "x", 1)), 12, aad)
			return err
		},
		"short tag": func() error {
			_, err := parseCiphertext([]byte(strings.Replace(good, "vBxN2ncH1oEkR8WVXpmyYQ==", "vBxN", 1)), 12, aad)
			return err
		},
		"short IV": func() error {
			_, err := parseCiphertext([]byte(strings.Replace(good, "HMrlRw85cAJUd5Ax", "HMrl", 1)), 12, aad)
			return err
		},
		"long metadata": func() error {
			_, err := parseCiphertext([]byte(strings.Replace(good, "a2V5X3ZlcnNpb249MQ==", "YWFhYWFhYWFhYWFhYWFhYWFhYWFh", 1)), 12, aad)
			return err
		},
		"not base64": func() error {
			_, err := parseCiphertext([]byte(strings.Replace(good, "ghxk", "g!xk", 1)), 12, aad)
			return err
		},
	} {
		if err := try(); name(err) != InvalidResponse {
			t.Errorf("%s: %v", what, err)
		}
	}
}

func TestParsePlaintextQuotesNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{`{"plaintext":"S3cret!"}`, `{"plaintext":"AAAA"}`, `{"plaintext":17}`} {
		_, err := parsePlaintext([]byte(body), 12)
		if name(err) != InvalidResponse || strings.Contains(err.Error(), "S3cret") {
			t.Errorf("%s: %v", body, err)
		}
	}
	if p, err := parsePlaintext([]byte(`{"plaintext":"SGVsbG8gV29ybGQh"}`), 12); err != nil || string(p) != "Hello World!" {
		t.Errorf("%q, %v", p, err)
	}
}

func TestParseError(t *testing.T) {
	t.Parallel()
	for what, c := range map[string]struct {
		body string
		want Name
	}{
		"known":         {`{"errorName":"KeyNotFoundException"}`, KeyNotFoundException},
		"with message":  {`{"errorName":"ThrottlingException","errorMessage":"slow down"}`, ThrottlingException},
		"unknown":       {`{"errorName":"Unreachable"}`, InvalidResponse},
		"no name":       {`{}`, InvalidResponse},
		"a page":        {`<html>`, InvalidResponse},
		"an empty body": {``, InvalidResponse},
	} {
		if e := parseError(400, []byte(c.body)); e.Name != c.want || e.Status != 400 {
			t.Errorf("%s: %v", what, e)
		}
	}
	e := parseError(403, []byte(`{"errorName":"AccessDeniedException","errorMessage":"no\n`+strings.Repeat("é!", 600)+`"}`))
	if len(e.Message) != maxMessage || strings.Trim(e.Message, "no!") != "" {
		t.Errorf("message %q", e.Message)
	}
}

func TestForbiddenAddresses(t *testing.T) {
	t.Parallel()
	d := dialer{timeout: time.Second, connectTo: map[string]string{"hsm.example.com": "[2002:a9fe:a9fe::1]:443"}}
	for _, address := range []string{"169.254.169.254:443", "[64:ff9b::a9fe:a9fe]:443", "[2001:0:c629:4::5601:5601]:443", "hsm.example.com:443"} {
		if _, err := d.dial(t.Context(), "tcp", address); !errors.Is(err, netguard.ErrForbidden) {
			t.Errorf("dial %s = %v, want ErrForbidden", address, err)
		}
	}
}

// Whatever a proxy answers is refused as an InvalidResponse or has the form that
// the API promises.
func FuzzParse(f *testing.F) {
	f.Add([]byte(`{"xksProxyFleetSize":1,"xksProxyVendor":"v","xksProxyModel":"m","ekmVendor":"e","ekmFleetDetails":[{"id":"a","model":"m","healthStatus":"ACTIVE"}]}`))
	f.Add([]byte(`{"keySpec":"AES_256","keyUsage":["ENCRYPT","DECRYPT"],"keyStatus":"ENABLED"}`))
	f.Add([]byte(`{"authenticationTag":"vBxN2ncH1oEkR8WVXpmyYQ==","ciphertext":"ghxkK1txeDNn3q8Y","ciphertextDataIntegrityValue":"qHA/ImC9h5HsLRXqCyPmWgYx7tzyoTplzILbP0fPXsc=","ciphertextMetadata":"a2V5X3ZlcnNpb249MQ==","initializationVector":"HMrlRw85cAJUd5Ax"}`))
	f.Add([]byte(`{"plaintext":"SGVsbG8gV29ybGQh"}`))
	f.Add([]byte(`{"errorName":"KeyNotFoundException","errorMessage":"gone"}`))
	aad := []byte("project=nile,department=marketing")
	f.Fuzz(func(t *testing.T, body []byte) {
		if len(body) > maxAnswer {
			return
		}
		if h, err := parseHealth(body); err == nil {
			if h.FleetSize < 1 || len(h.Managers) < 1 || len(h.Managers) > maxManagers {
				t.Fatalf("%q is the health %+v", body, h)
			}
		} else if name(err) != InvalidResponse {
			t.Fatal(err)
		}
		if k, err := parseKeyMetadata(body); err == nil {
			if len(k.Usage) > maxUsages || k.Usable() && !bytes.Contains(body, []byte("AES_256")) && json.Valid(body) && !bytes.Contains(body, []byte(`\u`)) {
				t.Fatalf("%q is the key %+v", body, k)
			}
		} else if name(err) != InvalidResponse {
			t.Fatal(err)
		}
		if c, err := parseCiphertext(body, 12, aad); err == nil {
			if err := c.check(12); err != nil {
				t.Fatal(err)
			}
		} else if name(err) != InvalidResponse {
			t.Fatal(err)
		}
		if p, err := parsePlaintext(body, 12); err == nil && len(p) != 12 {
			t.Fatalf("%q has %d bytes of plaintext", body, len(p))
		}
		e := parseError(400, body)
		if len(e.Message) > maxMessage || e.Name == "" {
			t.Fatalf("%q is the error %+v", body, e)
		}
	})
}
