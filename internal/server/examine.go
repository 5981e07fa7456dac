package server

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/seal"
)

// ErrSealElsewhere: nothing says where the root key of a data directory is.
var ErrSealElsewhere = errors.New("the root key is not in the data directory: name the seal to check it")

// ErrSealMigrated: the key file in the data directory holds another key than the
// one that opens it.
var ErrSealMigrated = errors.New("the key file in the data directory is not what opens it: the seal was migrated, or the file replaced; name the seal")

// CheckSeal opens keyring and deletion epochs of a data directory as a start
// would, and writes nothing. An empty seal means the key file in the directory;
// when another seal holds the root key, or a server that has migrated runs, the
// answer is ErrSealElsewhere.
func CheckSeal(ctx context.Context, dir, sealText string) error {
	_, err := openSeal(ctx, dir, sealText)
	return err
}

// openSeal opens what a seal opens, and writes nothing.
func openSeal(ctx context.Context, dir, sealText string) (seal.Info, error) {
	spec, err := seal.Parse(sealText, dir)
	if err != nil {
		return seal.Info{}, err
	}
	if sealText == "" {
		elsewhere, err := sealElsewhere(dir)
		if err == nil && elsewhere {
			err = ErrSealElsewhere
		}
		if err != nil {
			return seal.Info{}, err
		}
	}
	s, err := spec.Open(seal.Options{})
	if err != nil {
		return seal.Info{}, err
	}
	defer s.Close()
	if _, err := envelope.OpenKeys(ctx, filesOf(dir), s); err != nil {
		if sealText == "" && migrated(ctx, dir, s) {
			if r, err := ReadRunning(dir); err == nil && r.Alive() {
				return seal.Info{}, ErrSealElsewhere // a server holds the key: nothing is amiss
			}
			return seal.Info{}, ErrSealMigrated
		}
		return seal.Info{}, err
	}
	return s.Info(ctx)
}

// migrated reports whether no copy is under the key of the key file in the
// directory.
func migrated(ctx context.Context, dir string, s seal.Seal) bool {
	info, err := s.Info(ctx)
	if err != nil {
		return false
	}
	st, err := envelope.ReadStatus(filesOf(dir))
	return err == nil && !slices.ContainsFunc(st.Copies, func(c envelope.Copy) bool {
		return c.Generation == 0 || c.Info.KeyID == info.KeyID || slices.Contains(info.Former, c.Info.KeyID)
	})
}

// sealElsewhere reports whether the key file in the directory is not what holds
// the root key.
func sealElsewhere(dir string) (bool, error) {
	if _, err := os.Stat(filepath.Join(dir, sealName, rootKeyName)); errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	st, err := envelope.ReadStatus(filesOf(dir))
	if err != nil {
		return false, err
	}
	return !slices.ContainsFunc(st.Copies, func(c envelope.Copy) bool { return c.Kind == seal.File }), nil
}

// CheckRows reports whether the row store of a data directory is there.
func CheckRows(dir string) error {
	entries, err := os.ReadDir(filepath.Join(dir, rowsName))
	if err != nil {
		return fmt.Errorf("the row store cannot be read: %w", err)
	}
	if len(entries) == 0 {
		return errors.New("the row store is empty")
	}
	return nil
}
