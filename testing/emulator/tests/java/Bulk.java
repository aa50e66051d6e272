// One bulk call of the official Java SDK, for a comparison of what it sends.
//
// Usage: java -cp 'CLASSES:LIBRARIES/*' Bulk < given.json
//
// Reads one JSON object from stdin (where the account is, and the operations) and prints the statuses.

import com.azure.cosmos.CosmosAsyncClient;
import com.azure.cosmos.CosmosAsyncContainer;
import com.azure.cosmos.CosmosClientBuilder;
import com.azure.cosmos.CosmosException;
import com.azure.cosmos.models.CosmosBulkItemRequestOptions;
import com.azure.cosmos.models.CosmosBulkOperations;
import com.azure.cosmos.models.CosmosItemOperation;
import com.azure.cosmos.models.PartitionKey;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import reactor.core.publisher.Flux;

public final class Bulk {
    private static final ObjectMapper JSON = new ObjectMapper();

    private Bulk() {
    }

    public static void main(String[] arguments) throws Exception {
        JsonNode given = JSON.readTree(System.in);
        Map<Integer, Integer> statuses = new TreeMap<>();
        try (CosmosAsyncClient client = new CosmosClientBuilder()
                .endpoint(given.get("endpoint").asText())
                .key(given.get("key").asText())
                .gatewayMode()
                .contentResponseOnWriteEnabled(false)
                .buildAsyncClient()) {
            CosmosAsyncContainer container = client.getDatabase("shop").getContainer("orders");
            List<CosmosItemOperation> operations = new ArrayList<>();
            for (JsonNode operation : given.get("operations")) {
                operations.add(operation(operation, operations.size()));
            }
            container.<Integer>executeBulkOperations(Flux.fromIterable(operations)).doOnNext(done -> {
                int status = done.getResponse() != null
                    ? done.getResponse().getStatusCode()
                    : ((CosmosException) done.getException()).getStatusCode();
                statuses.put(done.getOperation().<Integer>getContext(), status);
            }).blockLast();
        }
        ArrayNode report = JSON.createArrayNode();
        statuses.values().forEach(report::add);
        System.out.write(JSON.writeValueAsBytes(report));
        System.out.flush();
        // The SDK leaves threads behind.
        System.exit(0);
    }

    private static CosmosItemOperation operation(JsonNode given, int number) {
        PartitionKey key = new PartitionKey(given.get("key").asText());
        CosmosBulkItemRequestOptions options = new CosmosBulkItemRequestOptions();
        if (given.hasNonNull("etag")) {
            options.setIfMatchETag(given.get("etag").asText());
        }
        JsonNode document = given.get("document");
        String id = given.get("id").asText();
        return switch (given.get("kind").asText()) {
            case "Create" -> CosmosBulkOperations.getCreateItemOperation(document, key, options, number);
            case "Upsert" -> CosmosBulkOperations.getUpsertItemOperation(document, key, options, number);
            case "Replace" ->
                CosmosBulkOperations.getReplaceItemOperation(id, document, key, options, number);
            default -> CosmosBulkOperations.getDeleteItemOperation(id, key, options, number);
        };
    }
}
