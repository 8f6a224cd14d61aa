# Paid orders go to the queue of their region. See it at work: make demo

variable "fx_eur" {
  description = "Euros for a dollar."
  type        = number
  default     = 0.92
}

connection "main" {
  url = env("AMQP_URL", "amqp://guest:guest@127.0.0.1:5672/")
}

declare { # done before anything starts; what exists already must be the same
  exchange "orders" { type = "topic" }
  exchange "dead" { type = "fanout" }

  queue "orders.in" {
    type        = "quorum"
    dead_letter = exchange.dead # takes what can never be processed
  }
  queue "orders.eu" { type = "quorum" }
  queue "orders.rest" { type = "quorum" }
  queue "parked" { type = "quorum" }

  binding {
    from = exchange.orders
    to   = queue["orders.in"]
    key  = "order.#"
  }
  binding {
    from = exchange.orders
    to   = queue["orders.eu"]
    key  = "eu.#"
  }
  binding {
    from = exchange.orders
    to   = queue["orders.rest"]
    key  = "rest.#"
  }
  binding {
    from = exchange.dead
    to   = queue.parked
  }
}

pipeline "orders" {
  source "amqp" {
    queue    = queue["orders.in"]
    prefetch = 500
  }

  stage "filter" "paid" {
    keep = body.status == "paid"
  }

  stage "map" "shape" { # right-hand sides see the message as it came in
    set = {
      body.total_eur        = round(body.total * var.fx_eur, 2)
      msg.headers["x-tier"] = get(body.customer.tier, "none")
    }
    unset = [body.note]
  }

  stage "route" "region" { # the first case that holds decides
    case {
      when = startswith(body.region, "eu-")
      to   = [sink.eu]
    }
    default { to = [sink.rest] }
  }

  sink "amqp" "eu" {
    exchange    = exchange.orders
    routing_key = "eu.${lower(body.region)}"
  }
  sink "amqp" "rest" {
    exchange    = exchange.orders
    routing_key = "rest.${lower(body.region)}"
  }
}
