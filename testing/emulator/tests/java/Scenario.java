// The scripted scenario of tests/sdk.rs, through the official Java SDK.
//
// Usage: java -cp 'CLASSES:LIBRARIES/*' Scenario < given.json
//
// Reads one JSON object from stdin (where the account is, and the documents to write) and prints one
// JSON report. The report holds only what every client must agree on.

import com.azure.cosmos.CosmosClient;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.CosmosDatabase;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CosmosBatch;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosChangeFeedRequestOptions;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.CosmosItemRequestOptions;
import com.azure.cosmos.models.CosmosItemResponse;
import com.azure.cosmos.models.CosmosPatchOperations;
import com.azure.cosmos.models.CosmosQueryRequestOptions;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.PartitionKeyBuilder;
import com.azure.cosmos.models.SqlParameter;
import com.azure.cosmos.models.SqlQuerySpec;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Supplier;

public final class Scenario {
    static final ObjectMapper JSON = new ObjectMapper();
    private static final Set<String> SYSTEM =
        Set.of("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn");

    private final JsonNode given;
    private final CosmosContainer items;
    private final CosmosContainer places;
    private final CosmosContainer flow;

    private Scenario(JsonNode given, CosmosDatabase database) {
        this.given = given;
        items = database.getContainer("items");
        places = database.getContainer("places");
        flow = database.getContainer("flow");
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode given = JSON.readTree(System.in);
        CosmosClientBuilder builder = new CosmosClientBuilder()
            .endpoint(given.get("endpoint").asText())
            .key(given.get("key").asText())
            .gatewayMode()
            .contentResponseOnWriteEnabled(true);
        try (CosmosClient client = builder.buildClient()) {
            CosmosDatabase database = client.getDatabase(given.get("database").asText());
            System.out.write(JSON.writeValueAsBytes(new Scenario(given, database).run()));
        }
        System.out.flush();
        // The SDK leaves threads behind.
        System.exit(0);
    }

    private ObjectNode run() throws Exception {
        List<String> start = Feeds.now(items);
        ObjectNode report = object();
        report.set("points", points());
        report.set("awkward", awkward());
        report.set("batch", batch());
        report.set("bulk", bulk());
        report.set("queries", queries());
        report.set("hierarchical", hierarchical());
        report.set("ttl", ttl());
        report.set("latest", latest());
        report.set("versions", Feeds.versions(items, start));
        report.set("split", split());
        return report;
    }

    static ObjectNode object() {
        return JSON.createObjectNode();
    }

    private static ObjectNode document(String id, String pk) {
        return object().put("id", id).put("pk", pk);
    }

    private static PartitionKey pk(JsonNode document) {
        return new PartitionKey(document.get("pk").asText());
    }

    static JsonNode plain(JsonNode document) {
        if (!document.isObject()) {
            return document;
        }
        ObjectNode copy = document.deepCopy();
        return copy.remove(SYSTEM);
    }

    static void expect(boolean condition, String what) {
        if (!condition) {
            throw new IllegalStateException(what);
        }
    }

    private void manage(String path, ObjectNode body) throws Exception {
        URI address = URI.create(given.get("management").asText() + path);
        HttpRequest request = HttpRequest.newBuilder(address)
            .POST(HttpRequest.BodyPublishers.ofString(body.toString())).build();
        int status = HttpClient.newHttpClient()
            .send(request, HttpResponse.BodyHandlers.ofString()).statusCode();
        expect(status == 200, path + " answered " + status);
    }

    /** [name, status], and the document when there is one. */
    private static ArrayNode attempt(String name, Supplier<CosmosItemResponse<?>> call) {
        ArrayNode out = JSON.createArrayNode().add(name);
        try {
            CosmosItemResponse<?> response = call.get();
            out.add(response.getStatusCode());
            if (response.getItem() instanceof JsonNode document) {
                out.add(plain(document));
            }
        } catch (CosmosException error) {
            out.add(error.getStatusCode());
        }
        return out;
    }

