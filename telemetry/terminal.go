package telemetry

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Printer takes the lines of a trace.
type Printer func(lines string)

// terminal prints the spans of a message as a tree, when the last of them has ended:
//
//	process orders.in            12.3ms  ack  trace 4bf92f3577b34da6a3ce929d0e0e4736
//	├─ filter paid                0.1ms
//	├─ publish orders             9.8ms
//	└─ ack orders.in              0.0ms
type terminal struct {
	print Printer
	every uint64 // one tree in so many

	mu    sync.Mutex
	begun uint64
	trees map[trace.SpanID]*tree // by each of their spans that has begun
}

// tree is the spans below one that has no parent in this process.
type tree struct {
	shown bool
	open  int
	spans []sdktrace.ReadOnlySpan
	ids   []trace.SpanID
}

func newTerminal(print Printer, every uint64) *terminal {
	return &terminal{print: print, every: every, trees: map[trace.SpanID]*tree{}}
}

// OnStart implements [sdktrace.SpanProcessor].
func (t *terminal) OnStart(_ context.Context, s sdktrace.ReadWriteSpan) {
	t.mu.Lock()
	defer t.mu.Unlock()
	in := t.trees[s.Parent().SpanID()]
	if in == nil {
		in = &tree{shown: t.begun%t.every == 0}
		t.begun++
	}
	id := s.SpanContext().SpanID()
	in.open++
	in.ids = append(in.ids, id)
	t.trees[id] = in
}

// OnEnd implements [sdktrace.SpanProcessor].
func (t *terminal) OnEnd(s sdktrace.ReadOnlySpan) {
	t.mu.Lock()
	in := t.trees[s.SpanContext().SpanID()]
	if in == nil {
		t.mu.Unlock()
		return
	}
	if in.shown {
		in.spans = append(in.spans, s)
	}
	in.open--
	complete := in.open == 0
	if complete {
		for _, id := range in.ids {
			delete(t.trees, id)
		}
	}
	t.mu.Unlock()
	if complete && in.shown {
		t.print(in.String())
	}
}

// Shutdown implements [sdktrace.SpanProcessor].
func (*terminal) Shutdown(context.Context) error { return nil }

// ForceFlush implements [sdktrace.SpanProcessor].
func (*terminal) ForceFlush(context.Context) error { return nil }

// String draws the tree.
func (t *tree) String() string {
	slices.SortStableFunc(t.spans, func(a, b sdktrace.ReadOnlySpan) int { return a.StartTime().Compare(b.StartTime()) })
	children := map[trace.SpanID][]sdktrace.ReadOnlySpan{}
	own := map[trace.SpanID]bool{}
	for _, s := range t.spans {
		own[s.SpanContext().SpanID()] = true
	}
	var roots []sdktrace.ReadOnlySpan
	for _, s := range t.spans {
		if parent := s.Parent().SpanID(); own[parent] {
			children[parent] = append(children[parent], s)
		} else {
			roots = append(roots, s)
		}
	}
	var b strings.Builder
	for _, r := range roots {
		fmt.Fprintf(&b, "%s  trace %s\n", described("", r), r.SpanContext().TraceID())
		draw(&b, "", r, children)
	}
	return b.String()
}

func draw(b *strings.Builder, indent string, s sdktrace.ReadOnlySpan, children map[trace.SpanID][]sdktrace.ReadOnlySpan) {
	below := children[s.SpanContext().SpanID()]
	for i, c := range below {
		branch, next := "├─ ", "│  "
		if i == len(below)-1 {
			branch, next = "└─ ", "   "
		}
		b.WriteString(described(indent+branch, c) + "\n")
		draw(b, indent+next, c, children)
	}
}

// described is a span in one line.
func described(indent string, s sdktrace.ReadOnlySpan) string {
	took := s.EndTime().Sub(s.StartTime())
	const column = 40
	head := indent + s.Name()
	head += strings.Repeat(" ", max(1, column-len([]rune(head))))
	parts := []string{fmt.Sprintf("%s%9.1fms", head, float64(took)/float64(time.Millisecond))}
	if attempt := valueOf(s, attrAttempt); attempt != "" && attempt != "1" {
		parts = append(parts, "attempt "+attempt)
	}
	for _, key := range []attribute.Key{attrOutcome, attrMessageID} {
		if v := valueOf(s, key); v != "" {
			parts = append(parts, v)
		}
	}
	if n := len(s.Links()); n > 1 {
		parts = append(parts, fmt.Sprintf("of %d messages", n))
	}
	if s.Status().Code == codes.Error {
		parts = append(parts, "failed: "+cmp.Or(s.Status().Description, valueOf(s, attrErrorType)))
	}
	return strings.Join(parts, "  ")
}

func valueOf(s sdktrace.ReadOnlySpan, key attribute.Key) string {
	for _, a := range s.Attributes() {
		if a.Key == key {
			return a.Value.String()
		}
	}
	return ""
}
