package kms

import (
	"fmt"
	"strings"
	"testing"

	"github.com/sagekeep/sagekeep/internal/authz"
)

// TestKeyCacheIsBounded: keys whose policies take much are fewer in the cache.
func TestKeyCacheIsBounded(t *testing.T) {
	t.Parallel()
	p, err := authz.ParseStored(authz.KeyPolicy, []byte(`{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Principal":"*","Action":"kms:*","Resource":"*",`+
		`"Condition":{"StringEquals":{"a:b":"`+strings.Repeat("${a}", 8000)+`"}}}]}`))
	if err != nil {
		t.Fatal(err)
	}
	if p.Size() < 500_000 {
		t.Fatalf("the policy takes %d bytes", p.Size())
	}
	c := keyCache{entries: map[string]*cachedKey{}}
	for i := range 1000 {
		name := fmt.Sprint(i % 700)
		c.put(name, &cachedKey{policy: p})
		if i%10 == 9 {
			c.drop(name)
		}
		if held := len(c.entries) * p.Size(); held != c.held || held > maxCachedBytes {
			t.Fatalf("%d keys take %d bytes, said to be %d", len(c.entries), held, c.held)
		}
	}
}
