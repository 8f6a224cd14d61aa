package pool

import (
	"fmt"
	"math"
	"strconv"
	"time"
	"unicode/utf8"

	amqp "github.com/rabbitmq/amqp091-go"
)

const (
	maxShortString = 255
	// maxDepth and maxEntries bound how deep tables and arrays may nest, and how much may be in one: the client library closes
	// the connection when it receives more (a message that is returned, for instance).
	maxDepth   = 33
	maxEntries = 8192
	// maxExpiration is the longest message TTL that RabbitMQ takes, in milliseconds.
	maxExpiration = 1<<32 - 1
	// contentHeader is class, weight, body size and property flags.
	contentHeader = 2 + 2 + 8 + 2
	frameOverhead = 8
)

// prepare makes a message fit for the client library and the broker, both of which close the channel or
// the connection over what they cannot carry. It replaces headers of Go types that AMQP has by another
// name. It returns the size of the message's content header frame. It does not allocate for
// a message that is fit already.
func prepare(m *Publishing) (headerFrame int, err error) {
	if err := checkStrings(m); err != nil {
		return 0, err
	}
	if err := checkExpiration(m.Expiration); err != nil {
		return 0, err
	}
	size, err := prepareHeaders(m)
	if err != nil {
		return 0, err
	}
	if m.DeliveryMode > amqp.Persistent { // RabbitMQ closes the channel
		return 0, &ErrInvalid{"delivery-mode", fmt.Sprintf("%d is neither transient (1) nor persistent (2)", m.DeliveryMode)}
	}
	// Lengths of the thirteen properties, and one byte or eight for those that are no strings.
	size += contentHeader + frameOverhead + 8 + 2 + 8
	size += len(m.ContentType) + len(m.ContentEncoding) + len(m.CorrelationId) + len(m.ReplyTo) +
		len(m.Expiration) + len(m.MessageId) + len(m.Type) + len(m.UserId) + len(m.AppId)
	return size, nil
}

// prepareHeaders returns the encoded size of the headers, which it makes fit.
func prepareHeaders(m *Publishing) (size int, err error) {
	if !m.Encoded.IsEmpty() {
		if m.Headers != nil {
			return 0, &ErrInvalid{"headers", "they are given twice: as Headers and as Encoded"}
		}
		return len(m.Encoded.encoded()), nil
	}
	size, fit, err := measureTable(m.Headers, nil)
	if err != nil {
		return 0, err
	}
	if !fit {
		m.Headers = normalTable(m.Headers)
	}
	for _, name := range [...]string{"CC", "BCC"} {
		if v, ok := m.Headers[name]; ok {
			if err := checkCopy(name, v); err != nil {
				return 0, err
			}
		}
	}
	return size, nil
}

func checkStrings(m *Publishing) error {
	for _, p := range [...]struct{ name, value string }{
		{"exchange", m.Exchange},
		{"routing key", m.RoutingKey},
		{"content-type", m.ContentType},
		{"content-encoding", m.ContentEncoding},
		{"correlation-id", m.CorrelationId},
		{"reply-to", m.ReplyTo},
		{"message-id", m.MessageId},
		{"type", m.Type},
		{"user-id", m.UserId},
		{"app-id", m.AppId},
	} {
		if len(p.value) > maxShortString {
			return &ErrInvalid{p.name, fmt.Sprintf("%d bytes, at most %d fit", len(p.value), maxShortString)}
		}
	}
	return nil
}

// checkExpiration refuses what RabbitMQ closes the channel over.
func checkExpiration(s string) error {
	if s == "" {
		return nil
	}
	if n, err := strconv.ParseUint(s, 10, 64); err != nil || n > maxExpiration || s[0] == '+' {
		return &ErrInvalid{"expiration", fmt.Sprintf("%.40q is not a number of milliseconds from 0 to %d", s, int64(maxExpiration))}
	}
	return nil
}

// isCopies reports that RabbitMQ takes the value of a header for routing keys.
func isCopies(name string) bool { return name == "CC" || name == "BCC" }

// checkCopy refuses a CC or BCC header that RabbitMQ closes the channel over. Of a list, []string is as good as []any.
func checkCopy(name string, v any) error {
	if !isCopies(name) {
		return nil
	}
	if _, ok := v.([]string); ok {
		return nil
	}
	keys, ok := v.([]any)
	for _, key := range keys {
		if _, is := key.(string); !is {
			ok = false
		}
	}
	if !ok {
		return &ErrInvalid{header(&place{key: name}), "must be a list of strings: RabbitMQ takes it for routing keys"}
	}
	return nil
}

// place is where in the headers a value is.
type place struct {
	up  *place
	key string
}

func (p *place) depth() (n int) {
	for ; p != nil; p = p.up {
		n++
	}
	return n
}

// header names a place for a message.
func header(p *place) string {
	path := ""
	for ; p != nil; p = p.up {
		path = "." + strconv.Quote(p.key) + path
	}
	return "header " + path[1:]
}

