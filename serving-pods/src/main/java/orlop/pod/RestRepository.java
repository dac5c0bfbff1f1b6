package orlop.pod;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import inference.ModelMetadataResponse;
import inference.ModelMetadataResponse.TensorMetadata;
import io.grpc.ManagedChannel;
import io.grpc.StatusRuntimeException;
import io.grpc.netty.NettyChannelBuilder;
import java.nio.charset.StandardCharsets;
import java.util.List;
import java.util.TreeSet;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import orlop.api.PodControlGrpc;
import orlop.api.UnloadRequest;
import orlop.placement.Alias;
import orlop.placement.Copy;
import orlop.placement.CopyState;
import orlop.placement.Fault;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Pod;

/**
 * What the mesh holds, as Triton's repository, configuration and statistics extensions tell it.
 * Aliases count as models of their own name. Thread-safe; load and unload block.
 */
final class RestRepository {
  private static final String VERSION = "1";
  private static final long UNLOAD_TIMEOUT_MS = 10_000;

  private final RestCalls calls;
  private final Dispatcher dispatcher;

  RestRepository(RestCalls calls, Dispatcher dispatcher) {
    this.calls = calls;
    this.dispatcher = dispatcher;
  }

  boolean knows(String name) {
    return dispatcher.registry.view().resolve(name) != null;
  }

  /** All names that can be called, sorted. */
  List<String> all() {
    MeshView view = dispatcher.registry.view();
    TreeSet<String> names = new TreeSet<>();
    view.eachModel(model -> names.add(model.id()));
    for (Alias alias : view.aliases()) {
      if (view.model(alias.activeModelId()) != null) {
        names.add(alias.name());
      }
    }
    return List.copyOf(names);
  }

  RestReply names() {
    ObjectNode json = RestJson.object();
    all().forEach(json.putArray("models")::add);
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
    return switch (path.get(4)) {
      case "load" -> {
        RestFront.only("POST", request);
        yield load(request, name);
      }
      case "unload" -> {
        RestFront.only("POST", request);
        yield unload(name);
      }
      default -> throw RestFront.unknown(request);
    };
  }

  private ObjectNode optional(RestRequest request) throws RestError {
    byte[] body = RestFront.body(request, dispatcher.config);
    return new String(body, 0, Math.min(body.length, 64), StandardCharsets.UTF_8).isBlank()
        ? RestJson.object()
        : RestJson.tree(body);
  }

  // ---- index

  private RestReply index(RestRequest request) throws RestError {
    boolean readyOnly = optional(request).path("ready").asBoolean(false);
    MeshView view = dispatcher.registry.view();
    ArrayNode index = RestJson.MAPPER.createArrayNode();
    for (String name : all()) {
      Model model = view.resolve(name);
      if (model == null) {
        continue;
      }
      State state = State.of(view.copies(model.id()), dispatcher.host.isLoaded(model.id()));
      if (!readyOnly || state.name.equals("READY")) {
        index
            .addObject()
            .put("name", name)
            .put("version", VERSION)
            .put("state", state.name)
            .put("reason", state.reason);
      }
    }
    return RestJson.reply(200, index);
  }

  /** A model's state in Triton's words, and why. */
  private record State(String name, String reason) {
    static State of(List<Copy> copies, boolean loadedHere) {
      if (loadedHere || copies.stream().anyMatch(Copy::isLoaded)) {
        return new State("READY", "");
      }
      if (copies.stream().anyMatch(Copy::isLoading)) {
        return new State("LOADING", "");
      }
      for (Copy copy : copies) {
        if (copy.state()
            instanceof CopyState.FailedToLoad(Fault _, String reason, long retryAtMs)) {
          return new State("UNAVAILABLE", reason);
        }
      }
      return new State("UNAVAILABLE", "unloaded");
    }
  }

  // ---- load and unload

