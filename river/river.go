// Package river is the durable log in which events travel, one message per
// batch, in NATS JetStream: embedded in the process by default, an external
// server or cluster when configured, over the same code path.
//
// Use it wherever accepted events must survive a crash and be read again in
// the same order: ingest appends, the engine and the store read and trim.
//
// It will not look into events, remember what a reader has done, remove
// duplicates or delete anything that nobody trimmed: when it is full it
// refuses ([ErrFull]).
package river

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/zeebo/xxh3"
)

// MaxBatch bounds the bytes of one appended batch. An external server must be
// given a `max_payload` as large; where it has less, that is the bound.
const MaxBatch = 12 << 20

const (
	maxPartitions   = 1024
	defaultMaxBytes = 8 << 30
	countKey        = "moat.partitions" // the metadata of a stream that says how many there are
)

// SyncMode says when an append is on the disk. With an external server the
// disk is that server's business (`sync_interval: always`, or replicas); the
// mode then only says whether appends are joined.
type SyncMode uint8

const (
	// SyncGroup syncs before every acknowledgement; appends that wait
	// for one another are joined into one message and share its sync.
	// Nothing acknowledged is lost at a power cut.
	SyncGroup SyncMode = iota
	// SyncAlways does one message and one sync for each append.
	SyncAlways
	// SyncInterval acknowledges what the operating system has, and syncs
	// every second. It survives a kill of the process; a power cut may
	// take the appends of the last seconds with it.
	SyncInterval
)

// Config says where the river flows. The zero value of every field but Dir is usable.
type Config struct {
	Dir string // folder of the embedded store; made if missing; one process at a time

	// URL of an external NATS server or cluster (comma-separated); Dir is
	// then unused. Credentials is a .creds file; CA, Cert and Key are PEM files.
	URL           string
	Credentials   string
	CA, Cert, Key string
	Partitions    int   // 0: what exists, else one for each core, 2 to 16; it cannot be changed later
	MaxBytes      int64 // of one partition; 0: 8 GiB. Embedded: at most an even share of half the free disk
	Replicas      int   // copies of each partition in a cluster; 0: 1
	Sync          SyncMode
	Logger        *slog.Logger // nil: silent
}

// River is an open log. Its methods are safe for concurrent use.
type River struct {
	cfg    Config
	log    *slog.Logger
	store  *store // nil with an external server
	conn   *nats.Conn
	js     jetstream.JetStream
	parts  []*partition
	link   link
	wait   atomic.Int64 // bytes of all appends that have not returned
	closed atomic.Bool
	groups sync.WaitGroup     // of appends, and appends without one
	stop   context.CancelFunc // ends what is in flight
	life   context.Context
}

// Stats describes one partition.
type Stats struct {
	Messages    uint64 // kept
	Bytes       uint64 // kept, with JetStream's framing
	MaxBytes    int64  // at which appends are refused
	First, Last uint64 // as in [River.Bounds]
	Pending     int64  // bytes of appends that wait for their acknowledgement
}

// Open starts or reaches the log and makes what is missing in it. It fails if
// another process has Dir ([ErrInUse]) or the log has another number of
// partitions than cfg asks for ([ErrPartitions]). After an unclean end it
// reads the whole store once, so that one damaged message costs only itself.
func Open(ctx context.Context, cfg Config) (*River, error) {
	r := &River{cfg: cfg, log: cfg.Logger}
	if r.log == nil {
		r.log = slog.New(slog.DiscardHandler)
	}
	if err := r.open(ctx); err != nil {
		r.shut()
		return nil, fmt.Errorf("cannot open river: %w", err)
	}
	return r, nil
}

func (r *River) open(ctx context.Context) (err error) {
	cfg := &r.cfg
	switch {
	case cfg.Partitions < 0 || cfg.Partitions > maxPartitions:
		return fmt.Errorf("%d partitions are not within 0 and %d", cfg.Partitions, maxPartitions)
	case cfg.MaxBytes < 0 || cfg.Replicas < 0 || cfg.Sync > SyncInterval:
		return errors.New("MaxBytes, Replicas or Sync is out of range")
	case cfg.URL == "" && cfg.Dir == "":
		return errors.New("neither Dir nor URL is given")
	case cfg.URL == "" && cfg.Replicas > 1:
		return errors.New("an embedded server keeps one replica; give the URL of a cluster")
	}
	if cfg.MaxBytes == 0 {
		cfg.MaxBytes = defaultMaxBytes
	}
	cfg.Replicas = max(cfg.Replicas, 1)
	r.life, r.stop = context.WithCancel(context.Background())
	if cfg.URL == "" {
		if r.store, err = openStore(ctx, cfg.Dir, cfg.Sync, r.log, r.link.cut); err != nil {
			return err
		}
	}
	if r.conn, err = r.connect("moat river", r.link.cut, func() {}); err != nil {
		return err
	}
	if r.js, err = jetstream.New(r.conn); err != nil {
		return err
	}
	return r.openPartitions(ctx)
}

