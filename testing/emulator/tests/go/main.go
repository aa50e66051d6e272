// The scripted scenario of tests/sdk.rs, through the official Go SDK.
//
// Reads one JSON object from stdin (where the account is, and the documents to write) and prints one
// JSON report. The report holds only what every client must agree on. This SDK has no bulk calls, no
// feed of all versions, and no query that has to be merged over partitions.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"sort"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/data/azcosmos"
)

type object = map[string]any

type scenario struct {
	given               object
	items, places, flow *azcosmos.ContainerClient
	// What the service refused because of how the SDK writes a key.
	refused []any
}

var background = context.Background()

func main() {
	given := object{}
	check(decode(must(io.ReadAll(os.Stdin)), &given))
	credential := must(azcosmos.NewKeyCredential(given["key"].(string)))
	client := must(azcosmos.NewClientWithKey(given["endpoint"].(string), credential, nil))
	database := must(client.NewDatabase(given["database"].(string)))
	run := &scenario{
		given:  given,
		items:  must(database.NewContainer("items")),
		places: must(database.NewContainer("places")),
		flow:   must(database.NewContainer("flow")),
	}
	report := object{}
	for _, part := range []struct {
		name string
		run  func() any
	}{
		{"points", run.points}, {"awkward", run.awkward}, {"batch", run.batch}, {"bulk", run.bulk},
		{"queries", run.queries}, {"hierarchical", run.hierarchical}, {"ttl", run.ttl},
		{"latest", run.latest}, {"split", run.split},
	} {
		report[part.name] = part.run()
	}
	report["refused"] = run.refused
	must(os.Stdout.Write(encode(report)))
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}

func must[T any](value T, err error) T {
	check(err)
	return value
}

// Numbers keep their text.
func decode(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.UseNumber()
	return decoder.Decode(into)
}

func encode(value any) []byte {
	var out bytes.Buffer
	encoder := json.NewEncoder(&out)
	encoder.SetEscapeHTML(false)
	check(encoder.Encode(value))
	return out.Bytes()
}

func plain(text []byte) any {
	var document any
	check(decode(text, &document))
	if fields, ok := document.(object); ok {
		for _, name := range []string{"_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"} {
			delete(fields, name)
		}
	}
	return document
}

func key(values ...string) azcosmos.PartitionKey {
	key := azcosmos.NewPartitionKey()
	for _, value := range values {
		key = key.AppendString(value)
	}
	return key
}

func pk(document object) azcosmos.PartitionKey { return key(document["pk"].(string)) }

func documents(value any) []object {
	out := []object{}
	for _, document := range value.([]any) {
		out = append(out, document.(object))
	}
	return out
}

func with(document object, name string, value any) object {
	copied := object{name: value}
	for field, old := range document {
		if field != name {
			copied[field] = old
		}
	}
	return copied
}

func status(err error) int {
	var refused *azcore.ResponseError
	if !errors.As(err, &refused) {
		panic(err)
	}
	return refused.StatusCode
}

// attempt gives [name, status], and the document when there is one.
func attempt(name string, response azcosmos.ItemResponse, err error) []any {
	if err != nil {
		return []any{name, status(err)}
	}
	out := []any{name, response.RawResponse.StatusCode}
	if len(response.Value) > 0 {
		out = append(out, plain(response.Value))
	}
	return out
}

func options() *azcosmos.ItemOptions {
	return &azcosmos.ItemOptions{EnableContentResponseOnWrite: true}
}

func (s *scenario) create(document object) (azcosmos.ItemResponse, error) {
	return s.items.CreateItem(background, pk(document), encode(document), options())
}

func (s *scenario) upsert(document object) (azcosmos.ItemResponse, error) {
	return s.items.UpsertItem(background, pk(document), encode(document), options())
}

func (s *scenario) replace(document object, o *azcosmos.ItemOptions) (azcosmos.ItemResponse, error) {
	id := document["id"].(string)
	return s.items.ReplaceItem(background, pk(document), id, encode(document), o)
}

func (s *scenario) read(id, k string) (azcosmos.ItemResponse, error) {
	return s.items.ReadItem(background, key(k), id, nil)
}

func (s *scenario) delete(id, k string, o *azcosmos.ItemOptions) (azcosmos.ItemResponse, error) {
	return s.items.DeleteItem(background, key(k), id, o)
}

