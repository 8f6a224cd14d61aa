package expr

import (
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
)

func floatBits(f float64) uint64 { return math.Float64bits(f) }
func floatFrom(b uint64) float64 { return math.Float64frombits(b) }

// numberValue makes a number of a literal in JSON's grammar: an int64 if it is whole and fits, else
// a float64. A literal beyond a float64 becomes an infinity, which only passing on may use.
func numberValue(literal string) value {
	if n, ok := shortNumber(literal); ok {
		v := n.value()
		v.str = literal
		return v
	}
	if i, ok := parseInt(literal); ok {
		return value{kind: kindInt, num: uint64(i), str: literal}
	}
	f, _ := strconv.ParseFloat(literal, 64) // out of range: an infinity
	return value{kind: kindFloat, num: floatBits(f), str: literal}
}

// num is an int64 or the bits of a float64: what is left of a value where it is only counted with.
type num struct {
	bits     uint64
	fraction bool
}

func (n num) value() value {
	if n.fraction {
		return value{kind: kindFloat, num: n.bits}
	}
	return value{kind: kindInt, num: n.bits}
}

func (n num) asFloat() float64 {
	if n.fraction {
		return floatFrom(n.bits)
	}
	return float64(int64(n.bits))
}

// shortNumber reads what most numbers are: a few digits, perhaps with a point. ok is false for longer ones and for all other JSON.
func shortNumber(literal string) (_ num, ok bool) {
	i, point := 0, len(literal)
	if literal[0] == '-' {
		i = 1
	}
	digits := uint64(0)
	if len(literal) > 18 {
		return num{}, false // the digits might not fit
	}
	for ; i < len(literal); i++ {
		switch c := literal[i]; {
		case c-'0' <= 9:
			digits = digits*10 + uint64(c-'0')
		case c == '.':
			point = i + 1
		default:
			return num{}, false
		}
	}
	if point == len(literal) {
		n := int64(digits)
		if literal[0] == '-' {
			n = -n
		}
		return num{bits: uint64(n)}, true
	}
	if digits >= 1<<53 {
		return num{}, false
	}
	f := float64(digits) / powersOfTen[len(literal)-point] // both are exact, and so the quotient is the nearest to it
	if literal[0] == '-' {
		f = -f
	}
	return num{floatBits(f), true}, true
}

// powersOfTen has those that shortNumber and appendShort need; a float64 holds them exactly.
var powersOfTen = [...]float64{1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16, 1e17, 1e18}

// parseInt reads digits with an optional minus sign that fit an int64.
func parseInt(s string) (int64, bool) {
	digits := s
	if len(s) > 0 && s[0] == '-' {
		digits = s[1:]
	}
	if len(digits) == 0 || len(digits) > 18 {
		i, err := strconv.ParseInt(s, 10, 64)
		return i, err == nil && s[0] != '+'
	}
	var n int64
	for i := range len(digits) {
		d := digits[i] - '0'
		if d > 9 {
			return 0, false
		}
		n = n*10 + int64(d)
	}
	if len(digits) != len(s) {
		n = -n
	}
	return n, true
}

// outOfRange is said of a number that is only good for being passed on: a literal that a float64 cannot
// hold, or what a header has that is infinite or no number.
const outOfRange = "the number is out of range"

// isFinite reports whether f has another exponent than infinities and what is no number have.
func isFinite(f float64) bool { return floatBits(f)>>52&0x7ff != 0x7ff }

// wholeFloat returns f as an int64 if it is exactly one.
func wholeFloat(f float64) (int64, bool) {
	if f >= -1<<63 && f < 1<<63 && f == math.Trunc(f) {
		return int64(f), true
	}
	return 0, false
}

// parseNumber reads a string as a number, as HCL converts it: decimal digits, point and exponent.
func parseNumber(s string) (value, bool) {
	if i, ok := parseInt(s); ok {
		return intValue(i), true
	}
	if s == "" || strings.Trim(s, "0123456789+-.eE") != "" {
		return value{}, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return value{}, false
	}
	return floatValue(f), true
}

// bigValue makes a number of one of HCL's; ok is false where a float64 cannot hold it.
func bigValue(b *big.Float) (v value, ok bool) {
	if i, accuracy := b.Int64(); accuracy == big.Exact {
		return intValue(i), true
	}
	f, _ := b.Float64()
	return floatValue(f), !math.IsInf(f, 0)
}

