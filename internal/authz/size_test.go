package authz

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestSize: the size of a policy is near what it takes, above all for documents
// that are made to take much. Not parallel: it measures the heap.
func TestSize(t *testing.T) {
	list := func(n int, entry string) string {
		return "[" + strings.TrimSuffix(strings.Repeat(entry+",", n), ",") + "]"
	}
	var keys strings.Builder
	for i := range 500 {
		fmt.Fprintf(&keys, `,"a:%d":true`, i)
	}
	for name, statements := range map[string]string{
		"statements": strings.TrimSuffix(strings.Repeat(`{"Effect":"Deny","Action":"a:b","Resource":"*"},`, 120), ","),
		"actions":    `{"Effect":"Deny","Action":` + list(1000, `"a:b"`) + `,"Resource":"*"}`,
		"resources":  `{"Effect":"Deny","Action":"*","Resource":` + list(1500, `"*"`) + `}`,
		"short ARNs": `{"Effect":"Deny","Action":"*","Resource":` + list(500, `"arn:aws:s3"`) + `}`,
		"conditions": `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"Null":{` + keys.String()[1:] + `}}}`,
		"values":     `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":` + list(2000, `""`) + `}}}`,
		"variables":  `{"Effect":"Deny","Action":"*","Resource":"*","Condition":{"StringEquals":{"a:b":"` + strings.Repeat("${a}", 1400) + `"}}}`,
	} {
		doc := []byte(`{"Version":"2012-10-17","Statement":[` + statements + `]}`)
		var before, after runtime.MemStats
		keep := make([]*Policy, 200)
		runtime.GC()
		runtime.ReadMemStats(&before)
		for i := range keep {
			p, err := ParseStored(IdentityPolicy, doc)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			keep[i] = p
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		took, size := int(after.HeapAlloc-before.HeapAlloc)/len(keep), keep[0].Size()
		if size*2 < took || size > took*2+1024 {
			t.Errorf("%s: %d bytes for a document of %d, said to be %d", name, took, len(doc), size)
		}
		runtime.KeepAlive(keep)
	}
}
