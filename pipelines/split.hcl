# One order becomes one message for each of its items. The order is acknowledged when all of them
# have been confirmed.

declare {
  exchange "dead" { type = "fanout" }

  queue "baskets" {
    type        = "quorum"
    dead_letter = exchange.dead
  }
  queue "items" { type = "quorum" }
  queue "baskets.parked" { type = "quorum" }

  binding {
    from = exchange.dead
    to   = queue["baskets.parked"]
  }
}

pipeline "items" {
  source "amqp" {
    queue = queue.baskets
  }

  stage "split" "items" { # what an item needs to know of its order is put into it
    each = [for item in body.items : merge(item, { order = body.id })]
  }

  stage "filter" "in_stock" { # from here on, body is an item
    keep = body.qty > 0
  }

  sink "amqp" "items" {
    queue = queue.items
  }
}
