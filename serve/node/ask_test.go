package node_test

import (
	"context"
	"errors"
	"math"
	"sync"
	"testing"

	"github.com/moat-platform/moat"
	"github.com/moat-platform/moat/serve/node"
	"github.com/moat-platform/moat/store/book"
)

// TestAskEnds asks while the node closes, and after: an answer or a clear error, never a hang.
func TestAskEnds(t *testing.T) {
	n := open(t, t.TempDir())
	send(t, n, 0, 10)
	at, _ := moat.ParseTime("2026-03-02T09:10:00Z")
	ask := func(ctx context.Context) error {
		_, err := n.Ask(ctx, &moat.Event{Partner: "acme", ID: "q", Type: moat.AuthLogin, Actor: "alice", Time: at, Received: at})
		return err
	}
	given, cancel := context.WithCancel(t.Context())
	cancel()
	if err := ask(given); err != nil && !errors.Is(err, context.Canceled) {
		t.Errorf("a question that nobody waits for gives %v", err)
	}
	var group sync.WaitGroup
	for range 4 {
		group.Go(func() {
			for {
				if err := ask(context.Background()); err != nil {
					if !errors.Is(err, node.ErrClosed) {
						t.Errorf("while the node closes a question gives %v", err)
					}
					return
				}
			}
		})
	}
	if err := n.Close(); err != nil {
		t.Fatal(err)
	}
	group.Wait()
}

// TestLook reads figures and risks from outside.
func TestLook(t *testing.T) {
	n := open(t, t.TempDir())
	defer n.Close()
	send(t, n, 0, 40)
	s, err := n.Stats(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if p := s.Partitions[n.River.PartitionOf("acme")]; p.Bytes == 0 || p.Last == 0 || p.Position != p.Last {
		t.Errorf("the partition of acme is described as %+v", p)
	}
	at, _ := moat.ParseTime("2026-03-02T09:10:00Z")
	alice := moat.Entity{Kind: moat.Account, ID: "alice"}
	r, err := n.Risk(t.Context(), moat.Only("acme"), "acme", alice, at)
	if err != nil || r.Score <= 1 || len(r.Shares) == 0 {
		t.Errorf("the risk of alice is %+v, %v", r, err)
	}
	a, err := n.Ask(t.Context(), &moat.Event{Partner: "acme", ID: "q", Type: moat.AuthLogout, Actor: "alice", Time: at, Received: at})
	if err != nil || len(a.Reasons) == 0 || a.Reasons[0].Detector != "account.login_failures" || math.Abs(100*a.Risk-r.Score) > 0.02 {
		t.Errorf("an act that is nothing by itself, of an account at risk, is answered by %+v, %v", a, err)
	}
	if _, err := n.Risk(t.Context(), moat.Only("other"), "acme", alice, at); !errors.Is(err, book.ErrNotFound) {
		t.Errorf("another partner asks for alice's risk and gets %v", err)
	}
}
