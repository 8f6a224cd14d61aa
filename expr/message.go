package expr

import (
	"time"

	"github.com/hashicorp/hcl/v2"

	"github.com/pipeamqp/pipe/engine"
)

// attribute is one of msg's or error's. get returns missing where the message does not have it.
type attribute struct {
	name string
	get  func(m *engine.Message) value
	// put checks a value and returns what writes it; nil where it cannot be written. null removes.
	put func(v value, at *place) (func(m *engine.Message), *Error)
}

var msgAttributes = []attribute{
	{"body", func(m *engine.Message) value { return stringValue(alias(m.Body)) }, nil},
	{"headers", func(m *engine.Message) value { return headersValue(m) }, nil},
	{"exchange", func(m *engine.Message) value { return stringValue(m.Exchange) }, nil},
	{
		"routing_key", func(m *engine.Message) value { return stringValue(m.RoutingKey) },
		text(func(m *engine.Message) *string { return &m.RoutingKey }),
	},
	{"redelivered", func(m *engine.Message) value { return boolValue(m.Redelivered) }, nil},
	{"delivery_count", func(m *engine.Message) value { return intValue(m.DeliveryCount) }, nil},
	property("content_type", func(m *engine.Message) *string { return &m.Properties.ContentType }),
	property("content_encoding", func(m *engine.Message) *string { return &m.Properties.ContentEncoding }),
	{"delivery_mode", func(m *engine.Message) value {
		if m.Properties.DeliveryMode == 0 {
			return missing
		}
		return intValue(int64(m.Properties.DeliveryMode))
	}, octet(1, 2, func(m *engine.Message) *uint8 { return &m.Properties.DeliveryMode })},
	{
		"priority", func(m *engine.Message) value { return intValue(int64(m.Properties.Priority)) },
		octet(0, 255, func(m *engine.Message) *uint8 { return &m.Properties.Priority }),
	},
	property("correlation_id", func(m *engine.Message) *string { return &m.Properties.CorrelationID }),
	property("reply_to", func(m *engine.Message) *string { return &m.Properties.ReplyTo }),
	property("expiration", func(m *engine.Message) *string { return &m.Properties.Expiration }),
	property("message_id", func(m *engine.Message) *string { return &m.Properties.MessageID }),
	{"timestamp", func(m *engine.Message) value {
		if m.Properties.Timestamp.IsZero() {
			return missing
		}
		return timeValue(m.Properties.Timestamp)
	}, putTimestamp},
	property("type", func(m *engine.Message) *string { return &m.Properties.Type }),
	property("user_id", func(m *engine.Message) *string { return &m.Properties.UserID }),
	property("app_id", func(m *engine.Message) *string { return &m.Properties.AppID }),
}

var errorAttributes = []attribute{
	{"kind", func(m *engine.Message) value { return stringValue(string(m.Failure().Kind)) }, nil},
	{"message", func(m *engine.Message) value { return stringValue(m.Failure().Message()) }, nil},
	{"stage", func(m *engine.Message) value { return stringValue(m.Failure().Component) }, nil},
	{"attempt", func(m *engine.Message) value { return intValue(int64(m.Failure().Attempt)) }, nil},
	{"permanent", func(m *engine.Message) value { return boolValue(m.Failure().Permanent) }, nil},
}

// maxShortString is how long a string property or a routing key may be in AMQP, in bytes.
const maxShortString = 255

// maxSeconds is the last second of the year 9999.
const maxSeconds = 253402300799

// property is a string property, which is absent when it is empty.
func property(name string, field func(*engine.Message) *string) attribute {
	get := func(m *engine.Message) value {
		if s := *field(m); s != "" {
			return stringValue(s)
		}
		return missing
	}
	return attribute{name, get, text(field)}
}

// text writes a string that AMQP keeps short.
func text(field func(*engine.Message) *string) func(value, *place) (func(*engine.Message), *Error) {
	return func(v value, at *place) (func(*engine.Message), *Error) {
		if v.kind == kindNull {
			v = stringValue("")
		}
		s, err := toString(v, at)
		if err == nil && len(s.str) > maxShortString {
			err = at.fail("longer than the 255 bytes that AMQP allows here", v)
		}
		return func(m *engine.Message) { *field(m) = s.str }, err
	}
}

