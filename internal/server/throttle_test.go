package server

import (
	"context"
	"errors"
	"path/filepath"
	"strings"
	"testing"

	kmsapi "github.com/sagekeep/sagekeep/api/kms"
	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/client"
)

// The quotas of the configuration bind over HTTP; the default ones do not bind a
// single account.
func TestKMSQuotas(t *testing.T) {
	t.Parallel()
	for quotas, most := range map[string]int{"": 20, "aws": 5, "off": 20} {
		_, c := startServerWith(t, Config{DataDir: filepath.Join(t.TempDir(), "data"), KMSQuotas: quotas})
		made, throttled := 0, 0
		for range 20 {
			_, err := client.Call(context.Background(), c, kmsapi.CreateKey, &kmsapi.CreateKeyInput{})
			if e, ok := errors.AsType[*schema.Error](err); ok && e.Code == "ThrottlingException" && e.Status == 400 {
				throttled++
			} else if err != nil {
				t.Fatal(err)
			} else {
				made++
			}
		}
		if made < most || quotas != "aws" && throttled > 0 || quotas == "aws" && throttled == 0 {
			t.Errorf("quotas %q: %d keys were made and %d requests throttled", quotas, made, throttled)
		}
	}
	cfg := Config{DataDir: "d", KMSQuotas: "some"}
	if err := cfg.Validate(); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "kms-quotas") {
		t.Errorf("Validate: %v", err)
	}
}
