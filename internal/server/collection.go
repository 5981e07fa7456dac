package server

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/sagekeep/sagekeep/api/schema"
	"github.com/sagekeep/sagekeep/internal/audit"
)

// ImportInput is the body of ImportCollection.
type ImportInput struct {
	Name  string   `json:"name"`
	Paths []string `json:"paths"` // absolute, on the server's machine
}

// ImportOutput is the answer of ImportCollection.
type ImportOutput struct {
	ARN string `json:"arn"`
}

// ProgressInput is the body of JobProgress.
type ProgressInput struct {
	ARN string `json:"arn"`
}

// ProgressOutput is the answer of JobProgress: blocks done, and of how many.
type ProgressOutput struct {
	Done  int `json:"done"`
	Total int `json:"total"`
}

// ImportCollection opens the data directory of cfg, which no server may have
// open, and imports a collection.
func ImportCollection(ctx context.Context, cfg Config, in ImportInput) (ImportOutput, error) {
	s, err := openExisting(ctx, cfg)
	if err != nil {
		return ImportOutput{}, err
	}
	out, err := s.importCollection(ctx, in)
	return out, errors.Join(err, s.Close())
}

func (s *Server) importCollection(ctx context.Context, in ImportInput) (ImportOutput, error) {
	if in.Name == "" || len(in.Paths) == 0 {
		return ImportOutput{}, schema.NewError("InvalidRequest", 400, "a name and at least one path are needed")
	}
	// One file system for all paths, so that hrefs may cross between them.
	root := volume(in.Paths[0])
	rels := make([]string, len(in.Paths))
	for i, p := range in.Paths {
		if !filepath.IsAbs(p) {
			return ImportOutput{}, schema.NewError("InvalidRequest", 400, "%q is not an absolute path", p)
		}
		if _, err := os.Stat(p); err != nil {
			return ImportOutput{}, schema.NewError("InvalidRequest", 400, "%s", err.Error())
		}
		rel, err := filepath.Rel(root, p)
		if err != nil {
			return ImportOutput{}, schema.NewError("InvalidRequest", 400, "%q lies on another volume than %q", p, in.Paths[0])
		}
		rels[i] = filepath.ToSlash(rel)
	}
	arn, err := s.geospatial.Import(ctx, s.firstAccount(), DefaultRegion, in.Name, os.DirFS(root), rels, nil)
	if err != nil {
		return ImportOutput{}, schema.NewError("ImportFailed", 400, "%s", err.Error()).Because(err)
	}
	return ImportOutput{ARN: arn}, nil
}

// volume is the root that an absolute path lies under.
func volume(path string) string { return filepath.VolumeName(path) + string(filepath.Separator) }

func (s *Server) operatorImportCollection(ctx context.Context, body []byte) (any, error) {
	var in ImportInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	audit.From(ctx).SetRequest(map[string]any{"name": in.Name})
	return s.importCollection(ctx, in)
}

func (s *Server) operatorJobProgress(ctx context.Context, body []byte) (any, error) {
	var in ProgressInput
	if err := json.Unmarshal(body, &in); err != nil {
		return nil, schema.NewError("InvalidRequest", 400, "the body is not JSON")
	}
	done, total := s.geospatial.Progress(ctx, in.ARN)
	return ProgressOutput{Done: done, Total: total}, nil
}

// openExisting opens a data directory that a server has made before.
func openExisting(ctx context.Context, cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	fresh, err := inspectDir(cfg.DataDir)
	if err != nil {
		return nil, err
	}
	if fresh {
		return nil, fmt.Errorf("%s is not a data directory yet: start `sagekeep serve --data-dir %s` once", cfg.DataDir, cfg.DataDir)
	}
	return Open(ctx, cfg)
}
