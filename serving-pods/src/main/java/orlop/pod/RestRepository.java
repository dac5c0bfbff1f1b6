package orlop.pod;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import inference.ModelStatistics;
import io.grpc.Metadata;
import io.grpc.StatusException;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;

/** The {@link Repository} over REST, in the words of Triton and KServe. Load and unload block. */
final class RestRepository {
  private final PodConfig config;
  private final Repository repository;

  RestRepository(PodConfig config, Repository repository) {
    this.config = config;
    this.repository = repository;
  }

  boolean knows(String name) {
    return repository.knows(name);
  }

  /**
   * @throws RestError when there is no model of that name and version
   */
  Named named(String name, String version) throws RestError {
    try {
      return repository.named(new Metadata(), name, version);
    } catch (StatusException e) {
      throw RestError.of(e.getStatus());
    }
  }

  RestReply names() {
    ObjectNode json = RestJson.object();
    repository.names().forEach(json.putArray("models")::add);
    return RestJson.reply(200, json);
  }

  RestReply answer(RestRequest request, List<String> path) throws RestError {
    if (path.size() == 3 && path.get(2).equals("index")) {
      RestFront.only("POST", request);
      return index(request);
    }
    if (path.size() != 5 || !path.get(2).equals("models")) {
      throw RestFront.unknown(request);
    }
    String name = path.get(3);
    String verb = path.get(4);
    if (!verb.equals("load") && !verb.equals("unload")) {
      throw RestFront.unknown(request);
    }
    RestFront.only("POST", request);
    Named named = named(name, "");
    try {
      if (verb.equals("load")) {
        repository.load(named, parameters(request));
      } else {
        repository.unload(named);
      }
    } catch (StatusException e) {
      throw RestError.of(e.getStatus());
    }
    return RestJson.reply(200, RestJson.object().put("name", name).put(verb, true));
  }

  private Set<String> parameters(RestRequest request) throws RestError {
    Set<String> names = new TreeSet<>();
    for (Map.Entry<String, ?> each : optional(request, config).path("parameters").properties()) {
      names.add(each.getKey());
    }
    return names;
  }

  /** The body, which may be left out. */
  static ObjectNode optional(RestRequest request, PodConfig config) throws RestError {
    byte[] body = RestFront.body(request, config);
    return new String(body, 0, Math.min(body.length, 64), StandardCharsets.UTF_8).isBlank()
        ? RestJson.object()
        : RestJson.tree(body);
  }

  private RestReply index(RestRequest request) throws RestError {
    boolean readyOnly = optional(request, config).path("ready").asBoolean(false);
    ArrayNode index = RestJson.MAPPER.createArrayNode();
    repository.index(readyOnly).forEach(entry -> index.add(RestJson.of(entry)));
    return RestJson.reply(200, index);
  }

  RestReply config(Named named) throws RestError {
    try {
      return RestJson.reply(200, RestJson.of(repository.config(named)));
    } catch (StatusException e) {
      throw RestError.of(e.getStatus());
    }
  }

  RestReply stats(Named named) {
    return stats(List.of(repository.statistics(named, false)));
  }

  /** Of all models that are loaded in this pod. */
  RestReply stats() {
    return stats(repository.statistics());
  }

  private static RestReply stats(List<ModelStatistics> all) {
    ObjectNode json = RestJson.object();
    ArrayNode list = json.putArray("model_stats");
    all.forEach(one -> list.add(RestJson.of(one)));
    return RestJson.reply(200, json);
  }
}
