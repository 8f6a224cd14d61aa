//go:build faults

package faults

import (
	"bytes"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/pipetest"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// fate is what becomes of a message.
type fate int

const (
	delivered fate = iota
	parked
	either // one of both
)

// poison is a message that could do harm.
type poison struct {
	name    string
	fate    fate
	body    func(id int) []byte // default: that of a good message
	headers amqp.Table
}

func text(s string) func(int) []byte { return func(int) []byte { return []byte(s) } }

// numbered is JSON with the member that the pipeline reads, and another one.
func numbered(member string) func(int) []byte {
	return func(id int) []byte { return []byte(`{"n":` + strconv.Itoa(id) + `,"x":` + member + `}`) }
}

func nested(depth int) string { return strings.Repeat("[", depth) + strings.Repeat("]", depth) }

const huge = 50 << 20

var poisons = []poison{
	{"no JSON", parked, text("no JSON"), nil},
	{"nothing", parked, text(""), nil},
	{"zero bytes", parked, text(strings.Repeat("\x00", 1000)), nil},
	{"half of a message", parked, text(`{"n":1,"pad":"`), nil},
	{"two messages", parked, text(`{"n":1}{"n":2}`), nil},
	{"another type", parked, text(`{"n":"many"}`), nil},
	{"no such member", parked, text(`{"m":1}`), nil},
	{"null", parked, text(`null`), nil},
	{"a number with a million digits", either, text(`{"n":` + strings.Repeat("9", 1_000_000) + `}`), nil},
	{"an exponent without end", either, text(`{"n":1e1000000000}`), nil},
	{"50 MB of JSON", delivered, numbered(`"` + strings.Repeat("x", huge) + `"`), nil},
	{"50 MB of something else", parked, func(int) []byte { return bytes.Repeat([]byte("x"), huge) }, nil},
	{"JSON nested 1,000 deep", either, numbered(nested(1000)), nil},
	{"JSON nested 100,000 deep", either, numbered(nested(100_000)), nil},
	{"JSON nested 5,000,000 deep", either, numbered(nested(5_000_000)), nil},
	{"JSON that opens 5,000,000 times", parked, text(strings.Repeat("[", 5_000_000)), nil},
	{"8,000 headers", delivered, nil, manyHeaders(8000)},
	{"a header of every type", delivered, nil, everyType},
	{"a body that is not UTF-8", either, numbered("\"\xff\xfe\xc3\""), nil},
	{"headers that are not UTF-8", delivered, nil, amqp.Table{"\xff\xfe": "\xc3\x28", "x": []any{"\xff"}}},
	{"a header named as the pipeline's", delivered, nil, amqp.Table{"x-n": amqp.Table{"x-n": nil}}},
}

func manyHeaders(n int) amqp.Table {
	all := amqp.Table{}
	for i := range n {
		all[fmt.Sprintf("h%d", i)] = int32(i)
	}
	return all
}

// everyType is a header of every type that AMQP has.
var everyType = amqp.Table{
	"void": nil, "true": true, "int8": int8(-8), "uint8": uint8(8), "int16": int16(-16), "uint16": uint16(16), "int32": int32(-32),
	"uint32": uint32(32), "int64": int64(-64), "float32": float32(0.5), "float64": 0.25, "decimal": amqp.Decimal{Scale: 2, Value: 12345},
	"string": "straße", "empty": "", "bytes": []byte{0, 1, 255}, "time": time.Unix(1_700_000_000, 0),
	"table": amqp.Table{"nested": amqp.Table{"deep": int16(1)}, "list": []any{"a", int8(1)}},
	"array": []any{int32(1), "two", nil, amqp.Table{"three": 3.0}},
}

func (p *poison) message(id int) amqp.Publishing {
	m := message(id)
	if p.body != nil {
		m.Body = p.body(id)
	}
	m.Headers = p.headers
	return m
}

// TestPoison puts messages that could do harm among good ones: the good ones all arrive, and the bad ones are all dead letters.
func TestPoison(t *testing.T) {
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, kind, steady(t))
			const good = 100 // after each bad one
			n := len(poisons) * (good + 1)
			p := pipetest.Start(t, "", r.deadLetters())
			p.Says("pipeline runs")
			for i := range poisons {
				id := i * (good + 1)
				pipetest.Fill(t, r.urls[0], "in", good+1, func(k int) amqp.Publishing {
					if k == 0 {
						return poisons[i].message(id)
					}
					return message(id + k)
				})
				testbroker.Eventually(t, time.Minute, func() bool { return r.depth("out")+r.depth("parked") >= id+good+1 }, "pipe gets past "+poisons[i].name)
			}
			r.empties()
			t.Logf("peak memory %d MB", p.PeakMemory()>>20)
			p.Stop()
			where := r.where(n)
			var counts [3]int
			for id := range n {
				i, bad := id/(good+1), id%(good+1) == 0
				want, name := delivered, "a good message"
				if bad {
					want, name = poisons[i].fate, poisons[i].name
				}
				got, once := where[id], len(where[id]) == 1
				switch {
				case !once:
					t.Errorf("message %d (%s) is in %v", id, name, got)
				case want == either:
					t.Logf("%s: %s", name, got[0])
				case (got[0] == "out") != (want == delivered):
					t.Errorf("message %d (%s) is in %v", id, name, got)
				}
				counts[want]++
			}
			t.Logf("RabbitMQ %s, %s: published %d, to be delivered %d, to be dead-lettered %d, either %d", r.version, kind, n, counts[delivered], counts[parked], counts[either])
		})
	}
}

