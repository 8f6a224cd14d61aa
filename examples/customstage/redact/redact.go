// Package redact is a stage of one's own: it masks payment card numbers in the body.
package redact

import (
	"bytes"
	"context"
	"errors"

	"github.com/pipeamqp/pipe/engine"
)

// Config is all that pipe needs to decode, check and document the stage.
type Config struct {
	_ struct{} `doc:"Masks payment card numbers in the body: runs of 13 to 19 digits with a valid check digit."`

	Mask string `hcl:"mask,optional" default:"*" doc:"The character that replaces a digit."`
	Keep int    `hcl:"keep,optional" default:"4" doc:"How many digits at the end stay readable, 0 to 6."`
}

// Stage masks card numbers. Process may be called from many goroutines.
type Stage struct {
	mask byte
	keep int
}

var _ engine.Stage = (*Stage)(nil)

// New makes the stage. An error becomes a diagnostic at the stage's block.
func New(c Config) (engine.Stage, error) {
	if len(c.Mask) != 1 || c.Mask[0] > '~' || c.Mask[0] < ' ' {
		return nil, errors.New("mask must be one printable ASCII character")
	}
	if c.Keep < 0 || c.Keep > 6 {
		return nil, errors.New("keep must be 0 to 6")
	}
	return &Stage{mask: c.Mask[0], keep: c.Keep}, nil
}

// Process masks what it finds. A body without a card number stays as it is, byte for byte.
func (s *Stage) Process(_ context.Context, m *engine.Message, emit func(*engine.Message)) error {
	m.Body = s.redact(m.Body)
	emit(m)
	return nil
}

func (s *Stage) redact(body []byte) []byte {
	masked := body
	for start := 0; start < len(body); {
		end := start
		for end < len(body) && isDigit(body[end]) {
			end++
		}
		if n := end - start; n >= 13 && n <= 19 && luhn(body[start:end]) {
			if &masked[0] == &body[0] {
				masked = bytes.Clone(body) // the bytes of a body are never written in place
			}
			for i := start; i < end-s.keep; i++ {
				masked[i] = s.mask
			}
		}
		start = max(end, start+1)
	}
	return masked
}

func isDigit(b byte) bool { return '0' <= b && b <= '9' }

// luhn checks the check digit of a card number (ISO/IEC 7812-1).
func luhn(digits []byte) bool {
	sum := 0
	for i := range digits {
		d := int(digits[len(digits)-1-i] - '0')
		if i%2 == 1 {
			if d *= 2; d > 9 {
				d -= 9
			}
		}
		sum += d
	}
	return sum%10 == 0
}
