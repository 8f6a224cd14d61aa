module github.com/pipeamqp/pipe/examples/customstage

go 1.26

require github.com/pipeamqp/pipe v0.0.0

replace github.com/pipeamqp/pipe => ../..
