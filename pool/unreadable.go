package pool

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"math"
)

// ErrUnreadable says that a message has arrived with headers that the client library does not read, though RabbitMQ took them from
// whoever published it. Use it with errors.As.
type ErrUnreadable struct {
	Reason string
	// Table is the headers as they came: the contents of an encoded AMQP table, without its length. nil if they are too large to be
	// kept.
	Table []byte
}

func (e *ErrUnreadable) Error() string { return "unreadable headers: " + e.Reason }

// fault is what is wrong with an encoded table: one of the following, or unknownType and the type code.
type fault uint16

const (
	readable fault = iota
	tooDeep
	tooMany
	malformed
	headersTooLarge
	unknownType fault = 0x100
)

func (f fault) String() string {
	switch f {
	case tooDeep:
		return fmt.Sprintf("tables and lists nest deeper than %d", maxDepth)
	case tooMany:
		return fmt.Sprintf("a table or list has more than %d entries", maxEntries)
	case malformed:
		return "they are not an AMQP table"
	case headersTooLarge:
		return "they are larger than a frame of this connection"
	}
	return fmt.Sprintf("a value has the unknown type code %q", byte(f))
}

// fieldSizes has the encoded size of a value by its type code, with the code; varying for those that have a length; 0 for those that the
// library does not know (readFieldDepth in its read.go), but for 'L'.
var fieldSizes = [256]uint8{
	'V': 1, 't': 2, 'b': 2, 'B': 2, 's': 3, 'u': 3, 'I': 5, 'i': 5, 'f': 5, 'D': 6, 'd': 9, 'l': 9, 'L': 9, 'T': 9,
	'S': varying, 'x': varying, 'A': varying, 'F': varying,
}

const (
	varying   = 255
	lengthful = 1 + 4 // type code and length
)

// walker walks over an encoded table, without decoding it, by the rules by which the library reads it. It reads nothing outside.
type walker struct {
	rename bool // write 'l' over each type code 'L'
	longs  bool // there was one
	odd    bool // there is something that cannot be published again as it is
}

// walk says whether the library can read the contents of a table, or of a list, that is so many levels deep: 1 for headers.
func (w *walker) walk(b []byte, table bool, level int) fault {
	all := b
	for n := 0; len(b) > 0; n++ {
		if table {
			key := 1 + int(b[0])
			if key >= len(b) {
				return malformed
			}
			w.odd = w.odd || level == 1 && isCopies(string(b[1:key]))
			b = b[key:]
		}
		size, why := fieldSize(b)
		if why != readable {
			return why
		}
		switch code := b[0]; code {
		case 'A', 'F':
			if level == maxDepth {
				return tooDeep
			}
			if why := w.walk(b[lengthful:size], code == 'F', level+1); why != readable {
				return why
			}
		case 'f':
			w.odd = w.odd || finite(float64(math.Float32frombits(binary.BigEndian.Uint32(b[1:]))), size) == 0
		case 'd':
			w.odd = w.odd || finite(math.Float64frombits(binary.BigEndian.Uint64(b[1:])), size) == 0
		case 'L':
			w.longs = true
			if w.rename {
				b[0] = 'l'
			}
		}
		if n == maxEntries { // the library counts what it has read: what is cut off is not one more
			if !table || crowded(all) {
				return tooMany
			}
			w.odd = true
		}
		b = b[size:]
	}
	return readable
}

// fieldSize returns the size of the value that b begins with, if that is in b. b is not empty.
func fieldSize(b []byte) (size int, why fault) {
	size = int(fieldSizes[b[0]])
	if size == varying && len(b) >= lengthful {
		n := binary.BigEndian.Uint32(b[1:])
		size = int(min(uint64(n), uint64(len(b)))) + lengthful
	}
	switch {
	case size == 0:
		return 0, unknownType | fault(b[0])
	case size > len(b):
		return 0, malformed
	}
	return size, readable
}

// crowded reports that a table with more than maxEntries entries has too many: the library counts a key that comes again once, and
// looks at the count before it takes in the entry (readTableDepth). What is malformed is not crowded: walk comes to it.
func crowded(b []byte) bool {
	keys := make(map[string]struct{}, maxEntries)
	for len(b) > 0 {
		if len(keys) == maxEntries {
			return true
		}
		n := 1 + int(b[0])
		if n >= len(b) {
			return false
		}
		keys[string(b[1:n])] = struct{}{}
		b = b[n:]
		size, why := fieldSize(b)
		if why != readable {
			return false
		}
		b = b[size:]
	}
	return false
}

// markKey is the only key of headers that stand in for others. Nobody outside the process can know it, so no message can come
// with it.
var markKey = "unreadable " + rand.Text()

// standIn encodes the contents of a table with one entry: by markKey, why the headers are not readable, and the headers, encoded.
func standIn(why fault, headers []byte) []byte {
	b := make([]byte, 0, 1+len(markKey)+lengthful+2+len(headers))
	b = append(b, byte(len(markKey)))
	b = append(b, markKey...)
	b = append(b, 'x')
	b = binary.BigEndian.AppendUint32(b, uint32(2+len(headers)))
	b = binary.BigEndian.AppendUint16(b, uint16(why))
	return append(b, headers...)
}

// unmark takes away the headers of a message that stand in for others, and returns an [*ErrUnreadable] if it did.
func unmark(headers *Table) error {
	if len(*headers) != 1 {
		return nil
	}
	mark, ok := (*headers)[markKey].([]byte)
	if !ok {
		return nil
	}
	*headers = nil
	e := &ErrUnreadable{Reason: fault(binary.BigEndian.Uint16(mark)).String()}
	if len(mark) > 2 {
		e.Table = mark[2:]
	}
	return e
}

// unmarkAll marks the deliveries with headers that could not be read, and returns how many these are.
func unmarkAll(chunk []Delivery) (n uint64) {
	for i := range chunk {
		if d := &chunk[i]; len(d.Headers) == 1 {
			if d.Unreadable = unmark(&d.Headers); d.Unreadable != nil {
				n++
			}
		}
	}
	return n
}
