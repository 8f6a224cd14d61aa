package pool

import (
	"encoding/binary"
	"fmt"
	"iter"
	"unsafe"
)

// EncodedTable is a headers table as it came from the broker, of which only what is asked for is decoded. It never changes: With and
// Without return another one. The zero value is an empty table. It is safe to use from many goroutines.
//
// Only the pool makes one, and nothing is in it that cannot be published: it leaves byte for byte as it came.
type EncodedTable struct {
	// wire is where an AMQP table begins (section 4.2.5.5), which begins with its length; nil for an empty one. Being no more than that, it
	// becomes an interface, and is copied with a message, for nothing.
	wire *byte
}

// tableLength is how many bytes the length of a table takes.
const tableLength = 4

// encodedTable takes over a table with its length, to which nobody writes any more.
func encodedTable(wire []byte) EncodedTable {
	if len(wire) == tableLength {
		return EncodedTable{}
	}
	return EncodedTable{&wire[0]}
}

// encoded returns the table with its length; nothing for an empty one.
func (t EncodedTable) encoded() string {
	if t.wire == nil {
		return ""
	}
	n := binary.BigEndian.Uint32(unsafe.Slice(t.wire, tableLength))
	return unsafe.String(t.wire, tableLength+int(n))
}

// fields returns the contents of the table.
func (t EncodedTable) fields() string {
	if t.wire == nil {
		return ""
	}
	return t.encoded()[tableLength:]
}

// IsEmpty reports that there is nothing in the table.
func (t EncodedTable) IsEmpty() bool { return t.wire == nil }

// or returns the table, decoded, or headers where it is empty.
func (t EncodedTable) or(headers Table) Table {
	if t.IsEmpty() {
		return headers
	}
	return t.Table()
}

// Len returns how many entries there are.
func (t EncodedTable) Len() (n int) {
	for range t.entries() {
		n++
	}
	return n
}

// Get decodes the value of a header. Of a name that comes twice, the last counts, as in [EncodedTable.Table].
func (t EncodedTable) Get(key string) (value any, ok bool) {
	found := t.find(key)
	if found == "" {
		return nil, false
	}
	return decodeField(found), true
}

// Text returns the value of a header that is a string, and costs less than Get does; ok is false for any other, and for none.
func (t EncodedTable) Text(key string) (text string, ok bool) {
	found := t.find(key)
	if found == "" || found[0] != 'S' {
		return "", false
	}
	return found[lengthful:], true
}

// find returns a value as it is encoded; "" for none.
func (t EncodedTable) find(key string) (found string) {
	for k, v := range t.entries() {
		if k == key {
			found = v
		}
	}
	return found
}

// Table decodes all of it, into a table of the caller's own.
func (t EncodedTable) Table() Table {
	table := make(Table)
	for k, v := range t.entries() {
		table[k] = decodeField(v)
	}
	return table
}

// With returns the table with another value of a header. The types of the value are those that [Publishing] takes in its Headers; it fails
// with [ErrInvalid] where that would.
func (t EncodedTable) With(key string, value any) (EncodedTable, error) {
	size, fit, err := measureEntry(key, value, nil)
	if err == nil {
		err = checkCopy(key, value)
	}
	if err == nil && t.Len() >= maxEntries {
		err = &ErrInvalid{"headers", fmt.Sprintf("there are more than %d", maxEntries-1)}
	}
	if err != nil {
		return EncodedTable{}, err
	}
	if !fit {
		value = normalValue(value)
	}
	b := t.appendWithout(make([]byte, tableLength, tableLength+len(t.fields())+size), key)
	return finished(appendField(appendShort(b, key), value)), nil
}

// Without returns the table without a header.
func (t EncodedTable) Without(key string) EncodedTable {
	for k := range t.entries() {
		if k == key {
			return finished(t.appendWithout(make([]byte, tableLength, len(t.encoded())), key))
		}
	}
	return t
}

func (t EncodedTable) appendWithout(b []byte, key string) []byte {
	for k, v := range t.entries() {
		if k != key {
			b = append(appendShort(b, k), v...)
		}
	}
	return b
}

// finished takes over a table whose length is still to be filled in.
func finished(b []byte) EncodedTable {
	binary.BigEndian.PutUint32(b, uint32(len(b)-tableLength))
	return encodedTable(b)
}

// entries yields each name with its encoded value. A walker has found it all well-formed.
func (t EncodedTable) entries() iter.Seq2[string, string] {
	return func(yield func(string, string) bool) {
		for rest := t.fields(); rest != ""; {
			n := 1 + int(rest[0])
			key, value := rest[1:n], rest[n:]
			size := sizeOf(value)
			if !yield(key, value[:size]) {
				return
			}
			rest = value[size:]
		}
	}
}

// sizeOf returns the size of the well-formed value that s begins with.
func sizeOf(s string) int {
	size := int(fieldSizes[s[0]])
	if size == varying {
		size = lengthful + int(s[1])<<24 + int(s[2])<<16 + int(s[3])<<8 + int(s[4])
	}
	return size
}

// decodeField decodes a value. A text shares its bytes with the table.
func decodeField(s string) any {
	if s[0] == 'S' {
		return s[lengthful:]
	}
	c := cursor{b: []byte(s)}
	return c.field()
}
