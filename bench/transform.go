package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// transformation appends what a delivery becomes. It does by hand what the pipeline file of the workload says.
type transformation func(d *amqp.Delivery, to []output) ([]output, error)

type output struct {
	exchange, key string
	m             amqp.Publishing
}

// republish copies the properties.
func republish(d *amqp.Delivery) amqp.Publishing {
	return amqp.Publishing{
		Headers: d.Headers, ContentType: d.ContentType, ContentEncoding: d.ContentEncoding,
		DeliveryMode: d.DeliveryMode, Priority: d.Priority, CorrelationId: d.CorrelationId,
		ReplyTo: d.ReplyTo, Expiration: d.Expiration, MessageId: d.MessageId, Timestamp: d.Timestamp,
		Type: d.Type, UserId: d.UserId, AppId: d.AppId, Body: d.Body,
	}
}

func passthrough(d *amqp.Delivery, to []output) ([]output, error) {
	return append(to, output{"", "bench.out", republish(d)}), nil
}

func fanOut(d *amqp.Delivery, to []output) ([]output, error) {
	m := republish(d)
	return append(to, output{"", "bench.out", m}, output{"", "bench.rest", m}, output{"", "bench.third", m}), nil
}

func split(d *amqp.Delivery, to []output) ([]output, error) {
	var list struct{ Items []json.RawMessage }
	if err := json.Unmarshal(d.Body, &list); err != nil {
		return nil, err
	}
	for k, item := range list.Items {
		m := republish(d)
		m.MessageId, m.Body = d.MessageId+"/"+strconv.Itoa(k+1), item
		to = append(to, output{"", "bench.out", m})
	}
	return to, nil
}

func setTotal(d *amqp.Delivery, to []output) ([]output, error) {
	var order map[string]any
	err := json.Unmarshal(d.Body, &order)
	if err != nil {
		return nil, err
	}
	order["total_eur"] = round2(order["total"].(float64) * 0.92)
	m := republish(d)
	if m.Body, err = json.Marshal(order); err != nil {
		return nil, err
	}
	return append(to, output{"", "bench.out", m}), nil
}

// setTier sets the header, and returns the message.
func setTier(d *amqp.Delivery, order map[string]any) amqp.Publishing {
	tier := "none"
	if t, ok := order["customer"].(map[string]any)["tier"].(string); ok {
		tier = t
	}
	m := republish(d)
	m.Headers["x-tier"] = tier
	return m
}

func filterMapRoute(d *amqp.Delivery, to []output) ([]output, error) {
	var order map[string]any
	if err := json.Unmarshal(d.Body, &order); err != nil {
		return nil, err
	}
	if order["status"] != "paid" {
		return to, nil
	}
	order["total_eur"] = round2(order["total"].(float64) * 0.92)
	m := setTier(d, order)
	var err error
	if m.Body, err = json.Marshal(order); err != nil {
		return nil, err
	}
	return append(to, output{"bench", routingKey(order["region"].(string)), m}), nil
}

func routingKey(region string) string {
	if region == "eu-west" || region == "eu-north" {
		return "eu." + strings.ToLower(region)
	}
	return "row"
}

func eightStages(d *amqp.Delivery, to []output) ([]output, error) {
	var order map[string]any
	if err := json.Unmarshal(d.Body, &order); err != nil {
		return nil, err
	}
	if order["status"] != "paid" {
		return to, nil
	}
	eur := round2(order["total"].(float64) * 0.92)
	order["total_eur"] = eur
	m := setTier(d, order)
	if eur <= 0 {
		return to, nil
	}
	order["region"] = strings.ToUpper(order["region"].(string))
	delete(order, "note")
	items := order["items"].([]any)
	if _, ok := order["customer"].(map[string]any)["id"]; !ok || len(items) == 0 {
		return to, nil
	}
	order["count"] = len(items)
	var err error
	if m.Body, err = json.Marshal(order); err != nil {
		return nil, err
	}
	return append(to, output{"", "bench.out", m}), nil
}

// filterMapRouteBytes relies on where this very JSON has its fields, as a program for one kind of message may. It decodes nothing.
func filterMapRouteBytes(d *amqp.Delivery, to []output) ([]output, error) {
	status, ok := textAt(d.Body, `"status":"`)
	if !ok {
		return nil, errors.New("there is no status")
	}
	if string(status) != "paid" {
		return to, nil
	}
	region, _ := textAt(d.Body, `"region":"`)
	at := bytes.Index(d.Body, []byte(`"total":`)) + len(`"total":`)
	n := bytes.IndexByte(d.Body[at:], ',')
	total, err := strconv.ParseFloat(string(d.Body[at:at+n]), 64)
	if err != nil {
		return nil, fmt.Errorf("total: %w", err)
	}
	m := republish(d)
	m.Headers["x-tier"] = "none"
	customer := d.Body[bytes.Index(d.Body, []byte(`"customer":{`)):]
	customer = customer[:bytes.IndexByte(customer, '}')]
	if tier, ok := textAt(customer, `"tier":"`); ok {
		m.Headers["x-tier"] = string(tier)
	}
	b := append(make([]byte, 0, len(d.Body)+32), d.Body[:len(d.Body)-1]...)
	b = strconv.AppendFloat(append(b, `,"total_eur":`...), round2(total*0.92), 'f', -1, 64)
	m.Body = append(b, '}')
	return append(to, output{"bench", routingKey(string(region)), m}), nil
}

func textAt(b []byte, key string) ([]byte, bool) {
	at := bytes.Index(b, []byte(key))
	if at < 0 {
		return nil, false
	}
	b = b[at+len(key):]
	return b[:bytes.IndexByte(b, '"')], true
}
