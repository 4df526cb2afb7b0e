package ingest

import (
	"syscall"
	"testing"
	"time"
)

// cpuTime returns what this process has used: on a busy machine the only clock that counts.
func cpuTime(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}
