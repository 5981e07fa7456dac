package secret

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

func TestTextNeverPrints(t *testing.T) {
	t.Parallel()
	const raw = "Swordf1sh"
	type holder struct {
		Exported Text
		hidden   Text
		ptr      *Text
	}
	text := NewText(raw)
	h := holder{text, text, &text}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("m", "text", text, "holder", h)
	for _, s := range []string{
		fmt.Sprint(text), fmt.Sprintf("%v %+v %#v %s %x %q %d", text, text, text, text, text, text, text),
		fmt.Sprintf("%v %+v %#v", h, h, h), fmt.Sprintf("%x", h), log.String(),
	} {
		if strings.Contains(s, raw) || strings.Contains(s, fmt.Sprintf("%x", raw)) {
			t.Errorf("%q shows the text", s)
		}
	}
	if _, err := json.Marshal(text); err == nil {
		t.Error("json.Marshal(text) succeeded")
	}
	if text.Reveal() != raw {
		t.Errorf("Reveal is %q", text.Reveal())
	}
}

func TestTextEqual(t *testing.T) {
	t.Parallel()
	var zero Text
	for name, c := range map[string]struct {
		a, b Text
		want bool
	}{
		"same":      {NewText("a"), NewText("a"), true},
		"other":     {NewText("a"), NewText("b"), false},
		"longer":    {NewText("a"), NewText("ab"), false},
		"zero":      {zero, NewText("a"), false},
		"both zero": {zero, zero, true},
	} {
		if got := c.a.Equal(c.b); got != c.want {
			t.Errorf("%s: Equal is %v", name, got)
		}
	}
	if !zero.IsZero() || !NewText("").IsZero() || NewText("a").IsZero() {
		t.Error("IsZero is wrong")
	}
}
