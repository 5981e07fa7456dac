package main

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/sagekeep/sagekeep/internal/server"
)

// shownGrants is how many grants are shown one by one; --json has more.
const shownGrants = 20

// printImpact renders what depends on a key.
func printImpact(w io.Writer, i *server.Impact) error {
	var b strings.Builder
	line := func(name, format string, args ...any) {
		fmt.Fprintf(&b, "%-10s %s\n", name, fmt.Sprintf(format, args...))
	}
	k := i.Key
	line("key", "%s", k.ARN)
	state := k.State
	if k.DeletionDate != nil {
		state += " until " + stamp(*k.DeletionDate)
	}
	line("state", "%s, %s for %s, origin %s", state, k.Spec, k.Usage, k.Origin)
	if len(k.Regions) > 0 {
		others := append([]string{k.Regions[0] + " (primary)"}, k.Regions[1:]...)
		line("regions", "%s: a key with the same material in each", strings.Join(others, ", "))
	}
	if k.Description != "" {
		line("about", "%s", oneLineText(k.Description))
	}
	line("created", "%s", stamp(k.Created))
	if u := k.LastUsage; u != nil {
		line("last used", "%s, %s, event %s", stamp(u.Time), u.Operation, u.EventID)
	} else {
		line("last used", "never")
	}
	line("aliases", "%s", orNone(strings.Join(k.Aliases, ", ")))

	fmt.Fprintf(&b, "\nunder it (%s looked at):\n", counted(i.ObjectsRead, "object"))
	if len(i.Resources) == 0 {
		b.WriteString("  nothing that this server knows of\n")
	}
	for j := range i.Resources {
		printResource(&b, &i.Resources[j])
	}

	fmt.Fprintf(&b, "\ngrants: %d\n", k.GrantCount)
	for j := range i.Grants[:min(len(i.Grants), shownGrants)] {
		printGrant(&b, &i.Grants[j])
	}
	if more := k.GrantCount - shownGrants; more > 0 {
		fmt.Fprintf(&b, "  and %d more\n", more)
	}

	b.WriteString("\npolicies that name it:\n")
	for _, p := range i.Policies {
		switch {
		case p.Type == "key policy":
			fmt.Fprintf(&b, "  its key policy names %s\n", orNone(strings.Join(p.Holders, ", ")))
		case p.Type == "bucket policy":
			fmt.Fprintf(&b, "  the bucket policy of %s\n", p.Policy)
		case p.Type == "trust policy":
			fmt.Fprintf(&b, "  the trust policy of %s\n", strings.Join(p.Holders, ", "))
		default:
			fmt.Fprintf(&b, "  %s, of %s\n", p.Policy, orNone(strings.Join(p.Holders, ", ")))
		}
	}

	fmt.Fprintf(&b, "\nused by, in the last %s (%s looked at):\n", counted(i.Days, "day"), counted(i.RecordsRead, "record"))
	if len(i.UsedBy) == 0 {
		b.WriteString("  nobody\n")
	}
	for j := range i.UsedBy {
		printKeyUser(&b, &i.UsedBy[j])
	}
	_, err := io.WriteString(w, b.String())
	return err
}

func printResource(b *strings.Builder, r *server.ImpactResource) {
	fmt.Fprintf(b, "  %s %s %s", r.Service, r.Type, oneLineText(r.Name))
	if r.Type == "bucket" {
		fmt.Fprintf(b, ": %s, %s", counted(r.Objects, "object"), byteSize(r.Bytes))
	} else {
		fmt.Fprintf(b, " (%s): %s, %s", r.ARN, counted(r.Objects, "file"), byteSize(r.Bytes))
	}
	if r.Uploads > 0 {
		fmt.Fprintf(b, ", %s under way", counted(r.Uploads, "upload"))
	}
	if r.Status != "" {
		fmt.Fprintf(b, ", %s", r.Status)
	}
	if r.Default {
		b.WriteString(", and whatever is added without saying so")
	}
	if r.GrantID != "" {
		fmt.Fprintf(b, ", grant %s", r.GrantID)
	}
	b.WriteByte('\n')
}

func printGrant(b *strings.Builder, g *server.ImpactGrant) {
	who := g.Grantee
	if g.Service {
		who = "service " + who
	}
	fmt.Fprintf(b, "  %s  %s: %s", g.ID, who, strings.Join(g.Operations, ", "))
	for _, name := range slices.Sorted(maps.Keys(g.Constraints)) {
		fmt.Fprintf(b, ", %s=%s", oneLineText(name), oneLineText(g.Constraints[name]))
	}
	b.WriteByte('\n')
}

func printKeyUser(b *strings.Builder, u *server.ImpactUser) {
	fmt.Fprintf(b, "  %s", u.Principal)
	if u.Via != "" {
		fmt.Fprintf(b, " via %s", u.Via)
	}
	fmt.Fprintf(b, ": %s", counted(u.Count, "request"))
	if u.Failed > 0 {
		fmt.Fprintf(b, " and %d that failed", u.Failed)
	}
	fmt.Fprintf(b, ", last %s", stamp(u.Last))
	if len(u.Operations) > 0 {
		var ops []string
		for _, op := range slices.Sorted(maps.Keys(u.Operations)) {
			ops = append(ops, fmt.Sprintf("%d %s", u.Operations[op], op))
		}
		fmt.Fprintf(b, " (%s)", strings.Join(ops, ", "))
	}
	b.WriteByte('\n')
}

// counted is a number with its noun in singular or plural.
func counted[N int | int64](n N, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return fmt.Sprintf("%d %s", n, noun)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

// oneLineText keeps a text of a customer from looking like output of ours.
func oneLineText(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return ' '
		}
		return r
	}, s)
}

// byteSize renders a number of bytes with three digits.
func byteSize(n int64) string {
	if n < 1000 {
		return counted(n, "byte")
	}
	v := float64(n)
	for _, unit := range []string{"kB", "MB", "GB", "TB"} {
		if v /= 1000; v < 999.5 || unit == "TB" {
			return fmt.Sprintf("%.3g %s", v, unit)
		}
	}
	return ""
}

// printJSONLine prints one JSON object on a line.
func printJSONLine(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	return e.Encode(v)
}
