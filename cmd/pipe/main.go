// Command pipe moves RabbitMQ messages through pipelines and never loses one.
package main

import "github.com/pipeamqp/pipe/cmd/pipe/cli"

func main() { cli.Main() }
