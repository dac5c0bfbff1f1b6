package orlop.pod;

import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executor;
import java.util.concurrent.SynchronousQueue;
import java.util.concurrent.ThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import orlop.placement.Fault;
import orlop.placement.Model;
import orlop.runtime.LoadedModel;
import orlop.runtime.ModelLoadException;
import orlop.runtime.ModelRuntime;
import orlop.runtime.SidecarRuntime;

/**
 * Brings one model from its store into memory. Thread-safe; {@link #load} blocks and is meant for
 * virtual threads.
 */
final class Loader {
  private static final int KEEP_THREADS_S = 10;

  /** Of a model whose runtime brings them itself. */
  private static final ModelStore.Files NO_FILES =
      new ModelStore.Files() {
        @Override
        public Path path() {
          return Path.of("");
        }

        @Override
        public void close() {}
      };

  private final ModelStore store;
  private final List<ModelRuntime> runtimes;

  private final PodConfig config;

  /** Kept for a while: a new thread costs more than a small model, and the C heap knows its own. */
  private final Executor threads =
      new ThreadPoolExecutor(
          0,
          Integer.MAX_VALUE,
          KEEP_THREADS_S,
          TimeUnit.SECONDS,
          new SynchronousQueue<>(),
          Thread.ofPlatform().daemon().factory());

  Loader(ModelStore store, List<ModelRuntime> runtimes, PodConfig config) {
    this.store = store;
    this.runtimes = List.copyOf(runtimes);
    this.config = config;
  }

  /** Why a model did not load, in one line, and what kind of failure that is. */
  static final class LoadException extends Exception {
    private static final long serialVersionUID = 1L;
    private final Fault fault;

    LoadException(Fault fault, String message, Throwable cause) {
      super(message, cause);
      this.fault = fault;
    }

    Fault fault() {
      return fault;
    }

    /** Whether the runtime failed, and neither the model nor its store is to blame. */
    boolean ofRuntime() {
      return getCause() instanceof ModelLoadException refused
          ? refused.reason() == ModelLoadException.Reason.INTERNAL
          : getCause() instanceof ExecutionException;
    }
  }

  /** What the model may take, from the size of its files; 0 when its store does not tell. */
  long sizeBytes(Model model) throws LoadException, InterruptedException {
    if (runtimeFor(model) instanceof SidecarRuntime beside && elsewhere(beside)) {
      return beside.predictSizeBytes(model.id(), model.type(), model.path(), model.key());
    }
    try {
      long fileBytes = store.sizeBytes(model);
      return fileBytes == 0 ? 0 : runtimeFor(model).guessSizeBytes(fileBytes);
    } catch (ModelStore.StoreException e) {
      throw new LoadException(e.fault(), message(e), e);
    } catch (RuntimeException e) {
      throw new LoadException(Fault.TRANSIENT, "size of " + model.path() + " is unknown: " + e, e);
    }
  }

  /**
   * @param stats goes with the model from now on
   */
  Held load(Model model, ModelStats stats) throws LoadException, InterruptedException {
    Tuning tuning = Tuning.of(model, config);
    long startNs = System.nanoTime();
    ModelRuntime runtime = runtimeFor(model);
    ModelStore.Files files;
    try {
      files = elsewhere(runtime) ? NO_FILES : store.pull(model);
    } catch (ModelStore.StoreException e) {
      throw new LoadException(e.fault(), message(e), e);
    } catch (RuntimeException e) {
      throw new LoadException(Fault.TRANSIENT, "pull of " + model.path() + " failed: " + e, e);
    }
    long pullMs = (System.nanoTime() - startNs) / 1_000_000;
    LoadedModel loaded = null;
    boolean done = false;
    try {
      loaded = load(runtime, model, files, tuning.warmUp());
      long loadMs = (System.nanoTime() - startNs) / 1_000_000;
      Lane lane = new Lane(loaded, tuning, config.computeThreads());
      Held held = new Held(model, loaded, files, loadMs, pullMs, stats, lane);
      done = true;
      return held;
    } finally {
      if (!done) {
        letGo(loaded, files);
      }
    }
  }

