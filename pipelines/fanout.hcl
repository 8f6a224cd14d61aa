# One message, several sinks: a sink that no other block names takes every message for which its
# "when" holds. The input is acknowledged when all of them have confirmed.

declare {
  exchange "sales" { type = "topic" }
  exchange "dead" { type = "fanout" }

  queue "sales.in" {
    type        = "quorum"
    dead_letter = exchange.dead
  }
  queue "sales.archive" { type = "quorum" }
  queue "sales.review" { type = "quorum" }
  queue "sales.parked" { type = "quorum" }

  binding {
    from = exchange.sales
    to   = queue["sales.archive"]
    key  = "#"
  }
  binding {
    from = exchange.dead
    to   = queue["sales.parked"]
  }
}

pipeline "sales" {
  source "amqp" {
    queue = queue["sales.in"]
  }

  sink "amqp" "archive" { # everything, byte for byte, under its old routing key
    exchange    = exchange.sales
    routing_key = msg.routing_key
  }

  sink "amqp" "review" { # large orders besides
    queue   = queue["sales.review"]
    when    = body.total >= 100
    headers = { x-why = "a total of ${body.total}" }
  }
}
