package engine

import (
	"fmt"
	"math/bits"
	"runtime"
	"unsafe"

	"golang.org/x/sys/unix"
)

// memory is bytes off the Go heap: address space that the kernel backs with (huge)
// pages when they are first written, so that reserving much costs nothing and the
// collector never looks at it.
type memory struct {
	b      []byte
	backed int            // up to here the kernel has backed b, or was asked to
	beside func(f func()) // as of [Config]
}

// warmFrom is the use from which on the kernel is asked ahead: a small table may stay small.
const warmFrom = 4 * hugeFrom

// warm tells that b is used up to end, and has the kernel back what follows: zeroing a huge page takes a fraction of a
// millisecond on a machine and several in a virtual one, which the next event would wait for.
func (m *memory) warm(end int) {
	if m.beside == nil || end < warmFrom || end+hugeFrom/2 <= m.backed {
		return
	}
	from := max(m.backed, end&^(hugeFrom-1))
	to := min(end&^(hugeFrom-1)+2*hugeFrom, len(m.b))
	if m.backed = to; from >= to {
		return
	}
	m.beside(func() {
		_ = unix.Madvise(m.b[from:to], unix.MADV_POPULATE_WRITE) // a kernel that cannot backs it when it is written
		runtime.KeepAlive(m)
	})
}

// hugeFrom is where huge pages begin: small tables of small installations should not
// take 2 MiB at their first record.
const hugeFrom = 2 << 20

func reserve(n int, beside func(f func())) (*memory, error) {
	n = (n + hugeFrom - 1) &^ (hugeFrom - 1)
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("cannot reserve %d MiB of address space: %w", n>>20, err)
	}
	if n > hugeFrom {
		// Without huge pages everything still works, a third slower.
		_ = unix.Madvise(b[hugeFrom:], unix.MADV_HUGEPAGE)
	}
	m := &memory{b: b, beside: beside}
	runtime.AddCleanup(m, func(b []byte) { _ = unix.Munmap(b) }, b)
	return m, nil
}

// slab hands out zeroed runs of words whose lengths are powers of two, from one stretch of memory, so that the many
// parts of an index share huge pages: with small pages every look-up also misses the table of pages.
type slab struct {
	mem  *memory
	used int          // words handed out so far
	free [48][]uint32 // by binary logarithm of the length: where runs that were given back begin
}

// newSlab returns a slab that can hold max words at one time in runs that only ever double.
func newSlab(max int, beside func(f func())) (*slab, error) {
	m, err := reserve(8*(2*max+1<<16), beside)
	if err != nil {
		return nil, err
	}
	return &slab{mem: m}, nil
}

func (s *slab) get(n int) []uint64 {
	class := bits.Len(uint(n)) - 1
	if f := s.free[class]; len(f) > 0 {
		s.free[class] = f[:len(f)-1]
		run := s.at(int(f[len(f)-1]), n)
		clear(run)
		return run
	}
	if (s.used+n)*8 > len(s.mem.b) {
		return make([]uint64, n) // runs of many lengths wait to be used again
	}
	run := s.at(s.used, n)
	s.used += n
	s.mem.warm(8 * s.used)
	return run
}

func (s *slab) put(run []uint64) {
	if len(run) == 0 {
		return
	}
	at := (uintptr(unsafe.Pointer(&run[0])) - uintptr(unsafe.Pointer(&s.mem.b[0]))) / 8
	if at < uintptr(s.used) {
		class := bits.Len(uint(len(run))) - 1
		s.free[class] = append(s.free[class], uint32(at))
	}
}

func (s *slab) at(word, n int) []uint64 {
	return unsafe.Slice((*uint64)(unsafe.Pointer(&s.mem.b[8*word])), n)
}
