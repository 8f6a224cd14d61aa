package expr

import (
	"strings"
	"testing"
	"time"

	"github.com/pipeamqp/pipe/engine"
	"github.com/pipeamqp/pipe/engine/enginetest"
)

// targetMessage has every property.
func targetMessage() *engine.Message {
	m := engine.NewMessage([]byte(`{"s": "text", "n": 5, "l": [1], "neg": -1, "long": "`+strings.Repeat("x", 256)+`"}`),
		map[string]any{"h": "v", "when": time.Unix(7, 5), "old": time.Unix(-1, 0)})
	m.Exchange, m.RoutingKey = "orders", "order.eu"
	m.Properties = engine.Properties{
		ContentType: "text/plain", ContentEncoding: "gzip", DeliveryMode: 1, Priority: 3, CorrelationID: "c", ReplyTo: "r",
		Expiration: "1000", MessageID: "m", Timestamp: time.Unix(1, 0).UTC(), Type: "t", UserID: "u", AppID: "a",
	}
	return m
}

// TestTargets assigns to and removes everything of a message that can be changed.
func TestTargets(t *testing.T) {
	for _, test := range []struct {
		set, unset string
		want       func(m *engine.Message)
	}{
		{`{msg.routing_key = "a.${body.n}"}`, `[]`, func(m *engine.Message) { m.RoutingKey = "a.5" }},
		{`{msg.routing_key = null}`, `[]`, func(m *engine.Message) { m.RoutingKey = "" }},
		{`{msg.content_type = body.s, msg.content_encoding = body.n}`, `[]`, func(m *engine.Message) {
			m.Properties.ContentType, m.Properties.ContentEncoding = "text", "5"
		}},
		{`{msg.correlation_id = "1", msg.reply_to = "2", msg.expiration = 3000, msg.message_id = "4", msg.type = "5", msg.user_id = "6", msg.app_id = "7"}`, `[]`, func(m *engine.Message) {
			p := &m.Properties
			p.CorrelationID, p.ReplyTo, p.Expiration, p.MessageID, p.Type, p.UserID, p.AppID = "1", "2", "3000", "4", "5", "6", "7"
		}},
		{`{msg.delivery_mode = 2, msg.priority = 255}`, `[]`, func(m *engine.Message) { m.Properties.DeliveryMode, m.Properties.Priority = 2, 255 }},
		{`{msg.delivery_mode = null, msg.priority = null, msg.timestamp = null, msg.type = null}`, `[]`, func(m *engine.Message) {
			m.Properties.DeliveryMode, m.Properties.Priority, m.Properties.Timestamp, m.Properties.Type = 0, 0, time.Time{}, ""
		}},
		{`{}`, `[msg.routing_key, msg.content_type, msg.content_encoding, msg.delivery_mode, msg.priority, msg.correlation_id, msg.reply_to,
			msg.expiration, msg.message_id, msg.timestamp, msg.type, msg.user_id, msg.app_id]`, func(m *engine.Message) {
			m.RoutingKey, m.Properties = "", engine.Properties{}
		}},
		{`{msg.timestamp = 60}`, `[]`, func(m *engine.Message) { m.Properties.Timestamp = time.Unix(60, 0).UTC() }},
		{`{msg.timestamp = "2026-01-02T04:04:05.9+01:00"}`, `[]`, func(m *engine.Message) {
			m.Properties.Timestamp = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		}},
		{`{msg.timestamp = msg.headers.when}`, `[]`, func(m *engine.Message) { m.Properties.Timestamp = time.Unix(7, 0).UTC() }},
		{`{msg.headers.h = [body.n], msg.headers["x y"] = null, msg.headers.b = {a = body.l}}`, `[]`, func(m *engine.Message) {
			m.Headers.Set("h", []any{int64(5)})
			m.Headers.Set("x y", nil)
			m.Headers.Set("b", map[string]any{"a": []any{int64(1)}})
		}},
		{`{}`, `[msg.headers.h, msg.headers["none"]]`, func(m *engine.Message) { m.Headers.Delete("h") }},
		{`{msg.headers.h = 1}`, `[msg.headers.h]`, func(m *engine.Message) { m.Headers.Delete("h") }},
		{`{msg.body = "new ${body.n}"}`, `[]`, func(m *engine.Message) { m.Body = []byte("new 5") }},
		{`{msg.body = base64decode("/w==")}`, `[]`, func(m *engine.Message) { m.Body = []byte{0xff} }},
		{`{}`, `[msg.body]`, func(m *engine.Message) { m.Body = nil }},
		{`{body.x = 1}`, `[msg.body]`, func(m *engine.Message) { m.Body = nil }},
		{`{body = body.l}`, `[]`, func(m *engine.Message) { m.Body = []byte(`[1]`) }},
		{`{"${body.n}" = 1}`, `refused`, nil},
		{`{msg.headers.a = msg.headers.h, msg.headers.h = body.n, msg.routing_key = msg.exchange}`, `[msg.headers.when]`, func(m *engine.Message) {
			m.Headers.Set("a", "v")
			m.Headers.Set("h", int64(5))
			m.Headers.Delete("when")
			m.RoutingKey = "orders"
		}},
	} {
		if test.want == nil {
			if _, err := ParseAssignments(test.set); err == nil {
				t.Errorf("%s compiles", test.set)
			}
			continue
		}
		got, want := targetMessage(), targetMessage()
		if err := NewEdit(MustParseAssignments(test.set), MustParsePaths(test.unset)).Apply(got); err != nil {
			t.Errorf("%s %s: %v", test.set, test.unset, err)
		}
		if test.want(want); enginetest.Diff(want, got) != "" {
			t.Errorf("%s %s: %s", test.set, test.unset, enginetest.Diff(want, got))
		}
	}
}

