package expr

import (
	"math"
	"strconv"
	"strings"
)

var numberFunctions = []tableFunction{
	{
		name: "min", params: []param{{"numbers", numberParam}}, least: 1, many: true,
		doc:     "The smallest of the numbers.",
		example: `min(3, 1, 2)`,
		call:    extreme(-1),
	},
	{
		name: "max", params: []param{{"numbers", numberParam}}, least: 1, many: true,
		doc:     "The largest of the numbers.",
		example: `max([3, 1, 2]...)`,
		call:    extreme(1),
	},
	{
		name: "abs", params: []param{{"n", numberParam}}, least: 1,
		doc:     "The number without its sign.",
		example: `abs(-2.5)`,
		call:    absolute,
	},
	{
		name: "floor", params: []param{{"n", numberParam}}, least: 1,
		doc:     "The nearest whole number that is not larger.",
		example: `floor(2.7)`,
		call:    whole(math.Floor),
	},
	{
		name: "ceil", params: []param{{"n", numberParam}}, least: 1,
		doc:     "The nearest whole number that is not smaller.",
		example: `ceil(2.1)`,
		call:    whole(math.Ceil),
	},
	{
		name: "round", params: []param{{"n", numberParam}, {"digits", numberParam}}, least: 1,
		doc:     "The number rounded to digits after the point (none unless given), halves away from zero. It rounds the number as it is written in decimal: round(2.675, 2) is 2.68.",
		example: `round(2.675, 2)`,
		call:    round,
		shorten: shortenRound,
	},
	{
		name: "sum", params: []param{{"numbers", listParam}}, least: 1,
		doc:     "The sum of the numbers of a list; 0 of an empty one.",
		example: `sum([1, 2.5])`,
		call:    sum,
	},
	{
		name: "pow", params: []param{{"base", numberParam}, {"exponent", numberParam}}, least: 2,
		doc:     "The base to the power of the exponent.",
		example: `pow(2, 10)`,
		call:    onNumbers(math.Pow),
	},
	{
		name: "log", params: []param{{"n", numberParam}, {"base", numberParam}}, least: 2,
		doc:     "The logarithm of the number to the base.",
		example: `log(100, 10)`,
		call:    onNumbers(func(n, base float64) float64 { return math.Log(n) / math.Log(base) }),
	},
	{
		name: "signum", params: []param{{"n", numberParam}}, least: 1,
		doc:     "-1, 0 or 1: the sign of the number.",
		example: `signum(-2.5)`,
		call: func(_ *env, args []value, _ *site) (value, *Error) {
			return intValue(int64(compareNumbers(args[0], intValue(0)))), nil
		},
	},
	{
		name: "parseint", params: []param{{"s", stringParam}, {"base", numberParam}}, least: 2,
		doc:     "The whole number that the string is in a base from 2 to 36.",
		example: `parseint("ff", 16)`,
		call:    parseInteger,
	},
}

// extreme picks the number that is the furthest in one direction.
func extreme(direction int) builtin {
	return func(_ *env, args []value, _ *site) (value, *Error) {
		best := args[0]
		for _, n := range args[1:] {
			if compareNumbers(n, best) == direction {
				best = n
			}
		}
		return best, nil
	}
}

func absolute(_ *env, args []value, at *site) (value, *Error) {
	n := args[0]
	if n.kind == kindFloat {
		return floatValue(math.Abs(n.float())), nil
	}
	if n.int() < 0 {
		return negate(n, &at.place)
	}
	return intValue(n.int()), nil
}

func whole(f func(float64) float64) builtin {
	return func(_ *env, args []value, _ *site) (value, *Error) {
		if args[0].kind == kindInt {
			return args[0], nil
		}
		return wholeValue(f(args[0].float())), nil
	}
}

// wholeValue makes an int64 of a whole float64 that fits.
func wholeValue(f float64) value {
	if i, ok := wholeFloat(f); ok {
		return intValue(i)
	}
	return floatValue(f)
}

// maxDigits is the largest number of digits that round takes.
const maxDigits = 30

