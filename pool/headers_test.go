package pool

import (
	"bytes"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/pipeamqp/pipe/internal/testbroker"
)

func nested(depth int) Table {
	t := Table{"leaf": "x"}
	for range depth {
		t = Table{"t": t}
	}
	return t
}

func withHeaders(t Table) *Publishing {
	return &Publishing{Publishing: amqp.Publishing{Headers: t}}
}

var unfit = []struct {
	name  string
	m     *Publishing
	field string // what the error names
}{
	{"routing key", &Publishing{RoutingKey: strings.Repeat("k", 256)}, "routing key"},
	{"exchange", &Publishing{Exchange: strings.Repeat("k", 256)}, "exchange"},
	{"message id", &Publishing{Publishing: amqp.Publishing{MessageId: strings.Repeat("é", 128)}}, "message-id"},
	{"app id", &Publishing{Publishing: amqp.Publishing{AppId: strings.Repeat("a", 300)}}, "app-id"},
	{"expiration", &Publishing{Publishing: amqp.Publishing{Expiration: "5s"}}, "expiration"},
	{"negative expiration", &Publishing{Publishing: amqp.Publishing{Expiration: "-1"}}, "expiration"},
	{"signed expiration", &Publishing{Publishing: amqp.Publishing{Expiration: "+1"}}, "expiration"},
	{"huge expiration", &Publishing{Publishing: amqp.Publishing{Expiration: "4294967296"}}, "expiration"},
	{"user id", &Publishing{Publishing: amqp.Publishing{UserId: "somebody"}}, "user-id"},
	{"header name", withHeaders(Table{strings.Repeat("k", 256): 1}), "header"},
	{"channel", withHeaders(Table{"c": make(chan int)}), `header "c"`},
	{"struct", withHeaders(Table{"s": struct{}{}}), `header "s"`},
	{"pointer", withHeaders(Table{"s": new(int)}), `header "s"`},
	{"nested", withHeaders(Table{"a": Table{"b": []any{"x", struct{}{}}}}), `header "a"."b"."1"`},
	{"too large an unsigned", withHeaders(Table{"u": uint64(1) << 63}), `header "u"`},
	{"too deep", withHeaders(nested(maxDepth)), "headers"},
	{"not a number", withHeaders(Table{"f": math.NaN()}), `header "f"`},
	{"infinite", withHeaders(Table{"l": []any{float32(math.Inf(-1))}}), `header "l"."0"`},
	{"too many in a list", withHeaders(Table{"l": make([]any, maxEntries+1)}), `header "l"`},
	{"too many strings", withHeaders(Table{"l": make([]string, maxEntries+1)}), `header "l"`},
	{"delivery mode", &Publishing{Publishing: amqp.Publishing{DeliveryMode: 3}}, "delivery-mode"},
	{"CC", withHeaders(Table{"CC": "key"}), `header "CC"`},
	{"BCC", withHeaders(Table{"BCC": []any{"key", int32(1)}}), `header "BCC"`},
}

func TestUnfitMessagesFailAlone(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	for _, c := range unfit {
		t.Run(c.name, func(t *testing.T) {
			err := p.Publish(within(t, patience), c.m)
			var invalid *ErrInvalid
			if !errors.As(err, &invalid) || !IsPermanent(err) || IsConnection(err) {
				t.Fatalf("%v", err)
			}
			if !strings.HasPrefix(invalid.Field, c.field) {
				t.Errorf("the field is %s, not %s", invalid.Field, c.field)
			}
		})
	}
	large := withHeaders(Table{"h": strings.Repeat("x", frameMax)})
	large.RoutingKey = "q"
	var tooLarge *ErrTooLarge
	if err := p.Publish(within(t, patience), large); !errors.As(err, &tooLarge) || !IsPermanent(err) {
		t.Errorf("headers larger than a frame: %v", err)
	}
	if err := p.Publish(within(t, patience), &Publishing{RoutingKey: "q", Publishing: text("ok")}); err != nil {
		t.Error("the channel did not survive:", err)
	}
	if s := p.Stats(); s.Connects != 2 || s.Refused != uint64(len(unfit))+1 {
		t.Errorf("%+v", s)
	}
}

// TestLargestHeaders publishes headers that just fit into a frame: what is accepted here, the broker
// accepts.
func TestLargestHeaders(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	accepted := 0
	for size := frameMax - 120; size <= frameMax; size++ {
		m := withHeaders(Table{"h": strings.Repeat("x", size)})
		m.RoutingKey, m.ContentType, m.Timestamp, m.DeliveryMode, m.Priority = "q", "text/plain", time.Now(), 1, 1
		err := p.Publish(within(t, patience), m)
		var tooLarge *ErrTooLarge
		switch {
		case err == nil:
			accepted++
		case !errors.As(err, &tooLarge):
			t.Fatal(size, err)
		}
	}
	if accepted == 0 || accepted > 100 {
		t.Errorf("%d sizes were accepted", accepted)
	}
	if s := p.Stats(); s.Connects != 2 {
		t.Errorf("the broker closed a connection: %+v", s)
	}
}

