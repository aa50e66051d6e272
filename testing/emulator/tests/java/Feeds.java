// The change feeds of the scenario, through the official Java SDK.

import com.azure.cosmos.CosmosContainer;
import com.azure.cosmos.models.CosmosChangeFeedRequestOptions;
import com.azure.cosmos.models.FeedRange;
import com.azure.cosmos.models.FeedResponse;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.Iterator;
import java.util.List;
import java.util.Map;

final class Feeds {
    private Feeds() {}

    /** The pages of a feed. */
    static Iterator<FeedResponse<JsonNode>> pages(
        CosmosContainer container, CosmosChangeFeedRequestOptions options, int size) {
        options.setMaxItemCount(size);
        return container.queryChangeFeed(options, JsonNode.class).iterableByPage().iterator();
    }

    /** Every change from a place on; the pages end when the whole range is idle. */
    static List<JsonNode> rest(
        CosmosContainer container, CosmosChangeFeedRequestOptions options, int size) {
        List<JsonNode> changes = new ArrayList<>();
        pages(container, options, size).forEachRemaining(page -> changes.addAll(page.getResults()));
        return changes;
    }

    /** The place that a continuation names. */
    static CosmosChangeFeedRequestOptions from(String continuation) {
        return CosmosChangeFeedRequestOptions.createForProcessingFromContinuation(continuation);
    }

    /** Where all versions begin: the end of each feed range. */
    static List<String> now(CosmosContainer container) {
        List<String> tokens = new ArrayList<>();
        for (FeedRange range : container.getFeedRanges()) {
            FeedResponse<JsonNode> page = pages(container, CosmosChangeFeedRequestOptions
                .createForProcessingFromNow(range).allVersionsAndDeletes(), 1).next();
            Scenario.expect(page.getResults().isEmpty(), "a feed that starts now has no changes yet");
            tokens.add(page.getContinuationToken());
        }
        return tokens;
    }

    /** All versions and deletes from some places on. */
    static ObjectNode versions(CosmosContainer container, List<String> tokens) {
        List<Map.Entry<String, JsonNode>> pairs = new ArrayList<>();
        for (String token : tokens) {
            rest(container, from(token).allVersionsAndDeletes(), 7)
                .forEach(change -> pairs.add(describe(change)));
        }
        return byKey(pairs);
    }

    /** One change of the feed of all versions: its key, and what every client must see of it. */
    static Map.Entry<String, JsonNode> describe(JsonNode change) {
        JsonNode current = change.path("current");
        JsonNode previous = change.path("previous");
        JsonNode metadata = change.get("metadata");
        JsonNode known = current.has("id") ? current : previous;
        ObjectNode seen = Scenario.object();
        seen.set("operation", metadata.get("operationType"));
        seen.set("id", known.get("id"));
        seen.put("expired", metadata.path("timeToLiveExpired").asBoolean());
        seen.set("current", current.isObject() ? Scenario.plain(current) : Scenario.object());
        seen.set("previous", previous.isObject() ? Scenario.plain(previous) : Scenario.object());
        seen.put("numbered", metadata.get("lsn").asLong() > 0 && metadata.get("crts").asLong() > 0);
        return Map.entry(known.get("pk").asText(), seen);
    }

    /** What belongs to each key, in the order in which it came. */
    static ObjectNode byKey(List<Map.Entry<String, JsonNode>> pairs) {
        ObjectNode keys = Scenario.object();
        pairs.forEach(pair -> keys.withArray("/" + pair.getKey().replace("~", "~0").replace("/", "~1"))
            .add(pair.getValue()));
        return keys;
    }
}
