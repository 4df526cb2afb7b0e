package book

import (
	"bytes"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// startPostgres gives the tests a PostgreSQL: the one in MOAT_TEST_POSTGRES, or
// a private cluster on a loopback port when the server is installed.
func startPostgres() (dsn string, stop func(), err error) {
	stop = func() {}
	if dsn := os.Getenv("MOAT_TEST_POSTGRES"); dsn != "" {
		return dsn, stop, nil
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin/initdb")
	if err != nil || len(found) == 0 {
		return "", stop, err
	}
	return startCluster(filepath.Dir(slices.Max(found)))
}

func startCluster(bin string) (dsn string, stop func(), err error) {
	dir, err := os.MkdirTemp("", "moat-postgres-")
	if err != nil {
		return "", func() {}, err
	}
	stop = func() { os.RemoveAll(dir) }
	attr, err := asPostgres(dir)
	if err != nil {
		stop()
		return "", func() {}, err
	}
	data := filepath.Join(dir, "data")
	initdb := exec.Command(filepath.Join(bin, "initdb"), "-D", data, "-U", "moat", "-A", "trust", "--no-sync", "-E", "UTF8", "--locale=C.UTF-8")
	initdb.SysProcAttr, initdb.Dir = attr, dir
	if out, err := initdb.CombinedOutput(); err != nil {
		stop()
		return "", func() {}, fmt.Errorf("initdb: %w: %s", err, out)
	}
	port, err := freePort()
	if err != nil {
		stop()
		return "", func() {}, err
	}
	var said bytes.Buffer
	cmd := exec.Command(filepath.Join(bin, "postgres"), "-D", data, "-p", port, "-h", "127.0.0.1", "-k", dir, "-F", "-c", "shared_buffers=32MB")
	cmd.SysProcAttr, cmd.Dir, cmd.Stdout, cmd.Stderr = attr, dir, &said, &said
	if err := cmd.Start(); err != nil {
		stop()
		return "", func() {}, err
	}
	stop = func() {
		cmd.Process.Signal(syscall.SIGQUIT) // an immediate shutdown
		cmd.Wait()
		os.RemoveAll(dir)
	}
	dsn = "postgres://moat@127.0.0.1:" + port + "/postgres?sslmode=disable"
	if err := waitFor(dsn); err != nil {
		return "", stop, fmt.Errorf("%w: %s", err, said.String())
	}
	return dsn, stop, nil
}

// asPostgres makes root step down, because the server refuses to run as root.
func asPostgres(dir string) (*syscall.SysProcAttr, error) {
	attr := &syscall.SysProcAttr{Pdeathsig: syscall.SIGQUIT}
	if os.Getuid() != 0 {
		return attr, nil
	}
	u, err := user.Lookup("postgres")
	if err != nil {
		return nil, err
	}
	uid, err := strconv.Atoi(u.Uid)
	if err != nil {
		return nil, err
	}
	gid, err := strconv.Atoi(u.Gid)
	if err != nil {
		return nil, err
	}
	attr.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	return attr, os.Chown(dir, uid, gid)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// waitFor connects until the server answers, for at most 10 s.
func waitFor(dsn string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for {
		c, err := pgx.Connect(ctx, dsn)
		if err == nil {
			return c.Close(ctx)
		}
		select {
		case <-ctx.Done():
			return err
		case <-again.C:
		}
	}
}