// connect makes a connection that lasts: it reconnects for ever, and publishes
// nothing late, so that an append fails while there is no connection.
func (r *River) connect(name string, lost func(error), found func()) (*nats.Conn, error) {
	opts := []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(500 * time.Millisecond), nats.ReconnectBufSize(-1),
		nats.PingInterval(10 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if r.closed.Load() || err == nil {
				return
			}
			r.log.Warn("river connection lost", "name", name, "error", err)
			lost(fmt.Errorf("connection lost: %w", err))
		}),
		nats.ReconnectHandler(func(*nats.Conn) {
			r.log.Info("river connected again", "name", name)
			found()
		}),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
			r.log.Warn("river connection has a problem", "name", name, "error", err)
		}),
	}
	url := r.cfg.URL
	if r.store != nil {
		url = "nats://embedded"
		opts = append(opts, nats.InProcessServer(r.store), nats.ReconnectWait(20*time.Millisecond), nats.ReconnectJitter(0, 0))
	}
	if f := r.cfg.Credentials; f != "" {
		opts = append(opts, nats.UserCredentials(f))
	}
	if f := r.cfg.CA; f != "" {
		opts = append(opts, nats.RootCAs(f))
	}
	if f := r.cfg.Cert; f != "" {
		opts = append(opts, nats.ClientCert(f, r.cfg.Key))
	}
	conn, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("cannot connect to NATS: %w", err)
	}
	return conn, nil
}

// link is the way to the log, for appends that wait for an answer: none comes
// any more once it is cut. The zero value is whole.
type link struct {
	mu    sync.Mutex
	whole context.Context
	end   context.CancelCauseFunc
}

// now returns a context that lasts until the next cut.
func (l *link) now() context.Context {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole == nil {
		l.whole, l.end = context.WithCancelCause(context.Background())
	}
	return l.whole
}

// cut ends what goes over the link now. Later calls of now are for the next one.
func (l *link) cut(why error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.whole != nil {
		l.end(why)
		l.whole = nil
	}
}

// openPartitions finds or makes the streams. The number of partitions is
// written in the first, so that making them may be broken off anywhere.
func (r *River) openPartitions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	n := r.cfg.Partitions
	first, err := r.js.Stream(ctx, streamName(0))
	switch {
	case errors.Is(err, jetstream.ErrStreamNotFound):
		if n == 0 {
			n = min(max(runtime.NumCPU(), 2), 16)
		}
	case err != nil:
		return fmt.Errorf("cannot look up partition 0: %w", err)
	default:
		have, err := strconv.Atoi(first.CachedInfo().Config.Metadata[countKey])
		if err != nil || have < 1 || have > maxPartitions {
			return fmt.Errorf("stream %s is not a river's: it has no valid %q", streamName(0), countKey)
		}
		if n != 0 && n != have {
			return fmt.Errorf("%w: it has %d, the configuration asks for %d; ask for %d or 0", ErrPartitions, have, n, have)
		}
		n = have
	}
	limit := r.cfg.MaxBytes
	if r.store != nil {
		if limit, err = r.store.share(limit, n); err != nil {
			return err
		}
	}
	for p := range n {
		if err := r.openPartition(ctx, p, n, limit); err != nil {
			return fmt.Errorf("cannot open partition %d: %w", p, err)
		}
	}
	for _, p := range r.parts {
		r.groups.Go(func() { r.groupAppends(p) })
	}
	return nil
}

func (r *River) openPartition(ctx context.Context, p, n int, limit int64) error {
	cfg := jetstream.StreamConfig{
		Name:        streamName(p),
		Subjects:    []string{subject(p)},
		Storage:     jetstream.FileStorage,
		Discard:     jetstream.DiscardNew,
		MaxBytes:    limit,
		Replicas:    r.cfg.Replicas,
		Metadata:    map[string]string{countKey: strconv.Itoa(n)},
		AllowDirect: false,
		// Duplicates are told apart by event ids downstream, not here.
		Duplicates: 100 * time.Millisecond,
	}
	s, err := r.js.CreateOrUpdateStream(ctx, cfg)
	for noPeers(err) { // a cluster that has just started does not know all its members yet
		select {
		case <-ctx.Done():
			return err
		case <-time.After(100 * time.Millisecond):
			s, err = r.js.CreateOrUpdateStream(ctx, cfg)
		}
	}
	if err != nil {
		return err
	}
	part := &partition{id: p, subject: subject(p), stream: s}
	if r.store != nil {
		part.tail = newTail()
	}
	part.wake.L = &part.mu
	r.parts = append(r.parts, part)
	return nil
}

