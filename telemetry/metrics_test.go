package telemetry

import (
	"sync/atomic"
	"testing"
	"time"

	"go.opentelemetry.io/otel/sdk/metric/metricdata"
)

// TestUtilization: how busy a stage was is of the time since the metrics were read before, and nothing after a long call that ended earlier.
func TestUtilization(t *testing.T) {
	s := everything()
	stage := &s.Components[0]
	p := newProducer(func() Snapshot { return s }, new(atomic.Int64))
	read := func(passed, busy time.Duration) float64 {
		p.before = time.Now().Add(-passed)
		stage.Took.Sum += busy
		for _, m := range produced(t, p) {
			if m.Name == metricUtilization {
				points := m.Data.(metricdata.Gauge[float64]).DataPoints
				if len(points) != 1 { // a sink has none
					t.Fatalf("%d stages", len(points))
				}
				return points[0].Value
			}
		}
		t.Fatal("there is no such metric")
		return 0
	}
	for _, c := range []struct {
		passed, busy time.Duration
		want         float64
	}{
		{time.Hour, 30 * time.Minute, 0.5},
		{time.Hour, 0, 0},
		{30 * time.Minute, time.Hour, 2}, // two goroutines
		{time.Hour, -2 * time.Hour, 0},   // another configuration
	} {
		if got := read(c.passed, c.busy); got < c.want-0.01 || got > c.want+0.01 {
			t.Errorf("%s of %s is %v, not %v", c.busy, c.passed, got, c.want)
		}
	}
}

func produced(t *testing.T, p *producer) []metricdata.Metrics {
	t.Helper()
	scopes, err := p.Produce(t.Context())
	if err != nil || len(scopes) != 1 {
		t.Fatal(scopes, err)
	}
	return scopes[0].Metrics
}
