package expr

import (
	"strings"
	"unicode/utf16"
	"unicode/utf8"
)

// The functions of this file read JSON that a scanner has checked; they check nothing again.

// rawValue makes a value of the text of exactly one JSON value.
func rawValue(text string) value {
	switch text[0] {
	case '"':
		return stringValue(unquote(text))
	case '{':
		return value{kind: kindObject, str: text}
	case '[':
		return value{kind: kindList, str: text}
	case 't':
		return boolValue(true)
	case 'f':
		return boolValue(false)
	case 'n':
		return null
	}
	return numberValue(text)
}

func skipSpace(s string, i int) int {
	for s[i] <= ' ' {
		i++
	}
	return i
}

// skipValue returns where the value that begins at i ends.
func skipValue(s string, i int) int {
	switch s[i] {
	case '"':
		return skipString(s, i)
	case '{', '[':
		return skipComposite(s, i)
	}
	for i < len(s) && (s[i]-'0' <= 9 || s[i] > ' ' && s[i] != ',' && s[i] != '}' && s[i] != ']') {
		i++
	}
	return i
}

func skipString(s string, i int) int {
	for i++; ; i += 2 {
		if i = plainText(unalias(s), i); s[i] == '"' {
			return i + 1
		}
	}
}

func skipComposite(s string, i int) int {
	depth := 0
	for {
		switch s[i] {
		case '"':
			i = skipString(s, i)
			continue
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
		i++
	}
}

// eachMember calls f with every key, as it is written, and the text of its value, until f returns
// false.
func eachMember(s string, f func(key, text string) bool) {
	i := skipSpace(s, 1)
	for s[i] == '"' {
		keyEnd := skipString(s, i)
		start := skipSpace(s, skipSpace(s, keyEnd)+1)
		end := skipValue(s, start)
		if !f(s[i+1:keyEnd-1], s[start:end]) {
			return
		}
		if i = skipSpace(s, end); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
}

// eachElement calls f with the text of every element until f returns false.
func eachElement(s string, f func(text string) bool) {
	i := skipSpace(s, 1)
	for s[i] != ']' {
		end := skipValue(s, i)
		if !f(s[i:end]) {
			return
		}
		if i = skipSpace(s, end); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
}

func rawField(s, key string) value {
	found := ""
	eachMember(s, func(raw, text string) bool {
		if sameKey(raw, key, hasEscape(raw)) {
			found = text
		}
		return true
	})
	if found == "" {
		return missing
	}
	return rawValue(found)
}

func rawElement(s string, index int64) value {
	v := missing
	eachElement(s, func(text string) bool {
		if index == 0 {
			v = rawValue(text)
		}
		index--
		return index >= 0
	})
	return v
}

func rawList(s string) *composite {
	c := &composite{}
	eachElement(s, func(text string) bool {
		c.items = append(c.items, rawValue(text))
		return len(c.items) <= maxElements
	})
	return c
}

// rawElements copies the texts of all elements.
func rawElements(s string) [][]byte {
	var list [][]byte
	eachElement(s, func(text string) bool {
		list = append(list, []byte(text))
		return true
	})
	return list
}

func rawObject(s string) *composite {
	b := newObject(fewKeys)
	eachMember(s, func(key, text string) bool {
		b.set(unescape(key), rawValue(text))
		return len(b.c.items) <= maxElements
	})
	return &b.c
}

// deep returns v with everything inside it opened, in one pass over its text.
func (v value) deep() value {
	if !v.isRaw() {
		return v
	}
	opened, _ := rawDeep(v.str, 0)
	return opened
}

func rawDeep(s string, i int) (value, int) {
	switch s[i] {
	case '{':
		return rawDeepObject(s, i)
	case '[':
		return rawDeepList(s, i)
	}
	end := skipValue(s, i)
	return rawValue(s[i:end]), end
}

func rawDeepObject(s string, i int) (value, int) {
	b := newObject(0)
	i = skipSpace(s, i+1)
	for s[i] == '"' {
		keyEnd := skipString(s, i)
		key := unescape(s[i+1 : keyEnd-1])
		var v value
		v, i = rawDeep(s, skipSpace(s, skipSpace(s, keyEnd)+1))
		b.set(key, v)
		if i = skipSpace(s, i); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
	return b.value(), i + 1
}

func rawDeepList(s string, i int) (value, int) {
	var items []value
	i = skipSpace(s, i+1)
	for s[i] != ']' {
		var v value
		v, i = rawDeep(s, i)
		items = append(items, v)
		if i = skipSpace(s, i); s[i] == ',' {
			i = skipSpace(s, i+1)
		}
	}
	return listValue(items), i + 1
}

func hasEscape(s string) bool { return strings.IndexByte(s, '\\') >= 0 }

// unquote returns the text of a JSON string. Without escapes it shares the memory.
func unquote(s string) string { return unescape(s[1 : len(s)-1]) }

// unescape returns the text of a JSON string without its quotes. A lone half of a surrogate pair
// becomes U+FFFD.
func unescape(s string) string {
	i := strings.IndexByte(s, '\\')
	if i < 0 {
		return s
	}
	out := make([]byte, 0, len(s))
	for i >= 0 {
		out = append(out, s[:i]...)
		out, s = appendEscape(out, s[i+1:])
		i = strings.IndexByte(s, '\\')
	}
	return alias(append(out, s...))
}

// appendEscape decodes what follows a backslash and returns what follows it.
func appendEscape(out []byte, s string) ([]byte, string) {
	switch s[0] {
	case 'b':
		return append(out, '\b'), s[1:]
	case 'f':
		return append(out, '\f'), s[1:]
	case 'n':
		return append(out, '\n'), s[1:]
	case 'r':
		return append(out, '\r'), s[1:]
	case 't':
		return append(out, '\t'), s[1:]
	case 'u':
		r, rest := hexRune(s[1:]), s[5:]
		if utf16.IsSurrogate(r) && strings.HasPrefix(rest, `\u`) {
			if pair := utf16.DecodeRune(r, hexRune(rest[2:])); pair != utf8.RuneError {
				return utf8.AppendRune(out, pair), rest[6:]
			}
		}
		return utf8.AppendRune(out, r), rest
	}
	return append(out, s[0]), s[1:]
}

// hexRune reads four hexadecimal digits.
func hexRune(s string) rune {
	var r rune
	for i := range 4 {
		c := s[i]
		if c > '9' {
			c = c | 0x20 - 'a' + 10
		} else {
			c -= '0'
		}
		r = r<<4 | rune(c)
	}
	return r
}
