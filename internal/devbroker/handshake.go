package devbroker

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"time"
)

// handshake talks with the client until it has opened a virtual host (section 2.2.4).
func (c *connection) handshake() error {
	_ = c.socket.SetReadDeadline(time.Now().Add(handshakeTimeout))
	var header [8]byte
	if _, err := io.ReadFull(c.reader.r, header[:]); err != nil {
		return err
	}
	if !bytes.Equal(header[:], []byte("AMQP\x00\x00\x09\x01")) {
		c.send([]byte("AMQP\x00\x00\x09\x01"))
		return errors.New("another protocol")
	}
	c.sendMethod(0, connectionStart, func(b []byte) []byte {
		b = append(b, 0, 9)
		b = appendTable(b, table{
			{"capabilities", table{
				{"publisher_confirms", true},
				{"exchange_exchange_bindings", true},
				{"basic.nack", true},
				{"consumer_cancel_notify", true},
				{"connection.blocked", true},
				{"consumer_priorities", true},
				{"authentication_failure_close", true},
				{"per_consumer_qos", true},
				{"direct_reply_to", true},
			}},
			{"product", "pipe devbroker"},
			{"version", "0-9-1"},
			{"platform", "Go"},
			{"information", "In memory, for development only"},
		})
		return appendLongstr(appendLongstr(b, "PLAIN AMQPLAIN"), "en_US")
	})
	if err := c.logIn(); err != nil {
		return err
	}
	c.sendMethod(0, connectionTune, func(b []byte) []byte {
		b = binary.BigEndian.AppendUint16(b, channelMax)
		b = binary.BigEndian.AppendUint32(b, frameMax)
		return binary.BigEndian.AppendUint16(b, uint16(heartbeat/time.Second))
	})
	if err := c.tune(); err != nil {
		return err
	}
	return c.open()
}

// expect reads the method that the client has to send next.
func (c *connection) expect(m method) (*arguments, error) {
	f, err := c.reader.read()
	if err != nil {
		return nil, err
	}
	if methodIn(f) != m || f.channel != 0 {
		return nil, errors.New("an unexpected frame")
	}
	return &arguments{b: f.payload[4:]}, nil
}

func (c *connection) logIn() error {
	a, err := c.expect(connectionStartOK)
	if err != nil {
		return err
	}
	properties := a.table()
	mechanism, response := a.shortstr(), a.longstr()
	if a.bad {
		return errors.New("malformed")
	}
	if v, ok := properties.get("capabilities"); ok {
		t, _ := v.(table)
		blocked, _ := t.get("connection.blocked")
		cancel, _ := t.get("consumer_cancel_notify")
		failure, _ := t.get("authentication_failure_close")
		c.blockedOK, c.cancelOK, c.failureOK = blocked == true, cancel == true, failure == true
	}
	user, password := credentials(mechanism, response)
	if want, ok := c.server.options.Users[user]; !ok || want != password {
		if !c.failureOK {
			return errors.New("refused")
		}
		return c.refuseLogin(accessRefused("Login was refused using authentication mechanism %s. For details see the broker logfile.", mechanism), 0)
	}
	c.user = user
	return nil
}

func credentials(mechanism string, response []byte) (user, password string) {
	switch mechanism {
	case "PLAIN":
		if parts := bytes.Split(response, []byte{0}); len(parts) == 3 {
			return string(parts[1]), string(parts[2])
		}
	case "AMQPLAIN":
		a := arguments{b: append(binary.BigEndian.AppendUint32(nil, uint32(len(response))), response...)}
		t := a.table()
		u, _ := t.get("LOGIN")
		p, _ := t.get("PASSWORD")
		return asText(u), asText(p)
	}
	return "", ""
}

func (c *connection) tune() error {
	a, err := c.expect(connectionTuneOK)
	if err != nil {
		return err
	}
	channels, size := int(a.short()), int(a.long())
	c.heartbeat = time.Duration(a.short()) * time.Second
	switch {
	case a.bad:
		return c.refuseLogin(syntaxError("malformed arguments"), connectionTuneOK)
	case channels == 0 || channels > channelMax:
		return c.refuseLogin(tooMuch("channel_max", channels, channelMax), connectionTuneOK)
	case size == 0 || size > frameMax:
		return c.refuseLogin(tooMuch("frame_max", size, frameMax), connectionTuneOK)
	case size < frameMin:
		return c.refuseLogin(notAllowed("negotiated frame_max = %d is lower than the minimum allowed value (%d)", size, frameMin), connectionTuneOK)
	}
	c.chanMax, c.frameMax, c.reader.max = channels, size, size
	return nil
}

// tooMuch is what a client is told that wants more than it was offered; 0 is all there is.
func tooMuch(what string, asked, most int) *fault {
	detail := ""
	if asked == 0 {
		detail = " (no limit)"
	}
	return notAllowed("negotiated %s = %d%s is higher than the maximum allowed value (%d)", what, asked, detail, most)
}

// refuseLogin ends a connection that is not open yet.
func (c *connection) refuseLogin(f *fault, m method) error {
	c.sendClose(f.over(m))
	c.linger()
	return f
}

func (c *connection) open() error {
	a, err := c.expect(connectionOpen)
	if err != nil {
		return err
	}
	name := a.shortstr()
	s := c.server
	s.mu.Lock()
	defer s.mu.Unlock()
	if c.vhost = s.vhosts[name]; c.vhost == nil || a.bad {
		return c.refuseLogin(notAllowed("vhost %s not found", name), connectionOpen)
	}
	c.sendMethod(0, connectionOpenOK, func(b []byte) []byte { return appendShortstr(b, "") })
	_ = c.socket.SetReadDeadline(time.Time{})
	return nil
}