    private CosmosItemResponse<ObjectNode> create(ObjectNode document) {
        return items.createItem(document, pk(document), null);
    }

    private CosmosItemResponse<ObjectNode> upsert(ObjectNode document) {
        return items.upsertItem(document, pk(document), null);
    }

    private CosmosItemResponse<ObjectNode> replace(ObjectNode document, CosmosItemRequestOptions options) {
        return items.replaceItem(document, document.get("id").asText(), pk(document), options);
    }

    private CosmosItemResponse<ObjectNode> read(String id, String key) {
        return items.readItem(id, new PartitionKey(key), ObjectNode.class);
    }

    private CosmosItemResponse<Object> delete(String id, String key, CosmosItemRequestOptions options) {
        return items.deleteItem(id, new PartitionKey(key), options);
    }

    private ArrayNode points() {
        ArrayNode out = JSON.createArrayNode();
        ObjectNode one = document("one", "p").put("n", 1).put("name", "Ada");
        ObjectNode two = document("two", "p").put("count", 1).put("gone", true);
        two.putArray("tags").add("a");
        out.add(attempt("create", () -> create(one)));
        out.add(attempt("create again", () -> create(one)));
        out.add(attempt("read", () -> read("one", "p")));
        out.add(attempt("read nothing", () -> read("missing", "p")));
        out.add(attempt("read under another key", () -> read("one", "q")));
        out.add(attempt("upsert creates", () -> upsert(two)));
        out.add(attempt("upsert replaces", () -> upsert(two.deepCopy().put("n", 2))));
        String old = read("one", "p").getETag();
        Supplier<CosmosItemRequestOptions> match =
            () -> new CosmosItemRequestOptions().setIfMatchETag(old);
        out.add(attempt("replace the known version",
            () -> replace(one.deepCopy().put("n", 2), match.get())));
        out.add(attempt("replace an old version",
            () -> replace(one.deepCopy().put("n", 3), match.get())));
        out.add(attempt("replace nothing", () -> replace(document("missing", "p"), null)));
        CosmosPatchOperations patch = CosmosPatchOperations.create()
            .set("/name", "Zoë").increment("/count", 4).add("/tags/-", "b").remove("/gone");
        out.add(attempt("patch",
            () -> items.patchItem("two", new PartitionKey("p"), patch, ObjectNode.class)));
        CosmosPatchOperations nothing = CosmosPatchOperations.create().set("/n", 1);
        out.add(attempt("patch nothing",
            () -> items.patchItem("missing", new PartitionKey("p"), nothing, ObjectNode.class)));
        out.add(attempt("delete an old version", () -> delete("one", "p", match.get())));
        out.add(attempt("delete", () -> delete("two", "p", null)));
        out.add(attempt("delete again", () -> delete("two", "p", null)));
        out.add(attempt("create once more", () -> create(document("two", "p").put("n", 3))));
        return out;
    }

    private ArrayNode awkward() {
        ArrayNode out = JSON.createArrayNode();
        given.get("awkward").forEach(document -> create((ObjectNode) document));
        given.get("awkward").forEach(document -> out.add(
            plain(read(document.get("id").asText(), document.get("pk").asText()).getItem())));
        return out;
    }

    private ArrayNode run(CosmosBatch batch) {
        ArrayNode out = JSON.createArrayNode();
        items.executeCosmosBatch(batch).getResults().forEach(result -> out.add(result.getStatusCode()));
        return out;
    }

    private ObjectNode batch() {
        CosmosBatch batch = CosmosBatch.createCosmosBatch(new PartitionKey("b"));
        batch.createItemOperation(document("b1", "b").put("n", 1));
        batch.upsertItemOperation(document("b2", "b").put("n", 1));
        batch.replaceItemOperation("b1", document("b1", "b").put("n", 2));
        batch.readItemOperation("b2");
        batch.createItemOperation(document("b3", "b").put("n", 1));
        batch.deleteItemOperation("b2");
        ObjectNode out = object();
        out.set("committed", run(batch));
        batch = CosmosBatch.createCosmosBatch(new PartitionKey("b"));
        batch.createItemOperation(document("b4", "b").put("n", 1));
        batch.createItemOperation(document("b1", "b").put("n", 9));
        batch.upsertItemOperation(document("b5", "b").put("n", 1));
        out.set("rolled back", run(batch));
        ArrayNode left = out.putArray("left");
        for (String id : List.of("b1", "b2", "b3", "b4", "b5")) {
            left.add(attempt(id, () -> read(id, "b")));
        }
        return out;
    }

