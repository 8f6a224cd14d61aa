package enginetest

import (
	"bytes"
	"fmt"
	"math"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/pipeamqp/pipe/engine"
)

// Samples returns messages that are odd in every way that AMQP allows, new ones at each call: bodies of many kinds, every
// property, and headers of every type.
func Samples() []*engine.Message {
	samples := []*engine.Message{
		engine.NewMessage([]byte(`{"id": 1, "name": "Zoë", "tags": ["a", "b"], "nested": {"n": null}}`), headers()),
		engine.NewMessage([]byte(`[1, 2, 3]`), nil),
		engine.NewMessage([]byte(`"text"`), map[string]any{}),
		engine.NewMessage([]byte("not JSON \xff\xfe\x00"), map[string]any{"": "a header without a name"}),
		engine.NewMessage(nil, nil),
		engine.NewMessage([]byte(strings.Repeat(" ", 200_000)+"{}"), nil),
	}
	samples[0].Properties = engine.Properties{
		ContentType: "application/json", ContentEncoding: "identity", DeliveryMode: 2, Priority: 7,
		CorrelationID: "correlation", ReplyTo: "replies", Expiration: "3600000", MessageID: "id-1",
		Timestamp: time.Unix(1_700_000_000, 0), Type: "order.created", AppID: "enginetest",
	}
	samples[1].Properties.DeliveryMode = 1
	return samples
}

func headers() map[string]any {
	return map[string]any{
		"void": nil, "true": true, "false": false,
		"int8": int8(math.MinInt8), "uint8": uint8(math.MaxUint8),
		"int16": int16(math.MinInt16), "uint16": uint16(math.MaxUint16),
		"int32": int32(math.MinInt32), "uint32": uint32(math.MaxUint32), "int64": int64(math.MinInt64),
		"float32": float32(1.5), "float64": math.Pi,
		"decimal": engine.Decimal{Scale: 2, Value: 12345},
		"string":  "Zoë", "empty": "", "bytes": []byte{0, 1, 255}, "no bytes": []byte{},
		"time":  time.Unix(1_600_000_000, 0),
		"table": map[string]any{"a": int64(1), "deeper": map[string]any{"void": nil, "list": []any{"x"}}},
		"array": []any{nil, true, int16(7), "s", []byte("b"), []any{int32(1)}, map[string]any{"k": "v"}},
		"none":  map[string]any{}, "nothing": []any{},
	}
}

// Diff compares what two messages carry: bodies, properties and headers with the exact types of their values. It
// returns "" if they are the same, and otherwise the first difference. An absent body or table is an empty one.
func Diff(want, got *engine.Message) string {
	if !bytes.Equal(want.Body, got.Body) {
		return fmt.Sprintf("body: want %q, got %q", shortened(want.Body), shortened(got.Body))
	}
	w, g := reflect.ValueOf(want.Properties), reflect.ValueOf(got.Properties)
	for i := range w.NumField() {
		if d := diff(w.Type().Field(i).Name, w.Field(i).Interface(), g.Field(i).Interface()); d != "" {
			return d
		}
	}
	return diffTables("headers", want.Headers.Table(), got.Headers.Table())
}

func diffTables(path string, want, got map[string]any) string {
	keys := make([]string, 0, len(want)+len(got))
	for k := range want {
		keys = append(keys, k)
	}
	for k := range got {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	for _, k := range slices.Compact(keys) {
		at := fmt.Sprintf("%s[%q]", path, k)
		w, wanted := want[k]
		g, there := got[k]
		switch {
		case !there:
			return at + " is missing"
		case !wanted:
			return fmt.Sprintf("%s: got %#v, which nobody set", at, g)
		}
		if d := diff(at, w, g); d != "" {
			return d
		}
	}
	return ""
}

func diff(path string, want, got any) string {
	switch w := want.(type) {
	case time.Time:
		if g, ok := got.(time.Time); ok && w.Equal(g) {
			return ""
		}
	case map[string]any:
		if g, ok := got.(map[string]any); ok {
			return diffTables(path, w, g)
		}
	case []any:
		if g, ok := got.([]any); ok && len(g) == len(w) {
			for i := range w {
				if d := diff(fmt.Sprintf("%s[%d]", path, i), w[i], g[i]); d != "" {
					return d
				}
			}
			return ""
		}
	case []byte:
		if g, ok := got.([]byte); ok && bytes.Equal(w, g) {
			return ""
		}
	default:
		if reflect.DeepEqual(want, got) {
			return ""
		}
	}
	return fmt.Sprintf("%s: want %T %#v, got %T %#v", path, want, want, got, got)
}

func shortened(b []byte) []byte {
	if len(b) > 200 {
		return append(b[:200:200], "…"...)
	}
	return b
}

// copied returns a message of the same content that shares no memory with m.
func copied(m *engine.Message) *engine.Message {
	c := engine.NewMessage(bytes.Clone(m.Body), nil)
	if m.Headers.Table() != nil {
		c.Headers = engine.HeadersOf(copiedValue(m.Headers.Table()).(map[string]any))
	}
	c.Properties, c.Exchange, c.RoutingKey = m.Properties, m.Exchange, m.RoutingKey
	c.Redelivered, c.DeliveryCount = m.Redelivered, m.DeliveryCount
	return c
}

func copiedValue(v any) any {
	switch v := v.(type) {
	case map[string]any:
		c := make(map[string]any, len(v))
		for k, member := range v {
			c[k] = copiedValue(member)
		}
		return c
	case []any:
		c := make([]any, len(v))
		for i, member := range v {
			c[i] = copiedValue(member)
		}
		return c
	case []byte:
		return bytes.Clone(v)
	default:
		return v
	}
}
