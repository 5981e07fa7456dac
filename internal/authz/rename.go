package authz

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
)

// RenamePrincipals returns a document in which every entry of Principal and
// NotPrincipal that is a key of names is replaced by its value. Nothing else of
// the text changes: how AWS shows a policy whose users and roles were deleted
// or renamed after it was saved.
// Source: IAM User Guide, "AWS JSON policy elements: Principal".
func RenamePrincipals(doc string, names map[string]string) (string, error) {
	if len(names) == 0 {
		return doc, nil
	}
	dec := json.NewDecoder(bytes.NewReader([]byte(doc)))
	var out bytes.Buffer
	copied := int64(0)
	// path holds the member names on the way to the present value; "" for a list.
	var path []string
	var inObject []bool // whether each level is an object, whose tokens alternate
	key := false        // the next string is a member's name
	for {
		tok, err := dec.Token()
		if errors.Is(err, io.EOF) && len(inObject) == 0 {
			break
		}
		if err != nil {
			return "", fmt.Errorf("authz: rename principals: %w", err)
		}
		switch t := tok.(type) {
		case json.Delim:
			if t == '{' || t == '[' {
				inObject = append(inObject, t == '{')
				path = append(path, "")
				key = t == '{'
				continue
			}
			inObject, path = inObject[:len(inObject)-1], path[:len(path)-1]
		case string:
			if key {
				path[len(path)-1], key = t, false
				continue
			}
			if name, ok := names[t]; ok && ofPrincipal(path) {
				end := dec.InputOffset()
				start := end - rawLength(doc[:end])
				b, err := json.Marshal(name)
				if err != nil {
					return "", fmt.Errorf("authz: rename principals: %w", err)
				}
				out.WriteString(doc[copied:start])
				out.Write(b)
				copied = end
			}
		}
		key = len(inObject) > 0 && inObject[len(inObject)-1]
	}
	out.WriteString(doc[copied:])
	return out.String(), nil
}

// ofPrincipal reports whether a value lies in a statement's Principal or
// NotPrincipal.
func ofPrincipal(path []string) bool {
	for i, name := range path {
		if i > 0 && (name == "Principal" || name == "NotPrincipal") {
			return path[0] == "Statement"
		}
	}
	return false
}

// rawLength is the length, with its quotes, of the JSON string that ends text.
func rawLength(text string) int64 {
	for i := len(text) - 2; i >= 0; i-- {
		if text[i] != '"' {
			continue
		}
		escapes := 0
		for j := i - 1; j >= 0 && text[j] == '\\'; j-- {
			escapes++
		}
		if escapes%2 == 0 {
			return int64(len(text) - i)
		}
	}
	return int64(len(text))
}