var everyType = Table{
	"void": nil, "true": true, "int8": int8(-8), "uint8": uint8(200), "int16": int16(-16), "uint16": uint16(60000),
	"int32": int32(-32), "uint32": uint32(1 << 31), "int64": int64(-1 << 63), "float32": float32(1.5), "float64": 2.5,
	"string": "é\x00\xff", "empty": "", "bytes": []byte{0, 255}, "no bytes": []byte{},
	"time": time.Unix(1700000000, 0).UTC(), "decimal": amqp.Decimal{Scale: 2, Value: -12345},
	"table": Table{"a": Table{"b": int8(1)}, "none": Table{}},
	"array": []any{int16(1), "two", nil, []any{}, Table{"x": []any{3.5}}},
}

func TestEveryHeaderTypeSurvives(t *testing.T) {
	url := testbroker.VHost(t)
	testbroker.Declare(t, url, "q")
	p := start(t, Options{URLs: []string{url}})
	sent := &Publishing{RoutingKey: "q", Mandatory: true, Publishing: amqp.Publishing{
		Headers: everyType, ContentType: "a", ContentEncoding: "b", DeliveryMode: 2, Priority: 255,
		CorrelationId: "c", ReplyTo: "d", Expiration: "60000", MessageId: "e", Timestamp: time.Unix(1, 0),
		Type: "f", UserId: "guest", AppId: strings.Repeat("g", 255), Body: []byte{0, 1, 2},
	}}
	if err := p.Publish(within(t, patience), sent); err != nil {
		t.Fatal(err)
	}
	got := testbroker.Drain(t, url, "q")[0]
	if !sameTable(everyType, got.Headers) {
		t.Errorf("headers: %#v", got.Headers)
	}
	if got.ContentType != "a" || got.ContentEncoding != "b" || got.DeliveryMode != 2 || got.Priority != 255 ||
		got.CorrelationId != "c" || got.ReplyTo != "d" || got.Expiration != "60000" || got.MessageId != "e" ||
		!got.Timestamp.Equal(time.Unix(1, 0)) || got.Type != "f" || got.UserId != "guest" || len(got.AppId) != 255 ||
		!bytes.Equal(got.Body, []byte{0, 1, 2}) {
		t.Errorf("%+v", got)
	}
}

func TestHeadersOfOtherGoTypes(t *testing.T) {
	m := withHeaders(Table{
		"int": 1 << 40, "uint": uint(7), "uint64": uint64(8), "map": map[string]any{"x": 1}, "strings": []string{"a", "b"},
		"deep": []any{map[string]any{"y": []string{"z"}}, 2}, "kept": int32(5),
	})
	original := m.Headers
	if _, err := prepare(m); err != nil {
		t.Fatal(err)
	}
	want := Table{
		"int": int64(1 << 40), "uint": int64(7), "uint64": int64(8), "map": Table{"x": int64(1)}, "strings": []any{"a", "b"},
		"deep": []any{Table{"y": []any{"z"}}, int64(2)}, "kept": int32(5),
	}
	if !reflect.DeepEqual(m.Headers, want) {
		t.Errorf("%#v", m.Headers)
	}
	if _, ok := original["int"].(int); !ok {
		t.Error("the caller's table was written to")
	}
}

func TestPrepareDoesNotAllocate(t *testing.T) {
	m := &Publishing{RoutingKey: "q", Publishing: amqp.Publishing{ContentType: "text/plain", Expiration: "1000", Headers: Table{
		"a": "b", "n": int64(3), "list": []any{"x"}, "t": time.Now(),
	}}}
	if n := testing.AllocsPerRun(1000, func() { _, _ = prepare(m) }); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzPrepare makes headers of what it is given: whatever prepare accepts, it measures right, and the
// library takes it.
func FuzzPrepare(f *testing.F) {
	f.Add("key", "value", int64(1), uint64(2), []byte("x"), uint8(3))
	f.Fuzz(func(t *testing.T, key, value string, n int64, u uint64, b []byte, shape uint8) {
		v := []any{value, n, u, b, int(n), []string{key, value}, map[string]any{key: u}, Table{value: []any{n, nil}}, time.Unix(n%1e9, 0)}[int(shape)%9]
		m := withHeaders(Table{key: v, "list": []any{v, map[string]any{key: v}}})
		m.Expiration = fmt.Sprint(n)
		m.MessageId = value
		size, err := prepare(m)
		if err != nil {
			if !IsPermanent(err) {
				t.Errorf("%v is not permanent", err)
			}
			return
		}
		if err := m.Headers.Validate(); err != nil {
			t.Errorf("the library refuses %#v: %v", m.Headers, err)
		}
		if size < len(key)+len(value) {
			t.Errorf("%d bytes", size)
		}
	})
}
