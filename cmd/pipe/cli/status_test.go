package cli

import (
	"bytes"
	"math"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
)

func TestStatusLine(t *testing.T) {
	one := engine.PipelineStats{Name: "orders", In: 1234567, Out: 1234, Failed: 2, Tolerated: 1, InFlight: 7}
	for name, test := range map[string]struct {
		status status
		rate   float64
		want   string
	}{
		"one pipeline": {
			status{pipelines: []engine.PipelineStats{one}},
			1234.4,
			" orders · in 1,234,567 · out 1,234 · failed 3 · in flight 7 · 1,234/s",
		},
		"several": {
			status{pipelines: []engine.PipelineStats{one, {Name: "other", In: 1, Out: 1, InFlight: 1}}},
			0.25,
			" 2 pipelines · in 1,234,568 · out 1,235 · failed 3 · in flight 8 · 0.2/s",
		},
		"notes": {
			status{pipelines: []engine.PipelineStats{{Name: "orders"}}, notes: []string{"main is not connected"}},
			0,
			" orders · in 0 · out 0 · failed 0 · in flight 0 · 0.0/s · main is not connected",
		},
	} {
		t.Run(name, func(t *testing.T) {
			if got := statusLine(test.status, test.rate); got != test.want {
				t.Errorf("got  %q\nwant %q", got, test.want)
			}
		})
	}
}

func TestGrouped(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0", 12: "12", 999: "999", 1000: "1,000", -1000: "-1,000", 1234567: "1,234,567",
		math.MaxInt64: "9,223,372,036,854,775,807", math.MinInt64: "-9,223,372,036,854,775,808",
	} {
		if got := grouped(n); got != want {
			t.Errorf("grouped(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestRateMeter(t *testing.T) {
	var m rateMeter
	at := time.Unix(0, 0)
	if rate := m.update(at, 1000); rate != 0 {
		t.Errorf("the first reading gives a rate of %g", rate)
	}
	var rate float64
	for i := range 40 {
		at = at.Add(500 * time.Millisecond)
		rate = m.update(at, 1000+int64(i+1)*50)
	}
	if math.Abs(rate-100) > 1 {
		t.Errorf("50 in each half second make %g a second", rate)
	}
	if again := m.update(at, 5000); again != rate {
		t.Errorf("no time has passed, and the rate went from %g to %g", rate, again)
	}
}

func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, width: func() int { return 10 }}
	steps := []struct {
		do   func()
		want string
	}{
		{func() { s.setBottom("") }, ""},
		{func() { s.Write([]byte("log 1\n")) }, "log 1\n"},
		{func() { s.setBottom("in 1") }, "\r\x1b[Kin 1"},
		{func() { s.Write([]byte("log 2\n")) }, "\r\x1b[Klog 2\nin 1"},
		{func() { s.setBottom("a line that is too long") }, "\r\x1b[Ka line t…"},
		{func() { s.setBottom("") }, "\r\x1b[K"},
		{func() { s.Write([]byte("log 3\n")) }, "log 3\n"},
	}
	for i, step := range steps {
		out.Reset()
		step.do()
		if out.String() != step.want {
			t.Errorf("step %d wrote %q, want %q", i+1, out.String(), step.want)
		}
	}
}

func TestCut(t *testing.T) {
	for _, test := range []struct {
		line    string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcd", 3, "ab…"}, {"äöü", 3, "äöü"}, {"abc", 0, ""}, {"abc", -1, ""}, {"abc", 1, "…"}} {
		if got := cut(test.line, test.columns); got != test.want {
			t.Errorf("cut(%q, %d) = %q, want %q", test.line, test.columns, got, test.want)
		}
	}
}

func TestCutMiddle(t *testing.T) {
	for _, test := range []struct {
		line    string
		columns int
		want    string
	}{{"abc", 3, "abc"}, {"abcdefgh", 6, "abc…gh"}, {"äöüäöü", 4, "äö…ü"}, {"abc", 0, ""}, {"abc", 1, "…"}, {"abc", 2, "a…"}} {
		if got := cutMiddle(test.line, test.columns); got != test.want {
			t.Errorf("cutMiddle(%q, %d) = %q, want %q", test.line, test.columns, got, test.want)
		}
	}
}
