package expr

import (
	"encoding/base64"
	"fmt"
	"math"
	"time"
	"unicode/utf8"

	"github.com/pipeamqp/pipe/engine"
)

// toBool converts as HCL does: the strings "true" and "false" count as bools.
func toBool(v value, at *place) (value, *Error) {
	switch {
	case v.kind == kindBool:
		return v, nil
	case v.kind == kindString && (v.str == "true" || v.str == "1"):
		return boolValue(true), nil
	case v.kind == kindString && (v.str == "false" || v.str == "0"):
		return boolValue(false), nil
	}
	return value{}, at.fail("not true or false but %t", v)
}

// toNumber converts as HCL does: a string that reads as a number counts as one.
func toNumber(v value, at *place) (value, *Error) {
	switch {
	case v.isFinite():
		return v, nil
	case v.kind == kindFloat:
		return value{}, at.fail(outOfRange, v)
	case v.kind == kindString:
		if n, ok := parseNumber(v.str); ok {
			return n, nil
		}
	}
	return value{}, at.fail("not a number but %t", v)
}

// toString converts by the one rule for everything that must be a string.
func toString(v value, at *place) (value, *Error) {
	if v.kind == kindString {
		return v, nil
	}
	text, err := appendText(nil, v, at)
	if err != nil {
		return value{}, err
	}
	return stringValue(alias(text)), nil
}

// appendText writes a value as the text of a string.
func appendText(dst []byte, v value, at *place) ([]byte, *Error) {
	switch v.kind {
	case kindString:
		return append(dst, v.str...), nil
	case kindInt, kindFloat:
		return appendNumber(dst, v), nil
	case kindBool:
		if v.num != 0 {
			return append(dst, "true"...), nil
		}
		return append(dst, "false"...), nil
	case kindTime:
		return v.time().AppendFormat(dst, time.RFC3339Nano), nil
	case kindBytes:
		if !utf8.ValidString(v.str) {
			return dst, at.fail("the bytes are not UTF-8 text: use base64encode", v)
		}
		return append(dst, v.str...), nil
	}
	return dst, at.fail("cannot be made a string: it is %t", v)
}

// toInt converts to a whole number.
func toInt(v value, at *place) (int64, *Error) {
	n, err := toNumber(v, at)
	if err != nil {
		return 0, err
	}
	if n.kind == kindInt {
		return n.int(), nil
	}
	if i, ok := wholeFloat(n.float()); ok {
		return i, nil
	}
	return 0, at.fail("not a whole number", v)
}

// toGo converts to the Go value that a header or another program is given.
func toGo(v value, at *place) (any, *Error) {
	switch v.kind {
	case kindNull, kindMissing:
		return nil, nil
	case kindBool:
		return v.num != 0, nil
	case kindString:
		return v.str, nil
	case kindBytes:
		return []byte(v.str), nil
	case kindTime:
		return v.time(), nil
	case kindInt, kindFloat:
		return numberToGo(v, at)
	}
	if v.ref != nil && v.ref.goes != nil {
		return v.ref.goes, nil
	}
	if v.ref != nil && v.weight(maxOutput) > maxOutput {
		return nil, at.fail(tooLarge, v)
	}
	return compositeToGo(v.deep(), at)
}

func numberToGo(v value, at *place) (any, *Error) {
	switch {
	case v.ref != nil:
		return v.ref.goes, nil
	case v.width != 0:
		return v.width.restore(v), nil
	case v.kind == kindInt:
		return v.int(), nil
	case v.str != "" && !isFinite(v.float()):
		return nil, at.fail(outOfRange, v)
	}
	return v.float(), nil
}

func compositeToGo(v value, at *place) (any, *Error) {
	c := v.ref
	if v.kind == kindList {
		list := make([]any, len(c.items))
		for i, item := range c.items {
			g, err := toGo(item, at)
			if err != nil {
				return nil, err
			}
			list[i] = g
		}
		return list, nil
	}
	table := make(map[string]any, len(c.keys))
	for i, key := range c.keys {
		g, err := toGo(c.items[i], at)
		if err != nil {
			return nil, err
		}
		table[key] = g
	}
	return table, nil
}

// width is what a number was in an AMQP table, so that it goes on as the same.
type width uint8

const (
	wideInt8 width = iota + 1
	wideUint8
	wideInt16
	wideUint16
	wideInt32
	wideUint32
	wideFloat32
)

func (w width) restore(v value) any {
	switch w {
	case wideInt8:
		return int8(v.int())
	case wideUint8:
		return uint8(v.int())
	case wideInt16:
		return int16(v.int())
	case wideUint16:
		return uint16(v.int())
	case wideInt32:
		return int32(v.int())
	case wideUint32:
		return uint32(v.int())
	}
	return float32(v.float())
}

func wideInt(i int64, w width) value {
	v := intValue(i)
	v.width = w
	return v
}

// fromGo makes a value of what an AMQP table holds.
func fromGo(g any) value {
	switch g := g.(type) {
	case nil:
		return null
	case string:
		return stringValue(g)
	case bool:
		return boolValue(g)
	case int8:
		return wideInt(int64(g), wideInt8)
	case uint8:
		return wideInt(int64(g), wideUint8)
	case int16:
		return wideInt(int64(g), wideInt16)
	case uint16:
		return wideInt(int64(g), wideUint16)
	case int32:
		return wideInt(int64(g), wideInt32)
	case uint32:
		return wideInt(int64(g), wideUint32)
	case int64:
		return intValue(g)
	case int:
		return intValue(int64(g))
	case float32:
		v := floatValue(float64(g))
		v.width = wideFloat32
		return v
	case float64:
		return floatValue(g)
	case []byte:
		return bytesValue(g)
	case time.Time:
		return timeValue(g)
	}
	return fromGoComposite(g)
}

func fromGoComposite(g any) value {
	switch g := g.(type) {
	case engine.Decimal:
		v := floatValue(float64(g.Value) / math.Pow10(int(g.Scale)))
		v.ref = &composite{goes: g}
		return v
	case []any:
		items := make([]value, len(g))
		for i, item := range g {
			items[i] = fromGo(item)
		}
		return value{kind: kindList, ref: &composite{items: items, goes: g}}
	case map[string]any:
		b := newObject(len(g))
		for _, key := range sortedKeys(g) {
			b.set(key, fromGo(g[key]))
		}
		b.c.goes = g
		return b.value()
	}
	return stringValue(fmt.Sprint(g))
}

// appendBase64 writes bytes as JSON has them.
func appendBase64(dst []byte, s string) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, []byte(s))
	return append(dst, '"')
}