func (s *scenario) points() any {
	out := []any{}
	step := func(name string) func(azcosmos.ItemResponse, error) {
		return func(response azcosmos.ItemResponse, err error) {
			out = append(out, attempt(name, response, err))
		}
	}
	one := object{"id": "one", "pk": "p", "n": 1, "name": "Ada"}
	two := object{"id": "two", "pk": "p", "count": 1, "tags": []string{"a"}, "gone": true}
	step("create")(s.create(one))
	step("create again")(s.create(one))
	step("read")(s.read("one", "p"))
	step("read nothing")(s.read("missing", "p"))
	step("read under another key")(s.read("one", "q"))
	step("upsert creates")(s.upsert(two))
	step("upsert replaces")(s.upsert(with(two, "n", 2)))
	old := must(s.read("one", "p")).ETag
	match := options()
	match.IfMatchEtag = &old
	step("replace the known version")(s.replace(with(one, "n", 2), match))
	step("replace an old version")(s.replace(with(one, "n", 3), match))
	step("replace nothing")(s.replace(object{"id": "missing", "pk": "p"}, options()))
	patch := azcosmos.PatchOperations{}
	patch.AppendSet("/name", "Zoë")
	patch.AppendIncrement("/count", 4)
	patch.AppendAdd("/tags/-", "b")
	patch.AppendRemove("/gone")
	step("patch")(s.items.PatchItem(background, key("p"), "two", patch, options()))
	nothing := azcosmos.PatchOperations{}
	nothing.AppendSet("/n", 1)
	step("patch nothing")(s.items.PatchItem(background, key("p"), "missing", nothing, options()))
	step("delete an old version")(s.delete("one", "p", match))
	step("delete")(s.delete("two", "p", nil))
	step("delete again")(s.delete("two", "p", nil))
	step("create once more")(s.create(object{"id": "two", "pk": "p", "n": 3}))
	return out
}

// The SDK quotes a key as Go does: it writes a character beyond U+FFFF as \U and eight digits, which is no
// JSON, and is refused. Such a document is written through the management interface, and read with a query.
func (s *scenario) awkward() any {
	out := []any{}
	for _, document := range documents(s.given["awkward"]) {
		if _, err := s.create(document); isBeyond(document["pk"].(string)) {
			s.refused = append(s.refused, []any{document["id"], status(err)})
			s.manage(s.given["items_path"].(string)+"/documents", document)
		} else {
			check(err)
		}
	}
	for _, document := range documents(s.given["awkward"]) {
		id, pk := document["id"].(string), document["pk"].(string)
		if isBeyond(pk) {
			text := "SELECT * FROM c WHERE c.id = @id"
			out = append(out, must(rows(s.items, text, key(), object{"@id": id}))...)
		} else {
			out = append(out, plain(must(s.read(id, pk)).Value))
		}
	}
	return out
}

func isBeyond(text string) bool {
	return strings.ContainsFunc(text, func(r rune) bool { return r > 0xffff })
}

func (s *scenario) execute(batch azcosmos.TransactionalBatch) []int32 {
	statuses := []int32{}
	response := must(s.items.ExecuteTransactionalBatch(background, batch, nil))
	for _, result := range response.OperationResults {
		statuses = append(statuses, result.StatusCode)
	}
	return statuses
}

func (s *scenario) batch() any {
	item := func(id string, n int) []byte { return encode(object{"id": id, "pk": "b", "n": n}) }
	batch := s.items.NewTransactionalBatch(key("b"))
	batch.CreateItem(item("b1", 1), nil)
	batch.UpsertItem(item("b2", 1), nil)
	batch.ReplaceItem("b1", item("b1", 2), nil)
	batch.ReadItem("b2", nil)
	batch.CreateItem(item("b3", 1), nil)
	batch.DeleteItem("b2", nil)
	committed := s.execute(batch)
	batch = s.items.NewTransactionalBatch(key("b"))
	batch.CreateItem(item("b4", 1), nil)
	batch.CreateItem(item("b1", 9), nil)
	batch.UpsertItem(item("b5", 1), nil)
	rolledBack := s.execute(batch)
	left := []any{}
	for _, id := range []string{"b1", "b2", "b3", "b4", "b5"} {
		response, err := s.read(id, "b")
		left = append(left, attempt(id, response, err))
	}
	return object{"committed": committed, "rolled back": rolledBack, "left": left}
}