  private static void letGo(@Nullable LoadedModel loaded, ModelStore.Files files) {
    try {
      if (loaded != null) {
        loaded.close();
      }
    } finally {
      files.close();
    }
  }

  /**
   * Loads on a platform thread, since native work would hold the carrier of a virtual one; their
   * number is bounded by whoever calls. One that takes too long is left to itself.
   */
  private LoadedModel load(ModelRuntime runtime, Model model, ModelStore.Files files, int warmUp)
      throws LoadException, InterruptedException {
    CompletableFuture<LoadedModel> result = new CompletableFuture<>();
    Runnable work = () -> load(runtime, model, files, warmUp, result);
    String name = "orlop-load-" + model.id();
    // One of its own where it may have to be interrupted.
    Thread own =
        runtime instanceof SidecarRuntime
            ? Thread.ofPlatform().daemon().name(name).start(work)
            : null;
    if (own == null) {
      threads.execute(
          () -> {
            Thread.currentThread().setName(name);
            work.run();
          });
    }
    long timeoutMs = config.loadTimeoutMs();
    try {
      return result.get(timeoutMs, TimeUnit.MILLISECONDS);
    } catch (TimeoutException e) {
      String why = "runtime " + runtime.name() + " did not load it within " + timeoutMs + " ms";
      LoadException late = new LoadException(Fault.TRANSIENT, why, e);
      if (result.completeExceptionally(late)) {
        throw late;
      }
      return result.join();
    } catch (InterruptedException e) {
      if (!result.completeExceptionally(e) && !result.isCompletedExceptionally()) {
        result.join().close();
      }
      if (own != null) {
        // It calls the load off and sees to it that nothing of the model stays.
        own.interrupt();
        own.join();
      }
      throw e;
    } catch (ExecutionException e) {
      if (e.getCause() instanceof ModelLoadException refused) {
        Fault fault =
            switch (refused.reason()) {
              case BAD_MODEL, NOT_FOUND -> Fault.PERMANENT;
              case OUT_OF_MEMORY -> Fault.CAPACITY;
              case INTERNAL -> Fault.TRANSIENT;
            };
        throw new LoadException(fault, message(refused), refused);
      }
      throw new LoadException(
          Fault.TRANSIENT, "runtime " + runtime.name() + " failed: " + e.getCause(), e);
    }
  }

  private static void load(
      ModelRuntime runtime,
      Model model,
      ModelStore.Files files,
      int warmUp,
      CompletableFuture<LoadedModel> result) {
    try {
      LoadedModel loaded =
          runtime instanceof SidecarRuntime beside
              ? beside.load(
                  model.id(),
                  model.type(),
                  elsewhere(runtime) ? model.path() : files.path().toString(),
                  model.key())
              : runtime.load(model.id(), model.type(), files.path(), model.key(), files.beside());
      boolean taken = false;
      try {
        WarmUp.run(model.id(), loaded, warmUp);
        taken = result.complete(loaded);
      } finally {
        if (!taken) {
          loaded.close();
        }
      }
    } catch (ModelLoadException | RuntimeException | Error e) {
      result.completeExceptionally(e);
    }
  }

  /** Whether the runtime brings the files of its models itself, to where it wants them. */
  private static boolean elsewhere(ModelRuntime runtime) {
    return runtime instanceof SidecarRuntime beside && !beside.wantsFiles();
  }

  private ModelRuntime runtimeFor(Model model) throws LoadException {
    for (ModelRuntime runtime : runtimes) {
      if (runtime.supports(model.type())) {
        return runtime;
      }
    }
    String names = runtimes.stream().map(ModelRuntime::name).collect(Collectors.joining(", "));
    String why =
        "no runtime of this pod loads models of type '" + model.type() + "'; it has: " + names;
    // Another pod may have such a runtime.
    throw new LoadException(Fault.CONFIGURATION, why, new IllegalArgumentException(why));
  }

  private static String message(Exception e) {
    String message = e.getMessage();
    return message == null ? e.toString() : message;
  }
}
