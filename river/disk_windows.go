package river

import (
	"os"

	"golang.org/x/sys/windows"
)

// lockFile takes an exclusive lock that ends with f or the process. It
// locks a byte far behind the text, which stays readable.
func lockFile(f *os.File) error {
	at := windows.Overlapped{Offset: 1 << 20}
	return windows.LockFileEx(windows.Handle(f.Fd()), windows.LOCKFILE_EXCLUSIVE_LOCK|windows.LOCKFILE_FAIL_IMMEDIATELY, 0, 1, 0, &at)
}

// diskSpace returns the size of the file system of dir and what is free to us, in bytes.
func diskSpace(dir string) (total, free uint64, err error) {
	name, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return 0, 0, err
	}
	err = windows.GetDiskFreeSpaceEx(name, &free, &total, nil)
	return total, free, err
}

// syncDir does nothing: NTFS journals names itself.
func syncDir(string) error { return nil }
