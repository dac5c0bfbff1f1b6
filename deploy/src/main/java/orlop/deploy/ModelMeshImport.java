package orlop.deploy;

import io.grpc.Status;
import io.grpc.StatusRuntimeException;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.LongConsumer;
import mmesh.GetStatusRequest;
import mmesh.GetVModelStatusRequest;
import mmesh.ModelInfo;
import mmesh.ModelStatusInfo;
import mmesh.RegisterModelRequest;
import mmesh.SetVModelRequest;
import mmesh.VModelStatusInfo;
import org.jspecify.annotations.Nullable;
import orlop.deploy.ImportReport.Fate;
import orlop.deploy.ImportReport.Kind;
import orlop.registry.ModelMeshKeyspace;
import orlop.registry.ModelMeshKeyspace.Entry;
import orlop.registry.ModelMeshKeyspace.Table;
import orlop.registry.RegistryException;

/**
 * Takes the models and then the aliases of a ModelMesh key space over into a mesh, by its
 * management interface. Changes nothing that stands in the mesh already, so it may be run again.
 * Holds a page of the source and {@link #IN_FLIGHT} calls at a time.
 */
final class ModelMeshImport {
  static final int IN_FLIGHT = 32;
  private static final int TRIES = 6;
  private static final int PROGRESS_RECORDS = 5_000;

  private final ModelMeshKeyspace source;
  private final @Nullable MeshClient mesh;
  private final boolean dryRun;
  private final LongConsumer progress;
  private final ImportReport report = new ImportReport();
  private final AtomicReference<@Nullable RuntimeException> stopped = new AtomicReference<>();

  /**
   * @param mesh where to register; null, in a dry run, only reads the source
   * @param progress hears how many records are done, every {@value #PROGRESS_RECORDS}
   */
  ModelMeshImport(
      ModelMeshKeyspace source, @Nullable MeshClient mesh, boolean dryRun, LongConsumer progress) {
    this.source = source;
    this.mesh = mesh;
    this.dryRun = dryRun;
    this.progress = progress;
  }

  /**
   * @throws StatusRuntimeException when the mesh no longer answers; what was done stays and is
   *     found by the next run
   */
  ImportReport run() throws RegistryException {
    eachOf(Table.MODELS, this::model);
    eachOf(Table.VMODELS, this::alias);
    return report;
  }

  /** What is done with one record; runs on a virtual thread. */
  private interface Step {
    void take(Entry entry) throws ModelMeshRecord.Unreadable, RegistryException;
  }

  private void eachOf(Table table, Step step) throws RegistryException {
    Kind kind = table == Table.MODELS ? Kind.MODEL : Kind.ALIAS;
    Semaphore places = new Semaphore(IN_FLIGHT);
    try (ExecutorService threads = Executors.newVirtualThreadPerTaskExecutor()) {
      source.read(
          table,
          entry -> {
            if (stopped.get() != null) {
              return;
            }
            places.acquireUninterruptibly();
            threads.execute(
                () -> {
                  try {
                    one(kind, entry, step);
                  } finally {
                    places.release();
                  }
                });
          });
    }
    RuntimeException why = stopped.get();
    if (why != null) {
      throw why;
    }
  }

  private void one(Kind kind, Entry entry, Step step) {
    try {
      step.take(entry);
    } catch (ModelMeshRecord.Unreadable e) {
      add(kind, Fate.UNREADABLE, entry, e.getMessage());
    } catch (RegistryException e) {
      stopped.compareAndSet(
          null,
          new CommandException(String.valueOf(e.getMessage()), "run the import again to go on", e));
    } catch (StatusRuntimeException e) {
      Status status = e.getStatus();
      switch (status.getCode()) {
        case ALREADY_EXISTS -> add(kind, Fate.DIFFERING, entry, status.getDescription());
        case UNAVAILABLE, DEADLINE_EXCEEDED, UNIMPLEMENTED, UNAUTHENTICATED, PERMISSION_DENIED ->
            stopped.compareAndSet(null, e);
        default ->
            add(kind, Fate.REFUSED, entry, status.getCode() + ": " + status.getDescription());
      }
    }
  }

  private void add(Kind kind, Fate fate, Entry entry, @Nullable String reason) {
    report.add(kind, fate, entry.key(), String.valueOf(reason));
    long done = report.total();
    if (done % PROGRESS_RECORDS == 0) {
      progress.accept(done);
    }
  }

  // ---- models ----

  private void model(Entry entry) throws ModelMeshRecord.Unreadable {
    ModelMeshRecord.Model model = ModelMeshRecord.model(entry.id(), entry.value());
    MeshClient to = mesh;
    if (to == null) {
      add(Kind.MODEL, Fate.REGISTERED, entry, "");
      return;
    }
    boolean known = isKnown(to, model.id());
    if (!dryRun) {
      var unused =
          calm(
              () ->
                  to.management()
                      .registerModel(
                          RegisterModelRequest.newBuilder()
                              .setModelId(model.id())
                              .setModelInfo(info(model))
                              .setLastUsedTime(model.lastUsedMs())
                              .build()));
    }
    add(Kind.MODEL, known ? Fate.ALREADY_THERE : Fate.REGISTERED, entry, "");
  }

