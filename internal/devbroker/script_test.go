package devbroker_test

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// actor runs the commands of a check (testdata/conformance) on a broker, and writes down what comes of them. See testdata/conformance/README.md.
type actor struct {
	t        *testing.T
	url      string
	vhost    string
	conns    map[bool]*amqp.Connection // by whether it is the other one
	channels map[byte]*station
	queues   []string
	exchange []string
	raw      *raw
}

// station is a channel, and what comes to it.
type station struct {
	*amqp.Channel
	closed    chan *amqp.Error
	returns   chan amqp.Return
	cancels   chan string
	delivered chan amqp.Delivery
	confirms  bool
}

// patience is how long a command waits for what is expected.
const patience = 15 * time.Second

func newActor(t *testing.T, url string) *actor {
	u, err := amqp.ParseURI(url)
	must(t, err)
	return &actor{t: t, url: url, vhost: u.Vhost, conns: map[bool]*amqp.Connection{}, channels: map[byte]*station{}}
}

// other reports that a channel is one of the second connection's: those from n on are.
func other(name byte) bool { return name >= 'n' }

func (a *actor) station(name byte) (*station, error) {
	if s := a.channels[name]; s != nil && !s.IsClosed() {
		return s, nil
	}
	conn := a.conns[other(name)]
	if conn == nil || conn.IsClosed() {
		var err error
		if conn, err = amqp.DialConfig(a.url, amqp.Config{Heartbeat: 10 * time.Second, Dial: amqp.DefaultDial(patience)}); err != nil {
			return nil, err
		}
		a.conns[other(name)] = conn
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	s := &station{Channel: ch, delivered: make(chan amqp.Delivery, 1000)}
	s.closed = ch.NotifyClose(make(chan *amqp.Error, 1))
	s.returns = ch.NotifyReturn(make(chan amqp.Return, 100))
	s.cancels = ch.NotifyCancel(make(chan string, 100))
	a.channels[name] = s
	return s, nil
}

// clear deletes what the commands have made.
func (a *actor) clear() {
	if a.raw != nil {
		_ = a.raw.Close()
	}
	for _, c := range a.conns {
		_ = c.Close()
	}
	clear(a.conns)
	clear(a.channels)
	for _, q := range a.queues {
		if s, err := a.station('a'); err == nil {
			_, _ = s.QueueDelete(q, false, false, false)
		}
	}
	for _, x := range a.exchange {
		if s, err := a.station('a'); err == nil {
			_ = s.ExchangeDelete(x, false, false)
		}
	}
	for _, c := range a.conns {
		_ = c.Close()
	}
}

// words splits a command; ” is an empty word.
func words(line string) []string {
	w := strings.Fields(line)
	for i := range w {
		if w[i] == "''" {
			w[i] = ""
		}
	}
	return w
}

// options takes the flags and the settings off the words of a command.
type options struct {
	words []string
	table amqp.Table
}

func newOptions(words []string) options {
	o := options{table: amqp.Table{}}
	for _, w := range words {
		if key, text, ok := strings.Cut(w, "="); ok {
			o.table[key] = value(text)
		} else {
			o.words = append(o.words, w)
		}
	}
	return o
}

func (o options) has(flag string) bool { return slices.Contains(o.words, flag) }

// args returns the settings that are arguments: those with a prefix, or all.
func (o options) args(prefix string) amqp.Table {
	t := amqp.Table{}
	for key, v := range o.table {
		if key, ok := strings.CutPrefix(key, prefix); ok {
			t[key] = v
		}
	}
	return t
}

func (o options) text(key string) string {
	if v, ok := o.table[key]; ok {
		return fmt.Sprint(v)
	}
	return ""
}

func value(text string) any {
	switch {
	case text == "true" || text == "false":
		return text == "true"
	case text == "nil":
		return nil
	case strings.HasPrefix(text, "'"):
		return strings.Trim(text, "'")
	case strings.HasPrefix(text, "["):
		var list []any
		for e := range strings.SplitSeq(strings.Trim(text, "[]"), ",") {
			list = append(list, value(e))
		}
		return list
	}
	if n, err := strconv.ParseInt(text, 10, 64); err == nil {
		return n
	}
	if f, err := strconv.ParseFloat(text, 64); err == nil {
		return f
	}
	return text
}

// do runs a command and returns what comes of it, a line each.
func (a *actor) do(line string) []string {
	name := byte('a')
	if len(line) > 2 && line[1] == ':' {
		name, line = line[0], line[2:]
	}
	w := words(line)
	if w[0] == "raw" {
		return a.anonymous(a.rawDo(w[1:]))
	}
	s, err := a.station(name)
	if err != nil {
		return []string{a.failure(err)}
	}
	run := commands[w[0]]
	if run == nil {
		a.t.Fatalf("no such command: %s", line)
	}
	out, err := run(a, s, w[1:])
	if err == nil {
		err = s.sync()
	}
	if err != nil {
		out = append(out, a.failure(err))
	}
	return a.anonymous(out)
}

// anonymous takes the name of the virtual host out of what came.
func (a *actor) anonymous(out []string) []string {
	for i := range out {
		out[i] = strings.ReplaceAll(out[i], "'"+a.vhost+"'", "'V'")
	}
	return out
}

// sync waits until the broker has handled what has been sent, and returns the error that it came to.
func (s *station) sync() error {
	if !s.IsClosed() {
		if err := s.Flow(true); err == nil {
			return nil
		}
	}
	select {
	case e := <-s.closed:
		if e != nil {
			return e
		}
	case <-time.After(patience):
	}
	return nil
}

func (a *actor) failure(err error) string {
	var e *amqp.Error
	if !errors.As(err, &e) {
		return "error " + err.Error()
	}
	kind := "channel"
	for _, c := range a.conns {
		if c.IsClosed() {
			kind = "connection"
		}
	}
	return fmt.Sprintf("%s error %d %s", kind, e.Code, e.Reason)
}

func shown(tag uint64, redelivered bool, exchange, key string, body []byte, headers amqp.Table, expiration string) string {
	text := fmt.Sprintf("#%d %s from '%s' key '%s'", tag, body, exchange, key)
	if redelivered {
		text += " redelivered"
	}
	if expiration != "" {
		text += " expiration " + expiration
	}
	if len(headers) > 0 {
		text += " " + shownValue(headers)
	}
	return text
}

func shownValue(v any) string {
	switch v := v.(type) {
	case amqp.Table:
		var parts []string
		for key, e := range v {
			if key != "time" {
				parts = append(parts, key+"="+shownValue(e))
			}
		}
		slices.Sort(parts)
		return "{" + strings.Join(parts, " ") + "}"
	case []any:
		var parts []string
		for _, e := range v {
			parts = append(parts, shownValue(e))
		}
		return "[" + strings.Join(parts, " ") + "]"
	}
	return fmt.Sprint(v)
}

// shownDeliveries shows what came in the order in which the broker sent it: the client library hands over what is for one consumer in order,
// but not what is for several.
func shownDeliveries(took []amqp.Delivery) (out []string) {
	last := map[string]uint64{}
	for _, d := range took {
		if d.DeliveryTag <= last[d.ConsumerTag] {
			out = append(out, fmt.Sprintf("#%d after #%d", d.DeliveryTag, last[d.ConsumerTag]))
		}
		last[d.ConsumerTag] = d.DeliveryTag
	}
	slices.SortStableFunc(took, func(a, b amqp.Delivery) int { return cmp.Compare(a.DeliveryTag, b.DeliveryTag) })
	for _, d := range took {
		out = append(out, shownDelivery(d))
	}
	return out
}

func shownDelivery(d amqp.Delivery) string {
	if strings.HasPrefix(d.RoutingKey, "amq.rabbitmq.reply-to.") {
		d.RoutingKey = "amq.rabbitmq.reply-to.x"
	}
	return d.ConsumerTag + " " + shown(d.DeliveryTag, d.Redelivered, d.Exchange, d.RoutingKey, d.Body, d.Headers, d.Expiration)
}

type command func(*actor, *station, []string) ([]string, error)

func number(words []string) uint64 {
	n, _ := strconv.ParseUint(words[0], 10, 64)
	return n
}

var commands map[string]command

func init() {
	commands = map[string]command{
		"queue": func(a *actor, s *station, w []string) ([]string, error) {
			o := newOptions(w[1:])
			declare := s.QueueDeclare
			if o.has("passive") {
				declare = s.QueueDeclarePassive
			} else {
				a.queues = append(a.queues, w[0])
			}
			q, err := declare(w[0], o.has("durable"), o.has("auto-delete"), o.has("exclusive"), false, o.table)
			if err != nil {
				return nil, err
			}
			if strings.HasPrefix(q.Name, "amq.gen-") {
				q.Name = "amq.gen-" + strings.Repeat("x", len(q.Name)-8)
			}
			return []string{fmt.Sprintf("%s messages=%d consumers=%d", q.Name, q.Messages, q.Consumers)}, nil
		},
		"exchange": func(a *actor, s *station, w []string) ([]string, error) {
			o := newOptions(w[2:])
			declare := s.ExchangeDeclare
			if o.has("passive") {
				declare = s.ExchangeDeclarePassive
			} else {
				a.exchange = append(a.exchange, w[0])
			}
			return nil, declare(w[0], w[1], o.has("durable"), o.has("auto-delete"), o.has("internal"), false, o.table)
		},
		"bind": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.QueueBind(w[0], w[2], w[1], false, newOptions(w[3:]).table)
		},
		"unbind": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.QueueUnbind(w[0], w[2], w[1], newOptions(w[3:]).table)
		},
		"bind-exchange": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.ExchangeBind(w[0], w[2], w[1], false, newOptions(w[3:]).table)
		},
		"unbind-exchange": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.ExchangeUnbind(w[0], w[2], w[1], false, newOptions(w[3:]).table)
		},
		"delete-queue": func(a *actor, s *station, w []string) ([]string, error) {
			o := newOptions(w[1:])
			n, err := s.QueueDelete(w[0], o.has("if-unused"), o.has("if-empty"), false)
			if err != nil {
				return nil, err
			}
			return []string{fmt.Sprintf("deleted with %d", n)}, nil
		},
		"delete-exchange": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.ExchangeDelete(w[0], newOptions(w[1:]).has("if-unused"), false)
		},
		"purge": func(a *actor, s *station, w []string) ([]string, error) {
			n, err := s.QueuePurge(w[0], false)
			if err != nil {
				return nil, err
			}
			return []string{fmt.Sprintf("purged %d", n)}, nil
		},
		"publish": (*actor).publish,
		"get": func(a *actor, s *station, w []string) ([]string, error) {
			d, ok, err := s.Get(w[0], newOptions(w[1:]).has("no-ack"))
			switch {
			case err != nil:
				return nil, err
			case !ok:
				return []string{"empty"}, nil
			}
			return []string{shown(d.DeliveryTag, d.Redelivered, d.Exchange, d.RoutingKey, d.Body, d.Headers, d.Expiration) + fmt.Sprintf(", %d left", d.MessageCount)}, nil
		},
		"consume": func(a *actor, s *station, w []string) ([]string, error) {
			o := newOptions(w[2:])
			ds, err := s.Consume(w[0], w[1], o.has("no-ack"), o.has("exclusive"), false, false, o.table)
			if err == nil {
				go func() {
					for d := range ds {
						s.delivered <- d
					}
				}()
			}
			return nil, err
		},
		"take": func(a *actor, s *station, w []string) (out []string, err error) {
			var took []amqp.Delivery
			for late := time.After(patience); uint64(len(took)) < number(w); {
				select {
				case d := <-s.delivered:
					took = append(took, d)
					continue
				case <-late:
				}
				return append(shownDeliveries(took), "no more"), nil
			}
			return shownDeliveries(took), nil
		},
		"none": func(a *actor, s *station, w []string) (out []string, err error) {
			late := time.After(100 * time.Millisecond)
			for {
				select {
				case d := <-s.delivered:
					out = append(out, shownDelivery(d))
				case <-late:
					return append(out, "none"), nil
				}
			}
		},
		"answer": func(a *actor, s *station, w []string) ([]string, error) {
			d, ok, err := s.Get(w[0], true)
			if err != nil || !ok {
				return []string{"no question"}, err
			}
			return a.publish(s, []string{"", d.ReplyTo, w[1]})
		},
		"cancel": func(a *actor, s *station, w []string) ([]string, error) { return nil, s.Cancel(w[0], false) },
		"cancelled": func(a *actor, s *station, w []string) ([]string, error) {
			select {
			case tag := <-s.cancels:
				return []string{tag}, nil
			case <-time.After(patience):
				return []string{"nobody"}, nil
			}
		},
		"ack": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.Ack(number(w), newOptions(w[1:]).has("multiple"))
		},
		"nack": func(a *actor, s *station, w []string) ([]string, error) {
			o := newOptions(w[1:])
			return nil, s.Nack(number(w), o.has("multiple"), o.has("requeue"))
		},
		"reject": func(a *actor, s *station, w []string) ([]string, error) {
			return nil, s.Reject(number(w), newOptions(w[1:]).has("requeue"))
		},
		"recover": func(a *actor, s *station, w []string) ([]string, error) {
			//lint:ignore SA1019 clients may
			return nil, s.Recover(!slices.Contains(w, "same"))
		},
		"qos": func(a *actor, s *station, w []string) ([]string, error) {
			size := 0
			if slices.Contains(w, "size") {
				size = 1
			}
			return nil, s.Qos(int(number(w)), size, slices.Contains(w, "global"))
		},
		"tx": func(a *actor, s *station, w []string) ([]string, error) { return nil, s.Tx() },
		"confirm": func(a *actor, s *station, w []string) ([]string, error) {
			s.confirms = true
			return nil, s.Confirm(false)
		},
		"close": func(a *actor, s *station, w []string) ([]string, error) { return nil, s.Close() },
		"disconnect": func(a *actor, s *station, w []string) ([]string, error) {
			for is, c := range a.conns {
				for name, ch := range a.channels {
					if other(name) == is && ch == s {
						return nil, c.Close()
					}
				}
			}
			return nil, nil
		},
		"sleep": func(a *actor, s *station, w []string) ([]string, error) {
			time.Sleep(time.Duration(number(w)) * time.Millisecond)
			return nil, nil
		},
		"wait": func(a *actor, s *station, w []string) ([]string, error) {
			want := int(number(w[1:]))
			for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
				q, err := s.QueueDeclarePassive(w[0], false, false, false, false, nil)
				if err != nil || q.Messages == want || time.Now().After(deadline) {
					return []string{fmt.Sprintf("%s has %d", w[0], q.Messages)}, err
				}
			}
		},
		"gone": func(a *actor, s *station, w []string) ([]string, error) {
			for deadline := time.Now().Add(patience); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
				probe, err := a.station('m')
				if err == nil {
					_, err = probe.QueueDeclarePassive(w[0], false, false, false, false, nil)
				}
				if e := new(amqp.Error); errors.As(err, &e) && e.Code == amqp.NotFound {
					return []string{"gone"}, nil
				}
			}
			return []string{"still there"}, nil
		},
	}
}

