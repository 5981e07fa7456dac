// Command generate writes the API packages below api/: Go types, enumerations,
// schema values, operations and error constructors of the operations named in
// each package's operations.txt.
//
// The models come from a botocore wheel pinned by botocore.lock; overlay.json
// adds what the models lack or get wrong, each entry with its source. No model
// text is copied. With -check nothing is written: the command fails when a
// committed file differs from what it would write.
//
// Usage, in the folder api:
//
//	go run ./internal/generate [-check] [-dir DIR] [-data DIR]
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

func main() {
	var (
		check = flag.Bool("check", false, "write nothing; fail when a committed file is stale")
		dir   = flag.String("dir", ".", "folder that holds the API packages")
		data  = flag.String("data", "", "read models from this unpacked botocore/data folder instead of the pinned wheel")
	)
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "generate: takes no arguments, only flags")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *dir, *data, *check); err != nil {
		fmt.Fprintln(os.Stderr, "generate:", err)
		os.Exit(1)
	}
}

// run generates every package below dir. Problems of several packages are
// reported together.
func run(ctx context.Context, dir, data string, check bool) error {
	over, err := readOverlay(overlayJSON)
	if err != nil {
		return err
	}
	source, err := openModels(ctx, data)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range packages {
		if err := generatePackage(filepath.Join(dir, p.Folder), p, source, over[p.Folder], check); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Folder, err))
		}
	}
	return errors.Join(errs...)
}

// generatePackage writes or checks the files of one package.
func generatePackage(dir string, p apiPackage, source modelSource, over *serviceOverlay, check bool) error {
	model, err := source.model(p.Model)
	if err != nil {
		return err
	}
	list, err := os.ReadFile(filepath.Join(dir, "operations.txt"))
	if err != nil {
		return fmt.Errorf("read allow-list: %w", err)
	}
	allowed, err := parseAllowList(string(list))
	if err != nil {
		return err
	}
	pl, err := newPlan(p, model, over, allowed)
	if err != nil {
		return err
	}
	files, err := pl.render()
	if err != nil {
		return err
	}
	if err := checkDoc(filepath.Join(dir, "doc.go"), model); err != nil {
		return err
	}
	if check {
		return compare(dir, files)
	}
	return write(dir, files)
}

// checkDoc makes sure that the hand-written package comment names the model
// that the package was generated from.
func checkDoc(path string, model *apiModel) error {
	doc, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("read package comment: %w", err)
	}
	for _, want := range []string{model.Metadata.APIVersion, model.SHA256} {
		if !strings.Contains(string(doc), want) {
			return fmt.Errorf("%s must name %s (API version and SHA-256 of the model)", path, want)
		}
	}
	return nil
}

// compare reports every file of dir that differs from files, is missing, or is
// generated but no longer wanted.
func compare(dir string, files map[string][]byte) error {
	var stale []string
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil || !bytes.Equal(got, want) {
			stale = append(stale, name)
		}
	}
	old, err := leftovers(dir, files)
	if err != nil {
		return err
	}
	stale = append(stale, old...)
	if len(stale) == 0 {
		return nil
	}
	slices.Sort(stale)
	return fmt.Errorf("stale: %s; run go generate ./api", strings.Join(stale, ", "))
}

// write stores files in dir and removes generated files that are not among them.
func write(dir string, files map[string][]byte) error {
	old, err := leftovers(dir, files)
	if err != nil {
		return err
	}
	for _, name := range old {
		if err := os.Remove(filepath.Join(dir, name)); err != nil {
			return fmt.Errorf("remove old file: %w", err)
		}
	}
	for name, b := range files {
		if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
			return fmt.Errorf("write generated file: %w", err)
		}
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
