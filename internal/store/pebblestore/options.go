package pebblestore

import (
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"github.com/cockroachdb/pebble/v2"
	"github.com/cockroachdb/pebble/v2/bloom"
	"github.com/cockroachdb/pebble/v2/vfs"
)

// engineFormat is the engine's own format version. Raising it is a change of
// format: older programs refuse the directory afterwards.
const engineFormat = pebble.FormatValueSeparation

// ExitFatal is the exit code of the process after a failed log write or sync.
const ExitFatal = 3

// Options configures Open. The zero value is usable.
type Options struct {
	// FS holds the files; the operating system's when nil.
	FS vfs.FS

	// Fatal is called once, with the cause, when the log cannot be written or
	// synced. What the disk holds is unknown then: the default prints one line on
	// stderr and exits with ExitFatal. When Fatal returns, every later call fails.
	Fatal func(error)

	// Log receives what the engine reports as an error; slog.Default when nil.
	Log *slog.Logger

	// CacheBytes is the size of the block cache; 32 MiB when 0.
	CacheBytes int64

	// MemTableBytes is the size of one memtable; 4 MiB when 0.
	MemTableBytes uint64
}

func (o Options) filled() Options {
	if o.FS == nil {
		o.FS = vfs.Default
	}
	if o.Fatal == nil {
		o.Fatal = func(err error) {
			fmt.Fprintf(os.Stderr, "sagekeep: the row store cannot write its log: %v\n", err)
			os.Exit(ExitFatal)
		}
	}
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.CacheBytes == 0 {
		o.CacheBytes = 32 << 20
	}
	if o.MemTableBytes == 0 {
		o.MemTableBytes = 4 << 20
	}
	return o
}

// engineOptions tunes the engine for a small process. Values are sealed, so
// they do not compress.
func (o Options) engineOptions(fs vfs.FS, log *engineLog) *pebble.Options {
	e := &pebble.Options{
		FS:                          fs,
		FormatMajorVersion:          engineFormat,
		Logger:                      log,
		CacheSize:                   o.CacheBytes,
		MemTableSize:                o.MemTableBytes,
		MemTableStopWritesThreshold: 4,
		MaxOpenFiles:                512,
		L0CompactionThreshold:       2,
		L0StopWritesThreshold:       24,
		LBaseMaxBytes:               32 << 20,
		BytesPerSync:                512 << 10,
		WALBytesPerSync:             512 << 10,
		CompactionConcurrencyRange:  func() (int, int) { return 1, 2 },
	}
	e.ApplyCompressionSettings(func() pebble.DBCompressionSettings { return pebble.DBCompressionNone })
	for i := range e.Levels {
		e.Levels[i].BlockSize = 16 << 10
		e.Levels[i].FilterPolicy = bloom.FilterPolicy(10)
	}
	return e
}

// engineLog drops the engine's chatter and passes on its errors.
type engineLog struct {
	log   *slog.Logger
	fatal func(error)
}

func (*engineLog) Infof(string, ...any) {}

func (l *engineLog) Errorf(format string, args ...any) {
	l.log.Error("row store engine", "error", fmt.Sprintf(format, args...))
}

func (l *engineLog) Fatalf(format string, args ...any) {
	l.fatal(fmt.Errorf(format, args...))
}

func isTable(name string) bool {
	return strings.HasSuffix(name, ".sst") || strings.HasSuffix(name, ".blob")
}

// checkMarker reads the engine's format version from the name of its marker
// file, marker.format-version.ITERATION.VERSION.
func checkMarker(name string) error {
	rest, ok := strings.CutPrefix(name, "marker.format-version.")
	if !ok {
		return nil
	}
	_, version, _ := strings.Cut(rest, ".")
	n, err := strconv.ParseUint(version, 10, 32)
	if err != nil {
		return nil // the engine judges
	}
	if pebble.FormatMajorVersion(n) > engineFormat {
		return fmt.Errorf("%w: engine version %d, this program knows %d", ErrNewerFormat, n, engineFormat)
	}
	return nil
}
