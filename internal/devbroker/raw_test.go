package devbroker_test

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// raw is a client that sends what it likes.
type raw struct {
	net.Conn
	r *bufio.Reader
}

func octet(n byte) []byte           { return []byte{n} }
func word(n uint16) []byte          { return binary.BigEndian.AppendUint16(nil, n) }
func long(n uint32) []byte          { return binary.BigEndian.AppendUint32(nil, n) }
func longlong(n uint64) []byte      { return binary.BigEndian.AppendUint64(nil, n) }
func short(s string) []byte         { return append([]byte{byte(len(s))}, s...) }
func longstr(s string) []byte       { return append(long(uint32(len(s))), s...) }
func table(content ...byte) []byte  { return longstr(string(content)) }
func concat(parts ...[]byte) []byte { return []byte(strings.Join(texts(parts), "")) }

func texts(parts [][]byte) (all []string) {
	for _, p := range parts {
		all = append(all, string(p))
	}
	return all
}

const greeting = "AMQP\x00\x00\x09\x01"

// dial connects, and sends what opens a connection.
func dial(address, hello string) (*raw, error) {
	conn, err := net.DialTimeout("tcp", address, patience)
	if err != nil {
		return nil, err
	}
	_, err = io.WriteString(conn, hello)
	return &raw{conn, bufio.NewReader(conn)}, err
}

// login opens a connection to virtual host /.
func login(t *testing.T, address string) *raw {
	t.Helper()
	r, err := dial(address, greeting)
	must(t, err)
	t.Cleanup(func() { _ = r.Close() })
	r.read()
	r.startOK(table(), "PLAIN", "\x00guest\x00guest")
	r.read()
	r.tuneOK(2047, 131_072, 0)
	r.open("/")
	if got := r.read(); got != "connection.open-ok" {
		t.Fatal(got)
	}
	return r
}

func (r *raw) startOK(properties []byte, mechanism, response string) {
	r.method(0, 10, 11, properties, short(mechanism), longstr(response), short("en_US"))
}

// capable is the properties of a client that wants to be told that its login is refused.
var capable = table(concat(short("capabilities"), octet('F'), table(concat(short("authentication_failure_close"), octet('t'), octet(1))...))...)

func (r *raw) tuneOK(channels uint16, frame uint32, heartbeat uint16) {
	r.method(0, 10, 31, word(channels), long(frame), word(heartbeat))
}

func (r *raw) open(vhost string) { r.method(0, 10, 40, short(vhost), short(""), octet(0)) }

func (r *raw) method(channel, class, method uint16, arguments ...[]byte) {
	r.frame(1, channel, word(class), word(method), concat(arguments...))
}

func (r *raw) frame(kind byte, channel uint16, payload ...[]byte) {
	b := concat(payload...)
	_, _ = r.Write(concat(octet(kind), word(channel), long(uint32(len(b))), b, octet(0xCE)))
}

// names are those of the methods that a broker sends.
var names = map[[2]uint16]string{
	{10, 10}: "connection.start", {10, 30}: "connection.tune", {10, 41}: "connection.open-ok", {10, 50}: "connection.close",
	{10, 51}: "connection.close-ok", {10, 60}: "connection.blocked", {10, 61}: "connection.unblocked", {20, 11}: "channel.open-ok", {20, 40}: "channel.close",
	{20, 41}: "channel.close-ok", {50, 11}: "queue.declare-ok", {50, 21}: "queue.bind-ok", {60, 11}: "basic.qos-ok", {60, 21}: "basic.consume-ok",
	{60, 30}: "basic.cancel", {60, 60}: "basic.deliver", {60, 71}: "basic.get-ok", {60, 72}: "basic.get-empty", {60, 80}: "basic.ack", {85, 11}: "confirm.select-ok",
}

// read waits for a frame, and says what is in it.
func (r *raw) read() string {
	_ = r.SetReadDeadline(time.Now().Add(2 * patience))
	var head [7]byte
	if _, err := io.ReadFull(r.r, head[:]); err != nil {
		return ending(err)
	}
	if string(head[:4]) == "AMQP" {
		last, _ := r.r.ReadByte()
		return fmt.Sprintf("AMQP %d %d %d %d", head[4], head[5], head[6], last)
	}
	b := make([]byte, binary.BigEndian.Uint32(head[3:])+1)
	if _, err := io.ReadFull(r.r, b); err != nil {
		return ending(err)
	}
	on := ""
	if channel := binary.BigEndian.Uint16(head[1:]); channel != 0 {
		on = fmt.Sprintf(" on %d", channel)
	}
	switch head[0] {
	case 2:
		return fmt.Sprintf("header of %d bytes%s", binary.BigEndian.Uint64(b[4:]), on)
	case 3:
		return fmt.Sprintf("body of %d bytes%s", len(b)-1, on)
	case 8:
		return "heartbeat" + on
	}
	return describe(b) + on
}

