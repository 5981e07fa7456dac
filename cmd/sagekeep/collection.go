package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path/filepath"

	"github.com/sagekeep/sagekeep/internal/server"
)

func collectionCommand() *command {
	return &command{name: "collection", short: "Manage raster data collections", subs: []*command{{
		name: "import", args: "PATH...", short: "Import STAC items and the GeoTIFFs they name as a collection",
		example: "sagekeep collection import --data-dir ./data --name fields scenes/2026/",
		minArgs: 1, maxArgs: -1,
		flags: func(f *flag.FlagSet) {
			f.String("data-dir", "", "`DIR` of the server")
			f.String("name", "", "`NAME` of the collection")
			f.String("seal", "", "who holds the root key, when no server runs")
			f.Bool("json", false, "print {\"arn\": …}")
		},
		run: importCollection,
	}}}
}

func importCollection(ctx context.Context, f *flag.FlagSet, std stdio) error {
	dir, name := value(f, "data-dir"), value(f, "name")
	if dir == "" || name == "" {
		return usagef("--data-dir and --name are needed")
	}
	in := server.ImportInput{Name: name}
	for _, p := range f.Args() {
		abs, err := filepath.Abs(p)
		if err != nil {
			return fmt.Errorf("%s: %w", p, err)
		}
		in.Paths = append(in.Paths, abs)
	}
	var out server.ImportOutput
	c, err := operator(dir)
	switch {
	case err == nil:
		err = c.Operator(ctx, "ImportCollection", in, &out)
	case errors.Is(err, fs.ErrNotExist):
		cfg := server.Config{DataDir: dir, Seal: value(f, "seal")}
		out, err = server.ImportCollection(ctx, cfg, in)
		err = explain(err, cfg)
	}
	if err != nil {
		return err
	}
	if boolValue(f, "json") {
		_, err = fmt.Fprintf(std.out, "{\"arn\":%q}\n", out.ARN)
		return err
	}
	_, err = fmt.Fprintln(std.out, out.ARN)
	return err
}
