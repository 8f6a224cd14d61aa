package engine

import "errors"

// Kind says what sort of failure an error is. The list is closed, so that dashboards and conditions
// can rely on it.
type Kind string

// The kinds of failure.
const (
	KindExpression Kind = "expression" // an expression could not be evaluated against the message
	KindStage      Kind = "stage"      // a stage returned an error of no kind of its own
	KindSchema     Kind = "schema"     // the message is not what a schema asks for
	KindUnroutable Kind = "unroutable" // no sink, queue or exchange took the message
	KindNacked     Kind = "nacked"     // the destination refused the message
	KindTooLarge   Kind = "too_large"  // the message is larger than the destination takes
	KindTimeout    Kind = "timeout"    // a stage or sink took longer than it may
	KindConnection Kind = "connection" // the way to the destination broke; the outcome may be unknown
	KindPanic      Kind = "panic"      // a component panicked
)

// kinds are all that there are, and what stands for one that a component made up.
var kinds = [...]Kind{
	KindExpression, KindStage, KindSchema, KindUnroutable, KindNacked, KindTooLarge, KindTimeout, KindConnection, KindPanic, KindOther,
}

// KindOther is what telemetry calls a kind that is not in the list. No failure has it.
const KindOther Kind = "_OTHER"

// Listed returns the kind, or KindOther if it is not in the list.
func (k Kind) Listed() Kind { return kinds[kindIndex(k)] }

func kindIndex(k Kind) int {
	for i, known := range kinds {
		if k == known {
			return i
		}
	}
	return len(kinds) - 1
}

// Failure is what went wrong with a message: the error, and where it happened. It is read by sinks
// that take failed messages and by expressions as error.kind, error.message, error.stage and
// error.attempt.
type Failure struct {
	Kind      Kind
	Err       error
	Component string // the stage or sink, as the file names it: "filter.paid", "sink.eu"
	Attempt   int    // counted from 1
	Permanent bool   // trying again cannot help

	options *Options // of the component
	hold    bool     // on_unroutable asks to hold the message
}

// Message is the text of the failure.
func (f *Failure) Message() string { return f.Err.Error() }

// classified is an error with a class of ours around it.
type classified struct {
	err       error
	kind      Kind
	permanent bool
}

func (c *classified) Error() string { return c.err.Error() }
func (c *classified) Unwrap() error { return c.err }

// Permanent marks an error as one that trying again cannot help. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &classified{err: err, kind: KindOf(err), permanent: true}
}

// IsPermanent reports whether err, or an error that it wraps, was marked by [Permanent].
func IsPermanent(err error) bool {
	var c *classified
	for errors.As(err, &c) {
		if c.permanent {
			return true
		}
		err = c.err
	}
	return false
}

// WithKind gives an error a kind; it stays permanent if it was. WithKind(kind, nil) is nil.
func WithKind(kind Kind, err error) error {
	if err == nil {
		return nil
	}
	return &classified{err: err, kind: kind}
}

// KindOf returns the kind of err: the outermost one given by [WithKind], else [KindStage].
func KindOf(err error) Kind {
	var c *classified
	if errors.As(err, &c) {
		return c.kind
	}
	return KindStage
}
