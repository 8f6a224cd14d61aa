package expr

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

var stringFunctions = []tableFunction{
	{
		name: "lower", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The string in lower case.",
		example: `lower("Ab")`,
		call:    onString(strings.ToLower),
		text:    func(dst []byte, args []value) []byte { return appendLower(dst, args[0].str) },
	},
	{
		name: "upper", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The string in upper case.",
		example: `upper("Ab")`,
		call:    onString(strings.ToUpper),
		text:    func(dst []byte, args []value) []byte { return appendUpper(dst, args[0].str) },
	},
	{
		name: "trimspace", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The string without white space at either end.",
		example: `trimspace("  a ")`,
		call:    onString(strings.TrimSpace),
	},
	{
		name: "trim", params: []param{{"s", stringParam}, {"characters", stringParam}}, least: 2,
		doc:     "The string without any of the characters at either end.",
		example: `trim("xxaxx", "x")`,
		call:    onStrings(strings.Trim),
	},
	{
		name: "trimprefix", params: []param{{"s", stringParam}, {"prefix", stringParam}}, least: 2,
		doc:     "The string without the prefix, where it begins with it.",
		example: `trimprefix("order.eu", "order.")`,
		call:    onStrings(strings.TrimPrefix),
	},
	{
		name: "trimsuffix", params: []param{{"s", stringParam}, {"suffix", stringParam}}, least: 2,
		doc:     "The string without the suffix, where it ends with it.",
		example: `trimsuffix("a.json", ".json")`,
		call:    onStrings(strings.TrimSuffix),
	},
	{
		name: "startswith", params: []param{{"s", stringParam}, {"prefix", stringParam}}, least: 2,
		doc:     "Whether the string begins with the prefix.",
		example: `startswith("order.eu", "order.")`,
		call:    aboutStrings(strings.HasPrefix),
	},
	{
		name: "endswith", params: []param{{"s", stringParam}, {"suffix", stringParam}}, least: 2,
		doc:     "Whether the string ends with the suffix.",
		example: `endswith("a.json", ".json")`,
		call:    aboutStrings(strings.HasSuffix),
	},
	{
		name: "strcontains", params: []param{{"s", stringParam}, {"part", stringParam}}, least: 2,
		doc:     "Whether the part occurs in the string.",
		example: `strcontains("order.eu", ".e")`,
		call:    aboutStrings(strings.Contains),
	},
	{
		name: "replace", params: []param{{"s", stringParam}, {"old", stringParam}, {"new", stringParam}}, least: 3,
		doc:     "The string with every occurrence of old replaced by new.",
		example: `replace("a-b-c", "-", "/")`,
		call:    replace,
	},
	{
		name: "split", params: []param{{"separator", stringParam}, {"s", stringParam}}, least: 2,
		doc:     "The list of the parts of the string between separators.",
		example: `split(",", "a,b,,c")`,
		call:    split,
	},
	{
		name: "join", params: []param{{"separator", stringParam}, {"parts", listParam}}, least: 2,
		doc:     "The parts as one string with separators between them.",
		example: `join("-", ["a", 1, true])`,
		call:    join,
	},
	{
		name: "substr", params: []param{{"s", stringParam}, {"offset", numberParam}, {"length", numberParam}}, least: 3,
		doc:     "A part of the string, counted in characters (code points). A negative offset counts from the end; the length -1 is all that is left.",
		example: `substr("hello", 1, 3)`,
		call:    substr,
	},
	{
		name: "chomp", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The string without the line breaks at its end.",
		example: `chomp("a\n\n")`,
		call:    onString(func(s string) string { return strings.TrimRight(s, "\r\n") }),
	},
	{
		name: "strrev", params: []param{{"s", stringParam}}, least: 1,
		doc:     "The string with its characters (code points) in reverse order.",
		example: `strrev("abc")`,
		call:    onString(reverseText),
	},
	{
		name: "indent", params: []param{{"spaces", numberParam}, {"s", stringParam}}, least: 2,
		doc:     "The string with so many spaces (1000 at most) at the start of every line but the first.",
		example: `indent(2, "a\nb")`,
		call:    indent,
	},
	{
		name: "format", params: []param{{"format", stringParam}, {"values", anyParam}}, least: 1, many: true,
		doc: "The format with its verbs replaced by the values, one after the other: %s a string, %q one in quotes, %d a whole number, %x %X %o %b one in another base, " +
			"%f %e %g a number, %t a bool, %v anything as text, and JSON for lists and objects; %% is a percent sign. Between % and the letter may be flags (- + 0 # space), a width and a precision (1000 at most), as in %08.3f.",
		example: `format("%s has %05.1f", "x", 2.25)`,
		call:    format,
	},
}

