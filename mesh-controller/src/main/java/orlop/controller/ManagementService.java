package orlop.controller;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import java.util.HashSet;
import java.util.Set;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.function.LongSupplier;
import java.util.function.Predicate;
import mmesh.DeleteVModelRequest;
import mmesh.DeleteVModelResponse;
import mmesh.EnsureLoadedRequest;
import mmesh.GetStatusRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelMeshGrpc;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.UnregisterModelRequest;
import mmesh.UnregisterModelResponse;
import mmesh.VModelStatusInfo;
import org.jspecify.annotations.Nullable;
import orlop.placement.Alias;
import orlop.placement.Fit;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Router;
import orlop.registry.Registry;
import orlop.registry.RegistryException;

/**
 * The management interface {@code mmesh.ModelMesh}; any pod serves it, over the same registry.
 *
 * <p>Every call runs on a virtual thread of its own, so it may wait for the store or for a load. A
 * store that does not answer is {@code UNAVAILABLE}; a change is visible in this pod's own view
 * before the call that made it returns.
 */
public final class ManagementService extends ModelMeshGrpc.ModelMeshImplBase
    implements AutoCloseable {
  /** A model that was never used is taken for one used an hour ago: it displaces nothing newer. */
  private static final long NEWCOMER_AGE_MS = 3_600_000;

  /** How long a change of ours may take to come back through the watch. */
  private static final long OWN_CHANGE_MS = 5_000;

  /** How long {@code setVModel(sync)} waits for the alias to arrive. */
  private static final long TRANSITION_MS = 240_000;

  private final Registry registry;
  private final Aliases aliases;
  private final PodCalls pods;
  private final Loads loads;
  private final LongSupplier clockMs;

  /**
   * @param clockMs milliseconds since the epoch
   */
  public ManagementService(
      ControllerConfig config, Registry registry, Router router, LongSupplier clockMs) {
    this.registry = registry;
    this.aliases = new Aliases(registry);
    this.pods = new PodCalls(config);
    this.loads = new Loads(registry, router, pods);
    this.clockMs = clockMs;
  }

  @Override
  public void registerModel(
      RegisterModelRequest request, StreamObserver<ModelStatusInfo> response) {
    answer(
        response,
        () -> {
          Model model = register(request.getModelId(), request.getModelInfo());
          if (request.getLoadNow()) {
            load(model.id(), request.getSync(), request.getLastUsedTime());
          }
          return ModelStatus.of(registry.view(), model.id());
        });
  }

  @Override
  public void unregisterModel(
      UnregisterModelRequest request, StreamObserver<UnregisterModelResponse> response) {
    answer(
        response,
        () -> {
          String id = required("modelId", request.getModelId());
          for (Alias alias : registry.view().aliases()) {
            if (alias.refersTo(id)) {
              throw Status.FAILED_PRECONDITION
                  .withDescription(
                      "model '%s' is in use by alias '%s'; delete or move the alias first"
                          .formatted(id, alias.name()))
                  .asRuntimeException();
            }
          }
          registry.deleteModel(id);
          seen(view -> view.model(id) == null);
          return UnregisterModelResponse.getDefaultInstance();
        });
  }

  @Override
  public void getModelStatus(GetStatusRequest request, StreamObserver<ModelStatusInfo> response) {
    answer(
        response, () -> ModelStatus.of(registry.view(), required("modelId", request.getModelId())));
  }

  @Override
  public void ensureLoaded(EnsureLoadedRequest request, StreamObserver<ModelStatusInfo> response) {
    answer(
        response,
        () -> {
          String id = required("modelId", request.getModelId());
          if (registry.view().model(id) == null) {
            throw notFound("model", id);
          }
          load(id, request.getSync(), request.getLastUsedTime());
          return ModelStatus.of(registry.view(), id);
        });
  }

  @Override
  public void setVModel(SetVModelRequest request, StreamObserver<VModelStatusInfo> response) {
    answer(response, () -> setAlias(request));
  }

  @Override
  public void deleteVModel(
      DeleteVModelRequest request, StreamObserver<DeleteVModelResponse> response) {
    answer(
        response,
        () -> {
          String name = required("vModelId", request.getVModelId());
          Alias alias = registry.view().alias(name);
          if (alias != null) {
            checkOwner(alias, request.getOwner());
            if (!aliases.delete(alias)) {
              throw changedMeanwhile(name);
            }
            seen(view -> view.alias(name) == null);
          }
          return DeleteVModelResponse.getDefaultInstance();
        });
  }

  @Override
  public void getVModelStatus(
      GetVModelStatusRequest request, StreamObserver<VModelStatusInfo> response) {
    answer(
        response,
        () -> {
          Alias alias = registry.view().alias(required("vModelId", request.getVModelId()));
          boolean hidden =
              alias != null
                  && !request.getOwner().isEmpty()
                  && !alias.owner().equals(request.getOwner());
          return alias == null || hidden
              ? VModelStatusInfo.newBuilder()
                  .setStatus(VModelStatusInfo.VModelStatus.NOT_FOUND)
                  .build()
              : ModelStatus.of(registry.view(), alias);
        });
  }

  private Model register(String modelId, ModelInfo info) throws RegistryException {
    required("modelId", modelId);
    required("modelInfo.type", info.getType());
    Model model;
    try {
      Wishes wishes = Wishes.of(info.getKey());
      model =
          new Model(
              modelId,
              info.getType(),
              info.getPath(),
              info.getKey(),
              wishes.sizeBytes(),
              wishes.minCopies(),
              wishes.maxCopies(),
              wishes.requiredLabels(),
              wishes.preferredLabels(),
              clockMs.getAsLong(),
              wishes.pinned());
    } catch (IllegalArgumentException e) {
      throw Status.INVALID_ARGUMENT.withDescription(e.getMessage()).asRuntimeException();
    }
    String tooLarge = Fit.whyNowhere(registry.view(), model);
    if (tooLarge != null && registry.view().model(modelId) == null) {
      throw Status.INVALID_ARGUMENT.withDescription(tooLarge).asRuntimeException();
    }
    Model standing = registry.createModel(model);
    if (!standing.sameAs(model)) {
      throw Status.ALREADY_EXISTS
          .withDescription(
              "model '%s' is registered with type '%s' path '%s' key '%s'; asked for type '%s' path '%s' key '%s'"
                  .formatted(
                      modelId,
                      standing.type(),
                      standing.path(),
                      standing.key(),
                      model.type(),
                      model.path(),
                      model.key()))
          .asRuntimeException();
    }
    seen(view -> view.model(modelId) != null);
    return standing;
  }

  private void load(String modelId, boolean wait, long lastUsedMs) {
    long nowMs = clockMs.getAsLong();
    // Pods come and go under new addresses; nobody else closes what was opened to the old ones.
    pods.retain(registry.view());
    loads.ensure(modelId, wait, lastUsedMs == 0 ? nowMs - NEWCOMER_AGE_MS : lastUsedMs, nowMs);
    if (wait) {
      seen(view -> view.copies(modelId).stream().anyMatch(copy -> copy.isLoaded()));
    }
  }

  private VModelStatusInfo setAlias(SetVModelRequest request) throws RegistryException {
    String name = required("vModelId", request.getVModelId());
    String target = required("targetModelId", request.getTargetModelId());
    Alias old = registry.view().alias(name);
    if (old == null && request.getUpdateOnly()) {
      throw notFound("alias", name);
    }
    checkExpected(name, old, request.getExpectedTargetModelId());
    if (old != null) {
      checkOwner(old, request.getOwner());
    }
    if (request.hasModelInfo()) {
      register(target, request.getModelInfo());
    } else if (registry.view().model(target) == null) {
      throw notFound("target model", target);
    }
    Alias next;
    try {
      next = next(request, old);
    } catch (IllegalArgumentException e) {
      throw Status.INVALID_ARGUMENT.withDescription(e.getMessage()).asRuntimeException();
    }
    if (!next.equals(old) && !registry.compareAndSetAlias(name, old, next)) {
      throw changedMeanwhile(name);
    }
    seen(view -> next.equals(view.alias(name)) || view.alias(name) == null);
    leaveBehind(old, next);
    if (request.getLoadNow()) {
      load(target, request.getSync(), clockMs.getAsLong());
    }
    if (request.getSync()) {
      await(view -> settled(view.alias(name), target), TRANSITION_MS);
    }
    Alias now = registry.view().alias(name);
    return ModelStatus.of(registry.view(), now == null ? next : now);
  }

  /** A new or forced alias serves its target at once; any other moves there when it is loaded. */
  private static Alias next(SetVModelRequest request, @Nullable Alias old) {
    String target = request.getTargetModelId();
    Set<String> autoDelete = new HashSet<>(old == null ? Set.of() : old.autoDeleteModelIds());
    if (request.getAutoDeleteTargetModel()) {
      autoDelete.add(target);
    }
    String active = old == null || request.getForce() ? target : old.activeModelId();
    if (old != null) {
      autoDelete.removeIf(id -> !id.equals(target) && !old.refersTo(id));
    }
    String owner = old != null && !old.owner().isEmpty() ? old.owner() : request.getOwner();
    return new Alias(request.getVModelId(), owner, active, target, autoDelete, "");
  }

  /** Unregisters what the change left, if it was to live no longer than that. */
  private void leaveBehind(@Nullable Alias old, Alias next) throws RegistryException {
    if (old == null) {
      return;
    }
    Set<String> left = new HashSet<>(old.autoDeleteModelIds());
    left.removeIf(next::refersTo);
    aliases.deleteUnreferred(left, next.name());
  }

  private static boolean settled(@Nullable Alias alias, String target) {
    return alias == null
        || !alias.targetModelId().equals(target)
        || !alias.moving()
        || !alias.failure().isEmpty();
  }

  private static void checkExpected(String name, @Nullable Alias old, String expected) {
    if (!expected.isEmpty() && (old == null || !old.targetModelId().equals(expected))) {
      throw Status.FAILED_PRECONDITION
          .withDescription(
              "alias '%s': expected target '%s', found %s"
                  .formatted(
                      name, expected, old == null ? "no alias" : "'" + old.targetModelId() + "'"))
          .asRuntimeException();
    }
  }

  private static void checkOwner(Alias alias, String owner) {
    if (!alias.owner().isEmpty() && !alias.owner().equals(owner)) {
      throw Status.ALREADY_EXISTS
          .withDescription(
              "alias '%s' belongs to '%s', not to '%s'"
                  .formatted(alias.name(), alias.owner(), owner))
          .asRuntimeException();
    }
  }

  private static String required(String field, String value) {
    if (value.isEmpty()) {
      throw Status.INVALID_ARGUMENT
          .withDescription(field + " must not be empty")
          .asRuntimeException();
    }
    return value;
  }

  private static StatusRuntimeException notFound(String what, String id) {
    return Status.NOT_FOUND
        .withDescription(what + " '" + id + "' is not registered")
        .asRuntimeException();
  }

  private static StatusRuntimeException changedMeanwhile(String name) {
    return Status.ABORTED
        .withDescription("alias '" + name + "' was changed by somebody else; read it and try again")
        .asRuntimeException();
  }

  private void seen(Predicate<MeshView> change) {
    await(change, OWN_CHANGE_MS);
  }

  /** Waits until the view meets the condition, at most so long; the caller looks again itself. */
  private void await(Predicate<MeshView> condition, long timeoutMs) {
    CountDownLatch met = new CountDownLatch(1);
    try (Registry.Subscription s =
        registry.listen(
            view -> {
              if (condition.test(view)) {
                met.countDown();
              }
            })) {
      var unused = met.await(timeoutMs, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  /** What a call does. */
  private interface Work<T> {
    T run() throws RegistryException;
  }

  private static <T> void answer(StreamObserver<T> response, Work<T> work) {
    Thread.ofVirtual()
        .name("orlop-management")
        .start(
            () -> {
              try {
                T result = work.run();
                response.onNext(result);
                response.onCompleted();
              } catch (StatusRuntimeException e) {
                response.onError(e);
              } catch (RegistryException e) {
                response.onError(
                    Status.UNAVAILABLE.withDescription(e.getMessage()).asRuntimeException());
              } catch (RuntimeException e) {
                response.onError(
                    Status.INTERNAL
                        .withDescription(e.toString())
                        .withCause(e)
                        .asRuntimeException());
              }
            });
  }

  int connections() {
    return pods.connections();
  }

  @Override
  public void close() {
    pods.close();
  }
}