// octet writes a small number.
func octet(least, most int64, field func(*engine.Message) *uint8) func(value, *place) (func(*engine.Message), *Error) {
	return func(v value, at *place) (func(*engine.Message), *Error) {
		if v.kind == kindNull {
			return func(m *engine.Message) { *field(m) = 0 }, nil
		}
		i, err := toInt(v, at)
		if err == nil && (i < least || i > most) {
			err = at.fail("the number is out of range for this property", v)
		}
		return func(m *engine.Message) { *field(m) = uint8(i) }, err
	}
}

// putTimestamp takes a timestamp, a string in RFC 3339, or whole seconds since 1970. AMQP has whole
// seconds, and none before 1970.
func putTimestamp(v value, at *place) (func(*engine.Message), *Error) {
	if v.kind == kindNull {
		return func(m *engine.Message) { m.Properties.Timestamp = time.Time{} }, nil
	}
	t, err := toTime(v, at)
	if err == nil && (t.Unix() < 0 || t.Unix() > maxSeconds) {
		err = at.fail("a timestamp is from the years 1970 to 9999", v)
	}
	return func(m *engine.Message) { m.Properties.Timestamp = t.Truncate(time.Second) }, err
}

func toTime(v value, at *place) (time.Time, *Error) {
	switch v.kind {
	case kindTime:
		return v.time(), nil
	case kindString:
		parsed, err := time.Parse(time.RFC3339Nano, v.str)
		if err != nil {
			return time.Time{}, at.fail("not a timestamp (RFC 3339) but %t", v)
		}
		return parsed.UTC(), nil
	}
	seconds, err := toInt(v, at)
	if err == nil && (seconds > 2*maxSeconds || seconds < -maxSeconds) {
		err = at.fail("too many seconds for a timestamp", v)
	}
	return time.Unix(seconds, 0).UTC(), err
}

func findAttribute(kind root, name string) (*attribute, []string) {
	table := msgAttributes
	if kind == rootError {
		table = errorAttributes
	}
	names := make([]string, len(table))
	for i := range table {
		if table[i].name == name {
			return &table[i], nil
		}
		names[i] = table[i].name
	}
	return nil, names
}

// attribute compiles msg.name or error.name. An absent property is null; has and get see that it is
// absent.
func (c *compiler) attribute(kind root, name string, own, r hcl.Range) node {
	prefix := "msg"
	if kind == rootError {
		prefix = "error"
	}
	a, names := findAttribute(kind, name)
	if a == nil {
		c.report(own, "Unknown attribute", "%s has no attribute %q.%s", prefix, name, suggest(name, names))
		return c.failed(r)
	}
	at := &place{rng: r, path: prefix + "." + name}
	if a.name == "headers" {
		return headersNode(at)
	}
	n := node{locals: noLocal, dynamic: true, at: at}
	n.opt = func(e *env) (value, *Error) {
		if kind == rootError && e.message.Failure() == nil {
			return missing, nil
		}
		return a.get(e.message), nil
	}
	n.eval = func(e *env) (value, *Error) {
		if kind == rootError && e.message.Failure() == nil {
			return value{}, at.fail("there is no error: the message has not failed", missing)
		}
		if v := a.get(e.message); v.kind != kindMissing {
			return v, nil
		}
		return null, nil
	}
	return n
}

// headersNode is the whole headers table.
func headersNode(at *place) node {
	n := node{locals: noLocal, dynamic: true, root: rootHeaders, at: at}
	n.eval = func(e *env) (value, *Error) { return headersValue(e.message), nil }
	n.opt = n.eval
	return n
}

func headersValue(m *engine.Message) value {
	if m.Headers.Len() == 0 {
		return newObject(0).value()
	}
	return fromGo(m.Headers.Table())
}

// headerNode is one header.
func headerNode(key string, r hcl.Range, path string) node {
	at := &place{rng: r, path: path}
	n := node{locals: noLocal, dynamic: true, at: at}
	n.opt = func(e *env) (value, *Error) {
		if v, ok := e.message.Headers.Get(key); ok {
			return fromGo(v), nil
		}
		return missing, nil
	}
	n.eval = func(e *env) (value, *Error) {
		if v, ok := e.message.Headers.Get(key); ok {
			return fromGo(v), nil
		}
		return value{}, at.fail("there is no such header", missing)
	}
	return n
}

// Attributes lists what msg and error have, for completion: "msg.routing_key".
func Attributes() []string {
	var list []string
	for _, a := range msgAttributes {
		list = append(list, "msg."+a.name)
	}
	for _, a := range errorAttributes {
		list = append(list, "error."+a.name)
	}
	return list
}
