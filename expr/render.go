package expr

import (
	"maps"
	"slices"
	"time"
)

// appendJSON writes a value as JSON. Numbers, lists and objects that come from a body and were not
// changed are copied as they are written there. Bytes become base64, a timestamp RFC 3339. Objects keep their order of writing.
func appendJSON(dst []byte, v value, at *place) ([]byte, *Error) {
	switch v.kind {
	case kindNull, kindMissing:
		return append(dst, "null"...), nil
	case kindBool:
		return appendText(dst, v, at)
	case kindInt, kindFloat:
		return appendJSONNumber(dst, v, at)
	case kindString:
		return appendJSONString(dst, v.str), nil
	case kindBytes:
		return appendBase64(dst, v.str), nil
	case kindTime:
		return append(v.time().AppendFormat(append(dst, '"'), time.RFC3339Nano), '"'), nil
	}
	if v.isRaw() {
		return append(dst, v.str...), nil
	}
	return appendComposite(dst, v, at)
}

func appendJSONNumber(dst []byte, v value, at *place) ([]byte, *Error) {
	switch {
	case v.str != "":
		return append(dst, v.str...), nil
	case v.kind == kindFloat && !isFinite(v.float()):
		return dst, at.fail(outOfRange, v)
	}
	return appendNumber(dst, v), nil
}

func appendComposite(dst []byte, v value, at *place) ([]byte, *Error) {
	if v.weight(maxOutput) > maxOutput {
		return dst, at.fail(tooLarge, v)
	}
	open, closing := byte('['), byte(']')
	if v.kind == kindObject {
		open, closing = '{', '}'
	}
	dst = append(dst, open)
	var err *Error
	for i, item := range v.ref.items {
		if i > 0 {
			dst = append(dst, ',')
		}
		if v.kind == kindObject {
			dst = append(appendJSONString(dst, v.ref.keys[i]), ':')
		}
		if dst, err = appendJSON(dst, item, at); err != nil {
			return dst, err
		}
	}
	return append(dst, closing), nil
}

// appendJSONString writes a string with the escapes that JSON requires and no others. Bytes that are
// not UTF-8 are written as they are.
func appendJSONString(dst []byte, s string) []byte {
	dst = append(dst, '"')
	for {
		i := plainText(unalias(s), 0)
		dst = append(dst, s[:i]...)
		if i == len(s) {
			return append(dst, '"')
		}
		dst = appendEscaped(dst, s[i])
		s = s[i+1:]
	}
}

func appendEscaped(dst []byte, c byte) []byte {
	const hex = "0123456789abcdef"
	switch c {
	case '"', '\\':
		return append(dst, '\\', c)
	case '\n':
		return append(dst, '\\', 'n')
	case '\r':
		return append(dst, '\\', 'r')
	case '\t':
		return append(dst, '\\', 't')
	case '\b':
		return append(dst, '\\', 'b')
	case '\f':
		return append(dst, '\\', 'f')
	}
	return append(dst, '\\', 'u', '0', '0', hex[c>>4], hex[c&15])
}

func sortedKeys[V any](m map[string]V) []string {
	return slices.Sorted(maps.Keys(m))
}

// cutRunes returns the first n characters of s.
func cutRunes(s string, n int64) string {
	for i := range s {
		if n == 0 {
			return s[:i]
		}
		n--
	}
	return s
}