// TestTargetErrors: where one assignment fails, none is done.
func TestTargetErrors(t *testing.T) {
	for set, want := range map[string]string{
		`msg.routing_key = body.long`:              `1,34-49: msg.routing_key: longer than the 255 bytes that AMQP allows here`,
		`msg.type = body.l`:                        `1,34-42: msg.type: cannot be made a string: it is a list`,
		`msg.priority = body.neg`:                  `1,34-46: msg.priority: the number is out of range for this property`,
		`msg.priority = 256`:                       `1,34-46: msg.priority: the number is out of range for this property`,
		`msg.priority = body.s`:                    `1,34-46: msg.priority: not a number but a string`,
		`msg.priority = 1.5`:                       `1,34-46: msg.priority: not a whole number`,
		`msg.delivery_mode = 3`:                    `1,34-51: msg.delivery_mode: the number is out of range for this property`,
		`msg.timestamp = body.s`:                   `1,34-47: msg.timestamp: not a timestamp (RFC 3339) but a string`,
		`msg.timestamp = body.neg`:                 `1,34-47: msg.timestamp: a timestamp is from the years 1970 to 9999`,
		`msg.timestamp = "1969-12-31T23:59:59Z"`:   `1,34-47: msg.timestamp: a timestamp is from the years 1970 to 9999`,
		`msg.timestamp = msg.headers.old`:          `1,34-47: msg.timestamp: a timestamp is from the years 1970 to 9999`,
		`msg.timestamp = 253402300800`:             `1,34-47: msg.timestamp: a timestamp is from the years 1970 to 9999`,
		`msg.timestamp = body.l`:                   `1,34-47: msg.timestamp: not a number but a list`,
		`msg.body = body.l`:                        `1,38-46: msg.body: cannot be made a string: it is a list`,
		`msg.headers.x = [1e308 * body.n * 10]`:    `1,51-65: the result is out of range`,
		`body.s.x = 1`:                             `1,34-42: body.s: not an object but a string`,
		`body.s.x.y = 1`:                           `1,34-44: body.s: not an object but a string`,
		`body.l.x = 1`:                             `1,34-42: body.l: not an object but a list`,
		`body.l[1] = 1`:                            `1,34-43: body.l[1]: the list has no such element`,
		`body.l[0].x = 1`:                          `1,34-45: body.l[0]: not an object but a number`,
		`body.x[0] = 1`:                            `1,34-43: body.x[0]: the list has no such element`,
		`body.l[1].x = 1`:                          `1,34-45: body.l[1]: the list has no such element`,
		`body[0] = 1, body["s"].x = 1, body.s = 2`: `refused`,
		`body.x = body.none`:                       `1,43-52: body.none: there is no such field`,
	} {
		source := `{body.first = 1, body["n"] = 2,  ` + set + `}` // edits before that are in order
		if strings.HasPrefix(set, "msg.body") {
			source = `{msg.app_id = 1, msg.message_id = 2, ` + set + `}`
		}
		if want == `refused` {
			if _, err := ParseAssignments(source); err == nil {
				t.Errorf("%s compiles", source)
			}
			continue
		}
		m := targetMessage()
		err := MustParseAssignments(source).Apply(m)
		explained(t, err)
		if err == nil || err.Error() != "expression:"+want {
			t.Errorf("%s\n got %v\nwant expression:%s", source, err, want)
		}
		if diff := enginetest.Diff(targetMessage(), m); diff != "" {
			t.Errorf("%s changed the message all the same: %s", source, diff)
		}
	}
}

