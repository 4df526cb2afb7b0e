package api

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/moat-platform/moat/serve/auth"
)

// How long a connection may take for what. A handler that expects much sets its own time to read.
const (
	headerTime   = 5 * time.Second
	readTime     = 30 * time.Second
	writeTime    = time.Minute
	idleTime     = 2 * time.Minute
	goodbyeTime  = 20 * time.Second // for requests under way when the server is told to end
	maxHeaderLen = 16 << 10
)

// Listen opens the address that a server is to be reached at.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("cannot listen on %s: %w", addr, err)
	}
	return l, nil
}

// Serve answers on l until ctx ends. Then it takes no more connections, lets requests under way come
// to their end for 20 seconds, and returns nil. It closes l.
func Serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger) error {
	return serve(ctx, l, h, log, nil)
}

func serve(ctx context.Context, l net.Listener, h http.Handler, log *slog.Logger, mark func(context.Context, net.Conn) context.Context) error {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	s := &http.Server{Handler: h, ReadHeaderTimeout: headerTime, ReadTimeout: readTime, WriteTimeout: writeTime, IdleTimeout: idleTime,
		MaxHeaderBytes: maxHeaderLen, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug), ConnContext: mark}
	goodbye := func(context.Context) {}
	if mark == nil {
		questions, err := newLane(l, h, log)
		if err != nil {
			l.Close()
			return err
		}
		if a, ok := h.(*API); ok {
			defer a.node.Between(questions.bell.look)()
		}
		l, goodbye = questions, questions.shutdown
	}
	ended := make(chan error, 1)
	go func() { ended <- s.Serve(l) }()
	select {
	case err := <-ended:
		l.Close()
		goodbye(ctx)
		return fmt.Errorf("cannot serve on %s: %w", l.Addr(), err)
	case <-ctx.Done():
	}
	bye, cancel := context.WithTimeout(context.WithoutCancel(ctx), goodbyeTime)
	defer cancel()
	err := s.Shutdown(bye)
	goodbye(bye)
	if err != nil {
		log.Warn("requests were cut off at the end", "error", err)
		s.Close()
	}
	<-ended
	return nil
}

// Local says how a program on the same machine reaches the server that has a data folder open.
type Local struct {
	Address string `json:"address"`
	Key     string `json:"key"` // the operator's; it ends with the server
	PID     int    `json:"pid"`
}

const localFile = "serve.json"

// ServeLocal answers on an address of this machine alone until ctx ends, and writes how to reach it to
// serve.json in the data folder dir, for [Dial]. Who may read the file is the operator. The
// file is removed at the end. ready, if not nil, is called when the file is there.
func (a *API) ServeLocal(ctx context.Context, dir string, ready func()) error {
	l, err := Listen(ctx, "127.0.0.1:0")
	if err != nil {
		return err
	}
	at := Local{Address: l.Addr().String(), Key: auth.Token(localID, a.local.secret), PID: os.Getpid()}
	path := filepath.Join(dir, localFile)
	if err := writeLocal(path, at); err != nil {
		l.Close()
		return fmt.Errorf("cannot write %s: %w", path, err)
	}
	defer removeLocal(path, at)
	if ready != nil {
		ready()
	}
	return serve(ctx, l, a, a.log, func(ctx context.Context, _ net.Conn) context.Context {
		return context.WithValue(ctx, fromWithin{}, true)
	})
}

// writeLocal writes the file whole or not at all, for its owner only.
func writeLocal(path string, at Local) error {
	b, err := json.Marshal(at)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".serve-*") // made with mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// removeLocal removes the file unless another server has written its own since.
func removeLocal(path string, at Local) {
	if now, err := readLocal(path); err == nil && now == at {
		os.Remove(path)
	}
}

func readLocal(path string) (at Local, err error) {
	info, err := os.Stat(path)
	if err != nil {
		return at, err
	}
	if info.Size() > 4<<10 {
		return at, fs.ErrInvalid
	}
	b, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(b, &at)
	}
	return at, err
}