  private RestReply load(RestRequest request, String name) throws RestError {
    for (var parameter : optional(request).path("parameters").properties()) {
      // Both would change the model, and a model never changes under its id.
      if (parameter.getKey().equals("config") || parameter.getKey().startsWith("file:")) {
        throw RestError.bad(
            "parameter '"
                + parameter.getKey()
                + "' is not served: a model cannot be changed, register another one");
      }
    }
    calls.model(name);
    // To ask what it takes and gives loads it, in the pod that suits it best.
    calls.metadata(request, name, "");
    return RestJson.reply(200, RestJson.object().put("name", name).put("load", true));
  }

  private RestReply unload(String name) throws RestError {
    Model model = calls.model(name);
    MeshView view = dispatcher.registry.view();
    if (!dispatcher.host.letGo(model.id())) {
      throw new RestError(429, "too many wishes are queued");
    }
    try {
      for (Copy copy : view.copies(model.id())) {
        Pod pod = view.pod(copy.podId());
        if (pod != null && !pod.id().equals(dispatcher.config.id())) {
          unload(pod, model.id());
        }
      }
    } catch (StatusRuntimeException e) {
      throw RestError.of(e.getStatus());
    }
    return RestJson.reply(200, RestJson.object().put("name", name).put("unload", true));
  }

  private void unload(Pod pod, String modelId) {
    // Rare, so a connection of its own will do.
    NettyChannelBuilder builder = NettyChannelBuilder.forTarget("dns:///" + pod.address());
    PodTls.Mesh tls = dispatcher.tls;
    ManagedChannel channel =
        (tls == null ? builder.usePlaintext() : builder.sslContext(tls.pods())).build();
    try {
      PodControlGrpc.newBlockingStub(channel)
          .withDeadlineAfter(UNLOAD_TIMEOUT_MS, TimeUnit.MILLISECONDS)
          .unload(UnloadRequest.newBuilder().setModelId(modelId).build());
    } finally {
      channel.shutdownNow();
    }
  }

  // ---- configuration and statistics

  /**
   * Shapes stand as metadata has them, so {@code max_batch_size} is 0: no dimension is left out.
   */
  static RestReply config(ModelMetadataResponse metadata) {
    ObjectNode json = RestJson.object();
    json.put("name", metadata.getName()).put("platform", metadata.getPlatform());
    json.put("backend", "").put("max_batch_size", 0);
    tensors(json.putArray("input"), metadata.getInputsList());
    tensors(json.putArray("output"), metadata.getOutputsList());
    return RestJson.reply(200, json);
  }

  private static void tensors(ArrayNode array, List<TensorMetadata> tensors) {
    for (TensorMetadata tensor : tensors) {
      RestType type = RestType.of(tensor.getDatatype());
      ObjectNode one = array.addObject();
      one.put("name", tensor.getName());
      one.put("data_type", type == null ? "TYPE_INVALID" : type.configName());
      tensor.getShapeList().forEach(one.putArray("dims")::add);
    }
  }

  /** Of one name: what this pod ran of it. */
  RestReply stats(String name) throws RestError {
    Model model = calls.model(name);
    ArrayNode list = RestJson.MAPPER.createArrayNode();
    stats(list, name, dispatcher.host.slots().get(model.id()));
    return RestJson.reply(200, RestJson.object().set("model_stats", list));
  }

  /** Of all models that are loaded in this pod. */
  RestReply stats() {
    ArrayNode list = RestJson.MAPPER.createArrayNode();
    dispatcher.host.each((id, slot) -> stats(list, id, slot));
    return RestJson.reply(200, RestJson.object().set("model_stats", list));
  }

  private static void stats(ArrayNode list, String name, @Nullable Slot<Held> slot) {
    list.addObject()
        .put("name", name)
        .put("version", VERSION)
        .put("last_inference", slot == null ? 0 : slot.lastUsedNs() / 1_000_000)
        .put("inference_count", slot == null ? 0 : slot.calls())
        .put("execution_count", slot == null ? 0 : slot.calls());
  }
}