// noPeers tells whether a cluster found too few members for the copies of a stream.
func noPeers(err error) bool {
	const code = 10005 // JSClusterNoPeersErrF of the server
	var api *jetstream.APIError
	return errors.As(err, &api) && api.ErrorCode == code
}

const streamPrefix = "MOAT_EVENTS_"

func streamName(p int) string { return streamPrefix + strconv.Itoa(p) }
func subject(p int) string    { return "moat.events." + strconv.Itoa(p) }

// Partitions returns how many partitions there are.
func (r *River) Partitions() int { return len(r.parts) }

// PartitionOf returns the partition of a partner's events: the XXH3-64 of the
// name modulo the number of partitions. It is the same on every machine and
// in every version.
func (r *River) PartitionOf(partner string) int { return partitionOf(partner, len(r.parts)) }

func partitionOf(partner string, n int) int { return int(xxh3.HashString(partner) % uint64(n)) }

func (r *River) partition(p int) (*partition, error) {
	if r.closed.Load() {
		return nil, ErrClosed
	}
	if p < 0 || p >= len(r.parts) {
		return nil, fmt.Errorf("there is no partition %d of %d", p, len(r.parts))
	}
	return r.parts[p], nil
}

// Bounds returns the sequences of the first and the last message kept.
// With none kept, first is last+1, and last is the last ever appended.
func (r *River) Bounds(ctx context.Context, partition int) (first, last uint64, err error) {
	s, err := r.Stats(ctx, partition)
	return s.First, s.Last, err
}

// Stats describes a partition as it is now.
func (r *River) Stats(ctx context.Context, partition int) (Stats, error) {
	p, err := r.partition(partition)
	if err != nil {
		return Stats{}, fmt.Errorf("cannot describe partition: %w", err)
	}
	// Not p.stream.Info: that keeps its answer without a lock.
	s, err := r.js.Stream(ctx, p.stream.CachedInfo().Config.Name)
	if err != nil {
		return Stats{}, fmt.Errorf("cannot describe partition %d: %w", partition, err)
	}
	i := s.CachedInfo()
	// An empty stream that was never trimmed says 0 for its first sequence.
	return Stats{Messages: i.State.Msgs, Bytes: i.State.Bytes, MaxBytes: i.Config.MaxBytes,
		First: max(i.State.FirstSeq, 1), Last: i.State.LastSeq, Pending: p.wait.Load()}, nil
}

// Trim forgets the messages up to and including through. Those that
// do not exist yet stay out of its reach.
func (r *River) Trim(ctx context.Context, partition int, through uint64) error {
	first, last, err := r.Bounds(ctx, partition)
	if err != nil {
		return fmt.Errorf("cannot trim: %w", err)
	}
	// A purge beyond the end would move the end.
	if through = min(through, last); through < first {
		return nil
	}
	r.parts[partition].tail.trim(through)
	if err := r.parts[partition].stream.Purge(ctx, jetstream.WithPurgeSequence(through+1)); err != nil {
		return fmt.Errorf("cannot trim partition %d through %d: %w", partition, through, err)
	}
	return nil
}

// Close refuses new appends, waits for those under way until ctx ends, then
// ends all readers and the embedded server. Later calls do nothing.
func (r *River) Close(ctx context.Context) error {
	if r.closed.Swap(true) {
		return nil
	}
	for _, p := range r.parts {
		p.close()
	}
	idle := make(chan struct{})
	go func() { r.groups.Wait(); close(idle) }()
	var err error
	select {
	case <-idle:
	case <-ctx.Done():
		err = fmt.Errorf("cannot wait for the appends under way: %w", ctx.Err())
	}
	return errors.Join(err, r.shut())
}

// shut frees whatever has been opened.
func (r *River) shut() error {
	r.closed.Store(true)
	if r.stop != nil {
		r.stop()
	}
	r.groups.Wait()
	r.link.cut(ErrClosed)
	if r.conn != nil {
		r.conn.Close()
	}
	if r.store != nil {
		return r.store.close()
	}
	return nil
}