    /** The statuses of one bulk call, in the order of its operations. */
    private void bulk(List<CosmosItemOperation> operations, ArrayNode out) {
        Map<Integer, Integer> statuses = new TreeMap<>();
        items.<Integer>executeBulkOperations(operations).forEach(done -> {
            int status = done.getResponse() != null
                ? done.getResponse().getStatusCode()
                : ((CosmosException) done.getException()).getStatusCode();
            statuses.put(done.getOperation().<Integer>getContext(), status);
        });
        statuses.values().forEach(out::add);
    }

    private ArrayNode bulk() {
        ArrayNode out = JSON.createArrayNode();
        List<CosmosItemOperation> operations = new ArrayList<>();
        for (int n = 0; n < 30; n++) {
            ObjectNode document = bulkDocument(n, n);
            operations.add(CosmosBulkOperations.getCreateItemOperation(document, pk(document), n));
        }
        bulk(operations, out);
        operations.clear();
        for (int n = 20; n < 40; n++) {
            ObjectNode document = bulkDocument(n, n + 100);
            operations.add(CosmosBulkOperations.getUpsertItemOperation(document, pk(document), n));
        }
        bulk(operations, out);
        operations.clear();
        for (int n = 0; n < 45; n += 5) {
            ObjectNode document = bulkDocument(n, 0);
            operations.add(CosmosBulkOperations.getDeleteItemOperation(
                document.get("id").asText(), pk(document), n));
        }
        bulk(operations, out);
        return out;
    }

    private static ObjectNode bulkDocument(int n, int value) {
        return document(String.format("k%02d", n), String.format("bulk-%02d", n)).put("n", value);
    }

    private static ArrayNode rows(
        CosmosContainer container, SqlQuerySpec query, CosmosQueryRequestOptions options) {
        ArrayNode rows = JSON.createArrayNode();
        container.queryItems(query, options, JsonNode.class).forEach(row -> rows.add(plain(row)));
        return rows;
    }

    private ObjectNode queries() {
        given.get("query").forEach(document -> create((ObjectNode) document));
        ObjectNode out = object();
        for (JsonNode wanted : given.get("queries")) {
            List<SqlParameter> parameters = new ArrayList<>();
            Iterator<Map.Entry<String, JsonNode>> fields = wanted.get("parameters").fields();
            fields.forEachRemaining(field ->
                parameters.add(new SqlParameter(field.getKey(), field.getValue())));
            CosmosQueryRequestOptions options = new CosmosQueryRequestOptions();
            if (wanted.has("key")) {
                options.setPartitionKey(new PartitionKey(wanted.get("key").asText()));
            }
            SqlQuerySpec query = new SqlQuerySpec(wanted.get("text").asText(), parameters);
            out.set(wanted.get("name").asText(), rows(items, query, options));
        }
        try {
            CosmosQueryRequestOptions options =
                new CosmosQueryRequestOptions().setPartitionKey(new PartitionKey("red"));
            rows(items, new SqlQuerySpec("SELECT FROM WHERE"), options);
        } catch (CosmosException error) {
            out.put("not a query", error.getStatusCode());
        }
        return out;
    }

    private static PartitionKey place(String... values) {
        PartitionKeyBuilder key = new PartitionKeyBuilder();
        for (String value : values) {
            key.add(value);
        }
        return key.build();
    }

