package lake

import "golang.org/x/sys/unix"

// diskBytes returns the size of the disk that dir is on.
func diskBytes(dir string) (int64, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return 0, err
	}
	return int64(s.Blocks) * int64(s.Bsize), nil
}
