# What fails is tried again, with pauses that the broker holds; what fails for good is put aside, and says why.
# See it at work: bin/pipe demo pipelines/retry.hcl

declare {
  queue "parcels" { type = "quorum" }
  queue "parcels.aside" { type = "quorum" }
  queue "warehouse" { type = "quorum" }

  queue "harbour" { # is closed: it refuses everything
    max_length = 0
    overflow   = "reject-publish"
  }
}

pipeline "parcels" {
  source "amqp" {
    queue = queue.parcels
  }

  retry { # waits 1 s, then 2 s; then the message is put aside
    attempts = 3
    min      = "1s"
    max      = "10s"
    then     = sink.aside
  }

  stage "map" "label" { # what is no JSON can never succeed: it is put aside at once
    set = { body.label = "parcel ${body.id}" }
  }

  stage "route" "ways" {
    case {
      when = body.region == "ap-south"
      to   = [sink.harbour]
    }
    default { to = [sink.warehouse] }
  }

  sink "amqp" "warehouse" {
    queue = queue.warehouse
  }

  sink "amqp" "harbour" {
    queue = queue.harbour
  }

  sink "amqp" "aside" { # headers x-pipe-reason, x-pipe-attempts and others tell the story
    queue = queue["parcels.aside"]
  }
}
