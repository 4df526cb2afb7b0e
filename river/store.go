package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

const (
	lockName  = "river.lock"
	cleanMark = "closed\n"

	// The server stops taking messages for good once a write has failed, so
	// appends are refused while there still is a little room.
	reserveBytes = 256 << 20
	reserveShare = 20 // at most 1/20 of the disk

	startTimeout = 10 * time.Minute // it may have to read the whole store
	firstRepair  = 200 * time.Millisecond
	lastRepair   = 30 * time.Second
)

// store is the embedded server and its folder. It is what the connections of
// the river dial, so that they find the new server after a repair.
type store struct {
	dir     string
	mode    SyncMode
	log     *slog.Logger
	lock    *os.File
	cut     func(error) // called when a write has failed
	reserve atomic.Uint64
	repairs sync.WaitGroup
	stop    chan struct{} // closed with closed

	mu     sync.Mutex
	server *server.Server // nil while it restarts
	broken bool           // it takes no messages any more
	closed bool
}

func openStore(ctx context.Context, dir string, mode SyncMode, log *slog.Logger, cut func(error)) (*store, error) {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	s := &store{dir: dir, mode: mode, log: log, cut: cut, stop: make(chan struct{})}
	clean, err := s.acquire()
	if err != nil {
		return nil, err
	}
	total, _, err := diskSpace(dir)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("cannot measure the disk of %s: %w", dir, err), s.lock.Close())
	}
	s.reserve.Store(min(reserveBytes, total/reserveShare))
	if err := s.start(ctx, clean); err != nil {
		return nil, errors.Join(err, s.lock.Close())
	}
	return s, nil
}

// acquire locks the folder against other processes, and tells whether the
// last one ended well. The lock goes with the process, however it ends.
func (s *store) acquire() (clean bool, err error) {
	f, err := os.OpenFile(filepath.Join(s.dir, lockName), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return false, err
	}
	var text [32]byte
	n, _ := f.ReadAt(text[:], 0)
	was := string(text[:n])
	if err := lockFile(f); err != nil {
		f.Close()
		return false, fmt.Errorf("%w: %s: process %s has it (%v); stop that process or choose another folder",
			ErrInUse, s.dir, strings.TrimSpace(was), err)
	}
	s.lock = f
	return was == cleanMark, s.mark(fmt.Sprintf("%d\n", os.Getpid()))
}

// mark replaces the text of the lock file.
func (s *store) mark(text string) error {
	if err := s.lock.Truncate(0); err != nil {
		return err
	}
	if _, err := s.lock.WriteAt([]byte(text), 0); err != nil {
		return err
	}
	return s.lock.Sync()
}

