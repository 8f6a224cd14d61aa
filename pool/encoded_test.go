package pool

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/internal/rawamqp"
	"github.com/pipeamqp/pipe/internal/testbroker"
)

// delivered returns what a port makes of a message with such headers; with encoded it leaves them encoded where it can.
func delivered(t rapid.TB, table []byte, encoded bool) (d Delivery) {
	t.Helper()
	all := arrived(t, slices.Concat(deliverMethod(1), rawamqp.AppendContent(nil, 1, "id", table, "body")))
	if len(all) != 1 {
		t.Fatalf("%d deliveries", len(all))
	}
	all[0].delivery(&d, encoded)
	return d
}

// arrived returns what a port takes from a stream.
func arrived(t rapid.TB, stream []byte) (all []arrival) {
	t.Helper()
	in := newInbound(bytes.NewReader(stream))
	p := &port{wire: &wire{in: in}, id: 1, delivered: func(a arrival) { all = append(all, a) }}
	p.listen()
	if _, err := io.Copy(io.Discard, in); err != nil {
		t.Fatal(err)
	}
	return all
}

// TestEncodedHeadersAreTheSame expects of any headers that, encoded or decoded, they are the same: all of them, one by one, and when they are
// published again; and that what is set and deleted is set and deleted.
func TestEncodedHeadersAreTheSame(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		m := anyMessage(t)
		if _, err := prepare(m); err != nil || len(m.Headers) == 0 {
			t.Skip("no headers")
		}
		table := appendTable(nil, m.Headers)[4:]
		d := delivered(t, table, true)
		if _, copies := m.Headers["CC"]; copies || m.Headers["BCC"] != nil {
			t.Skip("not kept encoded")
		}
		if d.Encoded.fields() != string(table) || d.Headers != nil {
			t.Fatalf("%q, and %v", d.Encoded.fields(), d.Headers)
		}
		model, e := maps.Clone(m.Headers), d.Encoded
		sameAsModel(t, model, e)
		for range rapid.IntRange(0, 5).Draw(t, "changes") {
			key := rapid.OneOf(rapid.SampledFrom(slices.Sorted(maps.Keys(m.Headers))), shortString).Draw(t, "key")
			if rapid.Bool().Draw(t, "delete") {
				e = e.Without(key)
				delete(model, key)
				continue
			}
			value := rapid.OneOf(scalar, rapid.Just[any](map[string]any{"n": 1}), rapid.Just[any]([]string{"a"})).Draw(t, "value")
			changed, err := e.With(key, value)
			if _, refused := prepare(withHeaders(Table{key: value})); (err == nil) != (refused == nil) {
				t.Fatalf("%v, and in a table: %v", err, refused)
			}
			if err == nil {
				e, model[key] = changed, normalValue(value)
			}
		}
		sameAsModel(t, model, e)
		sameAsModel(t, m.Headers, d.Encoded)
	})
}

func sameAsModel(t rapid.TB, model Table, e EncodedTable) {
	t.Helper()
	if a, b := spelled(e.Table()), spelled(model); a != b || e.Len() != len(model) || e.IsEmpty() != (len(model) == 0) {
		t.Fatalf("%s, not %s", a, b)
	}
	for k, want := range model {
		if v, ok := e.Get(k); !ok || spelled(v) != spelled(want) {
			t.Fatalf("%q is %s, not %s", k, spelled(v), spelled(want))
		}
	}
	if _, ok := e.Get("nobody has this one"); ok {
		t.Fatal("a header is there that is not")
	}
	m := &Publishing{Encoded: e}
	reserved, err := prepare(m)
	if err != nil {
		t.Fatal(err)
	}
	_, header, _ := takeApart(t, appendPublish(nil, 1, m, 0), 0)
	if from, to := findHeaders(header); string(header[from:to]) != e.fields() || len(header) > reserved {
		t.Fatalf("it leaves as % x, %d bytes were reserved", header, reserved)
	}
}

