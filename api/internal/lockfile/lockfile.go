// Package lockfile reads the files that pin what the generators read: a line
// "key value" for each fact, "#" before a comment.
package lockfile

import (
	"fmt"
	"slices"
	"strings"
)

// Parse returns the values of keys, all of which the text must have, once each.
// The file's name is for errors, which are about any other line, too.
func Parse(file, text string, keys ...string) (map[string]string, error) {
	values := map[string]string{}
	for line := range strings.Lines(text) {
		line, _, _ = strings.Cut(line, "#")
		f := strings.Fields(line)
		if len(f) == 0 {
			continue
		}
		if len(f) != 2 {
			return nil, fmt.Errorf("%s: want a key and a value, have %q", file, strings.TrimSpace(line))
		}
		if !slices.Contains(keys, f[0]) {
			return nil, fmt.Errorf("%s: unknown key %q", file, f[0])
		}
		if _, twice := values[f[0]]; twice {
			return nil, fmt.Errorf("%s: %q is there twice", file, f[0])
		}
		values[f[0]] = f[1]
	}
	for _, key := range keys {
		if values[key] == "" {
			return nil, fmt.Errorf("%s: needs %s", file, strings.Join(keys, ", "))
		}
	}
	return values, nil
}
