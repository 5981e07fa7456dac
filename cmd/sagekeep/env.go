package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/server"
)

func envCommand() *command {
	return &command{
		name: "env", short: "Print the settings that make AWS clients talk to the server",
		example: "eval \"$(sagekeep env --data-dir ./data)\"\nsagekeep env --data-dir ./data --format profile >> ~/.aws/credentials",
		note: "AWS_SESSION_TOKEN and AWS_PROFILE of the shell stay as they are. Where another session or profile left them:\n" +
			"unset AWS_SESSION_TOKEN AWS_PROFILE",
		flags: func(f *flag.FlagSet) {
			f.String("data-dir", "", "`DIR` of the server")
			f.String("account", "", "account `ID`; the first account when empty")
			f.String("format", "sh", "sh, powershell, profile or json")
			f.Bool("json", false, "the same as --format json")
		},
		run: func(_ context.Context, f *flag.FlagSet, std stdio) error {
			dir := value(f, "data-dir")
			if dir == "" {
				return usagef("--data-dir is missing")
			}
			if err := checkFormat(formatOf(f)); err != nil {
				return err
			}
			c, err := server.ReadCredentials(dir)
			if err != nil {
				return err
			}
			key, err := accountKey(c, value(f, "account"))
			if err != nil {
				return err
			}
			warnEnv(std.err, formatOf(f), dir)
			return printEnv(std.out, formatOf(f), key, endpoint(dir))
		},
	}
}

func formatOf(f *flag.FlagSet) string {
	if boolValue(f, "json") {
		return "json"
	}
	return value(f, "format")
}

func accountKey(c *server.Credentials, id string) (server.AccessKey, error) {
	for _, a := range c.Accounts {
		if id == "" || a.Account == id {
			return a, nil
		}
	}
	return server.AccessKey{}, fmt.Errorf("account %s is not in the credentials file; `sagekeep account create` makes one", id)
}

// checkFormat refuses an unknown --format before anything is done.
func checkFormat(format string) error {
	if !slices.Contains([]string{"sh", "powershell", "profile", "json"}, format) {
		return usagef("--format %q: want sh, powershell, profile or json", format)
	}
	return nil
}

// warnEnv says what may keep the settings from working.
func warnEnv(w io.Writer, format, dir string) {
	var left []string
	for _, name := range []string{"AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		if os.Getenv(name) != "" {
			left = append(left, name)
		}
	}
	if len(left) > 0 && (format == "sh" || format == "powershell") {
		fmt.Fprintf(w, "sagekeep: %s stays set and bears on AWS clients: unset %s\n", strings.Join(left, " and "), strings.Join(left, " "))
	}
	if !running(dir) {
		fmt.Fprintf(w, "sagekeep: no server is running on %s: the URL is the default, http://%s\n", dir, server.DefaultListen)
	}
}

// running reports whether a server has dir open.
func running(dir string) bool {
	r, err := server.ReadRunning(dir)
	return err == nil && r.Alive()
}

// endpoint is the URL of the running server, or the default one.
func endpoint(dir string) string {
	if r, err := server.ReadRunning(dir); err == nil && r.Alive() {
		return r.URL
	}
	return "http://" + server.DefaultListen
}

// printEnv writes credentials and endpoint in a form that shells or clients read.
func printEnv(w io.Writer, format string, k server.AccessKey, url string) error {
	vars := [][2]string{
		{"AWS_ACCESS_KEY_ID", k.AccessKeyID},
		{"AWS_SECRET_ACCESS_KEY", k.SecretAccessKey},
		{"AWS_REGION", server.DefaultRegion},
		{"AWS_DEFAULT_REGION", server.DefaultRegion},
		{"AWS_ENDPOINT_URL", url},
	}
	switch format {
	case "sh":
		parts := make([]string, len(vars))
		for i, v := range vars {
			parts[i] = v[0] + "=" + v[1]
		}
		_, err := fmt.Fprintf(w, "export %s\n", strings.Join(parts, " "))
		return err
	case "powershell":
		for _, v := range vars {
			if _, err := fmt.Fprintf(w, "$env:%s = '%s'\n", v[0], v[1]); err != nil {
				return err
			}
		}
		return nil
	case "profile":
		_, err := fmt.Fprintf(w, "[sagekeep]\naws_access_key_id = %s\naws_secret_access_key = %s\nregion = %s\nendpoint_url = %s\n",
			k.AccessKeyID, k.SecretAccessKey, server.DefaultRegion, url)
		return err
	case "json":
		m := map[string]string{}
		for _, v := range vars {
			m[v[0]] = v[1]
		}
		e := json.NewEncoder(w)
		e.SetEscapeHTML(false)
		e.SetIndent("", "  ")
		return e.Encode(m)
	}
	return checkFormat(format)
}