// where returns the queues that each message is in at the end. It compares the headers of the poisonous ones with what they were.
func (r *rig) where(n int) map[int][]string {
	r.t.Helper()
	found := map[int][]string{}
	for _, queue := range []string{"in", "out", "parked"} {
		pipetest.Collect(r.t, r.urls[0], queue, r.depth(queue), func(d *amqp.Delivery) {
			id, err := strconv.Atoi(d.MessageId)
			if err != nil || id < 0 || id >= n {
				r.t.Errorf("%s: message %q has not been published", queue, d.MessageId)
			}
			found[id] = append(found[id], queue)
			if want := poisons[id/(n/len(poisons))]; queue == "out" && id%(n/len(poisons)) == 0 {
				sameHeaders(r.t, want, d.Headers)
			}
		})
	}
	return found
}

func sameHeaders(t testing.TB, p poison, got amqp.Table) {
	t.Helper()
	want := maps.Clone(p.headers)
	if want == nil {
		want = amqp.Table{}
	}
	delete(want, "x-n") // the pipeline sets it
	for _, name := range slices.Sorted(maps.Keys(want)) {
		if a, b := fmt.Sprintf("%#v", got[name]), fmt.Sprintf("%#v", want[name]); a != b {
			t.Errorf("%s: the header %q is %s, not %s", p.name, name, a, b)
		}
	}
	if len(got) != len(want)+1 {
		t.Errorf("%s: there are %d headers, not %d", p.name, len(got), len(want)+1)
	}
}

// TestEveryMessageFails has an expression that fails for every message.
func TestEveryMessageFails(t *testing.T) {
	for _, kind := range []string{"classic", "quorum"} {
		t.Run(kind, func(t *testing.T) {
			r := newRig(t, kind, steady(t))
			p := pipetest.Start(t, "", strings.Replace(r.deadLetters(), "body.n >= 0", "body.missing.deep > 0", 1))
			p.Says("pipeline runs")
			f := r.feedUpTo(5000, 10_000)
			n := f.wait()
			r.empties()
			p.Stop()
			if d := r.depth("parked"); d != n {
				t.Errorf("%d of %d messages are dead letters", d, n)
			}
			r.counts(expectation{published: n, parked: n})
		})
	}
}
