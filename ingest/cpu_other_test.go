//go:build !unix

package ingest

import (
	"testing"
	"time"
)

// cpuTime is the time of the wall where there is no better one.
func cpuTime(*testing.B) time.Duration { return time.Duration(time.Now().UnixNano()) }
