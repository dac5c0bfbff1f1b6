package orlop.bridge;

import inference.ModelInferRequest;
import inference.ModelInferResponse;
import io.grpc.Status;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.jspecify.annotations.Nullable;

/**
 * Scores slots through the mesh: decodes, joins rows, calls, takes apart and encodes, on a small
 * pool. Thread-safe. For every slot that is handed in, exactly one outcome comes out, on some
 * thread of the pool.
 *
 * <p>A joined request that a model refuses is halved until the bad record is alone, so that the
 * others get their results: at most 2 log2(n) further calls for one bad record among n. A model
 * that refuses a whole and takes both halves cannot take joined requests; from then on its records
 * travel alone.
 */
final class Dispatcher implements AutoCloseable {
  private static final System.Logger LOG = System.getLogger(Dispatcher.class.getName());

  /** These speak about the request, so that a part of it may fare better. */
  private static final Set<Status.Code> OF_THE_REQUEST =
      Set.of(
          Status.Code.INVALID_ARGUMENT,
          Status.Code.OUT_OF_RANGE,
          Status.Code.INTERNAL,
          Status.Code.UNKNOWN);

  private static final int MAX_REMEMBERED_MODELS = 100_000;

  /** Takes the outcome of one slot; any thread. */
  @FunctionalInterface
  interface Outcomes {
    void accept(Slot slot, Outcome outcome);
  }

  private final StreamConfig stream;
  private final MeshClient mesh;
  private final Outcomes outcomes;
  private final ExecutorService pool;
  private final Set<ModelName> unjoinable = ConcurrentHashMap.newKeySet();

  Dispatcher(StreamConfig stream, MeshClient mesh, Outcomes outcomes) {
    this.stream = stream;
    this.mesh = mesh;
    this.outcomes = outcomes;
    this.pool =
        Executors.newFixedThreadPool(
            Math.clamp(Runtime.getRuntime().availableProcessors(), 2, 8),
            Thread.ofPlatform().daemon().name("bridge-" + stream.name() + "-", 0).factory());
  }

  /** Scores slots of one model, joined where they may be. The caller bounds what is in flight. */
  void dispatch(List<Slot> slots) {
    pool.execute(
        () -> {
          for (List<Prepared> together : joined(slots)) {
            send(together);
          }
        });
  }

  private List<List<Prepared>> joined(List<Slot> slots) {
    List<List<Prepared>> groups = new ArrayList<>();
    Map<RowBatch.Signature, List<Prepared>> open = new LinkedHashMap<>();
    for (Slot slot : slots) {
      Prepared prepared = prepare(slot);
      if (prepared == null) {
        continue;
      }
      RowBatch.Signature signature =
          stream.maxBatchRows() == 1 || unjoinable.contains(prepared.model)
              ? null
              : RowBatch.signature(prepared.model, prepared.request);
      List<Prepared> group = signature == null ? null : open.get(signature);
      if (group == null || rows(group) + prepared.rows() > stream.maxBatchRows()) {
        group = new ArrayList<>();
        groups.add(group);
        if (signature != null) {
          open.put(signature, group);
        }
      }
      group.add(prepared);
    }
    return groups;
  }

  private static long rows(List<Prepared> group) {
    long rows = 0;
    for (Prepared prepared : group) {
      rows += prepared.rows();
    }
    return rows;
  }

  /** Null where the slot has got its outcome already. */
  private @Nullable Prepared prepare(Slot slot) {
    try {
      byte[] value = slot.record.value();
      if (value == null) {
        outcomes.accept(slot, new Outcome.Scored("", null));
        return null;
      }
      if (value.length == 0) {
        throw new BadRecordException(Outcome.Reason.DECODE, "the value is empty");
      }
      ValueFormat format = ValueFormat.of(Topics.text(slot.record, Topics.CONTENT_TYPE));
      ModelInferRequest request = format.decode(value);
      Tensors.check(request);
      ModelName model = modelOf(slot, request);
      return new Prepared(
          slot, format, model, request.toBuilder().setModelName(model.name()).build());
    } catch (BadRecordException e) {
      outcomes.accept(
          slot,
          new Outcome.Rejected(
              e.reason, Status.Code.OK, slot.model.name(), String.valueOf(e.getMessage())));
    } catch (RuntimeException e) {
      outcomes.accept(slot, broken(slot.model, e));
    }
    return null;
  }

  private ModelName modelOf(Slot slot, ModelInferRequest request) throws BadRecordException {
    if (!slot.model.name().isEmpty()) {
      return slot.model;
    }
    if (!request.getModelName().isEmpty()) {
      return new ModelName(request.getModelName(), false);
    }
    if (!stream.model().isEmpty()) {
      return new ModelName(stream.model(), false);
    }
    if (!stream.vmodel().isEmpty()) {
      return new ModelName(stream.vmodel(), true);
    }
    throw new BadRecordException(
        Outcome.Reason.NO_MODEL,
        "no header mm-model-id or mm-vmodel-id, no model_name in the message, no model in the"
            + " stream");
  }

