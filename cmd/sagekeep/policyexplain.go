package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"github.com/sagekeep/sagekeep/internal/audit"
	"github.com/sagekeep/sagekeep/internal/authz"
	"github.com/sagekeep/sagekeep/internal/server"
)

func explainCommand() *command {
	return &command{
		name: "explain", short: "Say why a request was denied and what would allow it",
		example: "sagekeep policy explain --data-dir ./data --event 0b0ddc1c-6f8e-4f3c-9d7e-2f6f6c9a1d11\n" +
			"sagekeep policy explain --data-dir ./data --event REQUEST-ID --json",
		flags: func(f *flag.FlagSet) {
			f.String("data-dir", "", "`DIR` of the server")
			f.String("event", "", "`EVENTID` of a CloudTrail record, or the request id of the answer")
			f.String("seal", "", "who holds the root key, when no server runs")
			f.Bool("json", false, "one JSON object a record")
		},
		run: explainEvent,
	}
}

func explainEvent(ctx context.Context, f *flag.FlagSet, std stdio) error {
	dir, id := value(f, "data-dir"), value(f, "event")
	if dir == "" || id == "" {
		return usagef("--data-dir and --event are needed")
	}
	in := server.ExplainInput{ID: id}
	var out server.ExplainOutput
	c, err := operator(dir)
	switch {
	case err == nil:
		err = c.Operator(ctx, "ExplainEvent", in, &out)
	case errors.Is(err, fs.ErrNotExist):
		cfg := server.Config{DataDir: dir, Seal: value(f, "seal")}
		out, err = server.ExplainEvent(ctx, cfg, in)
		err = explain(err, cfg)
	}
	if err != nil {
		return err
	}
	if boolValue(f, "json") {
		enc := json.NewEncoder(std.out)
		enc.SetEscapeHTML(false)
		for _, e := range out.Events {
			if err := enc.Encode(e); err != nil {
				return err
			}
		}
		return nil
	}
	for i, e := range out.Events {
		if i > 0 {
			fmt.Fprintln(std.out)
		}
		printEvent(std.out, &e)
	}
	return nil
}

// printEvent writes an event for people. Whoever sent the request chose part of
// the text, and policies the rest.
func printEvent(w io.Writer, e *server.ExplainedEvent) {
	line := func(name, format string, args ...any) {
		fmt.Fprintf(w, "%-9s %s\n", name, printable(fmt.Sprintf(format, args...)))
	}
	line("event", "%s  %s  %s %s", e.EventID, e.EventTime, e.EventSource, e.EventName)
	line("caller", "%s", e.Caller)
	a := e.Authorization
	if a == nil {
		switch e.ErrorCode {
		case "":
			line("decision", "it was not denied")
		default:
			line("decision", "no policy denied it: %s: %s", e.ErrorCode, e.ErrorMessage)
		}
		return
	}
	line("request", "%s on %s", a.Action, a.Resource)
	line("decision", "%s by layer %s", a.Decision, a.Layer)
	switch {
	case a.Policy == "" && a.Statement == "" && a.Reason == "":
		line("reason", "the policy is another account's: its own record has the reason")
	default:
		line("reason", "%s", a.Reason)
	}
	if at := place(a.Policy, a.Statement); at != "" {
		line("decided", "%s", at)
	}
	for _, u := range a.Unmet {
		line("unmet", "%s", unmet(&u))
	}
	printChanges(w, a)
}

// place names a statement of a policy.
func place(policy, statement string) string {
	var parts []string
	if statement != "" {
		parts = append(parts, "statement "+statement)
	}
	if policy != "" {
		parts = append(parts, "policy "+policy)
	}
	return strings.Join(parts, " of ")
}

func unmet(u *authz.Fact) string {
	var b strings.Builder
	b.WriteString(u.Layer)
	if at := place(u.Policy, u.Statement); at != "" {
		b.WriteString(", " + at)
	}
	b.WriteString(": " + u.Element)
	if u.Key != "" {
		fmt.Fprintf(&b, " %s %s", u.Operator, u.Key)
	}
	if len(u.Wanted) > 0 {
		fmt.Fprintf(&b, " wants %s", strings.Join(u.Wanted, ", "))
		if len(u.Resolved) > 0 {
			fmt.Fprintf(&b, " = %s", strings.Join(u.Resolved, ", "))
		}
		b.WriteByte(';')
	}
	if len(u.Found) > 0 {
		fmt.Fprintf(&b, " the request has %s", strings.Join(u.Found, ", "))
	} else {
		b.WriteString(" the request has none")
	}
	return b.String()
}

// layerName says where the policies of a layer are found.
func layerName(layer string) string {
	switch layer {
	case authz.LayerIdentity:
		return "an identity policy of the caller"
	case authz.LayerResource:
		return "the policy of the resource"
	case authz.LayerBoundary:
		return "the caller's permissions boundary"
	case authz.LayerSession:
		return "the session policy that is passed when the session is made"
	case authz.LayerSCP:
		return "a service control policy at every level above the caller's account"
	case authz.LayerRCP:
		return "a resource control policy at every level above the resource's account"
	case authz.LayerGrant:
		return "a grant on the key"
	}
	return "the layer " + layer // of a newer server
}

// whereOf says where the policies of a layer are found for this request.
func whereOf(layer string, a *audit.Authorization) string {
	_, role, isRole := strings.Cut(a.Resource, ":role/")
	if layer == authz.LayerResource && isRole && strings.HasPrefix(a.Action, "sts:") {
		return "the trust policy of role " + role[strings.LastIndexByte(role, '/')+1:]
	}
	return layerName(layer)
}

func printChanges(w io.Writer, a *audit.Authorization) {
	if len(a.Changes) == 0 {
		return
	}
	fmt.Fprintln(w, "to allow it:")
	for i, c := range a.Changes {
		where := whereOf(c.Layer, a)
		if c.Add == nil {
			at := place(c.Policy, c.Statement)
			if at == "" {
				at = "the statement that denies"
			}
			fmt.Fprintf(w, "  %d. take the request out of the explicit deny in %s: %s\n", i+1, printable(where), printable(at))
			continue
		}
		fmt.Fprintf(w, "  %d. add to %s\n     %s\n", i+1, printable(where), printable(string(c.Add)))
	}
}
