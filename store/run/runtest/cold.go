package runtest

import (
	"bufio"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Cold takes the files below a folder out of memory, also those that this process has mapped, so that they must be read from the
// disk again. It returns how many bytes of them are in memory yet: none, but where the file system is in memory itself.
func Cold(tb testing.TB, dir string) (left int64) {
	tb.Helper()
	for range 10 { // the kernel keeps some pages that it has just put into lists
		if left = drop(tb, dir); left == 0 {
			break
		}
	}
	return left
}

// drop drops what it can, and returns how many bytes stayed.
func drop(tb testing.TB, dir string) (left int64) {
	tb.Helper()
	if real, err := filepath.EvalSymlinks(dir); err == nil {
		dir = real
	}
	maps, err := os.Open("/proc/self/maps")
	if err != nil {
		tb.Fatal(err)
	}
	defer maps.Close()
	type mapping struct{ at, size uintptr }
	var mine []mapping
	for s := bufio.NewScanner(maps); s.Scan(); {
		f := strings.Fields(s.Text()) // from-to rights offset device inode path
		if len(f) < 6 || !strings.HasPrefix(f[5], dir+"/") {
			continue
		}
		lo, hi, _ := strings.Cut(f[0], "-")
		from, err1 := strconv.ParseUint(lo, 16, 64)
		to, err2 := strconv.ParseUint(hi, 16, 64)
		if err1 != nil || err2 != nil {
			tb.Fatalf("cannot read mappings: %s", s.Text())
		}
		m := mapping{uintptr(from), uintptr(to - from)}
		if _, _, e := unix.Syscall(unix.SYS_MADVISE, m.at, m.size, unix.MADV_DONTNEED); e != 0 {
			tb.Fatal(e)
		}
		mine = append(mine, m)
	}
	err = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		f, err := os.Open(path)
		if os.IsNotExist(err) { // merged away
			return nil
		}
		if err != nil {
			return err
		}
		defer f.Close()
		if err := f.Sync(); err != nil { // only what is on the disk can go
			return err
		}
		return unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_DONTNEED)
	})
	if err != nil {
		tb.Fatal(err)
	}
	for _, m := range mine {
		left += inMemory(tb, m.at, m.size)
	}
	return left
}

// inMemory counts the bytes of a mapping that need not be read.
func inMemory(tb testing.TB, at, size uintptr) (n int64) {
	page := uintptr(os.Getpagesize())
	in := make([]byte, (size+page-1)/page)
	if len(in) == 0 {
		return 0
	}
	if _, _, e := unix.Syscall(unix.SYS_MINCORE, at, size, uintptr(unsafe.Pointer(&in[0]))); e != 0 {
		tb.Fatal(e)
	}
	for _, b := range in {
		n += int64(b&1) * int64(page)
	}
	return n
}

// Read returns how many bytes the process has had read from disks.
func Read(tb testing.TB) (n int64) {
	tb.Helper()
	b, err := os.ReadFile("/proc/self/io")
	if err != nil {
		tb.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if s, ok := strings.CutPrefix(line, "read_bytes: "); ok {
			if n, err = strconv.ParseInt(strings.TrimSpace(s), 10, 64); err != nil {
				tb.Fatal(err)
			}
		}
	}
	return n
}
