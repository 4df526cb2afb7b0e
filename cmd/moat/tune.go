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
// There are half as many processors again as cores. With just as many, a goroutine that waits for the disk keeps one from all others until the
// runtime notices; with twice as many there are always more busy threads than cores, and the kernel takes the core from an engine for
// 4 ms at a time, with the questions that wait for its turn.
//
// GOGC, GOMEMLIMIT and GOMAXPROCS in the environment have the last word.
func tune() {
	collect(100, 3<<30)
	if os.Getenv("GOMAXPROCS") == "" {
		cores := runtime.GOMAXPROCS(0)
		runtime.GOMAXPROCS(cores + (cores+1)/2)
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
