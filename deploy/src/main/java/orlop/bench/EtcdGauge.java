package orlop.bench;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;

/**
 * Looks at an etcd from outside, through its JSON gateway: what was really written, whatever the
 * client believes. Each write of a key, and each delete of one that exists, raises the revision by
 * one. Thread-safe.
 */
final class EtcdGauge implements AutoCloseable {
  private static final ObjectMapper JSON = new ObjectMapper();

  /** One key and its value. */
  record Pair(String key, int valueBytes) {
    int bytes() {
      return key.length() + valueBytes;
    }
  }

  private final HttpClient http = HttpClient.newHttpClient();
  private final URI range;

  EtcdGauge(String endpoint) {
    range = URI.create(endpoint + "/v3/kv/range");
  }

  long revision() throws IOException, InterruptedException {
    return range(key("\0"), "", 1).path("header").path("revision").asLong();
  }

  /** The last key under the prefix whose name holds {@code part}. */
  Pair find(String prefix, String part) throws IOException, InterruptedException {
    String end =
        prefix.substring(0, prefix.length() - 1) + (char) (prefix.charAt(prefix.length() - 1) + 1);
    Pair found = null;
    for (JsonNode kv : range(key(prefix), key(end), 0).path("kvs")) {
      String name =
          new String(Base64.getDecoder().decode(kv.path("key").asText()), StandardCharsets.UTF_8);
      if (name.contains(part)) {
        found = new Pair(name, Base64.getDecoder().decode(kv.path("value").asText()).length);
      }
    }
    if (found == null) {
      throw new IOException("no key with '" + part + "' under " + prefix + " in " + range);
    }
    return found;
  }

  private static String key(String text) {
    return Base64.getEncoder().encodeToString(text.getBytes(StandardCharsets.UTF_8));
  }

  private JsonNode range(String from, String to, int limit)
      throws IOException, InterruptedException {
    var body = JSON.createObjectNode().put("key", from).put("limit", limit);
    if (!to.isEmpty()) {
      body.put("range_end", to);
    }
    HttpResponse<String> answer =
        http.send(
            HttpRequest.newBuilder(range)
                .timeout(Duration.ofSeconds(30))
                .POST(HttpRequest.BodyPublishers.ofString(body.toString()))
                .build(),
            HttpResponse.BodyHandlers.ofString());
    if (answer.statusCode() != 200) {
      throw new IOException("etcd answers " + answer.statusCode() + " to " + range);
    }
    return JSON.readTree(answer.body());
  }

  @Override
  public void close() {
    http.close();
  }
}
