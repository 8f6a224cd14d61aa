# A message that fails goes where the file says, with the reason in its headers, instead of holding
# up its queue.

declare {
  queue "payments" { type = "quorum" }
  queue "payments.checked" { type = "quorum" }
  queue "payments.failed" { type = "quorum" }
}

pipeline "payments" {
  source "amqp" {
    queue = queue.payments
  }

  stage "log" "seen" {
    message  = "payment ${body.id}"
    level    = "debug"
    on_error = "continue" # a line that cannot be made is no reason to fail
  }

  stage "map" "net" {
    set      = { body.net = round(body.total / 1.2, 2) }
    on_error = sink.failed
  }

  sink "amqp" "checked" {
    queue = queue["payments.checked"]
  }

  sink "amqp" "failed" { # named by on_error, so it takes only what is sent to it, with headers x-pipe-reason and others
    queue   = queue["payments.failed"]
    headers = { x-alarm = "${error.kind} in ${error.stage}" }
  }
}
