package cli

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/pipeamqp/pipe/engine"
)

// status is what the live line tells.
type status struct {
	pipelines []engine.PipelineStats
	notes     []string // what is not as it should be, as "main is not connected"
}

// statusEvery is how often the live line is drawn anew.
const statusEvery = 500 * time.Millisecond

// showStatus keeps the bottom line of the screen up to date until ctx ends, and then removes it.
func showStatus(ctx context.Context, s *screen, read func() status) {
	var m rateMeter
	tick := time.NewTicker(statusEvery)
	defer tick.Stop()
	for {
		now := read()
		s.setBottom(statusLine(now, m.update(time.Now(), total(now.pipelines).In)))
		select {
		case <-tick.C:
		case <-ctx.Done():
			s.setBottom("")
			return
		}
	}
}

// statusLine is one line about all pipelines together.
func statusLine(s status, rate float64) string {
	t := total(s.pipelines)
	parts := []string{
		t.Name,
		"in " + grouped(t.In),
		"out " + grouped(t.Out),
		"failed " + grouped(t.Failed+t.Tolerated),
		"in flight " + grouped(t.InFlight),
		rateText(rate),
	}
	return " " + strings.Join(append(parts, s.notes...), " · ")
}

// total adds the counters of all pipelines.
func total(pipelines []engine.PipelineStats) engine.PipelineStats {
	var t engine.PipelineStats
	for _, p := range pipelines {
		t.Name = p.Name
		t.Add(p)
	}
	if n := len(pipelines); n != 1 {
		t.Name = fmt.Sprintf("%d pipelines", n)
	}
	return t
}

// rateMeter makes a rate a second of a counter, smoothed over about two seconds.
type rateMeter struct {
	at    time.Time
	count int64
	rate  float64
}

func (m *rateMeter) update(now time.Time, count int64) float64 {
	elapsed := now.Sub(m.at).Seconds()
	if !m.at.IsZero() && elapsed > 0 {
		weight := min(elapsed/2, 1)
		m.rate += weight * (float64(count-m.count)/elapsed - m.rate)
	}
	m.at, m.count = now, count
	return m.rate
}

func rateText(rate float64) string {
	if rate < 9.95 {
		return fmt.Sprintf("%.1f/s", rate)
	}
	return grouped(int64(rate+0.5)) + "/s"
}

// grouped writes a number with commas between thousands.
func grouped(n int64) string {
	digits := strconv.FormatInt(n, 10)
	sign := ""
	if n < 0 {
		sign, digits = "-", digits[1:]
	}
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return sign + digits
}