  private static boolean isKnown(MeshClient to, String id) {
    return calm(() ->
                to.management()
                    .getModelStatus(GetStatusRequest.newBuilder().setModelId(id).build()))
            .getStatus()
        != ModelStatusInfo.ModelStatus.NOT_FOUND;
  }

  private static ModelInfo info(ModelMeshRecord.Model model) {
    return ModelInfo.newBuilder()
        .setType(model.type())
        .setPath(model.path())
        .setKey(model.key())
        .build();
  }

  // ---- aliases ----

  private void alias(Entry entry) throws ModelMeshRecord.Unreadable, RegistryException {
    ModelMeshRecord.VModel alias = ModelMeshRecord.vmodel(entry.id(), entry.value());
    MeshClient to = mesh;
    if (to != null) {
      VModelStatusInfo standing =
          calm(
              () ->
                  to.management()
                      .getVModelStatus(
                          GetVModelStatusRequest.newBuilder().setVModelId(alias.id()).build()));
      if (standing.getStatus() != VModelStatusInfo.VModelStatus.NOT_FOUND) {
        compare(entry, alias, standing);
        return;
      }
    }
    for (String target : List.of(alias.active(), alias.target())) {
      if (source.find(Table.MODELS, target) == null && (to == null || !isKnown(to, target))) {
        add(
            Kind.ALIAS,
            Fate.TARGET_MISSING,
            entry,
            "model '" + target + "' is in neither registry");
        return;
      }
    }
    if (!dryRun && to != null) {
      // First what it serves, then where it was going; a mesh moves it there once that is loaded.
      set(to, alias, alias.active());
      if (!alias.target().equals(alias.active())) {
        set(to, alias, alias.target());
      }
    }
    add(Kind.ALIAS, Fate.REGISTERED, entry, "");
  }

  private void compare(Entry entry, ModelMeshRecord.VModel alias, VModelStatusInfo standing) {
    // A move that the source had begun may have ended here.
    boolean same =
        standing.getTargetModelId().equals(alias.target())
            || (standing.getTargetModelId().isEmpty()
                && standing.getActiveModelId().equals(alias.target()));
    // One without an owner has become the default owner's.
    if (same && (alias.owner().isEmpty() || standing.getOwner().equals(alias.owner()))) {
      add(Kind.ALIAS, Fate.ALREADY_THERE, entry, "");
      return;
    }
    add(
        Kind.ALIAS,
        Fate.DIFFERING,
        entry,
        "alias '%s' of owner '%s' stands here for '%s'; the source has owner '%s' and '%s'"
            .formatted(
                alias.id(),
                standing.getOwner(),
                standing.getTargetModelId().isEmpty()
                    ? standing.getActiveModelId()
                    : standing.getTargetModelId(),
                alias.owner(),
                alias.target()));
  }

  private void set(MeshClient to, ModelMeshRecord.VModel alias, String target)
      throws RegistryException {
    SetVModelRequest.Builder request =
        SetVModelRequest.newBuilder()
            .setVModelId(alias.id())
            .setOwner(alias.owner())
            .setTargetModelId(target);
    ModelMeshRecord.Model model = readable(target);
    if (model != null && model.autoDelete()) {
      // It is deleted with the alias that brings it.
      request.setModelInfo(info(model)).setAutoDeleteTargetModel(true);
    }
    var unused = calm(() -> to.management().setVModel(request.build()));
  }

  private ModelMeshRecord.@Nullable Model readable(String model) throws RegistryException {
    Entry entry = source.find(Table.MODELS, model);
    try {
      return entry == null ? null : ModelMeshRecord.model(model, entry.value());
    } catch (ModelMeshRecord.Unreadable e) {
      return null; // counted where the models were read
    }
  }

  // ---- calls ----

  /** A call to the mesh. */
  interface Call<T> {
    T send();
  }

  /** Waits out a pod that is busy or restarts, {@value #TRIES} times at most. */
  static <T> T calm(Call<T> call) {
    for (int tries = 1; ; tries++) {
      try {
        return call.send();
      } catch (StatusRuntimeException e) {
        boolean passing =
            switch (e.getStatus().getCode()) {
              case UNAVAILABLE, RESOURCE_EXHAUSTED, ABORTED -> true;
              default -> false;
            };
        if (!passing || tries == TRIES) {
          throw e;
        }
        try {
          TimeUnit.MILLISECONDS.sleep(100L << tries);
        } catch (InterruptedException interrupted) {
          Thread.currentThread().interrupt();
          throw e;
        }
      }
    }
  }
}
