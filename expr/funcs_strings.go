package expr

import (
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

var stringFunctions = []tableFunction{
	{
		name: "lower", params: []param{{"s", stringParam}}, least: 1,
		doc:  "The string in lower case.",
		call: onString(strings.ToLower),
		text: func(dst []byte, args []value) []byte { return appendLower(dst, args[0].str) },
	},
	{
		name: "upper", params: []param{{"s", stringParam}}, least: 1,
		doc:  "The string in upper case.",
		call: onString(strings.ToUpper),
		text: func(dst []byte, args []value) []byte { return appendUpper(dst, args[0].str) },
	},
	{
		name: "trimspace", params: []param{{"s", stringParam}}, least: 1,
		doc:  "The string without white space at either end.",
		call: onString(strings.TrimSpace),
	},
	{
		name: "trim", params: []param{{"s", stringParam}, {"characters", stringParam}}, least: 2,
		doc:  "The string without any of the characters at either end.",
		call: onStrings(strings.Trim),
	},
	{
		name: "trimprefix", params: []param{{"s", stringParam}, {"prefix", stringParam}}, least: 2,
		doc:  "The string without the prefix, where it begins with it.",
		call: onStrings(strings.TrimPrefix),
	},
	{
		name: "trimsuffix", params: []param{{"s", stringParam}, {"suffix", stringParam}}, least: 2,
		doc:  "The string without the suffix, where it ends with it.",
		call: onStrings(strings.TrimSuffix),
	},
	{
		name: "startswith", params: []param{{"s", stringParam}, {"prefix", stringParam}}, least: 2,
		doc:  "Whether the string begins with the prefix.",
		call: aboutStrings(strings.HasPrefix),
	},
	{
		name: "endswith", params: []param{{"s", stringParam}, {"suffix", stringParam}}, least: 2,
		doc:  "Whether the string ends with the suffix.",
		call: aboutStrings(strings.HasSuffix),
	},
	{
		name: "strcontains", params: []param{{"s", stringParam}, {"part", stringParam}}, least: 2,
		doc:  "Whether the part occurs in the string.",
		call: aboutStrings(strings.Contains),
	},
	{
		name: "replace", params: []param{{"s", stringParam}, {"old", stringParam}, {"new", stringParam}}, least: 3,
		doc:  "The string with every occurrence of old replaced by new.",
		call: replace,
	},
	{
		name: "split", params: []param{{"separator", stringParam}, {"s", stringParam}}, least: 2,
		doc:  "The list of the parts of the string between separators.",
		call: split,
	},
	{
		name: "join", params: []param{{"separator", stringParam}, {"parts", listParam}}, least: 2,
		doc:  "The parts as one string with separators between them.",
		call: join,
	},
	{
		name: "substr", params: []param{{"s", stringParam}, {"offset", numberParam}, {"length", numberParam}}, least: 3,
		doc:  "A part of the string, counted in characters (code points). A negative offset counts from the end; the length -1 is all that is left.",
		call: substr,
	},
	{
		name: "matches", params: []param{{"pattern", stringParam}, {"s", stringParam}}, least: 2,
		doc:  "Whether the regular expression (RE2) matches anywhere in the string.",
		call: matches,
		bind: bindMatches,
	},
}

func onString(f func(string) string) func(*env, []value, *site) (value, *Error) {
	return func(e *env, args []value, at *site) (value, *Error) {
		if err := e.spend(len(args[0].str), &at.place); err != nil {
			return value{}, err
		}
		return stringValue(f(args[0].str)), nil
	}
}

func onStrings(f func(s, other string) string) func(*env, []value, *site) (value, *Error) {
	return func(_ *env, args []value, _ *site) (value, *Error) {
		return stringValue(f(args[0].str, args[1].str)), nil
	}
}

func aboutStrings(f func(s, other string) bool) func(*env, []value, *site) (value, *Error) {
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

// maxPattern is how long a regular expression may be, in bytes.
const maxPattern = 1000

func matches(e *env, args []value, at *site) (value, *Error) {
	pattern, err := compilePattern(args[0].str, at.arg(0))
	if err != nil {
		return value{}, err
	}
	// Who writes the message may have made a pattern that is slow on purpose.
	if err := e.look(instructions(args[0].str)*(64+len(args[1].str)), &at.place); err != nil {
		return value{}, err
	}
	return boolValue(pattern.MatchString(args[1].str)), nil
}

// bindMatches compiles the regular expression once.
func bindMatches(first value, at *place) (func(*env, []value, *site) (value, *Error), *Error) {
	pattern, err := compilePattern(first.str, at)
	if err != nil {
		return nil, err
	}
	return func(e *env, args []value, at *site) (value, *Error) {
		if err := e.look(matchingCost*len(args[1].str), &at.place); err != nil {
			return value{}, err
		}
		return boolValue(pattern.MatchString(args[1].str)), nil
	}, nil
}

// instructions is how large the program of a regular expression is.
func instructions(pattern string) int {
	parsed, err := syntax.Parse(pattern, syntax.Perl)
	if err != nil {
		return 0
	}
	program, err := syntax.Compile(parsed.Simplify())
	if err != nil {
		return 0
	}
	return len(program.Inst)
}

func compilePattern(s string, at *place) (*regexp.Regexp, *Error) {
	if len(s) > maxPattern {
		return nil, at.fail("the regular expression is longer than 1000 bytes", missing)
	}
	pattern, err := regexp.Compile(s)
	if err != nil {
		return nil, at.failed("not a regular expression", err)
	}
	return pattern, nil
}
