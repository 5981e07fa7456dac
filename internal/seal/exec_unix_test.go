//go:build unix

package seal

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestTrustedProgram: nobody but root and the server's user may replace what runs.
func TestTrustedProgram(t *testing.T) {
	t.Parallel()
	user := os.Geteuid()
	const other = 54321
	chmod := func(t *testing.T, mode os.FileMode, path ...string) {
		t.Helper()
		if err := os.Chmod(filepath.Join(path...), mode); err != nil {
			t.Fatal(err)
		}
	}
	chown := func(t *testing.T, path ...string) {
		t.Helper()
		if user != 0 {
			t.Skip("only root gives files away")
		}
		if err := os.Lchown(filepath.Join(path...), other, -1); err != nil {
			t.Fatal(err)
		}
	}
	link := func(t *testing.T, target string, path ...string) string {
		t.Helper()
		at := filepath.Join(path...)
		if err := os.Symlink(target, at); err != nil {
			t.Fatal(err)
		}
		return at
	}
	// dir is DIR/a/b/plugin, and DIR/c beside it.
	for _, c := range []struct {
		name string
		make func(t *testing.T, dir string) string // the path to run, "" for DIR/a/b/plugin
		want string                                // of the error
	}{
		{name: "private", make: func(*testing.T, string) string { return "" }},
		{name: "readable by all", make: func(t *testing.T, dir string) string {
			chmod(t, 0o755, dir, "a")
			chmod(t, 0o755, dir, "a/b")
			chmod(t, 0o755, dir, "a/b/plugin")
			return ""
		}},
		{name: "writable by all", want: "everybody may write ", make: func(t *testing.T, dir string) string {
			chmod(t, 0o702, dir, "a/b/plugin")
			return ""
		}},
		{name: "writable by its group", want: "b/plugin (mode 0770) and so replace the program: chmod g-w it", make: func(t *testing.T, dir string) string {
			chmod(t, 0o770, dir, "a/b/plugin")
			return ""
		}},
		{name: "sticky and writable", want: "everybody may write ", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777|os.ModeSticky, dir, "a/b/plugin")
			return ""
		}},
		{name: "parent writable by all", want: "a/b (mode 0777) and so replace the program: chmod go-w it", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777, dir, "a/b")
			return ""
		}},
		{name: "parent writable by its group", want: "its group may write ", make: func(t *testing.T, dir string) string {
			chmod(t, 0o770, dir, "a/b")
			return ""
		}},
		{name: "grandparent writable by its group", want: "a (mode 0770) and so", make: func(t *testing.T, dir string) string {
			chmod(t, 0o770, dir, "a")
			return ""
		}},
		{name: "parent sticky", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777|os.ModeSticky, dir, "a/b")
			return ""
		}},
		{name: "another's", want: "user 54321 owns ", make: func(t *testing.T, dir string) string {
			chown(t, dir, "a/b/plugin")
			return ""
		}},
		{name: "another's in a sticky directory", want: "user 54321 owns ", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777|os.ModeSticky, dir, "a/b")
			chown(t, dir, "a/b/plugin")
			return ""
		}},
		{name: "another's parent", want: "chown it to root or to user ", make: func(t *testing.T, dir string) string {
			chown(t, dir, "a/b")
			return ""
		}},
		{name: "another's sticky parent", want: "user 54321 owns ", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777|os.ModeSticky, dir, "a/b")
			chown(t, dir, "a/b")
			return ""
		}},
		{name: "link", make: func(t *testing.T, dir string) string { return link(t, "../a/b/plugin", dir, "c/link") }},
		{name: "absolute link", make: func(t *testing.T, dir string) string {
			return link(t, filepath.Join(dir, "a/b/plugin"), dir, "c/link")
		}},
		{name: "link to a directory", make: func(t *testing.T, dir string) string {
			return filepath.Join(link(t, "../a/./b/", dir, "c/link"), "plugin")
		}},
		{name: "another's link", want: "user 54321 owns ", make: func(t *testing.T, dir string) string {
			at := link(t, "../a/b/plugin", dir, "c/link")
			chown(t, at)
			return at
		}},
		{name: "link in a directory of all", want: "c (mode 0777)", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777, dir, "c")
			return link(t, "../a/b/plugin", dir, "c/link")
		}},
		{name: "link into a directory of all", want: "a/b (mode 0777)", make: func(t *testing.T, dir string) string {
			chmod(t, 0o777, dir, "a/b")
			return link(t, "../a/b/plugin", dir, "c/link")
		}},
		{name: "link to itself", want: "symbolic links", make: func(t *testing.T, dir string) string { return link(t, "link", dir, "c/link") }},
		{name: "link to nothing", want: "find the program", make: func(t *testing.T, dir string) string { return link(t, "none", dir, "c/link") }},
		{name: "a directory", want: "not a regular file", make: func(_ *testing.T, dir string) string { return filepath.Join(dir, "a") }},
		{name: "below a file", want: "find the program", make: func(_ *testing.T, dir string) string { return filepath.Join(dir, "a/b/plugin/x") }},
		{name: "a device", want: "not a regular file", make: func(*testing.T, string) string { return os.DevNull }},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			dir, err := filepath.EvalSymlinks(privateDir(t))
			if err != nil {
				t.Fatal(err)
			}
			for _, d := range []string{"a", "a/b", "c"} {
				if err := os.Mkdir(filepath.Join(dir, d), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			plugin := filepath.Join(dir, "a/b/plugin")
			if err := os.WriteFile(plugin, nil, 0o700); err != nil {
				t.Fatal(err)
			}
			path := c.make(t, dir)
			if path == "" {
				path = plugin
			}
			got, err := trustedFor(path, user)
			switch {
			case c.want == "" && (err != nil || got != plugin):
				t.Errorf("trustedFor(%s) = %q, %v", path, got, err)
			case c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
				t.Errorf("trustedFor(%s) = %q, %v, want %q", path, got, err, c.want)
			}
		})
	}
	if user != 0 {
		if _, err := trustedFor(filepath.Join(privateDir(t), "none"), user+1); err == nil || !strings.Contains(err.Error(), "owns") {
			t.Errorf("a directory of another user: %v", err)
		}
	}
}
