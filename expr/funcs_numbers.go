package expr

import (
	"math"
	"strconv"
	"strings"
)

var numberFunctions = []tableFunction{
	{
		name: "min", params: []param{{"numbers", numberParam}}, least: 1, many: true,
		doc:  "The smallest of the numbers.",
		call: extreme(-1),
	},
	{
		name: "max", params: []param{{"numbers", numberParam}}, least: 1, many: true,
		doc:  "The largest of the numbers.",
		call: extreme(1),
	},
	{
		name: "abs", params: []param{{"n", numberParam}}, least: 1,
		doc:  "The number without its sign.",
		call: absolute,
	},
	{
		name: "floor", params: []param{{"n", numberParam}}, least: 1,
		doc:  "The nearest whole number that is not larger.",
		call: whole(math.Floor),
	},
	{
		name: "ceil", params: []param{{"n", numberParam}}, least: 1,
		doc:  "The nearest whole number that is not smaller.",
		call: whole(math.Ceil),
	},
	{
		name: "round", params: []param{{"n", numberParam}, {"digits", numberParam}}, least: 1,
		doc:  "The number rounded to digits after the point (none unless given), halves away from zero. It rounds the number as it is written in decimal: round(2.675, 2) is 2.68.",
		call: round,
	},
	{
		name: "tonumber", params: []param{{"v", anyParam}}, least: 1,
		doc: "The value as a number; null stays null.",
		call: converting(func(v value, at *place) (value, *Error) {
			n, err := toNumber(v, at)
			n.width, n.ref = 0, nil
			return n, err
		}),
	},
	{
		name: "tostring", params: []param{{"v", anyParam}}, least: 1,
		doc:  "The value as a string; null stays null.",
		call: converting(toString),
	},
	{
		name: "tobool", params: []param{{"v", anyParam}}, least: 1,
		doc:  "The value as a bool; null stays null.",
		call: converting(toBool),
	},
}

func converting(convert func(value, *place) (value, *Error)) func(*env, []value, *site) (value, *Error) {
	return func(_ *env, args []value, at *site) (value, *Error) {
		if args[0].kind == kindNull {
			return null, nil
		}
		return convert(args[0], at.arg(0))
	}
}

// extreme picks the number that is the furthest in one direction.
func extreme(direction int) func(*env, []value, *site) (value, *Error) {
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

func whole(f func(float64) float64) func(*env, []value, *site) (value, *Error) {
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

// roundDecimal rounds the shortest decimal that f is written as, halves away from zero.
func roundDecimal(f float64, digits int) float64 {
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
