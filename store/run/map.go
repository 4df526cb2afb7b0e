package run

import (
	"os"
	"unsafe"

	"golang.org/x/sys/unix"
)

// mapFile maps a file for random reading.
func mapFile(f *os.File, size int) ([]byte, error) {
	if size == 0 {
		return nil, nil
	}
	b, err := unix.Mmap(int(f.Fd()), 0, size, unix.PROT_READ, unix.MAP_SHARED)
	if err == nil {
		_ = unix.Madvise(b, unix.MADV_RANDOM) // a hint: look-ups touch single pages
	}
	return b, err
}

func unmapFile(b []byte) {
	if b != nil {
		_ = unix.Munmap(b) // fails only for what is not mapped
	}
}

// prefetch asks for bytes that will be read soon; b must be of a mapped file.
func prefetch(file []byte, off, n uint64) {
	end := min(off+n, uint64(len(file)))
	off -= off % uint64(os.Getpagesize())
	if off < end {
		_ = unix.Madvise(file[off:end], unix.MADV_WILLNEED) // a hint
	}
}

// resident tells whether the page at off of a mapped file is in memory; not to know counts as yes.
func resident(file []byte, off uint64) bool {
	off -= off % uint64(os.Getpagesize())
	var in [1]byte
	_, _, err := unix.Syscall(unix.SYS_MINCORE, uintptr(unsafe.Pointer(&file[off])), 1, uintptr(unsafe.Pointer(&in)))
	return err != 0 || in[0]&1 == 1
}