func ending(err error) string {
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return "silence"
	}
	return "ended"
}

func describe(b []byte) string {
	class, method := binary.BigEndian.Uint16(b), binary.BigEndian.Uint16(b[2:])
	name, args := names[[2]uint16{class, method}], b[4:]
	switch name {
	case "":
		return fmt.Sprintf("method %d.%d", class, method)
	case "connection.tune":
		return fmt.Sprintf("%s channel_max=%d frame_max=%d heartbeat=%d", name, binary.BigEndian.Uint16(args), binary.BigEndian.Uint32(args[2:]), binary.BigEndian.Uint16(args[6:]))
	case "connection.close", "channel.close":
		rest := args[3+args[2]:]
		return fmt.Sprintf("%s %d %s (%d.%d)", name, binary.BigEndian.Uint16(args), args[3:3+args[2]], binary.BigEndian.Uint16(rest), binary.BigEndian.Uint16(rest[2:]))
	}
	return name
}

// raw runs one of the commands of a check that need a client of their own: see testdata/conformance/README.md.
func (a *actor) rawDo(w []string) (out []string) {
	u, err := amqp.ParseURI(a.url)
	must(a.t, err)
	if w[0] == "hello" || w[0] == "login" {
		if a.raw != nil {
			_ = a.raw.Close()
		}
		hello := greeting
		if len(w) > 1 && w[0] == "hello" {
			hello = strings.Repeat(w[1], 8)[:8]
		}
		a.raw, err = dial(net.JoinHostPort(u.Host, strconv.Itoa(u.Port)), hello)
		must(a.t, err)
	}
	r, o := a.raw, newOptions(w[1:])
	setting := func(name string, otherwise int64) int64 {
		if n, ok := o.table[name].(int64); ok {
			return n
		}
		return otherwise
	}
	tune := func() {
		r.tuneOK(uint16(setting("channel_max", 2047)), uint32(setting("frame_max", 131_072)), uint16(setting("heartbeat", 0)))
	}
	switch w[0] {
	case "hello":
		return []string{r.read()}
	case "login":
		r.read()
		r.startOK(table(), "PLAIN", "\x00"+u.Username+"\x00"+u.Password)
		r.read()
		tune()
		r.open(u.Vhost)
		return []string{r.read()}
	case "start-ok":
		properties := table()
		if o.has("capable") {
			properties = capable
		}
		r.startOK(properties, w[1], "\x00"+w[2]+"\x00"+w[3])
		return []string{r.read()}
	case "tune-ok":
		tune()
		return nil
	case "open":
		r.open(w[1])
		return nil
	case "method":
		class, method, _ := strings.Cut(w[2], ".")
		r.method(uint16(number(w[1:])), uint16(number([]string{class})), uint16(number([]string{method})), encoded(w[3:]))
		return nil
	case "frame":
		r.frame(byte(number(w[1:])), uint16(number(w[2:])), encoded(w[3:]))
		return nil
	case "bytes":
		_, _ = r.Write(encoded(w[1:]))
		return nil
	case "silence":
		for got := r.read(); ; got = r.read() {
			if got != "heartbeat" {
				return []string{got}
			}
		}
	}
	for range number(w[1:]) { // read
		out = append(out, r.read())
	}
	return out
}

// encoded writes arguments: o8:N w16:N l32:N q64:N s:TEXT S:LONG-TEXT t: (an empty table) x:N (so many bytes).
func encoded(words []string) (b []byte) {
	for _, w := range words {
		kind, text, _ := strings.Cut(w, ":")
		n, _ := strconv.ParseUint(text, 10, 64)
		switch kind {
		case "o":
			b = append(b, octet(byte(n))...)
		case "w":
			b = append(b, word(uint16(n))...)
		case "l":
			b = append(b, long(uint32(n))...)
		case "q":
			b = append(b, longlong(n)...)
		case "s":
			b = append(b, short(text)...)
		case "S":
			b = append(b, longstr(text)...)
		case "t":
			b = append(b, table()...)
		case "x":
			b = append(b, make([]byte, n)...)
		}
	}
	return b
}
