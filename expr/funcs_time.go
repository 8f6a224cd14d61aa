package expr

import (
	"math"
	"strings"
	"time"
)

var timeFunctions = []tableFunction{
	{
		name: "now", changes: true,
		doc:     "The time of the call, as a timestamp.",
		example: `now()`,
		call:    func(*env, []value, *site) (value, *Error) { return timeValue(time.Now()), nil },
	},
	{
		name: "totimestamp", params: []param{{"v", anyParam}}, least: 1,
		doc:     "A timestamp of a string in RFC 3339, or of a number of seconds since 1970. null stays null.",
		example: `totimestamp(1767323045)`,
		call: converting(func(v value, at *place) (value, *Error) {
			t, err := toTime(v, at)
			if err != nil {
				return value{}, err
			}
			return calendar(t, at)
		}),
	},
	{
		name: "parsedate", params: []param{{"format", stringParam}, {"s", stringParam}}, least: 2,
		doc:     "The timestamp that a string in a format of its own is. The format is written as formatdate's, but without h; without a zone the time is UTC.",
		example: `parsedate("DD.MM.YYYY HH:mm AA", "02.01.2026 03:04 PM")`,
		call:    withLayout(parseDate),
		bind:    bindLayout(parseDate),
	},
	{
		name: "formatdate", params: []param{{"format", stringParam}, {"t", anyParam}}, least: 2,
		doc: "The timestamp in a format: YYYY YY for the year, MMMM MMM MM M the month, DD D the day, EEEE EEE the day of the week, hh h the hour, " +
			"HH H the hour of twelve, AA aa its half, mm m the minute, ss s the second, ZZZZZ ZZZZ Z the zone as +00:00, +0000, Z. Text in single quotes stands for itself; two quotes in it are one.",
		example: `formatdate("EEE, DD MMM YYYY 'at' hh:mm", "2026-01-02T03:04:05Z")`,
		call:    withLayout(formatDate),
		bind:    bindLayout(formatDate),
	},
	{
		name: "timeadd", params: []param{{"t", anyParam}, {"duration", anyParam}}, least: 2,
		doc:     "The time so much later. A duration is as \"1h30m\", \"-5s\" or \"250ms\", or a number of seconds.",
		example: `timeadd("2026-01-02T03:04:05Z", "-90m")`,
		call:    timeAdd,
	},
	{
		name: "timediff", params: []param{{"t", anyParam}, {"earlier", anyParam}}, least: 2,
		doc:     "How many seconds the first time is after the second.",
		example: `timediff("2026-01-02T03:04:05.5Z", "2026-01-02T03:04:00Z")`,
		call:    timeDiff,
	},
	{
		name: "timetruncate", params: []param{{"t", anyParam}, {"duration", anyParam}}, least: 2,
		doc:     "The time rounded down to a multiple of the duration, in UTC: \"1h\" is the full hour, \"24h\" midnight.",
		example: `timetruncate("2026-01-02T03:04:05Z", "15m")`,
		call:    timeTruncate,
	},
	{
		name: "unix", params: []param{{"t", anyParam}}, least: 1,
		doc:     "The seconds from 1970 to the time, with a fraction where it has one.",
		example: `unix("2026-01-02T03:04:05Z")`,
		call: func(_ *env, args []value, at *site) (value, *Error) {
			t, err := toTime(args[0], at.arg(0))
			return seconds(t.Unix(), t.Nanosecond()), err
		},
	},
	{
		name: "duration", params: []param{{"d", anyParam}}, least: 1,
		doc:     "The seconds of a duration, as \"1h30m\".",
		example: `duration("1h30m")`,
		call: func(_ *env, args []value, at *site) (value, *Error) {
			d, err := toDuration(args[0], at.arg(0))
			return seconds(int64(d/time.Second), int(d%time.Second)), err
		},
	},
}

// seconds is a number of seconds, whole where it can be.
func seconds(whole int64, nanoseconds int) value {
	if nanoseconds == 0 {
		return intValue(whole)
	}
	return floatValue(float64(whole) + float64(nanoseconds)/1e9)
}

// calendar keeps to the years that RFC 3339 can write.
func calendar(t time.Time, at *place) (value, *Error) {
	if year := t.UTC().Year(); year < 1 || year > 9999 {
		return value{}, at.fail("a timestamp is from the years 1 to 9999", missing)
	}
	return timeValue(t), nil
}

// toDuration takes a string as Go writes durations, or a number of seconds.
func toDuration(v value, at *place) (time.Duration, *Error) {
	if v.kind == kindString {
		d, err := time.ParseDuration(v.str)
		if err != nil {
			return 0, at.fail("not a duration, as \"1h30m\" or \"250ms\"", v)
		}
		return d, nil
	}
	n, err := toNumber(v, at)
	if err != nil {
		return 0, err
	}
	d := n.asFloat() * float64(time.Second)
	if math.Abs(d) >= math.MaxInt64 {
		return 0, at.fail("a duration has 292 years at most", v)
	}
	return time.Duration(math.Round(d)), nil
}

// timeAnd takes the time and the duration that are the arguments.
func timeAnd(args []value, at *site) (time.Time, time.Duration, *Error) {
	t, err := toTime(args[0], at.arg(0))
	if err != nil {
		return t, 0, err
	}
	d, err := toDuration(args[1], at.arg(1))
	return t, d, err
}

func timeAdd(_ *env, args []value, at *site) (value, *Error) {
	t, d, err := timeAnd(args, at)
	if err != nil {
		return value{}, err
	}
	return calendar(t.Add(d), &at.place)
}

