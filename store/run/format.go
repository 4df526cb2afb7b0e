package run

import (
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"math/bits"
	"strconv"
	"strings"

	moat "github.com/moat-platform/moat"
)

// A run file, all numbers little-endian:
//
//	magic "moatrun1"
//	dictionaries  of each part: blocks of 16 entries in order of their bytes, each as the bytes
//	              that it shares with the one before (uvarint), and the rest (uvarint, bytes)
//	events        in the order of the log: blocks of 256: a grid of their records, then their ids
//	directory     64 bytes a bucket: a filter of its keys (7 × u64), where it is (u40), a checksum (u24)
//	buckets       about 40 keys each: bytes u32 · entries uvarint · bits of a count u8 ·
//	              bits of a number u8 · a stream of all keys, all counts, all numbers
//	lists         between the buckets: up to 4,096 numbers: first u32 · bits u8 · a stream of differences to it
//	indexes       where the blocks of events (with first and last time), of dictionaries, and the lists are
//	footer        see below · its bytes u32 · magic
//
// Events are numbered from 0 in the order of the log, so that two runs that
// follow one another are merged by putting the events of one after those of
// the other. A key belongs to the bucket at its own share of the range of
// uint64: keys are hashes, so buckets fill evenly and no search leads to one.
// An entry is a key with up to 64 numbers of events, or with the number of a
// list; a key with more than a list of events has several entries. Everything
// ends with a CRC-32C of its own.
const (
	magic         = "moatrun1"
	formatVersion = 1

	blockEvents  = 256
	blockEntries = 16
	bucketKeys   = 40
	dirEntry     = 64
	filterBytes  = 56
	inlineMax    = 64
	listMax      = 4096

	maxFooter = 1 << 12
	maxEvents = 1 << 31 // of one run
)

var castagnoli = crc32.MakeTable(crc32.Castagnoli)

func checksum(b []byte) uint32 { return crc32.Checksum(b, castagnoli) }

// extent is where a whole index is, and its checksum.
type extent struct{ Off, Size, Sum uint64 }

type footer struct {
	Version, Partition     uint64
	First, Last            uint64 // log sequences
	Events, Postings, Keys uint64
	Min, Max               int64 // event times
	Received               int64 // newest
	Buckets, Directory     uint64
	Entries                [parts]uint64 // of the dictionaries
	Blocks                 extent        // of events: offset u64, first and last time i64; at the end only an offset
	Dicts                  [parts]extent // offset u64 of each block, and of the end
	Lists                  extent        // offset u64 of each list
	Partners               extent        // texts
}

// bucketOf returns the bucket of a key among n.
func bucketOf(key, n uint64) uint64 {
	b, _ := bits.Mul64(key, n)
	return b
}

// bucketStart returns a number that no key of bucket b is below.
func bucketStart(b, n uint64) uint64 {
	q, _ := bits.Div64(b, 0, n) // b < n
	return q
}

// keyBits is the width of a key less the start of its bucket, for n buckets.
func keyBits(n uint64) uint64 {
	if n == 1 {
		return 64
	}
	return uint64(bits.Len64(^uint64(0)/n + 1))
}

// The filter of a bucket has seven words; a key sets one bit in each. The
// product brings the lower bits of a key, which alone differ in a bucket, up.
// 40 keys a bucket, 11 bits a key, let 0.6 % of absent keys pass.

type filter [filterBytes / 8]uint64

func (f *filter) add(key uint64) {
	x := key * 0x9e3779b97f4a7c15
	for w := range f {
		x = bits.RotateLeft64(x, 6) // the uppermost six bits first
		f[w] |= 1 << (x & 63)
	}
}

// append appends the filter as it is kept.
func (f *filter) append(b []byte) []byte {
	for _, w := range f {
		b = binary.LittleEndian.AppendUint64(b, w)
	}
	return b
}

func filterHas(f []byte, key uint64) bool {
	x := key * 0x9e3779b97f4a7c15
	all := uint64(1)
	for w := range filterBytes / 8 {
		x = bits.RotateLeft64(x, 6)
		all &= binary.LittleEndian.Uint64(f[8*w:]) >> (x & 63)
	}
	return all != 0
}

// fileName names a run by what it covers.
func fileName(partition int, first, last uint64) string {
	return fmt.Sprintf("p%04d-%016x-%016x%s", partition, first, last, fileExt)
}

const fileExt = ".run"

func parseFileName(name string) (partition int, first, last uint64, ok bool) {
	s, ok := strings.CutSuffix(name, fileExt)
	f := strings.Split(s, "-")
	if !ok || len(f) != 3 || !strings.HasPrefix(f[0], "p") {
		return 0, 0, 0, false
	}
	p, err1 := strconv.ParseUint(f[0][1:], 10, 31)
	first, err2 := strconv.ParseUint(f[1], 16, 64)
	last, err3 := strconv.ParseUint(f[2], 16, 64)
	if err1 != nil || err2 != nil || err3 != nil || first > last || fileName(int(p), first, last) != name {
		return 0, 0, 0, false
	}
	return int(p), first, last, true
}

// DamageError says that bytes of a run file are not what was written.
type DamageError struct {
	Path string
	What string // which part of the file
}

func (e *DamageError) Error() string { return fmt.Sprintf("%s of run %s damaged", e.What, e.Path) }

// Info describes one run.
type Info struct {
	Partition   int
	First, Last uint64 // log sequences that it covers
	Events      int64
	Rows        int64 // keys' touches: what an index of single rows would have as rows
	Keys        int64 // distinct
	Bytes       int64 // on disk
	Oldest      moat.Time
	Newest      moat.Time
	Received    moat.Time // when the newest of it was taken in
}

// expires returns the time from which all of r is as old as what it holds: a
// sender's clock that is years ahead must not keep a run for years.
func (r *Info) expires() moat.Time {
	if r.Received == 0 {
		return r.Newest
	}
	return min(r.Newest, r.Received)
}
