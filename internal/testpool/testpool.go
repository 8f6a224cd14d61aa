// Package testpool opens pools for tests of what works with them.
package testpool

import (
	"context"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/pool"
)

const patience = time.Minute

// Start opens and starts a pool, which is closed when the test ends.
func Start(t testing.TB, o pool.Options) *pool.Pool {
	t.Helper()
	p, err := pool.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	if err := p.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := p.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return p
}