func timeTruncate(_ *env, args []value, at *site) (value, *Error) {
	t, d, err := timeAnd(args, at)
	switch {
	case err != nil:
		return value{}, err
	case d <= 0:
		return value{}, at.arg(1).fail("the duration must be longer than none", args[1])
	}
	return calendar(t.Truncate(d), &at.place)
}

func timeDiff(_ *env, args []value, at *site) (value, *Error) {
	t, err := toTime(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	earlier, err := toTime(args[1], at.arg(1))
	if err != nil {
		return value{}, err
	}
	return seconds(t.Unix()-earlier.Unix(), t.Nanosecond()-earlier.Nanosecond()), nil
}

// layoutPart is a piece of a date's format.
type layoutPart struct {
	layout string // as package time writes it; empty for text that stands for itself
	text   string
}

// layouts are the letters of a format, the longest of each first.
var layouts = []layoutPart{
	{"2006", "YYYY"},
	{"06", "YY"},
	{"January", "MMMM"},
	{"Jan", "MMM"},
	{"01", "MM"},
	{"1", "M"},
	{"02", "DD"},
	{"2", "D"},
	{"Monday", "EEEE"},
	{"Mon", "EEE"},
	{"15", "hh"},
	{hourAlone, "h"},
	{"03", "HH"},
	{"3", "H"},
	{"PM", "AA"},
	{"pm", "aa"},
	{"04", "mm"},
	{"4", "m"},
	{"05", "ss"},
	{"5", "s"},
	{"-07:00", "ZZZZZ"},
	{"-0700", "ZZZZ"},
	{"Z07:00", "Z"},
}

// hourAlone stands for the hour without a zero before it, for which package time has no layout.
const hourAlone = "h"

// compileLayout reads a date's format.
func compileLayout(format string, at *place) ([]layoutPart, *Error) {
	if len(format) > maxPattern {
		return nil, at.fail("the format is longer than 1000 bytes", missing)
	}
	var parts []layoutPart
	for rest := format; rest != ""; {
		part, length, err := nextPart(rest, at)
		if err != nil {
			return nil, err
		}
		parts = append(parts, part)
		rest = rest[length:]
	}
	return parts, nil
}

// nextPart reads one piece, and returns how long it is in the format.
func nextPart(s string, at *place) (layoutPart, int, *Error) {
	c := s[0]
	if c == '\'' {
		return quotedPart(s, at)
	}
	if c|0x20 < 'a' || c|0x20 > 'z' {
		return layoutPart{text: s[:1]}, 1, nil
	}
	run := len(s) - len(strings.TrimLeft(s, s[:1]))
	for _, l := range layouts {
		if l.text == s[:run] {
			return l, run, nil
		}
	}
	return layoutPart{}, 0, at.fail("the format has letters that mean nothing; text that stands for itself is put in single quotes", missing)
}

// quotedPart reads text in single quotes.
func quotedPart(s string, at *place) (layoutPart, int, *Error) {
	var text strings.Builder
	for i := 1; i < len(s); i++ {
		switch {
		case s[i] != '\'':
			text.WriteByte(s[i])
		case i+1 < len(s) && s[i+1] == '\'':
			text.WriteByte('\'')
			i++
		default:
			return layoutPart{text: text.String()}, i + 1, nil
		}
	}
	return layoutPart{}, 0, at.fail("the format has a single quote without its end", missing)
}

// layoutCall is a function whose first argument is a date's format, once that is read.
type layoutCall func(e *env, parts []layoutPart, arg value, at *site) (value, *Error)

// withLayout reads the format for each call.
func withLayout(f layoutCall) builtin {
	return func(e *env, args []value, at *site) (value, *Error) {
		parts, err := compileLayout(args[0].str, at.arg(0))
		if err != nil {
			return value{}, err
		}
		return f(e, parts, args[1], at)
	}
}

// bindLayout reads the format once.
func bindLayout(f layoutCall) func(first value, at *place) (builtin, *Error) {
	return func(first value, at *place) (builtin, *Error) {
		parts, err := compileLayout(first.str, at)
		if err != nil {
			return nil, err
		}
		return func(e *env, args []value, at *site) (value, *Error) { return f(e, parts, args[1], at) }, nil
	}
}

func formatDate(e *env, parts []layoutPart, arg value, at *site) (value, *Error) {
	t, err := toTime(arg, at.arg(1))
	if err != nil {
		return value{}, err
	}
	from := len(e.text)
	for _, p := range parts {
		switch p.layout {
		case "":
			e.text = append(e.text, p.text...)
		case hourAlone:
			e.text = appendNumber(e.text, intValue(int64(t.Hour())))
		default:
			e.text = t.AppendFormat(e.text, p.layout)
		}
	}
	return e.makeString(from, &at.place)
}

func parseDate(_ *env, parts []layoutPart, arg value, at *site) (value, *Error) {
	layout := ""
	for _, p := range parts {
		if p.layout == hourAlone || p.layout == "" && !standsForItself(p.text) {
			return value{}, at.arg(0).fail("the format cannot be read back: "+p.text, missing)
		}
		layout += p.layout
		if p.layout == "" {
			layout += p.text
		}
	}
	t, err := time.Parse(layout, arg.str)
	if err != nil {
		return value{}, at.arg(1).fail("not a time in this format", arg)
	}
	return calendar(t, &at.place)
}

// standsForItself reports whether package time sees nothing in a text.
func standsForItself(text string) bool {
	return time.Date(1983, 11, 28, 19, 56, 37, 918273645, time.FixedZone("X", 5400)).Format(text) == text
}
