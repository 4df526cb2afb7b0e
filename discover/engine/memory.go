package engine

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// memory is bytes off the Go heap: address space that the kernel backs with (huge)
// pages when they are first written, so that reserving much costs nothing and the
// collector never looks at it.
type memory struct{ b []byte }

// hugeFrom is where huge pages begin: small tables of small installations should not
// take 2 MiB at their first record.
const hugeFrom = 2 << 20

func reserve(n int) (*memory, error) {
	n = (n + hugeFrom - 1) &^ (hugeFrom - 1)
	b, err := unix.Mmap(-1, 0, n, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE|unix.MAP_NORESERVE)
	if err != nil {
		return nil, fmt.Errorf("cannot reserve %d MiB of address space: %w", n>>20, err)
	}
	if n > hugeFrom {
		// Without huge pages everything still works, a third slower.
		_ = unix.Madvise(b[hugeFrom:], unix.MADV_HUGEPAGE)
	}
	m := &memory{b}
	runtime.AddCleanup(m, func(b []byte) { _ = unix.Munmap(b) }, b)
	return m, nil
}
