package main

import (
	"context"
	"crypto/fips140"
	"encoding/json"
	"flag"
	"fmt"
	"runtime"
	"runtime/debug"
)

// versionInfo are the documented fields of `version --json`.
type versionInfo struct {
	Version  string `json:"version"`
	Revision string `json:"revision"`
	Go       string `json:"go"`
	Platform string `json:"platform"`
	FIPS140  string `json:"fips140"` // off, on or only, and the module's version
}

func versionCommand() *command {
	return &command{
		name: "version", short: "Print version, revision and FIPS mode",
		example: "sagekeep version --json",
		flags:   func(f *flag.FlagSet) { f.Bool("json", false, "as JSON") },
		run: func(_ context.Context, f *flag.FlagSet, std stdio) error {
			v := readVersion()
			if boolValue(f, "json") {
				return json.NewEncoder(std.out).Encode(v)
			}
			_, err := fmt.Fprintf(std.out, "sagekeep %s (%s) %s %s, FIPS 140-3 mode: %s\n", v.Version, v.Revision, v.Go, v.Platform, v.FIPS140)
			return err
		},
	}
}

func readVersion() versionInfo {
	v := versionInfo{Version: "development", Revision: "unknown", Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH}
	if info, ok := debug.ReadBuildInfo(); ok {
		if info.Main.Version != "" && info.Main.Version != "(devel)" {
			v.Version = info.Main.Version
		}
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				v.Revision = s.Value
			}
		}
	}
	switch {
	case fips140.Enforced():
		v.FIPS140 = "only (" + fips140.Version() + ")"
	case fips140.Enabled():
		v.FIPS140 = "on (" + fips140.Version() + ")"
	default:
		v.FIPS140 = "off"
	}
	return v
}