// measureTable returns how many bytes a table takes when encoded, and whether the library takes it as it
// is.
func measureTable(t Table, at *place) (size int, fit bool, err error) {
	size, fit = 4, true
	if err := checkContainer("tables", at, len(t)); err != nil {
		return 0, false, err
	}
	for k, v := range t {
		n, ok, err := measureEntry(k, v, at)
		if err != nil {
			return 0, false, err
		}
		size += n
		fit = fit && ok
	}
	return size, fit, nil
}

// measureEntry is measureTable for one entry of a table that is at a place.
func measureEntry(k string, v any, at *place) (size int, fit bool, err error) {
	if len(k) > maxShortString {
		return 0, false, &ErrInvalid{fmt.Sprintf("header %.40q…", k), fmt.Sprintf("the name has %d bytes, at most %d fit", len(k), maxShortString)}
	}
	size, fit = measureScalar(v)
	if size == 0 {
		if size, fit, err = measureNested(v, &place{at, k}); err != nil {
			return 0, false, err
		}
	}
	return 1 + len(k) + size, fit, nil
}

// measureScalar returns the encoded size of a plain value, or 0 for another; fit is false for a type that
// has to be replaced.
func measureScalar(v any) (size int, fit bool) {
	switch v := v.(type) {
	case nil:
		return 1, true
	case bool, int8, uint8:
		return 2, true
	case int16, uint16:
		return 3, true
	case int32, uint32:
		return 5, true
	case float32:
		return finite(float64(v), 5), true
	case float64:
		return finite(v, 9), true
	case int64, time.Time:
		return 9, true
	case amqp.Decimal:
		return 6, true
	case string:
		return 5 + len(v), true
	case []byte:
		return 5 + len(v), true
	case int:
		return 9, false
	}
	return 0, false
}

// finite returns the size, or 0 for a number that makes RabbitMQ close the connection.
func finite(v float64, size int) int {
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return 0
	}
	return size
}

func measureNested(v any, at *place) (size int, fit bool, err error) {
	switch v := v.(type) {
	case Table:
		size, fit, err = measureTable(v, at)
		return size + 1, fit, err
	case map[string]any:
		size, _, err = measureTable(v, at)
		return size + 1, false, err
	case []any:
		return measureArray(v, at)
	case []string:
		if err := checkContainer("lists", at, len(v)); err != nil {
			return 0, false, err
		}
		size = 5
		for _, s := range v {
			size += 5 + len(s)
		}
		return size, false, nil
	case float32, float64:
		return 0, false, &ErrInvalid{header(at), fmt.Sprintf("RabbitMQ takes no %v", v)}
	case uint:
		return measureUint(uint64(v), at)
	case uint64:
		return measureUint(v, at)
	}
	return 0, false, &ErrInvalid{header(at), fmt.Sprintf("AMQP has no type for a Go %T", v)}
}

func checkContainer(kind string, at *place, entries int) error {
	switch {
	case at.depth() >= maxDepth:
		return &ErrInvalid{"headers", fmt.Sprintf("%s nest deeper than %d", kind, maxDepth)}
	case entries > maxEntries && at == nil:
		return &ErrInvalid{"headers", fmt.Sprintf("there are %d, at most %d fit", entries, maxEntries)}
	case entries > maxEntries:
		return &ErrInvalid{header(at), fmt.Sprintf("it has %d entries, at most %d fit", entries, maxEntries)}
	}
	return nil
}

func measureArray(list []any, at *place) (size int, fit bool, err error) {
	size, fit = 5, true
	if err := checkContainer("lists", at, len(list)); err != nil {
		return 0, false, err
	}
	for i, v := range list {
		n, ok := measureScalar(v)
		if n == 0 {
			if n, ok, err = measureNested(v, &place{at, strconv.Itoa(i)}); err != nil {
				return 0, false, err
			}
		}
		size += n
		fit = fit && ok
	}
	return size, fit, nil
}

func measureUint(v uint64, at *place) (size int, fit bool, err error) {
	if v > 1<<63-1 {
		return 0, false, &ErrInvalid{header(at), fmt.Sprintf("%d does not fit into the 64-bit signed integer of AMQP", v)}
	}
	return 9, false, nil
}

// normalTable copies a table that measureTable found not to fit.
func normalTable(t Table) Table {
	out := make(Table, len(t))
	for k, v := range t {
		out[k] = normalValue(v)
	}
	return out
}

func normalValue(v any) any {
	switch v := v.(type) {
	case int:
		return int64(v)
	case uint:
		return int64(v)
	case uint64:
		return int64(v)
	case Table:
		return normalTable(v)
	case map[string]any:
		return normalTable(v)
	case []any:
		out := make([]any, len(v))
		for i := range v {
			out[i] = normalValue(v[i])
		}
		return out
	case []string:
		out := make([]any, len(v))
		for i := range v {
			out[i] = v[i]
		}
		return out
	}
	return v
}

// cut shortens what the broker or a user wrote, for a message.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	for n > 0 && !utf8.RuneStart(s[n]) {
		n--
	}
	return s[:n] + "…"
}
