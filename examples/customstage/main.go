// Command cardpipe is pipe with one more stage: a custom build is this file.
package main

import (
	"github.com/pipeamqp/pipe/cmd/pipe/cli"
	"github.com/pipeamqp/pipe/engine"

	"github.com/pipeamqp/pipe/examples/customstage/redact"
)

var register = cli.Register(func(r *engine.Registry) { r.Stage("redact", redact.New) })

func main() { cli.Main(register) }
