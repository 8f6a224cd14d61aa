"""Declares, publishes, gets, consumes and fails on the broker at sys.argv[1], as a program in Python does."""

import sys

import pika

connection = pika.BlockingConnection(pika.URLParameters(sys.argv[1]))
channel = connection.channel()
channel.confirm_delivery()

channel.exchange_declare("events", "topic", durable=True)
channel.exchange_declare("dead", "fanout")
channel.queue_declare("dead")
channel.queue_bind("dead", "dead")
channel.queue_declare("orders", durable=True, arguments={"x-dead-letter-exchange": "dead", "x-max-priority": 3})
channel.queue_bind("orders", "events", "order.#")

# Confirms, and what has no route.
channel.basic_publish("events", "order.new", b"one", pika.BasicProperties(headers={"n": 1, "t": {"a": [1, "x"]}}), mandatory=True)
channel.basic_publish("events", "order.new", b"urgent", pika.BasicProperties(priority=3), mandatory=True)
try:
    channel.basic_publish("events", "nothing", b"lost", mandatory=True)
    raise AssertionError("a message without a route was accepted")
except pika.exceptions.UnroutableError as e:
    assert e.messages[0].method.reply_code == 312, e.messages

# Get, reject, dead letter.
method, properties, body = channel.basic_get("orders")
assert (body, properties.priority) == (b"urgent", 3), (body, properties)
channel.basic_reject(method.delivery_tag, requeue=False)
method, properties, body = channel.basic_get("dead", auto_ack=True)
assert body == b"urgent" and properties.headers["x-death"][0]["reason"] == "rejected", properties

# Consume.
channel.basic_qos(prefetch_count=10)
for method, properties, body in channel.consume("orders", inactivity_timeout=5):
    assert method is not None, "nothing came"
    assert body == b"one" and properties.headers == {"n": 1, "t": {"a": [1, "x"]}}, properties
    channel.basic_ack(method.delivery_tag)
    break
channel.cancel()
assert channel.queue_declare("orders", passive=True).method.message_count == 0

# An error ends the channel only.
try:
    channel.queue_declare("nosuch", passive=True)
    raise AssertionError("there is a queue that nobody declared")
except pika.exceptions.ChannelClosedByBroker as e:
    assert e.reply_code == 404, e
connection.channel().queue_delete("orders")
connection.close()
