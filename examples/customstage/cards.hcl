# Copies orders to the analysts' queue, with card numbers masked by a stage of our own.

declare {
  queue "orders" { type = "quorum" }
  queue "orders.analysts" { type = "quorum" }
}

pipeline "cards" {
  source "amqp" {
    queue = queue.orders
  }

  stage "redact" "cards" {
    keep = 4
  }

  sink "amqp" "analysts" {
    queue = queue["orders.analysts"]
  }
}