func round(_ *env, args []value, at *site) (value, *Error) {
	digits := int64(0)
	if len(args) > 1 {
		var err *Error
		if digits, err = toInt(args[1], at.arg(1)); err != nil {
			return value{}, err
		}
		if digits < 0 || digits > maxDigits {
			return value{}, at.arg(1).fail("digits is a number from 0 to 30", args[1])
		}
	}
	if args[0].kind == kindInt {
		return args[0], nil
	}
	f := roundDecimal(args[0].float(), int(digits))
	if digits == 0 {
		return wholeValue(f), nil
	}
	return floatValue(f), nil
}

// shortenRound rounds what most often is a short number to a number of digits that is written there.
func shortenRound(n *node, args []node, _ *site) {
	if len(args) < 2 || args[0].number == nil || args[1].constant == nil || args[1].constant.kind != kindInt {
		return
	}
	number, digits := args[0].number, args[1].constant.int()
	if digits < 1 || digits > maxDigits {
		return
	}
	n.quickly(func(e *env) (float64, bool) {
		f, ok := number(e)
		if !ok || !f.fraction {
			return 0, false
		}
		return roundShort(floatFrom(f.bits), int(digits))
	})
}

// roundDecimal rounds the shortest decimal that f is written as, halves away from zero.
func roundDecimal(f float64, digits int) float64 {
	if rounded, ok := roundShort(f, digits); ok {
		return rounded
	}
	return roundLong(f, digits)
}

// roundLong looks at the decimal.
func roundLong(f float64, digits int) float64 {
	s := strconv.FormatFloat(math.Abs(f), 'f', -1, 64)
	point := strings.IndexByte(s, '.')
	if point < 0 || len(s) <= point+1+digits {
		return f
	}
	kept, next := s[:point+1+digits], s[point+1+digits]
	rounded, err := strconv.ParseFloat(kept, 64)
	if err != nil {
		return f
	}
	if next >= '5' {
		rounded, _ = strconv.ParseFloat(increment(kept), 64)
	}
	return math.Copysign(rounded, f)
}

// roundShort does without the decimal where that cannot matter: below most, f times a power of ten is off from the decimal's by 2⁻¹² at the
// most (two roundings of a part in 2⁵³), an eighth of what is kept clear of a half; and what it is rounded to and the power are both exact,
// so that their quotient is the nearest to the decimal.
func roundShort(f float64, digits int) (rounded float64, ok bool) {
	const most, near = 1 << 40, 1.0 / (1 << 9)
	if digits >= len(powersOfTen) {
		return 0, false
	}
	scaled := math.Abs(f) * powersOfTen[digits]
	whole := math.Floor(scaled)
	over := scaled - whole - 0.5
	if !(scaled < most) || math.Abs(over) < near {
		return 0, false
	}
	if over > 0 {
		whole++
	}
	return math.Copysign(whole/powersOfTen[digits], f), true
}

// increment adds one to the last digit of a decimal.
func increment(s string) string {
	b := []byte(s)
	for i := len(b) - 1; i >= 0; i-- {
		switch b[i] {
		case '.':
		case '9':
			b[i] = '0'
		default:
			b[i]++
			return string(b)
		}
	}
	return "1" + string(b)
}

// onNumbers makes a whole number where the result is one that a float64 holds exactly.
func onNumbers(f func(a, b float64) float64) builtin {
	return func(_ *env, args []value, at *site) (value, *Error) {
		result := f(args[0].asFloat(), args[1].asFloat())
		if math.Abs(result) < 1<<53 {
			return wholeValue(result), nil
		}
		return finite(result, &at.place)
	}
}

func sum(e *env, args []value, at *site) (value, *Error) {
	list, err := e.open(args[0], at.arg(0))
	if err != nil {
		return value{}, err
	}
	total := intValue(0)
	for _, item := range list.items {
		n, err := toNumber(item, at.arg(0))
		if err != nil {
			return value{}, err
		}
		if total, err = add(total, n, &at.place); err != nil {
			return value{}, err
		}
	}
	return total, e.look(elementWork*len(list.items), &at.place)
}

func parseInteger(_ *env, args []value, at *site) (value, *Error) {
	base, err := toInt(args[1], at.arg(1))
	switch {
	case err != nil:
		return value{}, err
	case base < 2 || base > 36:
		return value{}, at.arg(1).fail("the base is a number from 2 to 36", args[1])
	}
	i, failed := strconv.ParseInt(args[0].str, int(base), 64)
	if failed != nil {
		return value{}, at.arg(0).fail("not a whole number in this base, of 64 bits", args[0])
	}
	return intValue(i), nil
}
