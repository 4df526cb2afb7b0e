//go:build amd64 || arm64

package engine

import "unsafe"

// prefetch starts to bring the cache line of p into the cache and does not wait for it. A load would
// do the same, but the processor can run ahead of only a dozen or so that are under way; of
// these it keeps as many as memory can answer.
//
//go:noescape
func prefetch(p unsafe.Pointer)

// prefetchAll is prefetch for each address of a list.
//
//go:noescape
func prefetchAll(list []uintptr)

// prefetchLines is prefetch for the lines of the record at p whose bits are set.
//
//go:noescape
func prefetchLines(p unsafe.Pointer, lines uint64)
