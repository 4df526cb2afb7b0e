package main

import (
	"os"
	"runtime"
	"runtime/debug"
)

// tune sets the collector and the scheduler for a process with an engine. The state of the engine, which is
// nearly all memory, lies outside the heap; on the heap are some hundred megabytes of buffers without pointers, which cost
// the collector a hundredth of the CPU. It is not made to run seldom: buffers would come from ever new pages, and having the kernel
// clear those costs ten times as much. Near 3 GiB it works harder instead of letting the heap grow.
//
// A goroutine that is busy keeps its processor for 10 ms, and while all are busy nobody looks whether
// a request has come in. With twice as many as there are cores the kernel shares the cores out, which
// lets a thread on that has waited for a question as soon as there is one.
//
// GOGC, GOMEMLIMIT and GOMAXPROCS in the environment have the last word.
func tune() {
	collect(100, 3<<30)
	if os.Getenv("GOMAXPROCS") == "" {
		runtime.GOMAXPROCS(2 * runtime.GOMAXPROCS(0))
	}
}

// tuneImport sets it for a process that files a long list: however long it is, the heap needs no more than for a short one.
func tuneImport() { collect(50, 256<<20) }

// collect sets the growth in percent at which the collector runs, and the size in bytes near which it works harder.
func collect(percent int, limit int64) {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(percent)
	}
	if os.Getenv("GOMEMLIMIT") == "" {
		debug.SetMemoryLimit(limit)
	}
}
