package orlop.pod;

import com.google.protobuf.InvalidProtocolBufferException;
import inference.ModelInferRequest;
import inference.ModelInferResponse;
import inference.ModelMetadataRequest;
import inference.ModelMetadataResponse;
import io.grpc.Metadata;
import io.grpc.StatusRuntimeException;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import orlop.api.Headers;
import orlop.placement.Model;

/** Carries REST requests through the {@link Dispatcher}, as gRPC calls go. Blocks; thread-safe. */
final class RestCalls {
  private static final int MAX_SIGNATURES = 1_000;

  /** Headers that go along whatever payload events may carry. */
  private static final List<String> CARRIED =
      List.of("x-request-id", "traceparent", "tracestate", Headers.BALANCED);

  private final PodConfig config;
  private final Dispatcher dispatcher;

  /*
   * What models take and give, for the interfaces that must know it before they can build a request.
   * An id is never used again for other content, so an entry stays true; the moment of registration
   * is part of the key in case somebody does it all the same. Guarded by itself.
   */
  private final Map<String, ModelMetadataResponse> signatures =
      new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<String, ModelMetadataResponse> eldest) {
          return size() > MAX_SIGNATURES;
        }
      };

  RestCalls(PodConfig config, Dispatcher dispatcher) {
    this.config = config;
    this.dispatcher = dispatcher;
  }

  /** That a request may take, in its binary form. */
  int mostBytes() {
    return config.maxMessageBytes();
  }

  /** The model that a name stands for now. */
  Model model(String name) throws RestError {
    Model model = dispatcher.registry.view().resolve(name);
    if (model == null) {
      throw RestError.unknownModel(name);
    }
    return model;
  }

  /**
   * @throws RestError when it is larger than the protocol between pods lets through
   */
  byte[] encoded(ModelInferRequest call) throws RestError {
    int size = call.getSerializedSize();
    if (size > config.maxMessageBytes()) {
      throw new RestError(
          413,
          "the request takes %d bytes in its binary form, the limit is %d"
              .formatted(size, config.maxMessageBytes()));
    }
    return call.toByteArray();
  }

  /**
   * @param message what {@link #encoded} gave
   */
  ModelInferResponse infer(RestRequest request, String model, byte[] message) throws RestError {
    requireListed(Op.INFER);
    try {
      return ModelInferResponse.parseFrom(call(request, Op.INFER, model, message));
    } catch (InvalidProtocolBufferException e) {
      throw broken(e);
    }
  }

  /** Of the model that the name stands for; loads it where it is not loaded. */
  ModelMetadataResponse metadata(RestRequest request, String name, String version)
      throws RestError {
    requireListed(Op.METADATA);
    return described(request, name, version);
  }

  private ModelMetadataResponse described(RestRequest request, String name, String version)
      throws RestError {
    byte[] call =
        ModelMetadataRequest.newBuilder().setName(name).setVersion(version).build().toByteArray();
    try {
      return ModelMetadataResponse.parseFrom(call(request, Op.METADATA, name, call));
    } catch (InvalidProtocolBufferException e) {
      throw broken(e);
    }
  }

  /** As {@link #metadata}, from memory when it was asked for before; its name may be another. */
  ModelMetadataResponse signature(RestRequest request, String name) throws RestError {
    Model model = model(name);
    String key = model.registeredMs() + " " + model.id();
    synchronized (signatures) {
      ModelMetadataResponse known = signatures.get(key);
      if (known != null) {
        return known;
      }
    }
    ModelMetadataResponse found = described(request, model.id(), "");
    synchronized (signatures) {
      signatures.put(key, found);
    }
    return found;
  }

  /** REST is another way to the same methods. */
  private void requireListed(Op op) throws RestError {
    if (!config.dataplane().allows(op.method)) {
      throw RestError.of(Dataplane.UNLISTED);
    }
  }

  private static RestError broken(InvalidProtocolBufferException e) {
    return new RestError(500, "the runtime's answer is not well-formed: " + e.getMessage());
  }

  private byte[] call(RestRequest request, Op op, String model, byte[] message) throws RestError {
    CompletableFuture<byte[]> ended = new CompletableFuture<>();
    return await(request, begin(request, op, model, message, ended), ended);
  }

  private Call begin(
      RestRequest request, Op op, String model, byte[] message, CompletableFuture<byte[]> answer) {
    return dispatcher.begin(
        op,
        message,
        headers(request),
        model,
        request.deadline(config.maxWaitMs()),
        (status, trailers, bytes) -> {
          if (bytes != null) {
            answer.complete(bytes);
          } else {
            answer.completeExceptionally(status.asRuntimeException());
          }
        });
  }

  private byte[] await(RestRequest request, Call call, CompletableFuture<byte[]> answer)
      throws RestError {
    request.whenGone(call::cancel);
    try {
      return answer.get(config.maxWaitMs() + 1_000, TimeUnit.MILLISECONDS);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof StatusRuntimeException ended) {
        throw RestError.of(ended.getStatus());
      }
      throw new IllegalStateException("a call ended without a status", e);
    } catch (TimeoutException e) {
      call.cancel();
      throw new RestError(504, "no answer in " + config.maxWaitMs() + " ms");
    } catch (InterruptedException e) {
      call.cancel();
      throw new RestError(503, "pod '" + config.id() + "' is shutting down");
    }
  }

  /** What of the HTTP headers goes with the call: those that payload events may carry, and ours. */
  private Metadata headers(RestRequest request) {
    Metadata headers = new Metadata();
    for (String name : config.payloadHeaders()) {
      copy(request, name, headers);
    }
    for (String name : CARRIED) {
      if (!config.payloadHeaders().contains(name)) {
        copy(request, name, headers);
      }
    }
    return headers;
  }

  private static void copy(RestRequest request, String name, Metadata headers) {
    String value = request.header(name);
    // What gRPC's headers cannot carry would end the connection to the next pod.
    if (value != null && value.chars().allMatch(c -> c >= ' ' && c <= '~')) {
      headers.put(Named.ascii(name), value);
    }
  }
}