  /** Scores one group. True, later, when each of its slots has a result. */
  private CompletableFuture<Boolean> send(List<Prepared> group) {
    ModelName model = group.getFirst().model;
    try {
      return mesh.infer(requestOf(group), model, stream.purpose(), stream.deadlineMs())
          .thenComposeAsync(answer -> answered(group, answer), pool)
          .exceptionally(failure -> broken(group, failure));
    } catch (RuntimeException e) {
      return CompletableFuture.completedFuture(broken(group, e));
    }
  }

  private static ModelInferRequest requestOf(List<Prepared> group) {
    return group.size() == 1 ? group.getFirst().request : RowBatch.join(requests(group));
  }

  private static List<ModelInferRequest> requests(List<Prepared> group) {
    return group.stream().map(prepared -> prepared.request).toList();
  }

  private CompletableFuture<Boolean> answered(List<Prepared> group, Answer answer) {
    return switch (answer) {
      case Answer.Scored scored -> scored(group, scored.response());
      case Answer.Failed failed when group.size() > 1 && OF_THE_REQUEST.contains(failed.code()) ->
          halved(group);
      case Answer.Failed failed -> {
        for (Prepared prepared : group) {
          outcomes.accept(prepared.slot, outcome(prepared.model, failed));
        }
        yield CompletableFuture.completedFuture(false);
      }
    };
  }

  private CompletableFuture<Boolean> scored(List<Prepared> group, ModelInferResponse response) {
    List<ModelInferResponse> parts =
        group.size() == 1 ? List.of(response) : RowBatch.split(response, requests(group));
    if (parts == null) {
      travelsAlone(group.getFirst().model, "an output has not one row for each row of input");
      return alone(group);
    }
    // Encode all before the first goes out, so that a failure here meets none that is settled.
    List<byte[]> values = new ArrayList<>(group.size());
    for (int i = 0; i < group.size(); i++) {
      values.add(group.get(i).format.encode(parts.get(i)));
    }
    for (int i = 0; i < group.size(); i++) {
      String ran = parts.get(i).getModelName();
      outcomes.accept(
          group.get(i).slot,
          new Outcome.Scored(ran.isEmpty() ? group.get(i).model.name() : ran, values.get(i)));
    }
    return CompletableFuture.completedFuture(true);
  }

  private CompletableFuture<Boolean> halved(List<Prepared> group) {
    int middle = group.size() / 2;
    CompletableFuture<Boolean> left = send(group.subList(0, middle));
    CompletableFuture<Boolean> right = send(group.subList(middle, group.size()));
    return left.thenCombine(
        right,
        (leftScored, rightScored) -> {
          if (leftScored && rightScored) {
            travelsAlone(group.getFirst().model, "it refuses a joined request and takes its parts");
          }
          return false;
        });
  }

  private CompletableFuture<Boolean> alone(List<Prepared> group) {
    for (Prepared prepared : group) {
      send(List.of(prepared));
    }
    return CompletableFuture.completedFuture(false);
  }

  private void travelsAlone(ModelName model, String why) {
    if (unjoinable.size() < MAX_REMEMBERED_MODELS && unjoinable.add(model)) {
      LOG.log(
          System.Logger.Level.INFO,
          "stream {0}: records of model {1} are not joined any more: {2}",
          stream.name(),
          model.name(),
          why);
    }
  }

  private boolean broken(List<Prepared> group, Throwable failure) {
    for (Prepared prepared : group) {
      outcomes.accept(prepared.slot, broken(prepared.model, failure));
    }
    return false;
  }

  /** An error of the bridge itself counts as an attempt, so that it ends as a dead letter. */
  private static Outcome broken(ModelName model, Throwable failure) {
    return new Outcome.Later(Status.Code.INTERNAL, model.name(), "in the bridge: " + failure);
  }

  private static Outcome outcome(ModelName model, Answer.Failed failed) {
    Outcome.Reason reason =
        switch (failed.code()) {
          case INVALID_ARGUMENT, OUT_OF_RANGE -> Outcome.Reason.INVALID_ARGUMENT;
          case FAILED_PRECONDITION -> Outcome.Reason.MODEL_LOAD_FAILED;
          case UNIMPLEMENTED, PERMISSION_DENIED, UNAUTHENTICATED -> Outcome.Reason.REFUSED;
          default -> null;
        };
    return reason == null
        ? new Outcome.Later(failed.code(), model.name(), failed.message())
        : new Outcome.Rejected(reason, failed.code(), model.name(), failed.message());
  }

  /** Lets go of the threads; calls in flight are forgotten. */
  @Override
  public void close() {
    pool.shutdownNow();
  }

  /** A slot whose value is decoded and whose model is known. */
  private record Prepared(
      Slot slot, ValueFormat format, ModelName model, ModelInferRequest request) {
    long rows() {
      return RowBatch.rows(request);
    }
  }
}
