package lockfile

import (
	"maps"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, text string
		want       map[string]string
		err        string
	}{
		{name: "whole", text: "# why\nname n # the name\n\n  version\t1\n", want: map[string]string{"name": "n", "version": "1"}},
		{name: "no end of line", text: "version 1\r\nname n", want: map[string]string{"name": "n", "version": "1"}},
		{name: "empty", err: "needs name, version"},
		{name: "one is missing", text: "name n", err: "needs name, version"},
		{name: "no value", text: "name\nversion 1", err: `have "name"`},
		{name: "two values", text: "name n m\nversion 1", err: `have "name n m"`},
		{name: "a value behind a comment", text: "name # n\nversion 1", err: `have "name"`},
		{name: "unknown", text: "name n\nversion 1\nurl u", err: `unknown key "url"`},
		{name: "twice", text: "name n\nversion 1\nversion 2", err: `"version" is there twice`},
	} {
		got, err := Parse("a.lock", c.text, "name", "version")
		switch {
		case c.err != "" && (err == nil || !strings.HasPrefix(err.Error(), "a.lock: ") || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%s: %v, want %q", c.name, err, c.err)
		case c.err == "" && (err != nil || !maps.Equal(got, c.want)):
			t.Errorf("%s: %v, %v, want %v", c.name, got, err, c.want)
		}
	}
}
