// Copies a container with Java's Change Feed Processor and bulk writer, for benches/rivals.py.
//
// Usage: java -cp 'CLASSES:LIBRARIES/*' Copy SOURCE_ENDPOINT SOURCE_KEY TARGET_ENDPOINT TARGET_KEY DOCUMENTS PATH...
//
// Copies `shop/orders` to `shop/copies`, whose partition key has the given paths, and ends once so many
// documents were written. The leases are in `shop/leases` of the source.

import com.azure.cosmos.ChangeFeedProcessor;
import com.azure.cosmos.ChangeFeedProcessorBuilder;
import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosAsyncDatabase;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.models.ChangeFeedProcessorItem;
import com.azure.cosmos.models.ChangeFeedProcessorOptions;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.PartitionKey;
import com.azure.cosmos.models.PartitionKeyBuilder;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicLong;
import reactor.core.publisher.Flux;

public final class Copy {
    private static final Set<String> SYSTEM =
        Set.of("_rid", "_self", "_etag", "_attachments", "_ts", "_lsn");

    public static void main(String[] given) throws Exception {
        long count = Long.parseLong(given[4]);
        List<String[]> key = Arrays.stream(given).skip(5).map(path -> path.substring(1).split("/")).toList();
        CosmosAsyncDatabase source = client(given[0], given[1]).getDatabase("shop");
        CosmosAsyncContainer target = client(given[2], given[3]).getDatabase("shop").getContainer("copies");
        AtomicLong copied = new AtomicLong();
        CountDownLatch ended = new CountDownLatch(1);
        ChangeFeedProcessor processor = new ChangeFeedProcessorBuilder()
            .hostName("copy")
            .feedContainer(source.getContainer("orders"))
            .leaseContainer(source.getContainer("leases"))
            .options(new ChangeFeedProcessorOptions()
                .setLeasePrefix(UUID.randomUUID().toString())
                .setStartFromBeginning(true)
                .setMaxItemCount(1000)
                .setFeedPollDelay(Duration.ofMillis(50))
                .setLeaseAcquireInterval(Duration.ofMillis(500)))
            .handleLatestVersionChanges((List<ChangeFeedProcessorItem> changes) -> {
                write(target, changes, key);
                if (copied.addAndGet(changes.size()) >= count) {
                    ended.countDown();
                }
            })
            .buildChangeFeedProcessor();
        processor.start().block();
        ended.await();
        System.out.println(copied.get() + " documents");
        System.out.flush();
        // Without a stop of the processor and its threads, which would count as time of the copy.
        Runtime.getRuntime().halt(0);
    }

    private static CosmosAsyncClient client(String endpoint, String key) {
        return new CosmosClientBuilder().endpoint(endpoint).key(key).gatewayMode()
            // The processor needs the leases that it writes in the answers.
            .contentResponseOnWriteEnabled(true).buildAsyncClient();
    }

    /** The next page is read once every document of this one is written, as the processor's users do it. */
    private static void write(
            CosmosAsyncContainer target, List<ChangeFeedProcessorItem> changes, List<String[]> key) {
        Flux<CosmosItemOperation> operations = Flux.fromIterable(changes).map(change -> {
            ObjectNode document = (ObjectNode) change.getCurrent();
            document.remove(SYSTEM);
            return CosmosBulkOperations.getUpsertItemOperation(document, key(document, key));
        });
        target.executeBulkOperations(operations).toIterable().forEach(done -> {
            if (done.getResponse() == null || !done.getResponse().isSuccessStatusCode()) {
                System.err.println("a write failed: " + done.getException());
                Runtime.getRuntime().halt(1);
            }
        });
    }

    private static PartitionKey key(ObjectNode document, List<String[]> paths) {
        if (paths.size() == 1) {
            return new PartitionKey(value(document, paths.get(0)));
        }
        PartitionKeyBuilder key = new PartitionKeyBuilder();
        paths.forEach(path -> key.add(value(document, path)));
        return key.build();
    }

    private static String value(JsonNode document, String[] path) {
        JsonNode value = document;
        for (String name : path) {
            value = value.get(name);
        }
        return value.asText();
    }
}
