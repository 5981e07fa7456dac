package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/sagekeep/sagekeep/internal/client"
	"github.com/sagekeep/sagekeep/internal/sample"
	"github.com/sagekeep/sagekeep/internal/server"
	"github.com/sagekeep/sagekeep/internal/sigv4"
)

func demoCommand() *command {
	return &command{
		name: "demo", short: "A guided run on real satellite imagery: key, job, grant, audit trail, revocation",
		example: "sagekeep demo\nsagekeep demo --data-dir ./demo --keep",
		flags: func(f *flag.FlagSet) {
			f.String("data-dir", "", "`DIR` for the demo's data; a temporary directory when empty")
			f.Bool("keep", false, "leave the server running and the data in place at the end")
		},
		run: runDemo,
	}
}

// demo is one guided run. Every step is a signed HTTP call to the server.
type demo struct {
	view    *demoView
	work    string // scratch: the scene's files, the picture
	data    string
	account string
	root    *client.Client
	operate *client.Client

	keyARN, keyID  string
	roleARN        string
	collectionARN  string
	jobARN, bucket string
	grantID        string
	ndvi           string // object key of the exported index
}

func runDemo(ctx context.Context, f *flag.FlagSet, out stdio) error {
	keep := boolValue(f, "keep")
	work, err := os.MkdirTemp("", "sagekeep-demo-")
	if err != nil {
		return fmt.Errorf("make a temporary directory: %w", err)
	}
	if entries, err := os.ReadDir(value(f, "data-dir")); err == nil && len(entries) > 0 {
		return errors.Join(usagef("--data-dir %s is not empty: the demo begins with a new directory", value(f, "data-dir")), os.RemoveAll(work))
	}
	d := &demo{view: newDemoView(out.out), work: work, data: value(f, "data-dir")}
	if d.data == "" {
		d.data = filepath.Join(work, "data")
	}
	err = d.run(ctx, keep)
	if !keep {
		err = errors.Join(err, os.RemoveAll(work))
	}
	return err
}

func (d *demo) run(ctx context.Context, keep bool) error {
	stop, err := d.serve(ctx)
	if err != nil {
		return err
	}
	for _, step := range []struct {
		title string
		run   func(context.Context) error
	}{
		{"A customer key and an execution role", d.keyAndRole},
		{"A real scene becomes a collection", d.collection},
		{"An Earth observation job under the key", d.job},
		{"Export and look", d.export},
		{"What the key's owner sees", d.inspect},
		{"Rights on objects are not rights on the key", d.stranger},
		{"Revoke the grant", d.revoke},
		{"Schedule the key for deletion", d.deleteKey},
	} {
		d.view.step(step.title)
		if err := step.run(ctx); err != nil {
			return errors.Join(fmt.Errorf("demo: %s: %w", step.title, err), stop())
		}
	}
	d.view.finish(d, keep)
	if keep {
		<-ctx.Done()
	}
	return stop()
}

// serve starts the server as `sagekeep serve` would, and returns how to stop it.
func (d *demo) serve(ctx context.Context) (stop func() error, err error) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	url, ended := make(chan string, 1), make(chan error, 1)
	log := slog.New(slog.NewTextHandler(io.Discard, nil))
	cfg := server.Config{DataDir: d.data, Listen: "127.0.0.1:0", Log: log}
	go func() { ended <- server.Run(ctx, cfg, func(u string) { url <- u }) }()
	stop = func() error { cancel(); return <-ended }
	var at string
	select {
	case at = <-url:
	case err := <-ended:
		cancel()
		return nil, err
	}
	creds, err := server.ReadCredentials(d.data)
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	h, err := client.Trusting("")
	if err != nil {
		return nil, errors.Join(err, stop())
	}
	first := creds.Accounts[0]
	d.account = first.Account
	d.root = &client.Client{
		Endpoint: at, Region: server.DefaultRegion, HTTP: h,
		Credential: sigv4.Credential{AccessKeyID: first.AccessKeyID, Secret: first.SecretAccessKey},
	}
	d.operate = d.root.As(sigv4.Credential{AccessKeyID: creds.Operator.AccessKeyID, Secret: creds.Operator.SecretAccessKey})
	d.view.line("server %s, account %s, region %s", at, d.account, server.DefaultRegion)
	return stop, nil
}

// unpackScene writes the embedded scene where the import can read it.
func (d *demo) unpackScene() (string, error) {
	dir := filepath.Join(d.work, "scene")
	err := fs.WalkDir(sample.FS(), sample.Scene, func(path string, e fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(dir, filepath.FromSlash(path))
		if e.IsDir() {
			return os.MkdirAll(to, 0o700)
		}
		b, err := fs.ReadFile(sample.FS(), path)
		if err != nil {
			return err
		}
		return os.WriteFile(to, b, 0o600)
	})
	return dir, err
}

// wait sleeps between two polls.
func wait(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-t.C:
		return nil
	}
}
