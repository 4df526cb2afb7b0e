package river

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"

	"github.com/minio/highwayhash"
	"golang.org/x/sync/errgroup"
)

// JetStream keeps a stream in block files of records:
//
//	length u32, bit 31 marks headers · sequence u64 · time i64 · subject length u16 ·
//	subject · message · HighwayHash-64 of sequence, time, subject and message
//
// keyed with the SHA-256 of "<stream>-<block>"; numbers are little-endian.
// After an unclean end it reads them all and cuts a block at the first
// record that is not whole, and with that record all that are behind it.
// mend comes first and takes only the damage out; the missing sequences
// become a gap, which a reader reports as [ErrCorrupt]. Damage at the end of a
// block, as a torn write leaves it, stays JetStream's to cut.
const (
	recordHeader = 22
	recordHash   = 8
	recordMax    = 32 << 20
	headersBit   = 1 << 31
	seqMarks     = 1<<63 | 1<<62 // erased, tombstone
)

// damage is a run of bytes between two whole records.
type damage struct {
	from, to    int
	first, last uint64 // the sequences that it took along; none if last < first
}

// mend repairs the block files of all partitions under dir.
func mend(ctx context.Context, dir string, log *slog.Logger) error {
	streams, err := streamsOf(dir)
	if err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(runtime.GOMAXPROCS(0))
	for p, s := range streams {
		group.Go(func() error { return mendStream(ctx, p, s, log) })
	}
	return group.Wait()
}

// streamsOf returns the folder of each partition.
func streamsOf(dir string) (map[int]string, error) {
	found, err := filepath.Glob(filepath.Join(dir, "jetstream", "*", "streams", streamPrefix+"*"))
	of := map[int]string{}
	for _, s := range found {
		if p, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(s), streamPrefix)); err == nil {
			of[p] = s
		}
	}
	return of, err
}

// blocksOf returns the numbers of the blocks of a stream, the oldest first.
func blocksOf(msgs string) (blocks []int, err error) {
	entries, err := os.ReadDir(msgs)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	for _, e := range entries {
		if n, ok := strings.CutSuffix(e.Name(), ".blk"); ok {
			if n, err := strconv.Atoi(n); err == nil {
				blocks = append(blocks, n)
			}
		}
	}
	slices.Sort(blocks)
	return blocks, nil
}

func mendStream(ctx context.Context, p int, dir string, log *slog.Logger) error {
	name, msgs := filepath.Base(dir), filepath.Join(dir, "msgs")
	blocks, err := blocksOf(msgs)
	if err != nil {
		return err
	}
	var buf []byte
	last, mended := uint64(0), false
	for _, b := range blocks {
		if err := ctx.Err(); err != nil {
			return err
		}
		path := blockPath(msgs, b)
		if buf, err = readFile(path, buf); err != nil {
			return err
		}
		var found []damage
		if found, last = scanBlock(buf, name, subject(p), b, last); len(found) == 0 {
			continue
		}
		if err := cutBlock(path, buf, found); err != nil {
			return err
		}
		mended = true
		for _, d := range found {
			log.Error("river lost damaged messages", "file", path, "offset", d.from, "bytes", d.to-d.from, "first", d.first, "last", d.last)
		}
	}
	if !mended {
		return nil
	}
	// The index no longer fits; without it the server reads the blocks.
	if err := os.Remove(filepath.Join(msgs, "index.db")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(msgs)
}

func blockPath(msgs string, block int) string {
	return filepath.Join(msgs, strconv.Itoa(block)+".blk")
}

// blockKey is that of the hashes in a block.
func blockKey(stream string, block int) [sha256.Size]byte {
	return sha256.Sum256(fmt.Appendf(nil, "%s-%d", stream, block))
}

// scanBlock returns the damages that have a whole record behind them, and the
// last sequence, given that of the block before.
func scanBlock(buf []byte, stream, subject string, block int, last uint64) ([]damage, uint64) {
	key := blockKey(stream, block)
	var found []damage
	for at := 0; at < len(buf); {
		n, seq := record(buf[at:], key[:])
		if n > 0 {
			if seq&seqMarks == 0 {
				last = max(last, seq)
			}
			at += n
			continue
		}
		to, seq := nextRecord(buf, at, key[:], subject, last)
		if to < 0 {
			break
		}
		found = append(found, damage{at, to, last + 1, seq - 1})
		at = to
	}
	return found, last
}

// record returns the length and the sequence of the record that b starts
// with, or 0 if it is not whole.
func record(b, key []byte) (n int, seq uint64) {
	if len(b) < recordHeader+recordHash {
		return 0, 0
	}
	le := binary.LittleEndian
	rl := le.Uint32(b)
	n, subj := int(rl&^headersBit), int(le.Uint16(b[20:]))
	hasHeaders := 0
	if rl&headersBit != 0 {
		hasHeaders = 4 // their length, which is not hashed
	}
	if n > len(b) || n > recordMax || recordHeader+subj+hasHeaders+recordHash > n {
		return 0, 0
	}
	h, err := highwayhash.NewDigest64(key)
	if err != nil {
		return 0, 0
	}
	h.Write(b[4:20])
	h.Write(b[recordHeader : recordHeader+subj])
	h.Write(b[recordHeader+subj+hasHeaders : n-recordHash])
	if h.Sum64() != le.Uint64(b[n-recordHash:]) {
		return 0, 0
	}
	return n, le.Uint64(b[4:])
}

// nextRecord looks behind the damage at from for the next whole message of the
// subject with a later sequence.
func nextRecord(buf []byte, from int, key []byte, subject string, last uint64) (at int, seq uint64) {
	// The length is mostly right. Trying it first also keeps out what a
	// sender may have put into a batch to look like a record.
	if len(buf)-from >= recordHeader {
		at = from + int(binary.LittleEndian.Uint32(buf[from:])&^headersBit)
		if at < len(buf) {
			if n, seq := record(buf[at:], key); n > 0 && seq&seqMarks == 0 && seq > last {
				return at, seq
			}
		}
	}
	for i := from + 1 + recordHeader; i < len(buf); i++ {
		hit := bytes.Index(buf[i:], []byte(subject))
		if hit < 0 {
			break
		}
		i += hit
		at := i - recordHeader
		if int(binary.LittleEndian.Uint16(buf[at+20:])) != len(subject) {
			continue
		}
		if n, seq := record(buf[at:], key); n > 0 && seq&seqMarks == 0 && seq > last {
			return at, seq
		}
	}
	return -1, 0
}

// cutBlock replaces the block by one without the damages.
func cutBlock(path string, buf []byte, found []damage) error {
	tmp := path + ".mend"
	f, err := os.OpenFile(tmp, os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o640)
	if err != nil {
		return err
	}
	from := 0
	for _, d := range append(found, damage{from: len(buf)}) {
		if _, err = f.Write(buf[from:d.from]); err != nil {
			break
		}
		from = d.to
	}
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(tmp, path)
}

// readFile reads a whole file into buf, grown as needed.
func readFile(path string, buf []byte) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	i, err := f.Stat()
	if err != nil {
		return nil, err
	}
	buf = slices.Grow(buf[:0], int(i.Size()))[:i.Size()]
	n, err := f.ReadAt(buf, 0)
	if n == len(buf) {
		err = nil
	}
	return buf[:n], err
}
