package orlop.controller;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import io.grpc.stub.StreamObserver;
import io.netty.handler.ssl.SslContext;
import java.util.HashSet;
import java.util.Set;
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
import orlop.placement.Copy;
import orlop.placement.Fit;
import orlop.placement.MeshView;
import orlop.placement.Model;
import orlop.placement.Router;
import orlop.registry.Registry;
import orlop.registry.RegistryException;

/**
 * The management interface {@code mmesh.ModelMesh}; any pod serves it, over the same registry.
 *
 * <p>Calls block their thread while they wait for the store or for a load, so the server must run
 * them on virtual threads. A store that does not answer is {@code UNAVAILABLE}; a change is visible
 * in this pod's own view before the call that made it returns.
 */
public final class ManagementService extends ModelMeshGrpc.ModelMeshImplBase
    implements AutoCloseable {
  /** A model that was never used is taken for one used an hour ago: it displaces nothing newer. */
  private static final long NEWCOMER_AGE_MS = 3_600_000;

  /** How long a change of ours may take to come back through the watch. */
  private static final long OWN_CHANGE_MS = 5_000;

  /** How long {@code setVModel(sync)} waits for the alias to arrive. */
  private static final long TRANSITION_MS = 240_000;

  /** How long a load that was accepted may take to be announced. */
  private static final long ANNOUNCEMENT_MS = 1_000;

  /** How often a change is tried again that others' changes got ahead of. */
  private static final int TRIES = 5;

  private final Registry registry;
  private final Aliases aliases;
  private final PodCalls pods;
  private final Loads loads;
  private final String defaultOwner;
  private final LongSupplier clockMs;

  /**
   * @param clockMs milliseconds since the epoch
   */
  public ManagementService(
      ControllerConfig config, Registry registry, Router router, LongSupplier clockMs) {
    this(config, registry, router, clockMs, null);
  }

  /**
   * As the other.
   *
   * @param tls what pods are called with; null: in the clear
   */
  public ManagementService(
      ControllerConfig config,
      Registry registry,
      Router router,
      LongSupplier clockMs,
      @Nullable SslContext tls) {
    this.registry = registry;
    this.aliases = new Aliases(registry);
    this.pods = new PodCalls(config, tls);
    this.loads = new Loads(registry, router, pods);
    this.defaultOwner = config.defaultAliasOwner();
    this.clockMs = clockMs;
  }

  @Override
  public void registerModel(
      RegisterModelRequest request, StreamObserver<ModelStatusInfo> response) {
    answer(
        response,
        () -> {
          Model model = register(request.getModelId(), request.getModelInfo());
          if (!request.getLoadNow()) {
            return ModelStatus.of(registry.view(), model.id());
          }
          long usedMs = request.getLastUsedTime();
          long unusedMs = clockMs.getAsLong() - NEWCOMER_AGE_MS;
          return load(model.id(), request.getSync(), usedMs == 0 ? unusedMs : usedMs);
        });
  }

  /** An older name of {@link #registerModel}. */
  @Override
  public void addModel(RegisterModelRequest request, StreamObserver<ModelStatusInfo> response) {
    registerModel(request, response);
  }

  @Override
  public void unregisterModel(
      UnregisterModelRequest request, StreamObserver<UnregisterModelResponse> response) {
    answer(
        response,
        () -> {
          String id = required("modelId", request.getModelId());
          Alias user = aliases.unregister(id);
          if (user != null) {
            throw Status.FAILED_PRECONDITION
                .withDescription(
                    "model '%s' is in use by alias '%s'; delete or move the alias first"
                        .formatted(id, user.name()))
                .asRuntimeException();
          }
          return UnregisterModelResponse.getDefaultInstance();
        });
  }

  /** An older name of {@link #unregisterModel}. */
  @Override
  public void deleteModel(
      UnregisterModelRequest request, StreamObserver<UnregisterModelResponse> response) {
    unregisterModel(request, response);
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
          long usedMs = request.getLastUsedTime();
          return load(id, request.getSync(), usedMs == 0 ? clockMs.getAsLong() : usedMs);
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
          // The planner may move it meanwhile; that is no reason to leave it.
          for (int i = 0; i < TRIES; i++) {
            Alias alias = registry.view().alias(name);
            if (alias == null) {
              return DeleteVModelResponse.getDefaultInstance();
            }
            if (isOthers(alias, request.getOwner()) || aliases.delete(alias)) {
              return DeleteVModelResponse.getDefaultInstance();
            }
          }
          throw changedMeanwhile(name);
        });
  }

  @Override
  public void getVModelStatus(
      GetVModelStatusRequest request, StreamObserver<VModelStatusInfo> response) {
    answer(
        response,
        () -> {
          Alias alias = registry.view().alias(required("vModelId", request.getVModelId()));
          return alias == null || isOthers(alias, request.getOwner())
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
    return standing;
  }

  /**
   * Asks for a copy. That it failed to load is an answer, the same that any later look would give;
   * that nobody may or can try is an error.
   */
  private ModelStatusInfo load(String modelId, boolean wait, long lastUsedMs) {
    // Pods come and go under new addresses; nobody else closes what was opened to the old ones.
    pods.retain(registry.view());
    try {
      loads.ensure(modelId, wait, lastUsedMs, clockMs.getAsLong());
    } catch (StatusRuntimeException e) {
      ModelStatusInfo now = ModelStatus.of(registry.view(), modelId);
      if (now.getStatus() == ModelStatusInfo.ModelStatus.LOADING_FAILED) {
        return now;
      }
      throw e;
    }
    if (wait) {
      seen(view -> view.copies(modelId).stream().anyMatch(Copy::isLoaded));
      return ModelStatus.of(registry.view(), modelId);
    }
    // Accepted. A load that is over soon is not announced before its end.
    var unused = Views.await(registry, view -> !view.copies(modelId).isEmpty(), ANNOUNCEMENT_MS);
    ModelStatusInfo now = ModelStatus.of(registry.view(), modelId);
    return now.getStatus() == ModelStatusInfo.ModelStatus.NOT_LOADED
        ? now.toBuilder().setStatus(ModelStatusInfo.ModelStatus.LOADING).build()
        : now;
  }

  private VModelStatusInfo setAlias(SetVModelRequest request) throws RegistryException {
    String name = required("vModelId", request.getVModelId());
    String target = required("targetModelId", request.getTargetModelId());
    Alias next = change(request, name, target);
    String refusal = "";
    if (request.getLoadNow()) {
      try {
        var unused = load(target, request.getSync(), clockMs.getAsLong());
      } catch (StatusRuntimeException e) {
        // The alias stands all the same, so this is a state of its target.
        refusal = String.valueOf(e.getStatus().getDescription());
      }
    }
    if (request.getSync()) {
      var unused = Views.await(registry, view -> settled(view.alias(name), target), TRANSITION_MS);
      if (next.moving() && next.autoDeleteModelIds().contains(next.activeModelId())) {
        // What goes with the move goes right behind it.
        String left = next.activeModelId();
        seen(view -> view.model(left) == null || Aliases.user(view, left) != null);
      }
    }
    Alias now = registry.view().alias(name);
    return ModelStatus.of(registry.view(), now == null ? next : now, refusal);
  }

  /** Makes the alias as asked for, if it may be, and returns it. */
  private Alias change(SetVModelRequest request, String name, String target)
      throws RegistryException {
    for (int i = 0; i < TRIES; i++) {
      Alias old = registry.view().alias(name);
      if (old == null && request.getUpdateOnly()) {
        throw notFound("alias", name);
      }
      if (old != null) {
        checkOwner(old, request.getOwner());
      }
      checkExpected(request, old);
      Alias next;
      try {
        next = next(request, old);
      } catch (IllegalArgumentException e) {
        throw Status.INVALID_ARGUMENT.withDescription(e.getMessage()).asRuntimeException();
      }
      if (bringsModel(request)) {
        register(target, request.getModelInfo());
      } else if (registry.view().model(target) == null) {
        throw notFound("target model", target);
      }
      if (aliases.set(old, next)) {
        if (registry.view().model(target) == null) {
          // It was unregistered while we wrote.
          registry.compareAndSetAlias(name, next, old);
          throw notFound("target model", target);
        }
        return next;
      }
    }
    throw changedMeanwhile(name);
  }

  /**
   * What was registered by itself stays so: only a model that comes with its alias goes with it.
   */
  private static boolean bringsModel(SetVModelRequest request) {
    return !request.getModelInfo().equals(ModelInfo.getDefaultInstance());
  }

  /** A new or forced alias serves its target at once; any other moves there when it is loaded. */
  private Alias next(SetVModelRequest request, @Nullable Alias old) {
    String target = request.getTargetModelId();
    Set<String> autoDelete = new HashSet<>(old == null ? Set.of() : old.autoDeleteModelIds());
    if (request.getAutoDeleteTargetModel() && bringsModel(request)) {
      autoDelete.add(target);
    }
    String active = old == null || request.getForce() ? target : old.activeModelId();
    autoDelete.removeIf(id -> !id.equals(target) && !id.equals(active));
    String asked = request.getOwner().isEmpty() ? defaultOwner : request.getOwner();
    String owner = old == null ? asked : old.owner();
    return new Alias(request.getVModelId(), owner, active, target, autoDelete, "");
  }

  private static boolean settled(@Nullable Alias alias, String target) {
    return alias == null
        || !alias.targetModelId().equals(target)
        || !alias.moving()
        || !alias.failure().isEmpty();
  }

  /** An alias that is where it shall go is as expected: a call may be made once more. */
  private static void checkExpected(SetVModelRequest request, @Nullable Alias old) {
    String expected = request.getExpectedTargetModelId();
    String target = request.getTargetModelId();
    boolean met =
        old == null
            ? expected.equals(target)
            : old.targetModelId().equals(expected) || old.targetModelId().equals(target);
    if (!expected.isEmpty() && !met) {
      throw Status.FAILED_PRECONDITION
          .withDescription(
              "alias '%s': expected target '%s', found %s"
                  .formatted(
                      request.getVModelId(),
                      expected,
                      old == null ? "no alias" : "'" + old.targetModelId() + "'"))
          .asRuntimeException();
    }
  }

  /** Who names no owner does not ask whose it is. */
  private static boolean isOthers(Alias alias, String asked) {
    return !asked.isEmpty() && !alias.owner().equals(asked);
  }

  private static void checkOwner(Alias alias, String asked) {
    if (isOthers(alias, asked)) {
      throw Status.ALREADY_EXISTS
          .withDescription(
              "alias '%s' belongs to '%s', not to '%s'"
                  .formatted(alias.name(), alias.owner(), asked))
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
    var unused = Views.await(registry, change, OWN_CHANGE_MS);
  }

  /** What a call does. */
  private interface Work<T> {
    T run() throws RegistryException;
  }

  private static <T> void answer(StreamObserver<T> response, Work<T> work) {
    T result;
    try {
      result = work.run();
    } catch (StatusRuntimeException e) {
      response.onError(e);
      return;
    } catch (RegistryException e) {
      response.onError(Status.UNAVAILABLE.withDescription(e.getMessage()).asRuntimeException());
      return;
    } catch (RuntimeException e) {
      response.onError(
          Status.INTERNAL.withDescription(e.toString()).withCause(e).asRuntimeException());
      return;
    }
    response.onNext(result);
    response.onCompleted();
  }

  int connections() {
    return pods.connections();
  }

  @Override
  public void close() {
    pods.close();
  }
}
