package main

import (
	"fmt"
	"os"
	"sync"
	"time"

	"github.com/schollz/progressbar/v3"
)

// progress tells how far a long work is, on stderr: a bar on a terminal, else a line now and then.
// It is safe for concurrent use.
type progress struct {
	a     *app
	what  string
	unit  string
	mu    sync.Mutex
	bar   *progressbar.ProgressBar // nil: no terminal
	total int64
	begun time.Time
	last  time.Time
}

// plainEvery is how often a line is written where there is no terminal.
const plainEvery = 5 * time.Second

func (a *app) progress(what, unit string) *progress {
	now := time.Now()
	return &progress{a: a, what: what, unit: unit, begun: now, last: now}
}

// at says that done of total units are done; a total of 0 is not known.
func (p *progress) at(done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !terminal(os.Stderr) {
		if now := time.Now(); now.Sub(p.last) >= plainEvery {
			p.last = now
			p.plain(done, total, now)
		}
		return
	}
	if p.bar == nil || p.total != total {
		p.total = total
		if total <= 0 {
			total = -1
		}
		p.bar = progressbar.NewOptions64(total, progressbar.OptionSetWriter(os.Stderr), progressbar.OptionSetDescription(clean(p.what)),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(),
			progressbar.OptionShowIts(), progressbar.OptionSetItsString(p.unit), progressbar.OptionFullWidth(),
			progressbar.OptionShowBytes(p.unit == "bytes"), progressbar.OptionUseANSICodes(p.a.err.colour))
	}
	p.bar.Set64(min(done, max(p.total, done)))
}

func (p *progress) plain(done, total int64, now time.Time) {
	share := ""
	if total > 0 {
		share = fmt.Sprintf(" of %s (%d %%)", number(total), 100*done/total)
	}
	speed := ""
	if n := int64(float64(done) / now.Sub(p.begun).Seconds()); n > 0 {
		speed = ", " + number(n) + "/s"
	}
	p.a.err.linef("%s: %s%s %s%s", clean(p.what), number(done), share, p.unit, speed)
}

// name changes what the work is called, such as the file that is read.
func (p *progress) name(what string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.what != what {
		p.clear()
		p.what, p.bar = what, nil
	}
}

// end takes the bar away.
func (p *progress) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *progress) clear() {
	if p.bar != nil {
		p.bar.Clear()
	}
}