    private ObjectNode hierarchical() {
        ObjectNode out = object();
        ArrayNode created = out.putArray("created");
        for (JsonNode document : given.get("places")) {
            PartitionKey key = place(document.get("tenant").asText(), document.get("region").asText());
            created.add(attempt("", () -> places.createItem((ObjectNode) document, key, null)).get(1));
        }
        out.set("read", attempt("read",
            () -> places.readItem("h1", place("zürich", "süd"), ObjectNode.class)));
        out.set("under another key", attempt("read",
            () -> places.readItem("h1", place("zürich", "north"), ObjectNode.class)));
        CosmosQueryRequestOptions options =
            new CosmosQueryRequestOptions().setPartitionKey(place("acme"));
        List<Integer> under = new ArrayList<>();
        rows(places, new SqlQuerySpec("SELECT c.n FROM c"), options)
            .forEach(row -> under.add(row.get("n").asInt()));
        ArrayNode sorted = out.putArray("under a prefix");
        under.stream().sorted().forEach(sorted::add);
        Map<Integer, ArrayNode> all = new TreeMap<>();
        for (FeedRange range : places.getFeedRanges()) {
            Feeds.rest(places, CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(range), 7)
                .forEach(change -> all.put(change.get("n").asInt(), JSON.createArrayNode()
                    .add(change.get("id")).add(change.get("tenant")).add(change.get("region"))));
        }
        ArrayNode feed = out.putArray("feed");
        all.values().forEach(feed::add);
        return out;
    }

    private ObjectNode ttl() throws Exception {
        create(document("short", "ttl").put("ttl", 60));
        create(document("long", "ttl").put("ttl", 3600));
        create(document("always", "ttl"));
        ObjectNode out = object();
        out.set("before", attempt("before", () -> read("short", "ttl")));
        manage("/clock", object().put("advance_seconds", 120));
        ArrayNode after = out.putArray("after");
        for (String id : List.of("short", "long", "always")) {
            after.add(attempt(id, () -> read(id, "ttl")));
        }
        return out;
    }

    private ObjectNode latest() {
        List<FeedRange> ranges = items.getFeedRanges();
        List<Map.Entry<String, JsonNode>> pairs = new ArrayList<>();
        for (FeedRange range : ranges) {
            FeedResponse<JsonNode> first = Feeds.pages(items,
                CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(range), 3).next();
            expect(first.getResults().size() <= 3, "a page holds no more than was asked for");
            List<JsonNode> changes = new ArrayList<>(first.getResults());
            changes.addAll(Feeds.rest(items, Feeds.from(first.getContinuationToken()), 7));
            changes.forEach(change -> pairs.add(Map.entry(change.get("pk").asText(), plain(change))));
        }
        ObjectNode out = object().put("ranges", ranges.size());
        out.set("keys", Feeds.byKey(pairs));
        return out;
    }

    /** Both feeds resumed on a range that was split after their place was taken. */
    private ObjectNode split() throws Exception {
        List<FeedRange> before = flow.getFeedRanges();
        List<String> versions = Feeds.now(flow);
        given.get("flow_before").forEach(d -> flow.createItem((ObjectNode) d, pk(d), null));
        FeedResponse<JsonNode> first = Feeds.pages(flow,
            CosmosChangeFeedRequestOptions.createForProcessingFromBeginning(before.get(0)), 7).next();
        manage(given.get("flow_path").asText() + "/split", object().putNull("range").put("hold", false));
        given.get("flow_after").forEach(d -> flow.upsertItem((ObjectNode) d, pk(d), null));
        List<JsonNode> changes = new ArrayList<>(first.getResults());
        changes.addAll(Feeds.rest(flow, Feeds.from(first.getContinuationToken()), 7));
        List<Map.Entry<String, JsonNode>> pairs = new ArrayList<>();
        changes.forEach(change -> pairs.add(Map.entry(change.get("pk").asText(),
            JSON.createArrayNode().add(change.get("id")).add(change.get("n")))));
        ObjectNode out = object();
        out.putArray("ranges").add(before.size()).add(flow.getFeedRanges().size());
        out.put("first page", first.getResults().size());
        out.set("latest", Feeds.byKey(pairs));
        out.set("versions", Feeds.versions(flow, versions));
        return out;
    }
}