// TestEditOfWhatIsNotJSON: paths into the body need JSON, all else does not.
func TestEditOfWhatIsNotJSON(t *testing.T) {
	for _, test := range []struct{ set, unset, want string }{
		{`{body.a = 1}`, `[]`, `expression:1,2-8: body: the body is not JSON: byte 0 is 'x', where a value is expected`},
		{`{}`, `[msg.type, body.a]`, `expression:1,12-18: body: the body is not JSON: byte 0 is 'x', where a value is expected`},
		{`{msg.body = "y", msg.type = "t"}`, `[body.a]`, `expression:1,2-10: msg.body: the new body is not JSON: byte 0 is 'y', where a value is expected`},
		{`{msg.body = "[1]"}`, `[body.a]`, ``},
		{`{msg.type = "t"}`, `[msg.headers.x]`, ``},
		{`{body = {}}`, `[body.a]`, ``},
	} {
		m := engine.NewMessage([]byte("x"), nil)
		err := NewEdit(MustParseAssignments(test.set), MustParsePaths(test.unset)).Apply(m)
		explained(t, err)
		if got := ""; err != nil {
			if got = err.Error(); got != test.want {
				t.Errorf("%s %s: %s", test.set, test.unset, got)
			}
		} else if test.want != "" {
			t.Errorf("%s %s succeeds", test.set, test.unset)
		}
		if diff := enginetest.Diff(engine.NewMessage([]byte("x"), nil), m); err != nil && diff != "" {
			t.Errorf("%s %s changed the message all the same: %s", test.set, test.unset, diff)
		}
	}
}

// TestEditLeavesClonesAlone: bodies and headers are shared, and so an edit never writes into them.
func TestEditLeavesClonesAlone(t *testing.T) {
	edit := NewEdit(MustParseAssignments(`{body.n = 6, body.new = body.s, msg.headers.h = 1}`), MustParsePaths(`[body.l]`))
	m := targetMessage()
	clone := m.Clone()
	if err := edit.Apply(m); err != nil {
		t.Fatal(err)
	}
	if diff := enginetest.Diff(targetMessage(), clone); diff != "" {
		t.Error(diff)
	}
	s, err := MustParseString(`"${body.n} ${body.new} ${has(body.l)}"`).Eval(m)
	if err != nil || s != "6 text false" {
		t.Errorf("after the edit the message says %q, %v", s, err)
	}
}
