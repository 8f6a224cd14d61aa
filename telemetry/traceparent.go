package telemetry

// traceparent is the header of the W3C Trace Context: version, trace id, parent id and flags, as
// 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01 (https://www.w3.org/TR/trace-context/#traceparent-header).
const traceparent = "traceparent"

// privateParent is the header that takes its place while the broker holds a message, where nobody else is to see the trace.
const privateParent = "x-pipe-trace"

// contextKind is what a traceparent says.
type contextKind uint8

const (
	none      contextKind = iota // there is none, or it is broken
	unsampled                    // the publisher decided that the message is not traced
	sampled
)

// classify looks at a traceparent without taking it apart. It allocates nothing.
func classify[T string | []byte](v T) contextKind {
	const length = 55
	switch {
	case len(v) < length, v[2] != '-', v[35] != '-', v[52] != '-':
		return none
	case v[0] == 'f' && v[1] == 'f': // no version
		return none
	case v[0] == '0' && v[1] == '0' && len(v) != length, len(v) > length && v[length] != '-':
		return none
	case !digits(v[:2], false), !digits(v[3:35], true), !digits(v[36:52], true), !digits(v[53:55], false):
		return none
	}
	if low := v[54]; (digit(low) & 1) == 1 {
		return sampled
	}
	return unsampled
}

// digits reports that all of v are lower-case hexadecimal digits, and, if asked, that not all are 0.
func digits[T string | []byte](v T, some bool) bool {
	found := !some
	for i := range len(v) {
		d := digit(v[i])
		if d < 0 {
			return false
		}
		found = found || d > 0
	}
	return found
}

func digit(c byte) int {
	switch {
	case c >= '0' && c <= '9':
		return int(c - '0')
	case c >= 'a' && c <= 'f':
		return int(c-'a') + 10
	}
	return -1
}
