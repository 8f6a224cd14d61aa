package config

import (
	"net/url"

	"github.com/pipeamqp/pipe/telemetry"
)

// setTelemetry reads the telemetry block.
func (l *loader) setTelemetry() {
	for _, b := range l.blocks.Telemetry {
		if l.telemetry != nil {
			l.error(b.DefRange(), "Second telemetry block", "The files together have one telemetry block at most.")
			return
		}
		l.telemetry = &telemetry.Config{}
		if !(&decoder{loader: l}).decode(blockOf(b), l.telemetry) {
			continue
		}
		if e := l.telemetry.Endpoint; e != "" {
			if u, err := url.Parse(e); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
				l.error(b.Body.Attributes["endpoint"].SrcRange, "Invalid endpoint", "An endpoint is the URL of a collector, as http://127.0.0.1:4317, or https:// for TLS.")
			}
		}
	}
}
