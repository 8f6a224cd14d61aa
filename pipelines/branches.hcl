# A pipeline without a source is a branch: others send to it, and the input is acknowledged when
# what the branch made of it has been confirmed.

declare {
  exchange "dead" { type = "fanout" }

  queue "shop.in" {
    type        = "quorum"
    dead_letter = exchange.dead
  }
  queue "shop.paid" { type = "quorum" }
  queue "shop.open" { type = "quorum" }
  queue "shop.audit" { type = "quorum" }
  queue "shop.parked" { type = "quorum" }

  binding {
    from = exchange.dead
    to   = queue["shop.parked"]
  }
}

pipeline "shop" {
  source "amqp" {
    queue = queue["shop.in"]
  }

  stage "route" "status" {
    case {
      when = body.status == "paid"
      to   = [sink.paid, pipeline.audit]
    }
    default { to = [sink.open] }
  }

  sink "amqp" "paid" {
    queue = queue["shop.paid"]
  }
  sink "amqp" "open" {
    queue = queue["shop.open"]
  }
}

pipeline "audit" {
  stage "map" "anonymous" {
    unset = [body.customer, body.note]
  }

  sink "amqp" "audit" {
    queue = queue["shop.audit"]
  }
}
