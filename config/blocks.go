package config

import (
	"reflect"

	"github.com/pipeamqp/pipe/telemetry"
)

// Blocks returns the reference of what files consist of: the blocks at the top of a file, with those inside them. Sources,
// stages and sinks are described by [Describe].
func Blocks() []Doc {
	variable := blockDoc[variableBlock]("variable")
	connection := blockDoc[connectionBlock]("connection")
	declare := blockDoc[declareBlock]("declare")
	declare.Blocks = []Doc{blockDoc[exchangeBlock]("exchange"), blockDoc[queueBlock]("queue"), blockDoc[bindingBlock]("binding")}
	pipeline := blockDoc[pipelineBlock]("pipeline")
	locals := Doc{Kind: "locals", Text: "Values with names: each argument is one, and is referred to as local.NAME.", Many: true}
	telemetryDoc := blockDoc[telemetry.Config]("telemetry")
	telemetryDoc.Many = false
	return []Doc{variable, locals, blockDoc[functionBlock]("function"), connection, declare, telemetryDoc, pipeline}
}

func blockDoc[T any](kind string) Doc {
	d := describeBlock(reflect.TypeFor[T]())
	d.Kind, d.Many = kind, true
	return d
}
