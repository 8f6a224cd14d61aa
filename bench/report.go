package main

import (
	"encoding/json"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
)

// The columns of experiments.
const (
	cpuColumn  = "CPU-µs a message"
	rateColumn = "messages/s"
	rssColumn  = "peak RSS, MB"
	// The broker shares the machine: what it spends on a contender's messages is throughput lost, however little the contender itself costs.
	brokerColumn = "broker's CPU-µs"
	wallColumn   = "ms in all"
)

// spread is what several rounds came to.
type spread struct {
	Median float64   `json:"median"`
	Min    float64   `json:"min"`
	Max    float64   `json:"max"`
	Ratio  float64   `json:"ratio"` // of the median, to that of the first contender
	Rounds []float64 `json:"rounds"`
}

// table is what an experiment found.
type table struct {
	Name       string                        `json:"name"`
	About      string                        `json:"about"`
	Queue      string                        `json:"queue"`
	Rounds     int                           `json:"rounds"`
	Columns    []string                      `json:"columns"`
	Contenders []string                      `json:"contenders"`
	Messages   map[string]int                `json:"messages"`
	Cells      map[string]map[string]*spread `json:"cells"` // by contender and column
}

func newTable(e *experiment, b *bench) *table {
	t := &table{
		Name: e.name, About: e.about, Queue: b.queue, Rounds: e.rounds, Columns: e.columns,
		Messages: map[string]int{}, Cells: map[string]map[string]*spread{},
	}
	for _, c := range e.contenders {
		t.Contenders = append(t.Contenders, c.name)
		t.Messages[c.name] = c.n
		t.Cells[c.name] = map[string]*spread{}
	}
	return t
}

func (t *table) add(contender, column string, v float64) {
	if !slices.Contains(t.Columns, column) {
		return
	}
	s := t.Cells[contender][column]
	if s == nil {
		s = new(spread)
		t.Cells[contender][column] = s
	}
	s.Rounds = append(s.Rounds, v)
}

// finish works out medians and ratios.
func (t *table) finish() {
	for _, column := range t.Columns {
		base := 0.0
		for _, c := range t.Contenders {
			s := t.Cells[c][column]
			sorted := slices.Sorted(slices.Values(s.Rounds))
			s.Median, s.Min, s.Max = sorted[len(sorted)/2], sorted[0], sorted[len(sorted)-1]
			if base == 0 {
				base = s.Median
			}
			if base > 0 {
				s.Ratio = s.Median / base
			}
		}
	}
}

// print shows medians with their spread, and the ratio of each contender to the first.
func (t *table) print(w io.Writer) {
	fmt.Fprintf(w, "\n%s (%s), %s queues, medians of %d rounds [least–most]\n", t.Name, t.About, t.Queue, t.Rounds)
	tw := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprint(tw, "\t")
	for _, column := range t.Columns {
		fmt.Fprintf(tw, "%s\tratio\t", column)
	}
	fmt.Fprintln(tw)
	for _, c := range t.Contenders {
		fmt.Fprintf(tw, "%s\t", c)
		for _, column := range t.Columns {
			s := t.Cells[c][column]
			fmt.Fprintf(tw, "%s [%s–%s]\t%.2f\t", number(s.Median), number(s.Min), number(s.Max), s.Ratio)
		}
		fmt.Fprintln(tw)
	}
	_ = tw.Flush()
}

// markdown writes the table for the docs, without the spread.
func (t *table) markdown(w io.Writer) {
	fmt.Fprintf(w, "\n**%s** (%s), %s queues, medians of %d rounds\n\n|", t.Name, t.About, t.Queue, t.Rounds)
	for _, column := range t.Columns {
		fmt.Fprintf(w, " | %s", column)
	}
	fmt.Fprintf(w, " |\n|---|%s\n", strings.Repeat("---:|", len(t.Columns)))
	for _, c := range t.Contenders {
		fmt.Fprintf(w, "| %s", c)
		for _, column := range t.Columns {
			s := t.Cells[c][column]
			fmt.Fprintf(w, " | %s (%.2f)", number(s.Median), s.Ratio)
		}
		fmt.Fprintln(w, " |")
	}
}

func number(v float64) string {
	if v >= 100 {
		return fmt.Sprintf("%.0f", v)
	}
	return fmt.Sprintf("%.1f", v)
}

// report is all that was measured in one run, and on what.
type report struct {
	Processors int      `json:"processors"`
	CPU        string   `json:"cpu"`
	Go         string   `json:"go"`
	RabbitMQ   string   `json:"rabbitmq"`
	Tables     []*table `json:"tables"`
}

func newReport(broker string) *report {
	r := &report{Processors: runtime.NumCPU(), Go: runtime.Version(), RabbitMQ: broker}
	info, _ := os.ReadFile("/proc/cpuinfo")
	for line := range strings.Lines(string(info)) {
		if name, ok := strings.CutPrefix(line, "model name"); ok {
			r.CPU = strings.TrimLeft(strings.TrimSpace(name), ": \t")
			break
		}
	}
	return r
}

func (r *report) about() string {
	return fmt.Sprintf("%d processors (%s), RabbitMQ %s on the same machine, %s", r.Processors, r.CPU, r.RabbitMQ, r.Go)
}

// write writes the report as JSON, as an SVG and as Markdown, where that is asked for.
func (r *report) write(s *settings) error {
	for _, out := range []struct {
		file string
		to   func(io.Writer) error
	}{
		{s.json, func(w io.Writer) error {
			e := json.NewEncoder(w)
			e.SetIndent("", "  ")
			return e.Encode(r)
		}},
		{s.svg, r.draw},
		{s.markdown, func(w io.Writer) error {
			fmt.Fprintln(w, r.about())
			for _, t := range r.Tables {
				t.markdown(w)
			}
			return nil
		}},
	} {
		if out.file == "" {
			continue
		}
		f, err := os.Create(out.file)
		if err != nil {
			return err
		}
		if err := out.to(f); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
	}
	return nil
}
