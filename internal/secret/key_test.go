package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestKeyNeverPrints(t *testing.T) {
	t.Parallel()
	raw := bytes.Repeat([]byte("K3y!"), 8)
	k, err := New(raw)
	if err != nil {
		t.Fatal(err)
	}
	type holder struct {
		Exported Key
		hidden   Key
		ptr      *Key
	}
	h := holder{k, k, &k}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "key", k, "holder", h)
	for _, s := range []string{
		fmt.Sprint(k), fmt.Sprintf("%v %+v %#v %s %x %q %d", k, k, k, k, k, k, k),
		fmt.Sprintf("%v %+v %#v", h, h, h), fmt.Sprintf("%x", h), log.String(),
	} {
		for _, leak := range []string{"K3y!", "4b337921", "75, 51", "75 51", "0x4b, 0x33"} {
			if strings.Contains(s, leak) {
				t.Errorf("%q shows the key", s)
			}
		}
	}
	if _, err := json.Marshal(k); err == nil {
		t.Error("json.Marshal(key) succeeded")
	}
}

func TestKeyEqualAndErase(t *testing.T) {
	t.Parallel()
	a, b := Random(), Random()
	c, _ := New(a.Bytes())
	if !a.Equal(c) || a.Equal(b) || (Key{}).Equal(Key{}) {
		t.Fatal("Equal is wrong")
	}
	c.Erase()
	if !bytes.Equal(c.Bytes(), make([]byte, Size)) || a.Equal(c) {
		t.Fatal("Erase left bytes, or reached the copy's source")
	}
	if _, err := New(make([]byte, 31)); err == nil {
		t.Fatal("31 bytes made a key")
	}
}
