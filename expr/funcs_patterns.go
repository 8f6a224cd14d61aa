package expr

import (
	"regexp"
	"regexp/syntax"
)

var patternFunctions = []tableFunction{
	{
		name: "matches", params: []param{{"pattern", stringParam}, {"s", stringParam}}, least: 2,
		doc:     "Whether the regular expression (RE2) matches anywhere in the string.",
		example: `matches("^order[.]", "order.eu")`,
		call:    withPattern(matches),
		bind:    bindPattern(matches),
	},
	{
		name: "regex", params: []param{{"pattern", stringParam}, {"s", stringParam}}, least: 2,
		doc: "What the first match captures: the whole match where the regular expression has no groups, a list of what its groups capture, " +
			"or an object where they have names. A group that takes no part captures null. It is an error if nothing matches.",
		example: `regex("(?P<year>[0-9]{4})-(?P<month>[0-9]{2})", "on 2026-01-02")`,
		call:    withPattern(regex),
		bind:    bindPattern(regex),
	},
	{
		name: "regexall", params: []param{{"pattern", stringParam}, {"s", stringParam}}, least: 2,
		doc:     "The list of what every match captures, each as regex has it; empty if nothing matches.",
		example: `regexall("[a-z]+", "12ab34cd")`,
		call:    withPattern(regexAll),
		bind:    bindPattern(regexAll),
	},
	{
		name: "regexreplace", params: []param{{"pattern", stringParam}, {"s", stringParam}, {"new", stringParam}}, least: 3,
		doc:     "The string with every match replaced. In the new text, $1 or ${1} is what the first group captured, ${name} what a group with a name did, $$ a dollar sign.",
		example: `regexreplace("([a-z])([0-9])", "a1-b2", "$2$1")`,
		call:    withPattern(regexReplace),
		bind:    bindPattern(regexReplace),
	},
}

// patternCall is a function whose first argument is a regular expression, once that is compiled.
type patternCall func(e *env, pattern *regexp.Regexp, args []value, at *site) (value, *Error)

// withPattern compiles the regular expression for each call.
func withPattern(f patternCall) builtin {
	return func(e *env, args []value, at *site) (value, *Error) {
		pattern, err := compilePattern(args[0].str, at.arg(0))
		if err != nil {
			return value{}, err
		}
		// Who writes the message may have made a pattern that is slow on purpose.
		if err := e.look(instructions(args[0].str)*(64+len(args[1].str)), &at.place); err != nil {
			return value{}, err
		}
		return f(e, pattern, args, at)
	}
}

// bindPattern compiles the regular expression once.
func bindPattern(f patternCall) func(first value, at *place) (builtin, *Error) {
	return func(first value, at *place) (builtin, *Error) {
		pattern, err := compilePattern(first.str, at)
		if err != nil {
			return nil, err
		}
		return func(e *env, args []value, at *site) (value, *Error) {
			if err := e.look(matchingCost*len(args[1].str), &at.place); err != nil {
				return value{}, err
			}
			return f(e, pattern, args, at)
		}, nil
	}
}

func matches(_ *env, pattern *regexp.Regexp, args []value, _ *site) (value, *Error) {
	return boolValue(pattern.MatchString(args[1].str)), nil
}

func regex(_ *env, pattern *regexp.Regexp, args []value, at *site) (value, *Error) {
	match := pattern.FindStringSubmatchIndex(args[1].str)
	if match == nil {
		return value{}, at.fail("the regular expression does not match: ask with matches first, or use regexall", missing)
	}
	return captured(pattern, args[1].str, match), nil
}

func regexAll(e *env, pattern *regexp.Regexp, args []value, at *site) (value, *Error) {
	found, err := allMatches(e, pattern, args[1].str, &at.place)
	if err != nil {
		return value{}, err
	}
	list := make([]value, len(found))
	for i, match := range found {
		list[i] = captured(pattern, args[1].str, match)
	}
	return listValue(list), nil
}

func regexReplace(e *env, pattern *regexp.Regexp, args []value, at *site) (value, *Error) {
	found, err := allMatches(e, pattern, args[1].str, &at.place)
	if err != nil {
		return value{}, err
	}
	from, done, s := len(e.text), 0, args[1].str
	for _, match := range found {
		e.text = append(e.text, s[done:match[0]]...)
		e.text = pattern.ExpandString(e.text, args[2].str, s, match)
		done = match[1]
		if err := e.tooLong(&at.place); err != nil {
			return value{}, err
		}
	}
	e.text = append(e.text, s[done:]...)
	return e.makeString(from, &at.place)
}

// allMatches finds every match, and no more than an expression may produce.
func allMatches(e *env, pattern *regexp.Regexp, s string, at *place) ([][]int, *Error) {
	cost := elementCost * (1 + pattern.NumSubexp())
	found := pattern.FindAllStringSubmatchIndex(s, maxOutput/cost+1)
	return found, e.spend(cost*len(found), at)
}

// captured makes a value of a match.
func captured(pattern *regexp.Regexp, s string, match []int) value {
	group := func(i int) value {
		if match[2*i] < 0 {
			return null
		}
		return stringValue(s[match[2*i]:match[2*i+1]])
	}
	names := pattern.SubexpNames()
	if len(names) == 1 {
		return group(0)
	}
	list, object := make([]value, 0, len(names)-1), newObject(len(names)-1)
	for i, name := range names[1:] {
		list = append(list, group(i+1))
		if name != "" {
			object.set(name, group(i+1))
		}
	}
	if len(object.c.keys) > 0 {
		return object.value()
	}
	return listValue(list)
}

// maxPattern is how long a regular expression may be, in bytes.
const maxPattern = 1000

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
