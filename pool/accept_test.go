package pool

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
	"pgregory.net/rapid"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

// TestWhatIsAcceptedArrives publishes random messages: what the pool accepts the broker accepts, and it arrives as it was; what the
// pool refuses it refuses alone.
func TestWhatIsAcceptedArrives(t *testing.T) { rapid.Check(t, acceptance(t)) }

// FuzzWhatIsAcceptedArrives is the same, with messages that the fuzzer finds.
func FuzzWhatIsAcceptedArrives(f *testing.F) { f.Fuzz(rapid.MakeFuzz(acceptance(f))) }

func acceptance(tb testing.TB) func(*rapid.T) {
	url := testbroker.VHost(tb)
	testbroker.Declare(tb, url, "q")
	p := start(tb, Options{URLs: []string{url}, Publish: PublishOptions{MaxMessage: 300_000}})
	return func(t *rapid.T) {
		sent := anyMessage(t)
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		err := p.Publish(ctx, sent)
		var invalid *ErrInvalid
		var large *ErrTooLarge
		switch {
		case errors.As(err, &invalid), errors.As(err, &large):
			if err := p.Publish(ctx, &Publishing{RoutingKey: "q", Mandatory: true}); err != nil {
				t.Fatal("the next message: ", err)
			}
			sent = &Publishing{}
		case err != nil:
			t.Fatal(err)
		}
		got, ok, err := p.GetAndAck(ctx, "q")
		if err != nil || !ok {
			t.Fatalf("nothing has arrived: %v; %+v", err, p.Stats())
		}
		if what := difference(sent, got); what != "" {
			t.Fatal(what)
		}
		if s := p.Stats(); s.Connects != 2 {
			t.Fatalf("the broker closed a connection: %+v", s)
		}
	}
}

// difference says what of a message has arrived differently.
func difference(sent *Publishing, got *Delivery) string {
	for _, c := range []struct{ name, sent, got string }{
		{"content-type", sent.ContentType, got.ContentType},
		{"content-encoding", sent.ContentEncoding, got.ContentEncoding},
		{"correlation-id", sent.CorrelationId, got.CorrelationId},
		{"reply-to", sent.ReplyTo, got.ReplyTo},
		{"expiration", sent.Expiration, got.Expiration},
		{"message-id", sent.MessageId, got.MessageId},
		{"type", sent.Type, got.Type},
		{"user-id", sent.UserId, got.UserId},
		{"app-id", sent.AppId, got.AppId},
		{"delivery-mode", fmt.Sprint(sent.DeliveryMode), fmt.Sprint(got.DeliveryMode)},
		{"priority", fmt.Sprint(sent.Priority), fmt.Sprint(got.Priority)},
	} {
		if c.sent != c.got {
			return fmt.Sprintf("%s: %q, not %q", c.name, c.got, c.sent)
		}
	}
	switch {
	case !bytes.Equal(sent.Body, got.Body):
		return "the body is another"
	case !sent.Timestamp.IsZero() && sent.Timestamp.Unix() != got.Timestamp.Unix():
		return fmt.Sprintf("timestamp: %v, not %v", got.Timestamp, sent.Timestamp)
	case len(sent.Headers) != 0 || len(got.Headers) != 0:
		if a, b := spelled(normalValue(sent.Headers)), spelled(got.Headers); a != b {
			return fmt.Sprintf("headers: %s, not %s", b, a)
		}
	}
	return ""
}

// spelled writes a value down with its types, so that NaN is like itself.
func spelled(v any) string {
	switch v := v.(type) {
	case Table:
		var b strings.Builder
		for _, k := range slices.Sorted(maps.Keys(v)) {
			fmt.Fprintf(&b, "%q: %s, ", k, spelled(v[k]))
		}
		return "{" + b.String() + "}"
	case []any:
		var b strings.Builder
		for _, e := range v {
			b.WriteString(spelled(e) + ", ")
		}
		return "[" + b.String() + "]"
	case time.Time:
		return fmt.Sprint("time ", v.Unix())
	case float32:
		return fmt.Sprint("float32 ", math.Float32bits(v))
	case float64:
		return fmt.Sprint("float64 ", math.Float64bits(v))
	}
	return fmt.Sprintf("%T %#v", v, v)
}

