package memstore

import (
	"math/rand/v2"
	"strings"
	"sync"
	"time"

	"github.com/cockroachdb/pebble/v2/vfs"
	"github.com/cockroachdb/pebble/v2/vfs/errorfs"

	"github.com/sagekeep/sagekeep/internal/store/driver"
)

// Machine is a computer with a disk in memory, whose power can be cut and
// whose disk can fail. Its methods may be called concurrently.
type Machine struct {
	mu     sync.Mutex
	fs     *vfs.MemFS
	faults *faults
	rng    *rand.Rand
}

// NewMachine returns a machine with an empty disk. seed decides which of the
// unsynced blocks a crash keeps.
func NewMachine(seed uint64) *Machine {
	return &Machine{
		fs:     vfs.NewCrashableMem(),
		faults: &faults{},
		rng:    rand.New(rand.NewPCG(seed, 1)),
	}
}

// Open opens the store on the machine's disk. fatal is told of a failed log
// write or sync.
func (m *Machine) Open(fatal func(error)) (driver.Store, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	return OpenFS(errorfs.Wrap(m.fs, m.faults), fatal)
}

// Crash cuts the power and starts the machine again with a healthy disk: what
// was not synced is lost, or kept in part. A store opened before goes on
// with the disk as it was, so that it can be closed.
func (m *Machine) Crash() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.fs = m.fs.CrashClone(vfs.CrashCloneCfg{UnsyncedDataPercent: m.rng.IntN(4) * 33, RNG: m.rng})
	m.faults = &faults{}
}

// FailLogWrites makes every write to the log fail with err from now on.
func (m *Machine) FailLogWrites(err error) { m.current().set(func(f *faults) { f.write = err }) }

// FailLogSyncs makes every sync of the log fail with err from now on.
func (m *Machine) FailLogSyncs(err error) { m.current().set(func(f *faults) { f.sync = err }) }

// SlowLogSyncs makes every sync of the log take at least d.
func (m *Machine) SlowLogSyncs(d time.Duration) { m.current().set(func(f *faults) { f.delay = d }) }

// Files returns the bytes of every file on the disk, by name.
func (m *Machine) Files() (map[string][]byte, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	names, err := m.fs.List("rows")
	if err != nil {
		return nil, err
	}
	files := make(map[string][]byte)
	for _, name := range names {
		b, err := m.fs.UnsafeGetFileDataBuffer("rows/" + name)
		if err != nil {
			return nil, err
		}
		files[name] = append([]byte(nil), b...)
	}
	return files, nil
}

func (m *Machine) current() *faults {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.faults
}

// faults makes operations on log files fail.
type faults struct {
	mu          sync.Mutex
	write, sync error
	delay       time.Duration
}

var _ errorfs.Injector = (*faults)(nil)

func (f *faults) set(change func(*faults)) {
	f.mu.Lock()
	defer f.mu.Unlock()
	change(f)
}

func (f *faults) String() string { return "log faults" }

// MaybeError implements errorfs.Injector.
func (f *faults) MaybeError(op errorfs.Op) error {
	if !strings.HasSuffix(op.Path, ".log") {
		return nil
	}
	f.mu.Lock()
	write, sync, delay := f.write, f.sync, f.delay
	f.mu.Unlock()
	switch op.Kind {
	case errorfs.OpFileWrite, errorfs.OpFileWriteAt, errorfs.OpFilePreallocate:
		return write
	case errorfs.OpFileSync, errorfs.OpFileSyncData, errorfs.OpFileSyncTo:
		time.Sleep(delay)
		return sync
	default:
		return nil
	}
}
