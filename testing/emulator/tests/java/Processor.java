// The Change Feed Processor and the bulk writer of the official Java SDK, for tests/sdk/processor.rs.
//
// Usage: java -cp 'CLASSES:LIBRARIES/*' Processor < given.json
//
// Reads one JSON object from stdin (the accounts `source` and `target`, the management interface,
// how many documents, and how long to wait for something at most) and prints one JSON report.

import com.azure.cosmos.ChangeFeedProcessor;
import com.azure.cosmos.ChangeFeedProcessorBuilder;
import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosAsyncDatabase;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.models.ChangeFeedProcessorItem;
import com.azure.cosmos.models.ChangeFeedProcessorOptions;
import com.azure.cosmos.models.CosmosBulkItemResponse;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.PartitionKey;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.BooleanSupplier;
import java.util.function.Consumer;
import reactor.core.publisher.Flux;

public final class Processor {
    private static final ObjectMapper JSON = new ObjectMapper();

    private final JsonNode given;
    private final CosmosAsyncDatabase source;
    private final CosmosAsyncDatabase target;

    private Processor(JsonNode given, CosmosAsyncDatabase source, CosmosAsyncDatabase target) {
        this.given = given;
        this.source = source;
        this.target = target;
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode given = JSON.readTree(System.in);
        try (CosmosAsyncClient source = client(given.get("source"));
                CosmosAsyncClient target = client(given.get("target"))) {
            Processor run = new Processor(given, source.getDatabase("shop"), target.getDatabase("shop"));
            ObjectNode report = JSON.createObjectNode();
            report.set("latest", run.latest());
            report.set("versions", run.versions());
            report.set("copy", run.copy());
            System.out.write(JSON.writeValueAsBytes(report));
        }
        System.out.flush();
        // The SDK leaves threads behind.
        System.exit(0);
    }

    private static CosmosAsyncClient client(JsonNode account) {
        return new CosmosClientBuilder()
            .endpoint(account.get("endpoint").asText())
            .key(account.get("key").asText())
            .gatewayMode()
            // The processor needs the leases that it writes in the answers.
            .contentResponseOnWriteEnabled(true)
            .buildAsyncClient();
    }