var (
	lengths   = rapid.Custom(func(t *rapid.T) int { return mostly(t, []int{0, 1, 2, 127, 128, 254, 255}, []int{256}) })
	someBytes = rapid.Custom(func(t *rapid.T) []byte {
		pattern := rapid.SliceOfN(rapid.Byte(), 1, 8).Draw(t, "pattern")
		return bytes.Repeat(pattern, 1+256/len(pattern))[:lengths.Draw(t, "length")]
	})
	shortString = rapid.OneOf(
		rapid.Just(""), rapid.StringN(0, 20, 255),
		rapid.Map(someBytes, func(b []byte) string { return string(b) }),
	)
	scalar = rapid.OneOf(
		rapid.Just[any](nil),
		rapid.Bool().AsAny(), rapid.Byte().AsAny(), rapid.Int8().AsAny(), rapid.Int16().AsAny(), rapid.Uint16().AsAny(),
		rapid.Int32().AsAny(), rapid.Uint32().AsAny(), rapid.Int64().AsAny(), rapid.Uint64().AsAny(), rapid.Int().AsAny(), rapid.Uint().AsAny(),
		rapid.Float32().AsAny(), rapid.Float64().AsAny(), shortString.AsAny(), someBytes.AsAny(),
		rapid.SampledFrom([]any{
			math.NaN(), math.Inf(1), math.Inf(-1), float32(math.NaN()), float32(math.Inf(1)), math.Copysign(0, -1),
			time.Time{},
			[]string{"a", ""},
			map[string]any{"x": []string{"y"}},
			make([]any, maxEntries), make([]string, 5000), strings.Repeat("long", 1000), []byte(strings.Repeat("b", 20_000)),
		}),
		rapid.Custom(func(t *rapid.T) any {
			return mostly(t, []any{nil}, []any{struct{}{}, uintptr(1), complex(1, 2), []int{1}, (*int)(nil), time.Second})
		}),
		rapid.Map(rapid.Int64(), func(n int64) any { return time.Unix(n, 0) }),
		rapid.Custom(func(t *rapid.T) any {
			return amqp.Decimal{Scale: rapid.Byte().Draw(t, "scale"), Value: rapid.Int32().Draw(t, "value")}
		}),
	)
)

// anyValue draws a header's value that nests no deeper than depth.
func anyValue(t *rapid.T, depth int) any {
	if depth == 0 {
		return scalar.Draw(t, "value")
	}
	switch rapid.IntRange(0, 5).Draw(t, "kind") {
	case 0:
		return anyTable(t, depth-1)
	case 1:
		list := make([]any, rapid.IntRange(0, 4).Draw(t, "elements"))
		for i := range list {
			list[i] = anyValue(t, depth-1)
		}
		return list
	}
	return scalar.Draw(t, "value")
}

func anyTable(t *rapid.T, depth int) Table {
	table := Table{}
	for range rapid.IntRange(0, 4).Draw(t, "entries") {
		table[shortString.Draw(t, "key")] = anyValue(t, depth)
	}
	return table
}

// mostly draws something good, and one time in thirty something bad.
func mostly[T any](t *rapid.T, good, bad []T) T {
	if rapid.IntRange(0, 29).Draw(t, "bad") == 29 {
		return rapid.SampledFrom(bad).Draw(t, "what")
	}
	return rapid.SampledFrom(good).Draw(t, "what")
}

func anyMessage(t *rapid.T) *Publishing {
	m := &Publishing{RoutingKey: "q", Mandatory: true}
	m.Headers = anyTable(t, rapid.IntRange(0, 4).Draw(t, "depth"))
	for n := rapid.SampledFrom([]int{0, 0, 0, 0, 0, 0, 10, maxDepth - 1, maxDepth, 100}).Draw(t, "deeper"); n > 0; n-- {
		m.Headers = Table{"t": m.Headers}
	}
	for _, p := range []*string{
		&m.ContentType, &m.ContentEncoding, &m.CorrelationId, &m.ReplyTo, &m.MessageId, &m.Type, &m.AppId,
	} {
		if rapid.IntRange(0, 3).Draw(t, "set") == 0 {
			*p = shortString.Draw(t, "property")
		}
	}
	m.Expiration = mostly(t, []string{"", "60000", "4294967295"}, []string{"4294967296", "-1", "1.5", "0x1", " 1", "1_000", "００１"})
	m.UserId = mostly(t, []string{"", "guest"}, []string{"other"})
	m.Priority = rapid.Byte().Draw(t, "priority")
	m.DeliveryMode = mostly(t, []uint8{0, 1, 2}, []uint8{3, 255})
	if rapid.Bool().Draw(t, "timestamp") {
		m.Timestamp = time.Unix(rapid.Int64().Draw(t, "seconds"), 0)
	}
	m.Body = make([]byte, mostly(t, []int{0, 1, 10, frameMax - 9, frameMax - 8, frameMax - 7, 300_000}, []int{300_001}))
	return m
}