func onString(f func(string) string) builtin {
	return func(e *env, args []value, at *site) (value, *Error) {
		if err := e.spend(len(args[0].str), &at.place); err != nil {
			return value{}, err
		}
		return stringValue(f(args[0].str)), nil
	}
}

func onStrings(f func(s, other string) string) builtin {
	return func(_ *env, args []value, _ *site) (value, *Error) {
		return stringValue(f(args[0].str, args[1].str)), nil
	}
}

func aboutStrings(f func(s, other string) bool) builtin {
	return func(_ *env, args []value, _ *site) (value, *Error) {
		return boolValue(f(args[0].str, args[1].str)), nil
	}
}

// appendLower appends s in lower case; ASCII without an allocation.
func appendLower(dst []byte, s string) []byte {
	from := len(dst)
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(dst[:from], strings.ToLower(s)...)
		}
		if c-'A' < 26 {
			c += 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

// appendUpper appends s in upper case; ASCII without an allocation.
func appendUpper(dst []byte, s string) []byte {
	from := len(dst)
	for i := range len(s) {
		c := s[i]
		if c >= utf8.RuneSelf {
			return append(dst[:from], strings.ToUpper(s)...)
		}
		if c-'a' < 26 {
			c -= 'a' - 'A'
		}
		dst = append(dst, c)
	}
	return dst
}

func replace(e *env, args []value, at *site) (value, *Error) {
	s, from, to := args[0].str, args[1].str, args[2].str
	length := len(s)
	if n := strings.Count(s, from); len(to) > len(from) {
		length += n * (len(to) - len(from))
	}
	if err := e.spend(length, &at.place); err != nil {
		return value{}, err
	}
	return stringValue(strings.ReplaceAll(s, from, to)), nil
}

func split(e *env, args []value, at *site) (value, *Error) {
	separator, s := args[0].str, args[1].str
	if err := e.spend(elementCost*(strings.Count(s, separator)+1), &at.place); err != nil {
		return value{}, err
	}
	var parts []value
	for part := range strings.SplitSeq(s, separator) {
		parts = append(parts, stringValue(part))
	}
	return listValue(parts), nil
}

func join(e *env, args []value, at *site) (value, *Error) {
	from := len(e.text)
	list, err := e.open(args[1], at.arg(1))
	if err != nil {
		return value{}, err
	}
	for i, item := range list.items {
		if i > 0 {
			e.text = append(e.text, args[0].str...)
		}
		if e.text, err = appendText(e.text, item, at.arg(1)); err != nil {
			return value{}, err
		}
		if err = e.tooLong(&at.place); err != nil {
			return value{}, err
		}
	}
	return e.makeString(from, &at.place)
}

func substr(_ *env, args []value, at *site) (value, *Error) {
	s := args[0].str
	offset, err := toInt(args[1], at.arg(1))
	if err != nil {
		return value{}, err
	}
	length, err := toInt(args[2], at.arg(2))
	if err != nil {
		return value{}, err
	}
	if offset < 0 {
		offset = max(0, offset+int64(utf8.RuneCountInString(s)))
	}
	s = s[len(cutRunes(s, offset)):]
	if length >= 0 {
		s = cutRunes(s, length)
	}
	return stringValue(s), nil
}

func reverseText(s string) string {
	out := make([]byte, 0, len(s))
	for len(s) > 0 {
		_, size := utf8.DecodeLastRuneInString(s)
		out = append(out, s[len(s)-size:]...)
		s = s[:len(s)-size]
	}
	return alias(out)
}

// maxWidth is the largest width or precision that a format may ask for, and the deepest indent.
const maxWidth = 1000

func indent(e *env, args []value, at *site) (value, *Error) {
	spaces, err := toInt(args[0], at.arg(0))
	switch {
	case err != nil:
		return value{}, err
	case spaces < 0 || spaces > maxWidth:
		return value{}, at.arg(0).fail("spaces is a number from 0 to 1000", args[0])
	}
	return replace(e, []value{args[1], stringValue("\n"), stringValue("\n" + strings.Repeat(" ", int(spaces)))}, at)
}

func format(e *env, args []value, at *site) (value, *Error) {
	from, used, rest := len(e.text), 1, args[0].str
	for {
		text, verb, found := strings.Cut(rest, "%")
		e.text = append(e.text, text...)
		if !found {
			break
		}
		length := len(verb) - len(strings.TrimLeft(verb, "-+0# .123456789"))
		if length == len(verb) || !isWidth(verb[:length]) {
			return value{}, at.arg(0).fail("the format has a % without a verb that it knows", missing)
		}
		rest = verb[length+1:]
		if verb[:length+1] == "%" {
			e.text = append(e.text, '%')
			continue
		}
		if used == len(args) {
			return value{}, at.fail("the format has more verbs than there are values", missing)
		}
		if err := e.appendVerb(verb[:length], verb[length], args[used], at.arg(used), at.arg(0)); err != nil {
			return value{}, err
		}
		used++
		if err := e.tooLong(&at.place); err != nil {
			return value{}, err
		}
	}
	if used < len(args) {
		return value{}, at.arg(used).fail("the format has no verb for this value", missing)
	}
	return e.makeString(from, &at.place)
}

// isWidth reports whether flags, width and precision are written as they may be.
func isWidth(s string) bool {
	width, precision, _ := strings.Cut(strings.TrimLeft(s, "-+0# "), ".")
	for _, digits := range []string{width, precision} {
		if n, err := strconv.Atoi(digits); digits != "" && (err != nil || n < 0 || n > maxWidth) {
			return false
		}
	}
	return true
}

// appendVerb writes one value by a verb of a format.
func (e *env) appendVerb(flags string, verb byte, v value, at, formatAt *place) *Error {
	var g any
	switch verb {
	case 's', 'q':
		s, err := toString(v, at)
		if err != nil {
			return err
		}
		g = s.str
	case 'v':
		text, err := appendAny(nil, v, at)
		if err != nil {
			return err
		}
		verb, g = 's', text
	case 'd', 'x', 'X', 'o', 'b':
		i, err := toInt(v, at)
		if err != nil {
			return err
		}
		g = i
	case 'f', 'e', 'g':
		n, err := toNumber(v, at)
		if err != nil {
			return err
		}
		g = n.asFloat()
	case 't':
		b, err := toBool(v, at)
		if err != nil {
			return err
		}
		g = b.num != 0
	default:
		return formatAt.fail("the format has a % without a verb that it knows", missing)
	}
	e.text = fmt.Appendf(e.text, "%"+flags+string(verb), g)
	return nil
}

// appendAny writes what has a text as that, all else as JSON.
func appendAny(dst []byte, v value, at *place) ([]byte, *Error) {
	if v.kind == kindNull || v.kind >= kindList {
		return appendJSON(dst, v, at)
	}
	return appendText(dst, v, at)
}
