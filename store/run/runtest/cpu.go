package runtest

import (
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// CPU returns the processor time that the process has used. On a busy machine
// it says more about a cost than a clock does.
func CPU(tb testing.TB) time.Duration {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &u); err != nil {
		tb.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// ReportCPU reports the processor time since before for each of n.
func ReportCPU(b *testing.B, before time.Duration, n int64, unit string) {
	b.ReportMetric(float64(CPU(b)-before)/float64(n), "cpu-ns/"+unit)
}