// start mends the files if the last end was not clean, and runs a server.
func (s *store) start(ctx context.Context, clean bool) error {
	if !clean {
		if err := mend(ctx, s.dir, s.log); err != nil {
			return fmt.Errorf("cannot mend the store: %w", err)
		}
	}
	opts := &server.Options{
		ServerName: "moat", DontListen: true, NoSigs: true,
		JetStream: true, StoreDir: s.dir, DisableJetStreamBanner: true,
		JetStreamMaxMemory: 64 << 20,
		JetStreamMaxStore:  1 << 60, // the streams have limits of their own
		MaxPayload:         MaxBatch + 64<<10,
		MaxPending:         128 << 20,
		SyncAlways:         s.mode != SyncInterval,
		SyncInterval:       time.Second,
	}
	srv, err := server.NewServer(opts)
	if err != nil {
		return fmt.Errorf("cannot make the embedded server: %w", err)
	}
	failed := make(chan error, 1)
	srv.SetLoggerV2(&serverLog{log: s.log, fatal: func(err error) {
		select {
		case failed <- err:
		default:
		}
		s.failed(srv, err)
	}}, false, false, false)
	srv.Start()
	if !srv.ReadyForConnections(startTimeout) || !srv.JetStreamEnabled() {
		err := errors.New("JetStream did not start")
		select {
		case err = <-failed:
		default:
		}
		srv.Shutdown()
		return fmt.Errorf("cannot start the embedded server: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.server, s.broken = srv, false
	return nil
}

// InProcessConn gives the client library a connection to the server that runs now.
func (s *store) InProcessConn() (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil {
		return nil, errors.New("embedded server is not running")
	}
	return s.server.InProcessConn()
}

// ready says why nothing can be appended now.
func (s *store) ready(partition int) error {
	if _, free, err := diskSpace(s.dir); err == nil && free < s.reserve.Load() {
		return &FullError{partition, fmt.Sprintf("the disk has %d MiB left", free>>20), retrySpace}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.server == nil || s.broken {
		return fmt.Errorf("%w: the store is being repaired after a write error", ErrAway)
	}
	return nil
}

// share returns the largest size of one of n partitions, given the wish.
func (s *store) share(wish int64, n int) (int64, error) {
	_, free, err := diskSpace(s.dir)
	if err != nil {
		return 0, fmt.Errorf("cannot measure the disk of %s: %w", s.dir, err)
	}
	s.mu.Lock()
	used := uint64(0)
	if i, err := s.server.Jsz(nil); err == nil {
		used = i.Store
	}
	s.mu.Unlock()
	return max(1, min(wish, int64((free+used)/2)/int64(n))), nil
}

// failed takes the server out of service after a failed write: it answers
// no append any more, not even with an error. A new one is started over the
// same files as soon as there is room.
func (s *store) failed(srv *server.Server, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed || s.server != srv || s.broken {
		return
	}
	s.log.Error("river cannot write; restarting its store", "dir", s.dir, "error", err)
	s.broken = true
	s.cut(fmt.Errorf("the store failed: %w", err))
	s.repairs.Go(func() { s.repair(srv) })
}

func (s *store) repair(broken *server.Server) {
	for wait := firstRepair; ; wait = min(2*wait, lastRepair) {
		timer := time.NewTimer(wait)
		select {
		case <-s.stop:
			timer.Stop()
			return
		case <-timer.C:
		}
		if _, free, err := diskSpace(s.dir); err != nil || free < s.reserve.Load() {
			continue
		}
		s.mu.Lock()
		s.server = nil
		s.mu.Unlock()
		broken.Shutdown()
		broken.WaitForShutdown()
		if err := s.start(context.Background(), false); err != nil {
			s.log.Error("river's store does not restart", "dir", s.dir, "error", err)
			continue
		}
		s.log.Info("river's store works again", "dir", s.dir)
		return
	}
}

// close stops the server and gives the folder free.
func (s *store) close() error {
	s.mu.Lock()
	s.closed = true
	close(s.stop)
	s.mu.Unlock()
	s.repairs.Wait()
	var err error
	if s.server != nil {
		s.server.Shutdown()
		s.server.WaitForShutdown()
		if !s.broken {
			err = s.mark(cleanMark)
		}
	}
	return errors.Join(err, s.lock.Close())
}

// serverLog hands what the embedded server has to say to a slog.Logger. The
// server tells of a failed write in no other way.
type serverLog struct {
	log   *slog.Logger
	fatal func(error)
}

// What the server logs once a stream or all of JetStream takes nothing more.
var fatalTexts = [...]string{"critical write error", "disabling JetStream", "will be DISABLED"}

func (l *serverLog) Noticef(format string, v ...any) { l.say(slog.LevelDebug, format, v) }
func (l *serverLog) Warnf(format string, v ...any)   { l.say(slog.LevelWarn, format, v) }
func (l *serverLog) Errorf(format string, v ...any)  { l.say(slog.LevelError, format, v) }
func (l *serverLog) Debugf(string, ...any)           {}
func (l *serverLog) Tracef(string, ...any)           {}

func (l *serverLog) Fatalf(format string, v ...any) {
	l.say(slog.LevelError, format, v)
	l.fatal(fmt.Errorf(format, v...))
}

func (l *serverLog) say(level slog.Level, format string, v []any) {
	text := fmt.Sprintf(format, v...)
	if strings.HasPrefix(text, "Maximum payloads over") {
		return // chosen on purpose: see MaxBatch
	}
	l.log.Log(context.Background(), level, "embedded server", "text", text)
	for _, t := range fatalTexts {
		if strings.Contains(text, t) {
			// Its caller holds the server's locks.
			go l.fatal(errors.New(text))
			return
		}
	}
}
