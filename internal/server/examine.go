package server

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/sagekeep/sagekeep/internal/envelope"
	"github.com/sagekeep/sagekeep/internal/seal"
)

// ErrSealElsewhere: nothing says where the root key of a data directory is.
var ErrSealElsewhere = errors.New("the root key is not in the data directory: name the seal to check it")

// CheckSeal opens keyring and deletion epochs of a data directory as a start
// would, and writes nothing. An empty seal means the key file in the directory;
// without one there the answer is ErrSealElsewhere.
func CheckSeal(dir, sealText string) error {
	spec, err := seal.Parse(sealText, dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, sealName, "root.key")); sealText == "" && errors.Is(err, fs.ErrNotExist) {
		return ErrSealElsewhere
	}
	s, err := spec.Open(false)
	if err != nil {
		return err
	}
	if _, err := envelope.Open(filepath.Join(dir, keyringName), s); err != nil {
		return err
	}
	_, err = envelope.OpenEpochs(filepath.Join(dir, sealName, epochName), s, false)
	return err
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