// TestOddHeadersAreDecoded: what could not be published again comes decoded, or marked, so that the one message fails alone later.
func TestOddHeadersAreDecoded(t *testing.T) {
	odd := map[string][]byte{
		"NaN":          appendTable(nil, Table{"a": int64(1), "n": math.NaN()})[4:],
		"nested":       appendTable(nil, Table{"l": []any{Table{"f": float32(math.Inf(1))}}})[4:],
		"CC":           appendTable(nil, Table{"CC": "no list"})[4:],
		"BCC":          appendTable(nil, Table{"BCC": []any{int64(1)}})[4:],
		"a crowd":      same(9000, 10),
		"unknown type": append(rawamqp.Pair("a", plain('I')), rawamqp.Pair("z", rawamqp.Field('Z'))...),
	}
	for name, table := range odd {
		if d, want := delivered(t, table, true), delivered(t, table, false); !d.Encoded.IsEmpty() || spelled(d.Headers) != spelled(want.Headers) {
			t.Errorf("%s: %+v", name, d)
		}
	}
	if d := delivered(t, appendTable(nil, Table{"n": 1.5, "t": Table{"CC": "x"}})[4:], true); d.Encoded.IsEmpty() {
		t.Errorf("%+v", d)
	}
	if d := delivered(t, nil, true); !d.Encoded.IsEmpty() || len(d.Headers) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestOneOfACrowd(t *testing.T) {
	full := delivered(t, many(maxEntries-1, true), true).Encoded
	if _, err := full.With("one more", nil); err != nil {
		t.Error(err)
	}
	full = delivered(t, many(maxEntries, true), true).Encoded
	_, err := full.With("one more", nil)
	var invalid *ErrInvalid
	if !errors.As(err, &invalid) {
		t.Error(err)
	}
}

func TestHeadersGivenTwice(t *testing.T) {
	m := &Publishing{Encoded: delivered(t, allTypes("I"), true).Encoded, Publishing: amqp.Publishing{Headers: Table{"a": "b"}}}
	_, err := prepare(m)
	var invalid *ErrInvalid
	if !errors.As(err, &invalid) {
		t.Error(err)
	}
}

// TestEncodedHeadersPassThrough consumes with headers left encoded, and publishes them: the broker gives them back as they were first sent. One
// that comes back unroutable is told from another by its headers.
func TestEncodedHeadersPassThrough(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	testbroker.Declare(t, url, "out")
	p := start(t, Options{URLs: []string{url}})
	if err := p.Publish(within(t, patience), &Publishing{RoutingKey: "q", Publishing: amqp.Publishing{Headers: everyType}}); err != nil {
		t.Fatal(err)
	}
	passed := make(chan struct{})
	c := consume(t, p, ConsumeOptions{Queue: "q", EncodedHeaders: true}, func(chunk []Delivery) {
		defer close(passed)
		d := &chunk[0]
		defer d.Ack()
		if d.Headers != nil || d.Encoded.IsEmpty() {
			t.Errorf("%+v", d)
		}
		for _, key := range []string{"out", "nowhere"} {
			err := p.Publish(within(t, patience), &Publishing{RoutingKey: key, Mandatory: true, Encoded: d.Encoded})
			var returned *ErrReturned
			if errors.As(err, &returned) != (key == "nowhere") {
				t.Errorf("%s: %v", key, err)
			}
		}
	})
	<-passed
	c.end()
	if got := testbroker.Drain(t, url, "out"); len(got) != 1 || !sameTable(everyType, got[0].Headers) {
		t.Errorf("%+v", got)
	}
}

// TestEncodedHeadersAllocate bounds what headers cost that nobody looks at, and what looking costs.
func TestEncodedHeadersAllocate(t *testing.T) {
	e := delivered(t, appendTable(nil, everyType)[4:], true).Encoded
	m := &Publishing{Encoded: e}
	var b []byte
	for what, c := range map[string]struct {
		work func()
		most float64
	}{
		"publishing":            {func() { _, _ = prepare(m); b = appendPublish(b[:0], 1, m, 0) }, 0},
		"looking for none":      {func() { _, _ = e.Get("traceparent") }, 0},
		"looking at a text":     {func() { _, _ = e.Get("string") }, 1},
		"counting":              {func() { _ = e.Len() }, 0},
		"setting one":           {func() { _, _ = e.With("x-tier", "gold") }, 1},
		"deleting what is none": {func() { _ = e.Without("x-tier") }, 0},
	} {
		if n := testing.AllocsPerRun(1000, c.work); n > c.most {
			t.Errorf("%s: %v allocations", what, n)
		}
	}
}

// BenchmarkHeaders takes a message with ten headers from its frames to its frames.
func BenchmarkHeaders(b *testing.B) {
	headers := Table{}
	for i := range 10 {
		headers[fmt.Sprintf("x-header-%d", i)] = fmt.Sprintf("value %d", i)
	}
	stream := slices.Concat(deliverMethod(1), rawamqp.AppendContent(nil, 1, "id", appendTable(nil, headers)[4:], "body"))
	for name, encoded := range map[string]bool{"decoded": false, "encoded": true} {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			src := bytes.NewReader(nil)
			in := newInbound(src)
			var out []byte
			p := &port{wire: &wire{in: in}, id: 1}
			p.delivered = func(a arrival) {
				var d Delivery
				a.delivery(&d, encoded)
				m := &Publishing{Encoded: d.Encoded, Publishing: amqp.Publishing{Headers: d.Headers, Body: d.Body}}
				_, _ = prepare(m)
				out = appendPublish(out[:0], 1, m, 0)
			}
			p.listen()
			buf := make([]byte, 16)
			for b.Loop() {
				src.Reset(stream)
				in.err = nil
				_, _ = in.Read(buf)
			}
			if len(out) == 0 {
				b.Fatal("nothing has come")
			}
		})
	}
}