// appendNumber writes a number in decimal: whole numbers and decimal fractions exactly as their
// literal says, without trailing zeros; an exponent only from 1e21 on and below 1e-6.
func appendNumber(dst []byte, v value) []byte {
	if v.kind == kindInt {
		return strconv.AppendInt(dst, v.int(), 10)
	}
	if v.str == "" || strings.ContainsAny(v.str, "eE") {
		f := v.float()
		if math.IsInf(f, 0) && v.str != "" {
			return append(dst, v.str...)
		}
		if v.width == wideFloat32 {
			return appendFloat(dst, f, 32)
		}
		return appendFloat(dst, f, 64)
	}
	return append(dst, trimFraction(v.str)...)
}

// trimFraction removes the zeros that end a fraction.
func trimFraction(literal string) string {
	if strings.IndexByte(literal, '.') < 0 {
		return literal
	}
	literal = strings.TrimSuffix(strings.TrimRight(literal, "0"), ".")
	if literal == "-0" {
		return "0"
	}
	return literal
}

// appendFloat writes the shortest decimal that reads back as f, which is a float of that many bits.
func appendFloat(dst []byte, f float64, bits int) []byte {
	if size := math.Abs(f); size != 0 && (size < 1e-6 || size >= 1e21) {
		dst = strconv.AppendFloat(dst, f, 'e', -1, bits)
		if n := len(dst); n >= 4 && string(dst[n-4:n-1]) == "e-0" {
			dst = append(dst[:n-2], dst[n-1]) // 1e-9, as JSON is usually written
		}
		return dst
	}
	if f == 0 {
		return append(dst, '0') // no minus sign
	}
	if bits == 64 {
		if short, ok := appendShort(dst, f); ok {
			return short
		}
	}
	return strconv.AppendFloat(dst, f, 'f', -1, bits)
}

// appendShort writes a float with up to four decimal places, as prices have, if that is all it has. Decimals
// of 15 digits or fewer are different floats, and so one that reads back as f is the shortest that does.
func appendShort(dst []byte, f float64) (_ []byte, ok bool) {
	size := math.Abs(f)
	for places, scale := range powersOfTen[:5] {
		if size*scale >= 1e15 {
			return dst, false
		}
		if n := int64(size*scale + 0.5); float64(n)/scale == size {
			if f < 0 {
				dst = append(dst, '-')
			}
			return appendPlaces(dst, n, places), true
		}
	}
	return dst, false
}

// appendPlaces writes n with a point before its last digits, which are that many.
func appendPlaces(dst []byte, n int64, places int) []byte {
	start := len(dst)
	dst = strconv.AppendInt(dst, n, 10)
	if places == 0 {
		return dst
	}
	for len(dst)-start <= places {
		dst = slices.Insert(dst, start, '0')
	}
	point := len(dst) - places
	dst = append(dst, 0)
	copy(dst[point+1:], dst[point:])
	dst[point] = '.'
	return dst
}

// asFloat returns a number as a float64.
func (v value) asFloat() float64 {
	if v.kind == kindInt {
		return float64(v.int())
	}
	return v.float()
}

// sameNumber reports whether two numbers are equal. One that is out of range is only equal to what is
// written the same.
func sameNumber(a, b value) bool {
	if !isFinite(a.asFloat()) || !isFinite(b.asFloat()) {
		return a.num == b.num && a.str == b.str && !math.IsNaN(a.asFloat())
	}
	return compareNumbers(a, b) == 0
}

// orderNumbers orders two numbers, if that can be done.
func orderNumbers(a, b value, at, bt *place) (int, *Error) {
	x, y := a.asFloat(), b.asFloat()
	switch {
	case math.IsNaN(x) || x == y && math.IsInf(x, 0) && a.str != b.str:
		return 0, at.fail(outOfRange, a)
	case math.IsNaN(y):
		return 0, bt.fail(outOfRange, b)
	}
	return compareNumbers(a, b), nil
}

// compareNumbers orders two numbers exactly, whatever their kinds. Neither is NaN.
func compareNumbers(a, b value) int {
	switch {
	case a.kind == kindInt && b.kind == kindInt:
		return cmpOrdered(a.int(), b.int())
	case a.kind == kindInt:
		return -compareFloatInt(b.float(), a.int())
	case b.kind == kindInt:
		return compareFloatInt(a.float(), b.int())
	}
	return cmpOrdered(a.float(), b.float())
}

func compareFloatInt(f float64, i int64) int {
	switch {
	case f >= 1<<63:
		return 1
	case f < -1<<63:
		return -1
	}
	whole := math.Trunc(f)
	if c := cmpOrdered(int64(whole), i); c != 0 {
		return c
	}
	return cmpOrdered(f, whole)
}

func cmpOrdered[T int64 | float64 | string](a, b T) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}
