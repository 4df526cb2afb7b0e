package runtest

import (
	"os"
	"strconv"
	"testing"
)

// Scale returns how many rows a benchmark is to ask among and where they are: NAME_ROWS and NAME_DIR of the environment, in which they
// are kept for the next time, or else so many and a folder that goes with the benchmark.
func Scale(b *testing.B, name string, usual int64) (rows int64, dir string) {
	rows, dir = usual, b.TempDir()
	if s := os.Getenv(name + "_ROWS"); s != "" {
		n, err := strconv.ParseInt(s, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		rows = n
	}
	if s := os.Getenv(name + "_DIR"); s != "" {
		dir = s
	}
	return rows, dir
}
