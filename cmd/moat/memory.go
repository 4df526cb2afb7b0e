package main

import (
	"os"
	"runtime/debug"
)

// tuneMemory sets the collector for a process with an engine. The state of the engine, which is
// nearly all memory, lies outside the heap; what is on the heap is small and mostly short-lived,
// so that the default of collecting whenever it doubles spends a tenth of the CPU on a few
// hundred megabytes. Near 3 GiB the collector works harder again instead of letting it grow. GOGC
// and GOMEMLIMIT in the environment have the last word.
func tuneMemory() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(400)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(3 << 30)
	}
}
