package river

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// startCluster runs three servers that replicate to one another.
func startCluster(t *testing.T) (servers []*server.Server, urls string) {
	t.Helper()
	var routes []*url.URL
	var held []net.Listener
	for range 3 { // every server has to know the others from the start
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
		routes = append(routes, &url.URL{Scheme: "nats", Host: l.Addr().String()})
	}
	for i, own := range routes {
		held[i].Close()
		port, err := strconv.Atoi(own.Port())
		if err != nil {
			t.Fatal(err)
		}
		s, err := server.NewServer(&server.Options{ServerName: fmt.Sprint("n", i), Host: "127.0.0.1", Port: -1, NoSigs: true, NoLog: true,
			JetStream: true, StoreDir: t.TempDir(), MaxPayload: MaxBatch + 64<<10, DisableJetStreamBanner: true, Routes: routes,
			Cluster: server.ClusterOpts{Name: "moat", Host: "127.0.0.1", Port: port}})
		if err != nil {
			t.Fatal(err)
		}
		s.Start()
		if !s.ReadyForConnections(10 * time.Second) {
			t.Fatal("server does not listen")
		}
		t.Cleanup(func() { s.Shutdown(); s.WaitForShutdown() })
		servers = append(servers, s)
		urls += s.ClientURL() + ","
	}
	for !servers[0].JetStreamIsLeader() && !servers[1].JetStreamIsLeader() && !servers[2].JetStreamIsLeader() {
		runtime.Gosched()
	}
	return servers, urls[:len(urls)-1]
}

// A replicated river outlives one of its servers: whatever was acknowledged
// is read by a reader that was there before, and nothing comes twice.
func TestCluster(t *testing.T) {
	servers, urls := startCluster(t)
	r := openRiver(t, Config{URL: urls, Partitions: 1, Replicas: 3})
	rd := read(t, r, 0, 0)
	acked := map[string]bool{}
	put := func(id string) {
		for {
			_, err := r.Append(t.Context(), 0, batchOf(100, id))
			if err == nil {
				acked[id] = true
				return
			}
			if errors.Is(err, ErrFull) {
				t.Fatal(err)
			}
		}
	}
	for i := range 20 {
		put(fmt.Sprint("before", i))
	}
	next(t, rd)
	for _, s := range servers {
		if s.JetStreamIsStreamLeader("$G", streamName(0)) {
			s.Shutdown()
			break
		}
	}
	for i := range 20 {
		put(fmt.Sprint("after", i))
	}
	_, last, err := r.Bounds(t.Context(), 0)
	if err != nil {
		t.Fatal(err)
	}
	delete(acked, "before0")
	for seq := uint64(2); seq <= last; seq++ {
		m := next(t, rd)
		if m.Seq != seq {
			t.Fatalf("message %d, want %d", m.Seq, seq)
		}
		delete(acked, idsOf(t, m.Data)[0])
	}
	if len(acked) != 0 {
		t.Errorf("acknowledged and not there: %v", acked)
	}
}
