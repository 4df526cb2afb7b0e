//go:build !unix

package run

import (
	"io"
	"os"
)

// mapFile reads the whole file into memory: correct everywhere, and meant for
// small installations only.
func mapFile(f *os.File, size int) ([]byte, error) {
	b := make([]byte, size)
	_, err := io.ReadFull(f, b)
	return b, err
}

func unmapFile([]byte) {}

func prefetch([]byte, uint64, uint64) {}