// publish publishes with a confirm, and says what came back.
func (a *actor) publish(s *station, w []string) (out []string, err error) {
	if !s.confirms {
		s.confirms = true
		if err := s.Confirm(false); err != nil {
			return nil, err
		}
	}
	o := newOptions(w[3:])
	p := amqp.Publishing{Body: []byte(w[2]), Expiration: o.text("expiration"), UserId: o.text("user-id"), ReplyTo: o.text("reply-to"), Headers: o.args("h.")}
	if len(p.Headers) == 0 {
		p.Headers = nil
	}
	if n, ok := o.table["priority"].(int64); ok {
		p.Priority = uint8(n)
	}
	if n, ok := o.table["size"].(int64); ok {
		p.Body = make([]byte, n)
	}
	c, err := s.PublishWithDeferredConfirm(w[0], w[1], o.has("mandatory"), o.has("immediate"), p)
	if err != nil {
		return nil, err
	}
	select {
	case <-c.Done():
		if !c.Acked() && s.IsClosed() {
			return nil, nil // the client nacks what a channel that closes leaves unconfirmed; sync has the reason
		}
	case <-time.After(patience):
		return []string{"no confirm"}, nil
	}
	for len(s.returns) > 0 {
		r := <-s.returns
		out = append(out, fmt.Sprintf("returned %d %s: %s", r.ReplyCode, r.ReplyText, shown(0, false, r.Exchange, r.RoutingKey, r.Body, r.Headers, r.Expiration)))
	}
	if !c.Acked() {
		out = append(out, "nack")
	}
	return out, nil
}