    private void eventually(String what, BooleanSupplier reached) throws InterruptedException {
        long end = System.nanoTime() + Duration.ofSeconds(given.get("patience_seconds").asLong()).toNanos();
        while (!reached.getAsBoolean()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("not reached: " + what);
            }
            Thread.sleep(20);
        }
    }

    private void split(String container) throws Exception {
        String path = "/accounts/source/databases/shop/containers/" + container + "/split";
        URI address = URI.create(given.get("management").asText() + path);
        HttpRequest request = HttpRequest.newBuilder(address)
            .POST(HttpRequest.BodyPublishers.ofString("{}")).build();
        int status = HttpClient.newHttpClient()
            .send(request, HttpResponse.BodyHandlers.ofString()).statusCode();
        if (status != 200) {
            throw new IllegalStateException("the split answered " + status);
        }
    }

    private static ChangeFeedProcessorOptions options(String prefix) {
        return new ChangeFeedProcessorOptions()
            .setLeasePrefix(prefix)
            .setFeedPollDelay(Duration.ofMillis(50))
            .setLeaseAcquireInterval(Duration.ofMillis(500))
            .setLeaseRenewInterval(Duration.ofSeconds(2))
            .setLeaseExpirationInterval(Duration.ofSeconds(10))
            .setMaxItemCount(50);
    }

    private ChangeFeedProcessorBuilder processor(String feed) {
        return new ChangeFeedProcessorBuilder()
            .hostName("host-" + feed)
            .feedContainer(source.getContainer(feed))
            .leaseContainer(source.getContainer("leases"));
    }

    private long leases(String prefix) {
        return source.getContainer("leases")
            .queryItems("SELECT VALUE c.id FROM c", JsonNode.class)
            .filter(id -> id.asText().startsWith(prefix) && !id.asText().contains(".info")
                && !id.asText().contains(".lock"))
            .count().block();
    }

    private static ObjectNode document(int number, int version) {
        return JSON.createObjectNode().put("id", "d" + number).put("pk", "k" + number % 97)
            .put("version", version);
    }

    private static ObjectNode plain(JsonNode document) {
        ObjectNode copy = document.deepCopy();
        return copy.remove(Set.of("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn"));
    }

    private static PartitionKey key(JsonNode document) {
        return new PartitionKey(document.get("pk").asText());
    }

    private static void upsert(CosmosAsyncContainer container, int from, int to, int version) {
        Flux.range(from, to - from).map(number -> document(number, version))
            .flatMap(document -> container.upsertItem(document, key(document), null), 8)
            .blockLast();
    }

    /** The latest versions, read by a processor while their range is split. */
    private ObjectNode latest() throws Exception {
        CosmosAsyncContainer feed = source.getContainer("latest");
        Map<String, Integer> seen = new ConcurrentHashMap<>();
        AtomicInteger events = new AtomicInteger();
        Consumer<List<ChangeFeedProcessorItem>> handle = changes -> changes.forEach(change -> {
            events.incrementAndGet();
            JsonNode document = change.getCurrent();
            seen.put(document.get("id").asText(), document.get("version").asInt());
        });
        upsert(feed, 0, 300, 1);
        ChangeFeedProcessor processor = processor("latest")
            .options(options("latest").setStartFromBeginning(true))
            .handleLatestVersionChanges(handle)
            .buildChangeFeedProcessor();
        processor.start().block();
        eventually("the first documents", () -> seen.size() == 300);
        split("latest");
        upsert(feed, 200, 500, 2);
        eventually("the others", () -> seen.size() == 500
            && seen.values().stream().filter(version -> version == 2).count() == 300);
        eventually("leases of both children", () -> leases("latest") == 2);
        processor.stop().block();
        return JSON.createObjectNode().put("documents", seen.size()).put("events", events.get())
            .put("leases", leases("latest"));
    }

    /** All versions and deletes, read by a processor while their range is split. */
    private ObjectNode versions() throws Exception {
        CosmosAsyncContainer feed = source.getContainer("versions");
        Map<String, List<String>> seen = new ConcurrentHashMap<>();
        AtomicInteger events = new AtomicInteger();
        AtomicInteger images = new AtomicInteger();
        ChangeFeedProcessor processor = processor("versions")
            .options(options("versions"))
            .handleAllVersionsAndDeletesChanges((List<ChangeFeedProcessorItem> changes) ->
                changes.forEach(change -> {
                    JsonNode known = change.getCurrent() != null && change.getCurrent().has("id")
                        ? change.getCurrent() : change.getPrevious();
                    if (change.getPrevious() != null && change.getPrevious().has("id")) {
                        images.incrementAndGet();
                    }
                    seen.computeIfAbsent(known.get("id").asText(), id -> new ArrayList<>())
                        .add(change.getChangeFeedMetaData().getOperationType().toString());
                    events.incrementAndGet();
                }))
            .buildChangeFeedProcessor();
        processor.start().block();
        // A marker that arrives proves that the feed is read from before what follows.
        int[] markers = {0};
        eventually("a first change", () -> {
            upsert(feed, 1000 + markers[0], 1001 + markers[0]++, 1);
            return !seen.isEmpty();
        });
        eventually("the markers", () -> seen.containsKey("d" + (999 + markers[0])));
        seen.clear();
        upsert(feed, 0, 100, 1);
        eventually("the creations", () -> seen.size() == 100);
        split("versions");
        upsert(feed, 0, 50, 2);
        for (int number = 0; number < 10; number++) {
            feed.deleteItem("d" + number, new PartitionKey("k" + number % 97)).block();
        }
        eventually("the rest", () -> seen.values().stream().mapToInt(List::size).sum() == 160);
        processor.stop().block();
        ObjectNode report = JSON.createObjectNode();
        for (List<String> operations : seen.values()) {
            String history = String.join(" ", operations);
            report.put(history, report.path(history).asInt() + 1);
        }
        return report.put("images", images.get());
    }

    /** A processor that writes what it reads to the other account, in bulk. */
    private ObjectNode copy() throws Exception {
        int count = given.get("documents").asInt();
        CosmosAsyncContainer to = target.getContainer("copies");
        Map<String, Integer> copied = new ConcurrentHashMap<>();
        AtomicInteger refused = new AtomicInteger();
        Consumer<List<ChangeFeedProcessorItem>> handle = changes -> {
            List<CosmosItemOperation> operations = new ArrayList<>();
            changes.forEach(change -> operations.add(CosmosBulkOperations
                .getUpsertItemOperation(plain(change.getCurrent()), key(change.getCurrent()))));
            to.executeBulkOperations(Flux.fromIterable(operations)).toIterable().forEach(done -> {
                CosmosBulkItemResponse response = done.getResponse();
                if (response == null || !response.isSuccessStatusCode()) {
                    refused.incrementAndGet();
                }
            });
            changes.forEach(change -> copied.merge(change.getCurrent().get("id").asText(), 1, Integer::sum));
        };
        ChangeFeedProcessor processor = processor("orders")
            .options(options("copy").setStartFromBeginning(true).setMaxItemCount(500))
            .handleLatestVersionChanges(handle)
            .buildChangeFeedProcessor();
        long began = System.nanoTime();
        processor.start().block();
        eventually("a part of the copy", () -> copied.size() > count / 10);
        split("orders");
        eventually("the copy", () -> copied.size() == count);
        long milliseconds = (System.nanoTime() - began) / 1_000_000;
        processor.stop().block();
        return JSON.createObjectNode().put("documents", copied.size()).put("refused", refused.get())
            .put("milliseconds", milliseconds);
    }
}