// One by one here; other clients send the same in bulk requests.
func (s *scenario) bulk() any {
	out := []any{}
	done := func(response azcosmos.ItemResponse, err error) {
		out = append(out, attempt("", response, err)[1])
	}
	item := func(n, value int) object {
		return object{"id": fmt.Sprintf("k%02d", n), "pk": fmt.Sprintf("bulk-%02d", n), "n": value}
	}
	for n := 0; n < 30; n++ {
		done(s.create(item(n, n)))
	}
	for n := 20; n < 40; n++ {
		done(s.upsert(item(n, n+100)))
	}
	for n := 0; n < 45; n += 5 {
		done(s.delete(fmt.Sprintf("k%02d", n), fmt.Sprintf("bulk-%02d", n), nil))
	}
	return out
}

func rows(
	container *azcosmos.ContainerClient, text string, k azcosmos.PartitionKey, parameters object,
) ([]any, error) {
	o := &azcosmos.QueryOptions{}
	for name, value := range parameters {
		o.QueryParameters = append(o.QueryParameters, azcosmos.QueryParameter{Name: name, Value: value})
	}
	out := []any{}
	pager := container.NewQueryItemsPager(text, k, o)
	for pager.More() {
		page, err := pager.NextPage(background)
		if err != nil {
			return nil, err
		}
		for _, row := range page.Items {
			out = append(out, plain(row))
		}
	}
	return out, nil
}

func (s *scenario) queries() any {
	for _, document := range documents(s.given["query"]) {
		must(s.create(document))
	}
	out := object{}
	for _, query := range documents(s.given["queries"]) {
		k := key()
		if value, ok := query["key"].(string); ok {
			k = key(value)
		}
		parameters := query["parameters"].(object)
		found, err := rows(s.items, query["text"].(string), k, parameters)
		if err != nil {
			out[query["name"].(string)] = status(err)
		} else {
			out[query["name"].(string)] = found
		}
	}
	_, err := rows(s.items, "SELECT FROM WHERE", key("red"), nil)
	out["not a query"] = status(err)
	return out
}

func (s *scenario) hierarchical() any {
	created := []any{}
	for _, document := range documents(s.given["places"]) {
		k := key(document["tenant"].(string), document["region"].(string))
		response, err := s.places.CreateItem(background, k, encode(document), options())
		created = append(created, attempt("", response, err)[1])
	}
	read, err := s.places.ReadItem(background, key("zürich", "süd"), "h1", nil)
	found := attempt("read", read, err)
	read, err = s.places.ReadItem(background, key("zürich", "north"), "h1", nil)
	missing := attempt("read", read, err)
	under := must(rows(s.places, "SELECT c.n FROM c", key("acme"), nil))
	numbers := []int64{}
	for _, row := range under {
		numbers = append(numbers, number(row.(object)["n"]))
	}
	sort.Slice(numbers, func(a, b int) bool { return numbers[a] < numbers[b] })
	all := []object{}
	for _, feedRange := range s.ranges(s.places) {
		all = append(all, s.rest(s.places, azcosmos.ChangeFeedOptions{FeedRange: &feedRange})...)
	}
	sort.Slice(all, func(a, b int) bool { return number(all[a]["n"]) < number(all[b]["n"]) })
	feed := []any{}
	for _, document := range all {
		feed = append(feed, []any{document["id"], document["tenant"], document["region"]})
	}
	return object{
		"created": created, "read": found, "under another key": missing,
		"under a prefix": numbers, "feed": feed,
	}
}

func number(value any) int64 { return must(value.(json.Number).Int64()) }

func (s *scenario) manage(path string, body object) {
	address := s.given["management"].(string) + path
	answer := must(http.Post(address, "application/json", strings.NewReader(string(encode(body)))))
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		panic(path + " answered " + answer.Status)
	}
}

func (s *scenario) ttl() any {
	must(s.create(object{"id": "short", "pk": "ttl", "ttl": 60}))
	must(s.create(object{"id": "long", "pk": "ttl", "ttl": 3600}))
	must(s.create(object{"id": "always", "pk": "ttl"}))
	response, err := s.read("short", "ttl")
	before := attempt("before", response, err)
	s.manage("/clock", object{"advance_seconds": 120})
	after := []any{}
	for _, id := range []string{"short", "long", "always"} {
		response, err := s.read(id, "ttl")
		after = append(after, attempt(id, response, err))
	}
	return object{"before": before, "after": after}
}
